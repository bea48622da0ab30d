//! A line on the terminal that says how far the work has come.

use std::io::{IsTerminal, Write};
use std::path::Path;

/// Counts files on standard error, if that is a terminal and there is more than one.
pub(crate) struct Progress {
    total: usize,
    done: std::cell::Cell<usize>,
    is_shown: bool,
}

/// How wide the bar is, in letters.
const WIDTH: usize = 24;

impl Progress {
    pub(crate) fn over(total: usize) -> Self {
        Self {
            total,
            done: std::cell::Cell::new(0),
            is_shown: total > 1 && std::io::stderr().is_terminal(),
        }
    }

    /// Shows that `file` is being judged.
    pub(crate) fn at(&self, file: &Path) {
        if self.is_shown {
            let done = self.done.get();
            let bar = "#".repeat(done * WIDTH / self.total);
            let name = file.file_name().unwrap_or_default().to_string_lossy();
            self.write(&format!("[{bar:WIDTH$}] {done}/{} {name}", self.total));
        }
        self.done.set(self.done.get() + 1);
    }

    /// Makes room for a line of output.
    pub(crate) fn clear(&self) {
        if self.is_shown {
            self.write("");
        }
    }

    fn write(&self, line: &str) {
        let mut stderr = std::io::stderr().lock();
        // A bar that cannot be drawn is not missed.
        let _ = write!(stderr, "\r\x1b[2K{line}");
        let _ = stderr.flush();
    }
}
