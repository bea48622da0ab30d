//! Findings in words.

use super::anomaly::Anomaly;
use super::evidence::{Evidence, KnownFrom, Reason, Step};
use super::graph::EdgeKind;
use super::transactions::{KeyId, Span, TransactionId, ValueId};

/// Says what made one transaction come before another. Edges do not carry their reasons: of millions a handful is ever
/// explained, and what it rests on can be looked up again.
pub(super) trait Explain {
    /// The reason for an edge of a kind that comes of what was read and written.
    fn explain(
        &self,
        first: TransactionId,
        kind: EdgeKind,
        second: TransactionId,
    ) -> Option<Reason>;
}

/// The reason for any edge.
pub(super) fn reason(
    explain: &impl Explain,
    spans: &[Span],
    first: TransactionId,
    kind: EdgeKind,
    second: TransactionId,
) -> Reason {
    match kind {
        EdgeKind::Process => Reason::SameProcess {
            process: spans[first.index()].process,
        },
        EdgeKind::RealTime => Reason::CompletedBefore {
            completed: spans[first.index()].completed,
            invoked: spans[second.index()].invoked,
        },
        _ => explain
            .explain(first, kind, second)
            .expect("an edge was made of what these two read and wrote"),
    }
}

/// Why a history cannot be judged: it is not what these checkers are for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unjudgeable {
    /// The order of time would make no sense.
    #[error("T{} was invoked while its process was busy, or completed before it was invoked", .transaction.0)]
    Overlap {
        /// The transaction.
        transaction: TransactionId,
    },
    /// A read could not name the write that it saw.
    #[error("value #{value} was written to key #{} twice, by T{} and T{}", .key.0, .first.0, .second.0)]
    RepeatedValue {
        /// Who wrote it first.
        first: TransactionId,
        /// Who wrote it again.
        second: TransactionId,
        /// Where.
        key: KeyId,
        /// What.
        value: ValueId,
    },
    /// List operations where registers are checked, or the other way round.
    #[error("T{} does to key #{} what this checker does not know", .transaction.0, .key.0)]
    WrongKind {
        /// The transaction.
        transaction: TransactionId,
        /// The key.
        key: KeyId,
    },
}

/// What transactions, keys and values are called.
pub trait Names {
    /// A transaction, shortly.
    fn transaction(&self, transaction: TransactionId) -> String {
        format!("T{}", transaction.0)
    }

    /// A transaction with all that it did, for the legend; none if there is nothing to add to its name.
    fn story(&self, transaction: TransactionId) -> Option<String>;

    /// A key.
    fn key(&self, key: KeyId) -> String;

    /// A value.
    fn value(&self, value: ValueId) -> String;
}

/// Numbers for want of names.
#[derive(Clone, Copy, Debug)]
pub struct PlainNames;

impl Names for PlainNames {
    fn story(&self, _: TransactionId) -> Option<String> {
        None
    }

    fn key(&self, key: KeyId) -> String {
        format!("k{}", key.0)
    }

    fn value(&self, value: ValueId) -> String {
        value.to_string()
    }
}

