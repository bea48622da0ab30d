//! Many requests of unknown outcome at once: which of them happened follows from what was read later.

#![allow(
    clippy::unwrap_used,
    reason = "a test may end where it finds what cannot be"
)]

use std::fmt::Write as _;

use quorate_jepsen_style::check::linear::{Bounds, Linearizability};
use quorate_jepsen_style::check::{Checker, Verdict};
use quorate_jepsen_style::history::read::read;
use quorate_jepsen_style::model::etcd::Etcd;

/// Adds a put of unknown outcome to a history.
fn lose_put(events: &mut String, number: usize, key: &str) {
    let process = number + 10;
    let put = format!(r#""f":"put","key":"{key}","value":{number}"#);
    for kind in ["invoke", "info"] {
        writeln!(events, r#"{{"process":{process},"type":"{kind}",{put}}}"#).unwrap();
    }
}

/// The verdict over a history, with far too little memory for a search.
fn judged(events: &str) -> Verdict {
    let history = read(events.as_bytes(), None).unwrap();
    let bounds = Bounds::generous().remembering(1 << 20);
    let checker = Linearizability::of(Etcd::default()).within(bounds);
    checker.check(&history).verdict
}

/// Twenty puts are lost, and of them five have taken effect. Of the first two nothing is to be seen but their revisions; a reader
/// saw the keys as the other three have left them.
fn lost_puts(seen: &str) -> String {
    let mut events = String::new();
    for number in 0..20 {
        lose_put(&mut events, number, ["a", "b", "c"][number % 3]);
    }
    let asked = r#""f":"get","value":{"key":"a","end":"d"}"#;
    writeln!(events, r#"{{"process":1,"type":"invoke",{asked}}}"#).unwrap();
    let answered = format!(r#""f":"get","value":{{"revision":6,"kvs":[{seen}]}}"#);
    writeln!(events, r#"{{"process":1,"type":"ok",{answered}}}"#).unwrap();
    events
}

fn key(key: &str, value: u32, modified: u32, version: u32) -> String {
    format!(r#"{{"key":"{key}","value":"{value}","mod":{modified},"version":{version}}}"#)
}

fn verdict(seen: &[String]) -> Verdict {
    judged(&lost_puts(&seen.join(",")))
}

#[test]
fn what_was_read_later_says_which_of_many_lost_writes_happened() {
    let seen = [key("a", 18, 4, 2), key("b", 4, 5, 1), key("c", 11, 6, 2)];
    assert_eq!(verdict(&seen), Verdict::Pass);
}

#[test]
fn what_no_lost_write_explains_is_found() {
    // Four of the five must have been to `a` and `c`, and one was to `b`.
    let too_many = [key("a", 18, 4, 2), key("b", 4, 5, 2), key("c", 11, 6, 2)];
    assert_eq!(verdict(&too_many), Verdict::Fail);
    let of_another_key = [key("a", 18, 4, 2), key("b", 6, 5, 1), key("c", 11, 6, 2)];
    assert_eq!(verdict(&of_another_key), Verdict::Fail);
    let twice = [key("a", 18, 4, 2), key("b", 4, 4, 1), key("c", 11, 6, 2)];
    assert_eq!(verdict(&twice), Verdict::Fail);
}

/// So many puts of one key are lost, of which as many have taken effect as the version of it says that is read in the end.
fn lost_puts_of_one_key(lost: usize, seen: &str) -> Verdict {
    let mut events = String::new();
    for number in 0..lost {
        lose_put(&mut events, number, "a");
    }
    let revision = lost / 2 + 2;
    for (kind, answer) in [
        ("invoke", String::new()),
        (
            "ok",
            format!(r#","value":{{"revision":{revision},"kvs":[{seen}]}}"#),
        ),
    ] {
        writeln!(
            events,
            r#"{{"process":1,"type":"{kind}","f":"get","key":"a"{answer}}}"#
        )
        .unwrap();
    }
    judged(&events)
}

#[test]
fn lost_writes_that_nobody_saw_are_one_like_another() {
    let seen = |value, version| {
        format!(r#"{{"key":"a","value":"{value}","create":2,"mod":22,"version":{version}}}"#)
    };
    assert_eq!(lost_puts_of_one_key(40, &seen(39, 21)), Verdict::Pass);
    assert_eq!(lost_puts_of_one_key(40, &seen(0, 21)), Verdict::Pass);
    assert_eq!(lost_puts_of_one_key(40, &seen(39, 20)), Verdict::Fail);
    assert_eq!(lost_puts_of_one_key(40, &seen(40, 21)), Verdict::Fail);
}

/// Nine puts of a key each are lost; a reader saw that five of them have taken effect, and not in which order: 15,120 ways.
#[test]
fn thousands_of_ways_in_which_lost_writes_may_have_happened_are_followed_at_once() {
    let verdict = |seen: &[u32]| {
        let mut events = String::new();
        for number in 0..9 {
            lose_put(&mut events, number, &format!("a{number}"));
        }
        let kvs = seen
            .iter()
            .map(|number| format!(r#"{{"key":"a{number}","value":"{number}"}}"#));
        let kvs = kvs.collect::<Vec<_>>().join(",");
        let asked = r#""f":"get","value":{"key":"a","end":"b"}"#;
        writeln!(events, r#"{{"process":1,"type":"invoke",{asked}}}"#).unwrap();
        let answered = format!(r#""f":"get","value":{{"revision":6,"kvs":[{kvs}]}}"#);
        writeln!(events, r#"{{"process":1,"type":"ok",{answered}}}"#).unwrap();
        judged(&events)
    };
    assert_eq!(verdict(&[0, 2, 4, 6, 8]), Verdict::Pass);
    // Four make no five revisions.
    assert_eq!(verdict(&[0, 2, 4, 6]), Verdict::Fail);
}
