//! What a command prints on its standard output.
//!
//! `println!` panics when nobody reads on, as in `quorate status | head -1`. Here a reader that went away is no error: the
//! command does what it was asked for, and ends as it would have.

use std::io::{self, Write};

/// Prints a line.
macro_rules! say {
    ($($text:tt)*) => {
        $crate::say::text(&(format!($($text)*) + "\n"))
    };
}

pub(crate) use say;

/// Prints a text that ends its lines itself.
pub(crate) fn text(text: &str) {
    // A full disk behind a redirection is lost with it: there is nobody left to tell.
    let _ = io::stdout().lock().write_all(text.as_bytes());
}
