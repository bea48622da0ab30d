//! What can be checked, by name: models of linearizability in [`TABLE`], and every other checker that the library has a name
//! for.

use quorate_jepsen_style::check::linear::{Bounds, Linearizability, Partition};
use quorate_jepsen_style::check::{Report, Verdict, guarded, named, names};
use quorate_jepsen_style::history::History;
use quorate_jepsen_style::model::lock::{Ends, Lock};
use quorate_jepsen_style::model::{Model, counter, etcd, kv, map, queue, register, set};

/// What the command line says about the judging.
#[derive(Clone)]
pub(crate) struct Settings {
    pub(crate) bounds: Bounds,
    pub(crate) partition: Partition,
    pub(crate) shrink: bool,
}

/// Judges one history.
pub(crate) type Judge = Box<dyn Fn(&History, &Settings) -> Report + Send + Sync>;

/// A judge as the table holds it.
type Judging = fn(&History, &Settings) -> Report;

/// Names of models, with what they promise.
const TABLE: &[(&str, Judging)] = &[
    ("register", |history, settings| {
        linear(register::Register::default(), history, settings)
    }),
    ("cas-register", |history, settings| {
        linear(register::CasRegister::default(), history, settings)
    }),
    ("kv", |history, settings| {
        linear(kv::KeyValue, history, settings)
    }),
    ("map", |history, settings| {
        linear(map::MultiKeyMap, history, settings)
    }),
    ("linear-set", |history, settings| {
        linear(set::Set, history, settings)
    }),
    ("linear-queue", |history, settings| {
        linear(queue::Queue, history, settings)
    }),
    ("linear-counter", |history, settings| {
        linear(counter::Counter, history, settings)
    }),
    ("linear-lock", |history, settings| {
        linear(Lock::ending(Ends::ByRelease), history, settings)
    }),
    ("linear-expiring-lock", |history, settings| {
        linear(Lock::ending(Ends::ByExpiry), history, settings)
    }),
    ("etcd", |history, settings| {
        linear(
            etcd::Etcd::default(),
            &etcd::expiry::with_expiries(history),
            settings,
        )
    }),
];

/// Whether the name is that of a model, whose histories are searched; the other checkers do not search.
pub(crate) fn is_searched(name: &str) -> bool {
    TABLE.iter().any(|(known, _)| *known == name)
}

/// The judge of that name.
pub(crate) fn find(name: &str) -> Option<Judge> {
    if let Some((_, judge)) = TABLE.iter().find(|(known, _)| *known == name) {
        return Some(Box::new(judge));
    }
    let checker = named(name)?;
    Some(Box::new(move |history: &History, _: &Settings| {
        guarded(checker.as_ref(), history)
    }))
}

/// Every name, a section each.
const OPERATIONS: &str = include_str!("../../../OPERATIONS.md");

/// What the documentation of operations has under that name.
pub(crate) fn example(name: &str) -> Option<&'static str> {
    let mut sections = OPERATIONS.split("\n## ").skip(1);
    sections.find_map(|section| section.strip_prefix(name)?.strip_prefix("\n\n"))
}

/// The names, for people.
pub(crate) fn help() -> String {
    let models = TABLE.iter().map(|(name, _)| *name);
    let names: Vec<&str> = models.chain(names()).collect();
    format!(
        "what the system promises: {} (list-append and rw-register take an isolation level after a colon, as in \
         list-append:snapshot-isolation)",
        names.join(", ")
    )
}

fn linear<M: Model>(model: M, history: &History, settings: &Settings) -> Report {
    let checker = Linearizability::of(model)
        .within(settings.bounds.clone())
        .partitioned(settings.partition);
    let mut report = guarded(&checker, history);
    if !settings.shrink || report.verdict != Verdict::Fail {
        return report;
    }
    let small = checker.shrink(history, 2000);
    let mut shrunk = guarded(&checker, &small);
    if shrunk.verdict != Verdict::Fail {
        // Time was over: the failure stands as it was found.
        return report;
    }
    std::mem::swap(&mut report, &mut shrunk);
    report.witness.push(format!(
        "what it takes to fail ({} of {} operations):",
        small.len(),
        history.len()
    ));
    report.witness.extend(
        small
            .operations()
            .iter()
            .map(|operation| format!("  {operation}")),
    );
    report
}
