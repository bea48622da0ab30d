//! The greatest and the least numbers that a recording can hold: no checker breaks on them, and sums of them are right.

#![allow(
    clippy::unwrap_used,
    reason = "a test may end where it finds what cannot be"
)]

use quorate_jepsen_style::check::linear::Linearizability;
use quorate_jepsen_style::check::{Checker, Verdict, named};
use quorate_jepsen_style::history::read::read;
use quorate_jepsen_style::history::{Event, EventKind, History, Name, Process, Value};
use quorate_jepsen_style::model::counter;
use quorate_jepsen_style::model::etcd::Etcd;
use quorate_jepsen_style::model::lock::{Ends, Lock};

const MAX: i64 = i64::MAX;
const MIN: i64 = i64::MIN;

/// One after the other: what was asked, of what, and what was answered.
fn history(operations: &[(&str, Value, Value)]) -> History {
    let event = |kind, function: &str, value: &Value| Event {
        process: Process::Client(1),
        kind,
        function: Name::from(function),
        key: Value::Nil,
        value: value.clone(),
        nanoseconds: 0,
        details: None,
    };
    let events = operations.iter().flat_map(|(function, asked, answered)| {
        [
            event(EventKind::Invoke, function, asked),
            event(EventKind::Ok, function, answered),
        ]
    });
    History::from_events(events).unwrap()
}

/// What a checker says, without a guard that would turn a crash into a word.
fn verdict(checker: &dyn Checker, operations: &[(&str, Value, Value)]) -> Verdict {
    checker.check(&history(operations)).verdict
}

fn add(number: i64) -> (&'static str, Value, Value) {
    ("add", number.into(), Value::Nil)
}

fn shows(answer: impl Into<Value>) -> (&'static str, Value, Value) {
    ("read", Value::Nil, answer.into())
}

#[test]
fn a_counter_may_go_beyond_what_it_can_be_asked_to_add() {
    let model = Linearizability::of(counter::Counter);
    for checker in [named("counter").unwrap().as_ref(), &model as &dyn Checker] {
        let there_and_back = [add(MAX), add(MAX), add(-MAX), shows(MAX)];
        assert_eq!(verdict(checker, &there_and_back), Verdict::Pass);
        let lost = [add(MAX), add(MAX), shows(MAX)];
        assert_eq!(verdict(checker, &lost), Verdict::Fail);
        let wrapped = [add(MAX), add(1), shows(MIN)];
        assert_eq!(verdict(checker, &wrapped), Verdict::Fail);
    }
    let negated = [("decrement", MIN.into(), Value::Nil)];
    assert_eq!(verdict(&model, &negated), Verdict::Unknown);
}

#[test]
fn a_bank_may_hold_more_than_an_account() {
    let bank = named("bank").unwrap();
    let of = |one: i64, other: i64| {
        shows(Value::map([
            (1.into(), one.into()),
            (2.into(), other.into()),
        ]))
    };
    let moved = [of(MAX, MAX - 1), of(MAX - 1, MAX)];
    assert_eq!(verdict(bank.as_ref(), &moved), Verdict::Pass);
    let lost = [of(MAX, MAX), of(MAX, 0)];
    assert_eq!(verdict(bank.as_ref(), &lost), Verdict::Fail);
}

#[test]
fn a_lease_may_outlive_the_clock() {
    let lease = named("lease").unwrap();
    let asked = [
        ("grant", MAX.into(), MAX.into()),
        ("alive", Value::Nil, true.into()),
    ];
    assert_eq!(verdict(lease.as_ref(), &asked), Verdict::Pass);
}

#[test]
fn after_the_last_number_a_lock_grants_nothing() {
    let log = format!(
        "{{\"process\":1,\"type\":\"invoke\",\"f\":\"acquire\"}}
         {{\"process\":1,\"type\":\"ok\",\"f\":\"acquire\",\"value\":{MAX}}}
         {{\"process\":2,\"type\":\"invoke\",\"f\":\"acquire\"}}
         {{\"process\":1,\"type\":\"invoke\",\"f\":\"use\",\"value\":{MAX}}}
         {{\"process\":1,\"type\":\"ok\",\"f\":\"use\",\"value\":false}}"
    );
    let history = read(log.as_bytes(), None).unwrap();
    let lock = Linearizability::of(Lock::ending(Ends::ByExpiry));
    assert_eq!(lock.check(&history).verdict, Verdict::Fail);
}

#[test]
fn a_revision_below_all_is_not_reached() {
    let answer = |revision: i64| Value::map([("revision".into(), revision.into())]);
    let asked = Value::map([("key".into(), "a".into())]);
    for revision in [MIN, MAX] {
        let deleted = [("delete", asked.clone(), answer(revision))];
        let checker = Linearizability::of(Etcd::default());
        assert_eq!(verdict(&checker, &deleted), Verdict::Fail);
    }
}
