//! Checkers by name, for command lines and scenarios.

use std::time::Duration;

use super::Checker;
use super::assumptions::SingleThreaded;
use super::bank::{Bank, Overdraft};
use super::counter::Counter;
use super::cycles::{IsolationLevel, ListAppend, RwRegister};
use super::lease::Leases;
use super::lock::{FencedLock, Holders};
use super::long_fork::LongFork;
use super::monotonic::{MonotonicReads, Scope};
use super::queue::TotalQueue;
use super::session::SessionGuarantees;
use super::set::{SetFull, Staleness};
use super::stats::Stats;
use super::token::Tokens;
use super::unhandled::UnhandledErrors;
use super::unique_ids::UniqueIds;
use super::watch_record::Watches;

/// A name and what it stands for.
type Entry = (&'static str, fn() -> Box<dyn Checker>);

const STRICTEST: IsolationLevel = IsolationLevel::StrictSerializable;

/// Leases by name allow for what machines on one network usually show; a scenario that knows better says so.
const LEASES: Leases = Leases {
    drift: Duration::from_millis(500),
    delay: Duration::from_secs(5),
};

/// Every checker that needs to be told nothing but the history.
const CHECKERS: &[Entry] = &[
    ("bank", || {
        Box::new(Bank {
            total: None,
            overdraft: Overdraft::Forbidden,
        })
    }),
    ("counter", || Box::new(Counter)),
    ("lease", || Box::new(LEASES)),
    ("list-append", || Box::new(ListAppend { level: STRICTEST })),
    ("lock", || {
        Box::new(FencedLock {
            holders: Holders::MayOverlap,
        })
    }),
    ("long-fork", || Box::new(LongFork)),
    ("monotonic-reads", || {
        Box::new(MonotonicReads {
            scope: Scope::RealTime,
        })
    }),
    ("queue", || Box::new(TotalQueue)),
    ("rw-register", || Box::new(RwRegister { level: STRICTEST })),
    ("session", || Box::new(SessionGuarantees)),
    ("set", || {
        Box::new(SetFull {
            staleness: Staleness::Forbidden,
        })
    }),
    ("single-threaded", || Box::new(SingleThreaded)),
    ("stats", || Box::new(Stats)),
    ("token", || Box::new(Tokens)),
    ("unhandled-errors", || Box::new(UnhandledErrors::default())),
    ("unique-ids", || Box::new(UniqueIds)),
    ("watch", || Box::new(Watches)),
];

/// The names that [`named`] knows.
pub fn names() -> impl Iterator<Item = &'static str> {
    CHECKERS.iter().map(|(name, _)| *name)
}

/// The checker of that name, as strict as it can be. `list-append` and `rw-register` also take an isolation level after a
/// colon, as in `list-append:snapshot-isolation`.
#[must_use]
pub fn named(name: &str) -> Option<Box<dyn Checker>> {
    if let Some((workload, level)) = name.split_once(':') {
        let level = IsolationLevel::by_name(level)?;
        return match workload {
            "list-append" => Some(Box::new(ListAppend { level })),
            "rw-register" => Some(Box::new(RwRegister { level })),
            _ => None,
        };
    }
    CHECKERS
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, make)| make())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_leads_to_a_checker() {
        assert!(names().all(|name| named(name).is_some()));
        assert!(named("list-append:snapshot-isolation").is_some());
        assert!(named("list-append:hope").is_none());
        assert!(named("nothing").is_none());
    }
}
