//! Watches as a history records them.
//!
//! Operations: `put VALUE` and `delete` on a key, answered with the revision that they made (a delete of nothing with nil);
//! `change [["put", KEY, VALUE], ["delete", KEY], …]`, several changes in one revision; and `watch
//! {"from": KEY, "to": KEY, "start": REVISION, "without": "put" or "delete" or nil, "resumed": BOOL}`, whose answer lists what
//! the watcher was sent, however the watch ended: a whole number is a progress notice, a list is one response of changes
//! `["put" or "delete", KEY, VALUE, REVISION]` with the previous value as a fifth element if it was asked for.
//!
//! A put of unknown outcome that a watcher was sent did take effect: its change becomes part of the truth.

use super::watch::{Begin, Change, ChangeKind, Response, Sent, Watch, watches};
use super::{Checker, Report};
use crate::history::{History, Operation, Outcome, Value};

/// Judges recorded watches; see [`super::watch::watches`] for the promises.
#[derive(Clone, Copy, Debug)]
pub struct Watches;

impl Checker for Watches {
    fn check(&self, history: &History) -> Report {
        match read(history) {
            Ok((truth, all)) => watches(&truth, &all),
            Err(problem) => Report::unknown(problem),
        }
    }
}

fn read(history: &History) -> Result<(Vec<Change>, Vec<Watch>), String> {
    let (mut truth, mut possible, mut all) = (Vec::new(), Vec::new(), Vec::new());
    for operation in history.clients() {
        match (operation.function.as_str(), operation.outcome) {
            ("watch", _) => {
                let words = || format!("not understood: {operation}");
                all.push(watch(all.len(), operation).ok_or_else(words)?);
            }
            ("put" | "delete" | "change", Outcome::Ok) => {
                if let Some(revision) = operation.output.as_integer() {
                    truth.extend(changes(operation, revision)?);
                }
            }
            ("put" | "delete" | "change", Outcome::Unknown) => {
                possible.extend(changes(operation, 0)?);
            }
            _ => {}
        }
    }
    adopt(&mut truth, &possible, &all);
    truth.sort_by(|one, other| (one.revision, &one.key).cmp(&(other.revision, &other.key)));
    Ok((truth, all))
}

/// The changes of one operation, all of one revision.
fn changes(operation: &Operation, revision: i64) -> Result<Vec<Change>, String> {
    let of = |name: &str, key: &Value, value: Option<&Value>| change(name, key, value, revision);
    let function = operation.function.as_str();
    if function != "change" {
        return Ok(of(function, &operation.key, Some(&operation.input))
            .into_iter()
            .collect());
    }
    let one = |micro: &Value| {
        let parts = micro.as_list()?;
        of(parts.first()?.as_text()?, parts.get(1)?, parts.get(2))
    };
    let micros = operation.input.as_list().unwrap_or_default();
    micros
        .iter()
        .map(|micro| one(micro).ok_or_else(|| format!("not understood: {micro}")))
        .collect()
}

fn change(name: &str, key: &Value, value: Option<&Value>, revision: i64) -> Option<Change> {
    let (kind, value) = match name {
        "put" => (ChangeKind::Put, value?.clone()),
        "delete" => (ChangeKind::Delete, Value::Nil),
        _ => return None,
    };
    Some(Change {
        revision,
        key: key.clone(),
        kind,
        value,
    })
}

fn watch(number: usize, operation: &Operation) -> Option<Watch> {
    let asked = |name: &str| operation.input.get(name);
    let responses = operation.output.as_list().unwrap_or_default();
    Some(Watch {
        name: format!("watch {number} of process {}", operation.process),
        keys: (asked("from")?.clone(), asked("to")?.clone()),
        without: match asked("without").and_then(Value::as_text) {
            None => None,
            Some("put") => Some(ChangeKind::Put),
            Some("delete") => Some(ChangeKind::Delete),
            Some(_) => return None,
        },
        start: asked("start")?.as_integer()?,
        begin: match asked("resumed").and_then(Value::as_bool) {
            Some(true) => Begin::Resumed,
            _ => Begin::Fresh,
        },
        responses: responses.iter().map(response).collect::<Option<_>>()?,
    })
}

fn response(told: &Value) -> Option<Response> {
    if let Some(revision) = told.as_integer() {
        return Some(Response::Progress(revision));
    }
    let one = |told: &Value| {
        let (parts, previous) = match told.as_list()? {
            [parts @ .., previous] if parts.len() == 4 => (parts, Some(previous.clone())),
            parts => (parts, None),
        };
        let [name, key, value, revision] = parts else {
            return None;
        };
        let change = change(name.as_text()?, key, Some(value), revision.as_integer()?)?;
        Some(Sent { change, previous })
    };
    told.as_list()?
        .iter()
        .map(one)
        .collect::<Option<_>>()
        .map(Response::Changes)
}

/// Adds to the truth what a watcher was sent and somebody may have done.
fn adopt(truth: &mut Vec<Change>, possible: &[Change], all: &[Watch]) {
    let may_be = |sent: &Change| {
        let same = |other: &Change| {
            (&other.key, other.kind, &other.value) == (&sent.key, sent.kind, &sent.value)
        };
        possible.iter().any(same)
    };
    for response in all.iter().flat_map(|watch| &watch.responses) {
        let Response::Changes(changes) = response else {
            continue;
        };
        for sent in changes {
            if !truth.contains(&sent.change) && may_be(&sent.change) {
                truth.push(sent.change.clone());
            }
        }
    }
}
