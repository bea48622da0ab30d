//! Leases that may run out at any moment.
//!
//! Nobody records the moment at which a server ends a lease. It is a revocation of unknown outcome that is open from the
//! grant on: it may take effect at any later moment, or never. Whether it came too early or too late is for the checker
//! of leases to say, which knows the time to live.

use rustc_hash::FxHashSet;

use crate::history::{History, Name, Operation, Outcome, Process, Value};

/// `history` with one doubtful `lease-revoke` for every lease that was granted.
pub fn with_expiries(history: &History) -> History {
    let mut operations = history.operations().to_vec();
    let busy: FxHashSet<Process> = operations
        .iter()
        .map(|operation| operation.process)
        .collect();
    let mut free = (0..=u32::MAX)
        .rev()
        .map(Process::Client)
        .filter(|process| !busy.contains(process));
    let granted = history.operations().iter().filter(|operation| {
        operation.function == "lease-grant" && operation.outcome != Outcome::Failed
    });
    for (grant, process) in granted.zip(&mut free) {
        operations.push(Operation {
            process,
            function: Name::from("lease-revoke"),
            key: Value::Nil,
            input: grant.input.clone(),
            output: Value::Nil,
            outcome: Outcome::Unknown,
            // It shares the moment of the grant's invocation: nothing stands between, and it is open for ever.
            invoked: grant.invoked,
            ended: None,
            details: None,
        });
    }
    History::new(operations).with_story(history.story())
}
