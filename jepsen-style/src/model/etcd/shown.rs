//! What answers show of how things were made: a key with its value and the revision of its last put.
//!
//! Where unknown requests have to fill revisions that nobody owns, there are as many orders as there are ways to arrange
//! them, and an answer that comes later rules nearly all of them out. To look at such answers first keeps the orders few.

use rustc_hash::{FxHashMap, FxHashSet};

use super::{Call, KeyValue, Request, State};
use crate::history::Text;
use crate::model::Timed;

/// A value that a key had.
type Written = (Text, Text);

/// What all answers of a history show.
pub(super) struct Shown {
    /// What was put at a revision.
    at: FxHashMap<i64, FxHashSet<Written>>,
    /// At which revisions a value was put that no more than one request could have put.
    of: FxHashMap<Written, FxHashSet<i64>>,
}

impl Shown {
    pub(super) fn by(calls: &[Timed<Call>]) -> Self {
        let mut shown = Self {
            at: FxHashMap::default(),
            of: FxHashMap::default(),
        };
        let mut writers: FxHashMap<Written, u32> = FxHashMap::default();
        for timed in calls {
            for_each_put(&timed.call.request, &mut |key, value| {
                *writers.entry((key.clone(), value.clone())).or_default() += 1;
            });
            for kv in judged(&timed.call) {
                shown.note(kv);
            }
        }
        shown
            .of
            .retain(|written, _| writers.get(written) == Some(&1));
        shown
    }

    fn note(&mut self, kv: &KeyValue) {
        if let (Some(value), Some(revision)) = (&kv.value, kv.modified) {
            let written = (kv.key.clone(), value.clone());
            self.of.entry(written.clone()).or_default().insert(revision);
            self.at.entry(revision).or_default().insert(written);
        }
    }

    /// Whether `request` may have made the revision of `after`, the state that it led to.
    pub(super) fn allows(&self, request: &Request, after: &State) -> bool {
        let revision = after.revision;
        let there = |(key, value): &Written| after.was_put(key, value, revision);
        if let Some(put) = self.at.get(&revision)
            && !put.iter().all(there)
        {
            return false;
        }
        let mut allowed = true;
        for_each_put(request, &mut |key, value| {
            let written = (key.clone(), value.clone());
            let elsewhere = self
                .of
                .get(&written)
                .is_some_and(|revisions| !revisions.contains(&revision));
            allowed &= !(elsewhere && there(&written));
        });
        allowed
    }
}

/// Every put that a request may do.
fn for_each_put(request: &Request, found: &mut dyn FnMut(&Text, &Text)) {
    match request {
        Request::Put { key, value, .. } => found(key, value),
        Request::Txn {
            then, otherwise, ..
        } => {
            for inner in then.iter().chain(otherwise) {
                for_each_put(inner, found);
            }
        }
        _ => {}
    }
}

/// The keys in an answer that it is judged by: not those of a past revision.
fn judged(call: &Call) -> impl Iterator<Item = &KeyValue> {
    let responses = call
        .answer
        .iter()
        .filter(|_| !asks_for_the_past(&call.request))
        .flat_map(|answer| &answer.responses);
    responses.flat_map(|response| response.kvs.iter().chain(&response.previous).flatten())
}

fn asks_for_the_past(request: &Request) -> bool {
    match request {
        Request::Get { revision, .. } => revision.is_some(),
        Request::Txn {
            then, otherwise, ..
        } => then.iter().chain(otherwise).any(asks_for_the_past),
        _ => false,
    }
}