/// One occurrence in words: a headline, then for a cycle one line an edge, then the transactions that take part.
#[must_use]
pub fn in_words(anomaly: Anomaly, evidence: &Evidence, names: &dyn Names) -> Vec<String> {
    let name = |transaction: &TransactionId| names.transaction(*transaction);
    let (key, value) = (
        |key: &KeyId| names.key(*key),
        |value: &ValueId| names.value(*value),
    );
    let mut lines = Vec::new();
    match evidence {
        Evidence::Garbage {
            reader,
            key: at,
            value: what,
        } => {
            lines.push(format!(
                "{anomaly}: {} read {} at {}, which nobody wrote",
                name(reader),
                value(what),
                key(at)
            ));
        }
        Evidence::Duplicate {
            reader,
            key: at,
            value: what,
        } => {
            lines.push(format!(
                "{anomaly}: {} read {} twice in the list {}",
                name(reader),
                value(what),
                key(at)
            ));
        }
        Evidence::Incompatible {
            first,
            second,
            key: at,
            position,
        } => lines.push(format!(
            "{anomaly}: {} and {} read different lists at {}: they part at position {position}",
            name(first),
            name(second),
            key(at)
        )),
        Evidence::Reordered {
            reader,
            writer,
            key: at,
            value: what,
        } => lines.push(format!(
            "{anomaly}: {} read {} at {} without what {} had appended there before",
            name(reader),
            value(what),
            key(at),
            name(writer)
        )),
        Evidence::Premature {
            reader,
            writer,
            key: at,
            value: what,
        } => {
            let what_then = if anomaly == Anomaly::G1a {
                "but failed"
            } else {
                "and then changed"
            };
            lines.push(format!(
                "{anomaly}: {} read {} at {}, which {} wrote {what_then}",
                name(reader),
                value(what),
                key(at),
                name(writer)
            ));
        }
        Evidence::Contradiction {
            transaction,
            key: at,
        } => lines.push(format!(
            "{anomaly}: what {} read at {} is not what it had read and written there before",
            name(transaction),
            key(at)
        )),
        Evidence::Lost {
            first,
            second,
            key: at,
            seen,
        } => lines.push(format!(
            "{anomaly}: {} and {} both read {} at {} and both wrote over it",
            name(first),
            name(second),
            seen.as_ref()
                .map_or_else(|| "the initial state".to_owned(), value),
            key(at)
        )),
        Evidence::Cycle(steps) => {
            lines.push(format!(
                "{anomaly}: a cycle of {} transactions",
                steps.len()
            ));
            for (place, step) in steps.iter().enumerate() {
                let next = steps[(place + 1) % steps.len()].transaction;
                lines.push(edge_in_words(*step, next, names));
            }
        }
    }
    let stories = participants(evidence)
        .into_iter()
        .filter_map(|transaction| {
            names
                .story(transaction)
                .map(|story| format!("{}: {story}", names.transaction(transaction)))
        });
    lines.extend(stories);
    lines
}

/// The transactions that an occurrence is about.
fn participants(evidence: &Evidence) -> Vec<TransactionId> {
    match evidence {
        Evidence::Garbage { reader, .. } | Evidence::Duplicate { reader, .. } => vec![*reader],
        Evidence::Contradiction { transaction, .. } => vec![*transaction],
        Evidence::Incompatible { first, second, .. } | Evidence::Lost { first, second, .. } => {
            vec![*first, *second]
        }
        Evidence::Premature { reader, writer, .. } | Evidence::Reordered { reader, writer, .. } => {
            vec![*writer, *reader]
        }
        Evidence::Cycle(steps) => steps.iter().map(|step| step.transaction).collect(),
    }
}

fn edge_in_words(step: Step, next: TransactionId, names: &dyn Names) -> String {
    let (first, second) = (names.transaction(step.transaction), names.transaction(next));
    let why = match step.reason {
        Reason::Overwrote {
            key,
            before,
            after,
            known,
        } => {
            let (key, before, after) = (names.key(key), names.value(before), names.value(after));
            format!(
                "{first} wrote {before} to {key}, and {second} wrote {after} over it{}",
                source_in_words(known)
            )
        }
        Reason::Read { key, value } => {
            format!(
                "{first} wrote {} to {}, and {second} read it",
                names.value(value),
                names.key(key)
            )
        }
        Reason::Missed {
            key,
            seen,
            missed,
            known,
        } => {
            let seen =
                seen.map_or_else(|| "the initial state".to_owned(), |seen| names.value(seen));
            let (key, missed) = (names.key(key), names.value(missed));
            format!(
                "{first} read {seen} at {key} and so not yet {missed}, which {second} wrote{}",
                source_in_words(known)
            )
        }
        Reason::SameProcess { process } => {
            format!("process {process} ran {first} and then {second}")
        }
        Reason::CompletedBefore { completed, invoked } => {
            format!("{first} completed at {completed}, before {second} was invoked at {invoked}")
        }
    };
    format!("{first} < {second}: {why}")
}

const fn source_in_words(known: KnownFrom) -> &'static str {
    match known {
        KnownFrom::Observation | KnownFrom::ReadBeforeWrite => "",
        KnownFrom::NeverSeen => " (later than all that reads show, since no read shows it)",
        KnownFrom::RealTime => {
            " (later, since the older value was settled before anyone began with the newer)"
        }
    }
}
