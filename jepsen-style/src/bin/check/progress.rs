//! A line on the terminal that says how far the work has come.
//!
//! It is drawn a few times a second by a thread of its own, so that a file that takes minutes shows that it lives: how much
//! of it has been read, and then for how long it has been judged. Nothing is drawn in the first moments, nor where standard
//! error is no terminal.

use std::ffi::OsString;
use std::io::{IsTerminal, Read, Write};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard};
use std::time::{Duration, Instant};

/// How far the work has come.
pub(crate) struct Progress {
    files: usize,
    timeout: Option<Duration>,
    now: Mutex<Now>,
    /// Bytes that were read of the file at hand.
    read: AtomicU64,
    /// Wakes the one who draws, at the end of all.
    over: Condvar,
}

/// The file at hand.
struct Now {
    done: usize,
    name: OsString,
    started: Option<Instant>,
    stage: Stage,
    is_over: bool,
    is_drawn: bool,
}

/// What is being done with a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// It has so many bytes.
    Reading(u64),
    /// It had so many operations.
    Judging(usize),
}

/// How wide the bar is, in letters.
const WIDTH: usize = 24;

/// How often the line is drawn.
const PAUSE: Duration = Duration::from_millis(250);

/// Does `work` over so many files, and shows how far it is if there is a terminal to show it on.
pub(crate) fn shown(files: usize, timeout: Option<Duration>, work: impl FnOnce(&Progress)) {
    let progress = Progress {
        files,
        timeout,
        now: Mutex::new(Now {
            done: 0,
            name: OsString::new(),
            started: None,
            stage: Stage::Reading(0),
            is_over: false,
            is_drawn: false,
        }),
        read: AtomicU64::new(0),
        over: Condvar::new(),
    };
    if !std::io::stderr().is_terminal() {
        return work(&progress);
    }
    std::thread::scope(|scope| {
        scope.spawn(|| progress.draw_until_over());
        // Whatever becomes of the work, the one who draws must be told, or it is waited for for ever.
        let told = Told(&progress);
        work(&progress);
        drop(told);
    });
}

struct Told<'a>(&'a Progress);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.now().is_over = true;
        self.0.over.notify_all();
    }
}

impl Progress {
    /// A file is begun.
    pub(crate) fn begin(&self, file: &Path, started: Instant) {
        let mut now = self.now();
        now.name = file.file_name().unwrap_or_default().to_owned();
        now.started = Some(started);
        now.stage = Stage::Reading(0);
        self.read.store(0, Ordering::Relaxed);
    }

    /// `input` with its bytes counted, of `size` in all.
    pub(crate) fn reading<R: Read>(&self, input: R, size: u64) -> Counted<'_, R> {
        self.now().stage = Stage::Reading(size);
        Counted {
            input,
            read: &self.read,
        }
    }

    /// The file has been read and is being judged.
    pub(crate) fn judging(&self, operations: usize) {
        self.now().stage = Stage::Judging(operations);
    }

    /// The file is done: makes room for a line of output.
    pub(crate) fn end(&self) {
        let mut now = self.now();
        now.done += 1;
        now.started = None;
        if now.is_drawn {
            write("");
            now.is_drawn = false;
        }
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().expect("nobody panics while holding this")
    }

    fn draw_until_over(&self) {
        let mut now = self.now();
        while !now.is_over {
            let waited = self.over.wait_timeout(now, PAUSE);
            now = waited.expect("nobody panics while holding this").0;
            if let Some(started) = now.started {
                let read = self.read.load(Ordering::Relaxed);
                let took = started.elapsed();
                write(&line(self.files, self.timeout, &now, read, took));
                now.is_drawn = true;
            }
        }
    }
}

/// The line: a bar over all files, the file at hand, and what is being done with it.
fn line(files: usize, timeout: Option<Duration>, now: &Now, read: u64, took: Duration) -> String {
    // Reading is the one part of the work whose size is known; the rest of a file counts when it is done.
    let (share, doing) = match now.stage {
        Stage::Reading(0) => (0.0, "reading".to_owned()),
        Stage::Reading(size) => {
            let share = (read as f64 / size as f64).min(1.0);
            (share / 2.0, format!("reading {:.0} %", share * 100.0))
        }
        Stage::Judging(operations) => (0.5, format!("judging {operations} operations")),
    };
    let filled = (now.done as f64 + share) / files.max(1) as f64 * WIDTH as f64;
    let bar = "#".repeat((filled as usize).min(WIDTH));
    let name = now.name.to_string_lossy();
    let limit = timeout.map_or_else(String::new, |timeout| format!(" of {}", timeout.as_secs()));
    let took = took.as_secs();
    format!(
        "[{bar:WIDTH$}] {}/{files} {name}: {doing}, {took}{limit} s",
        now.done
    )
}

fn write(line: &str) {
    let mut stderr = std::io::stderr().lock();
    // A bar that cannot be drawn is not missed.
    let _ = write!(stderr, "\r\x1b[2K{line}");
    let _ = stderr.flush();
}

/// Counts what is read.
pub(crate) struct Counted<'a, R> {
    input: R,
    read: &'a AtomicU64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.read.fetch_add(read as u64, Ordering::Relaxed);
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_moves_within_one_file_and_says_what_is_done() {
        let mut now = Now {
            done: 0,
            name: "big.jsonl".into(),
            started: None,
            stage: Stage::Reading(400),
            is_over: false,
            is_drawn: false,
        };
        let took = Duration::from_secs(7);
        assert_eq!(
            line(1, None, &now, 100, took),
            "[###                     ] 0/1 big.jsonl: reading 25 %, 7 s"
        );
        now.stage = Stage::Judging(1000);
        assert_eq!(
            line(1, Some(Duration::from_secs(60)), &now, 400, took),
            "[############            ] 0/1 big.jsonl: judging 1000 operations, 7 of 60 s"
        );
        now.done = 3;
        now.stage = Stage::Reading(0);
        assert_eq!(
            line(4, None, &now, 0, took),
            "[##################      ] 3/4 big.jsonl: reading, 7 s"
        );
    }

    #[test]
    fn what_is_read_is_counted() {
        shown(1, None, |progress| {
            let mut input = progress.reading(&b"1234567"[..], 7);
            let mut three = [0; 3];
            input.read_exact(&mut three).expect("there is enough");
            assert_eq!(progress.read.load(Ordering::Relaxed), 3);
        });
    }
}
