//! Judging histories.
//!
//! | file | noun |
//! |---|---|
//! | [`report`] | [`Verdict`], [`Report`]: what a checker says, with its evidence |
//! | [`compose`] | [`Composition`]: several checkers under names, assumptions first |
//! | [`linear`] | linearizability with respect to a [`Model`](crate::model::Model) |
//! | [`named`](mod@named) | checkers by name |
//! | [`assumptions`] | what all others take for granted |
//! | [`cycles`] | isolation of transactions: lists and registers |
//! | [`set`], [`queue`], [`counter`] | what was added is there: as elements, in sum, as a number |
//! | [`bank`], [`long_fork`] | snapshots: money is never made; nobody disagrees on the order of writes |
//! | [`monotonic`], [`session`] | nothing goes back; what a process may expect of its own past |
//! | [`unique_ids`], [`token`] | nothing is given twice; a token admits as many as it may |
//! | [`watch`], [`watch_record`] | what a store promises when it tells its changes; the same from a history |
//! | [`lease`], [`lock`] | never early, bounded late, never back; safety by fencing |
//! | [`stats`], [`unhandled`] | what worked and how fast; errors that nobody thought of |
//! | `latency`, `testing` | quantiles of durations; histories written down in tests |
//!
//! A checker says one of four words. *Pass* and *fail* are claims about the system. *Unknown* says that the checker could
//! not tell: a bound was met, an assumption does not hold, or the checker itself broke. *Not-run* says that it did not
//! look. Neither of the last two is ever green.

pub mod assumptions;
pub mod bank;
pub mod compose;
pub mod counter;
pub mod cycles;
mod latency;
pub mod lease;
pub mod linear;
pub mod lock;
pub mod long_fork;
pub mod monotonic;
pub mod named;
pub mod queue;
pub mod report;
pub mod session;
pub mod set;
pub mod stats;
#[cfg(test)]
mod testing;
pub mod token;
pub mod unhandled;
pub mod unique_ids;
pub mod watch;
pub mod watch_record;

pub use compose::{Composition, guarded};
pub use named::{named, names};
pub use report::{Report, Verdict};

use crate::history::History;

/// Something that can judge a history.
pub trait Checker: Send + Sync {
    /// Judges `history`. A panic in here is reported as *unknown* by [`guarded`] and by [`Composition`].
    fn check(&self, history: &History) -> Report;
}

impl<F: Fn(&History) -> Report + Send + Sync> Checker for F {
    fn check(&self, history: &History) -> Report {
        self(history)
    }
}
