//! What to ask and how to judge it, in one piece.
//!
//! | file | noun |
//! |---|---|
//! | [`register`] | reads, writes and compare-and-set on many keys |
//! | [`append`] | strings that are appended to, key by key |
//! | [`set`] | elements added, and read back at the end |
//! | [`counter`] | additions and reads |
//!
//! A [`Workload`] says nothing of clients: those know the system. Add one by copying the smallest.

pub mod append;
pub mod counter;
pub mod register;
pub mod set;

use crate::check::Checker;
use crate::generator::Generator;

/// What to ask and how to judge it.
pub struct Workload {
    /// Its name, for reports.
    pub name: &'static str,
    /// What is asked while faults come and go. It has no end of its own: limit it.
    pub generator: Box<dyn Generator>,
    /// What is asked when everything has been healed and nothing is open any more.
    pub last: Box<dyn Generator>,
    /// What judges the history.
    pub checker: Box<dyn Checker>,
}

/// How large a workload is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// How many clients work on one key at a time.
    pub group: u32,
    /// How many operations each key sees. Short histories are quickly judged: a few hundred.
    pub per_key: u64,
}

/// A generator of nothing.
fn nothing() -> Box<dyn Generator> {
    Box::new(crate::generator::each([]))
}
