//! What answers show of how things were made: a key with its value and the revision of its last put.
//!
//! Where unknown requests have to fill revisions that nobody owns, there are as many orders as there are ways to arrange
//! them, and an answer that comes later rules nearly all of them out. To look at such answers first keeps the orders few.

use rustc_hash::{FxHashMap, FxHashSet};

use super::call::{Compare, Operand, Target, Wanted};
use super::state::Puts;
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
    /// How each key was found, by the revision of its last put.
    found: FxHashMap<Text, Vec<Found>>,
    /// How often one request may put one key, at most.
    most_puts: i64,
}

/// A key as an answer found it.
#[derive(Debug, Clone, Copy)]
struct Found {
    /// The revision of its last put.
    modified: i64,
    /// Up to this revision it was not put again.
    until: i64,
    create: Option<i64>,
    version: Option<i64>,
}

impl Shown {
    pub(super) fn by(calls: &[Timed<Call>]) -> Self {
        let mut shown = Self {
            at: FxHashMap::default(),
            of: FxHashMap::default(),
            found: FxHashMap::default(),
            most_puts: calls
                .iter()
                .map(|timed| most_puts(&timed.call.request))
                .max()
                .unwrap_or_default(),
        };
        let mut writers: FxHashMap<Written, u32> = FxHashMap::default();
        for timed in calls {
            for_each_put(&timed.call.request, &mut |key, value| {
                *writers.entry((key.clone(), value.clone())).or_default() += 1;
            });
            // What a change answers may be how things were before it.
            let seen_at = timed.call.revision().map(|revision| {
                let is_pure = timed.call.is_pure();
                if is_pure {
                    revision
                } else {
                    revision.saturating_sub(1)
                }
            });
            for kv in judged(&timed.call) {
                shown.note(kv, seen_at);
            }
        }
        for found in shown.found.values_mut() {
            found.sort_by_key(|found| found.modified);
            found.dedup_by(|later, earlier| {
                let same = later.modified == earlier.modified;
                if same {
                    earlier.add(later);
                }
                same
            });
        }
        shown
            .of
            .retain(|written, _| writers.get(written) == Some(&1));
        shown
    }

    fn note(&mut self, kv: &KeyValue, seen_at: Option<i64>) {
        if let Some(modified) = kv.modified {
            let found = Found {
                modified,
                until: seen_at.unwrap_or(modified),
                create: kv.create,
                version: kv.version,
            };
            let known = self.found.entry(kv.key.clone()).or_default();
            // Most answers find a key as the one before.
            match known.last_mut().filter(|last| last.modified == modified) {
                Some(last) => last.add(&found),
                None => known.push(found),
            }
        }
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
            if let (Some(found), Some(puts)) = (self.found.get(key), after.puts(key)) {
                allowed &= puts.modified != revision || fits(found, puts, self.most_puts);
            }
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

impl Found {
    /// Another answer found the same.
    fn add(&mut self, other: &Self) {
        self.until = self.until.max(other.until);
        self.create = self.create.or(other.create);
        self.version = self.version.or(other.version);
    }
}

/// Whether the last put of a key can be followed by what was found of that key, and follow it.
fn fits(found: &[Found], puts: Puts, most_puts: i64) -> bool {
    let revision = puts.modified;
    let (before, after) = found.split_at(found.partition_point(|found| found.modified <= revision));
    if let Some(last) = before.last() {
        let here = last.modified == revision;
        let same = |told: Option<i64>, put| told.is_none_or(|told| told == put);
        if here && !(same(last.create, puts.create) && same(last.version, puts.version)) {
            return false;
        }
        if !here && revision <= last.until {
            return false;
        }
    }
    let Some(next) = after.first() else {
        return true;
    };
    match (next.create, next.version) {
        // It lived from then on: as many puts as are missing must follow, and have room.
        (Some(create), Some(version)) if create <= revision => {
            let missing = version.saturating_sub(puts.version);
            let room = next
                .modified
                .saturating_sub(revision)
                .saturating_mul(most_puts);
            puts.create == create && (1..=room).contains(&missing)
        }
        _ => true,
    }
}

/// How often a request may put the key that it puts most often.
fn most_puts(request: &Request) -> i64 {
    let Request::Txn {
        then, otherwise, ..
    } = request
    else {
        return 1;
    };
    let most = |branch: &[Request]| {
        let mut puts: FxHashMap<&Text, i64> = FxHashMap::default();
        for request in branch {
            if let Request::Put { key, .. } = request {
                *puts.entry(key).or_default() += 1;
            }
        }
        puts.into_values().max().unwrap_or_default()
    };
    most(then).max(most(otherwise))
}

/// For each of these requests of unknown outcome an earlier one that differs from it in nothing that anybody could have seen:
/// in a value alone that was neither answered nor compared. Whichever of the two happened, it may as well have been that one.
pub(super) fn twins<'a>(unknown: &[&'a Timed<Call>], calls: &'a [Timed<Call>]) -> Vec<Option<u32>> {
    let mut unseen: FxHashSet<(&'a Text, &'a Text)> = unknown
        .iter()
        .filter_map(|timed| match &timed.call.request {
            Request::Put { key, value, .. } => Some((key, value)),
            _ => None,
        })
        .collect();
    for timed in calls {
        let answers = timed
            .call
            .answer
            .iter()
            .flat_map(|answer| &answer.responses);
        for kv in
            answers.flat_map(|response| response.kvs.iter().chain(&response.previous).flatten())
        {
            if let Some(value) = &kv.value {
                unseen.remove(&(&kv.key, value));
            }
        }
        if let Request::Txn { compare, .. } = &timed.call.request {
            for compare in compare
                .iter()
                .filter(|compare| compare.target == Target::Value)
            {
                unseen.retain(|(key, value)| !sees(compare, key, value));
            }
        }
    }
    let mut last: FxHashMap<(&'a Text, i64), u32> = FxHashMap::default();
    let twin = |(number, timed): (u32, &&'a Timed<Call>)| match &timed.call.request {
        Request::Put { key, value, lease } if unseen.contains(&(key, value)) => {
            last.insert((key, *lease), number)
        }
        _ => None,
    };
    (0..).zip(unknown).map(twin).collect()
}

/// Whether a comparison of values could tell this one from others.
fn sees(compare: &Compare, key: &Text, value: &Text) -> bool {
    let by_equality = matches!(compare.result, Wanted::Equal | Wanted::Different);
    let same = matches!(&compare.operand, Operand::Text(operand) if operand == value);
    compare.key == *key && (!by_equality || same)
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
