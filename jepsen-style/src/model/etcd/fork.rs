//! Histories whose answers carry revisions, decided without a search.
//!
//! A store that numbers its changes tells their order. Every change that was answered stands at its revision, and what
//! changed nothing stands at the revision that it saw, in any order among its like. Two things are left open. Which unknown
//! requests fill the revisions that nobody owns; and, where an answer is the bare revision, whether a delete or a transaction
//! made it or only saw it. So the history is replayed once, in the order of revisions, over a *set* of states: it forks where
//! several requests could have made a revision, and thins where an answer rules some out.

use rustc_hash::FxHashSet;

use super::shown::{Shown, twins};
use super::{Call, Etcd, Request, State};
use crate::model::{Decision, Model, OPEN, Timed};

/// With more states than this at a time, which are some tens of MiB, it is left to a search.
const FORKS: usize = 1 << 15;

/// One way in which things may have been so far.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Fork {
    state: State,
    /// Which unknown requests have been used, in order.
    used: Vec<u32>,
}

/// Decides if every answer carries its revision and no lease is involved; `None` otherwise, and when forks abound.
pub(super) fn decide(model: &Etcd, calls: &[Timed<Call>]) -> Option<Decision> {
    let (doubtful, mut sure): (Vec<&Timed<Call>>, Vec<&Timed<Call>>) =
        calls.iter().partition(|timed| timed.is_open());
    // Leases change without a revision, so revisions do not order them.
    let about_leases = |timed: &Timed<Call>| {
        matches!(
            timed.call.request,
            Request::Grant(_) | Request::Revoke(_) | Request::KeepAlive(_)
        )
    };
    if calls.iter().any(about_leases) || sure.iter().any(|timed| timed.call.revision().is_none()) {
        return None;
    }
    let doubtful: Vec<&Timed<Call>> = doubtful
        .into_iter()
        .filter(|timed| !timed.call.is_pure())
        .collect();
    // Those that certainly took their revision first: who stands behind one of them saw it.
    sure.sort_by_key(|timed| {
        (
            timed.call.revision(),
            !timed.call.is_change(),
            timed.invoked,
        )
    });
    if let Some(reason) = backward(&sure) {
        return Some(Decision::Illegal(reason));
    }
    let shown = Shown::by(calls);
    let unknown = Unknown {
        model,
        requests: &doubtful,
        twins: &twins(&doubtful, calls),
        shown: &shown,
    };
    replay(&unknown, &sure)
}

/// Whether an answer of one revision was there before a request began that was answered a smaller one.
fn backward(sure: &[&Timed<Call>]) -> Option<String> {
    let mut latest: Option<&Timed<Call>> = None;
    for group in sure.chunk_by(|one, other| one.call.revision() == other.call.revision()) {
        for timed in group {
            if let Some(latest) = latest.filter(|latest| latest.invoked > timed.returned) {
                return Some(format!(
                    "revision {} was answered before a request began that was answered revision {}",
                    timed.call.revision().unwrap_or_default(),
                    latest.call.revision().unwrap_or_default()
                ));
            }
        }
        latest = group
            .iter()
            .copied()
            .chain(latest)
            .max_by_key(|timed| timed.invoked);
    }
    None
}

/// The requests of which nobody knows whether they happened, and what is known of where they did.
struct Unknown<'a> {
    model: &'a Etcd,
    /// By their invocations.
    requests: &'a [&'a Timed<Call>],
    /// For each of them an earlier one that takes its place if it has not been used.
    twins: &'a [Option<u32>],
    shown: &'a Shown,
}

fn replay(unknown: &Unknown<'_>, sure: &[&Timed<Call>]) -> Option<Decision> {
    // An unknown request can stand before others only if it was invoked before each of them returned.
    let mut soonest: Vec<u32> = sure.iter().map(|timed| timed.returned).collect();
    for earlier in (1..soonest.len()).rev() {
        soonest[earlier - 1] = soonest[earlier - 1].min(soonest[earlier]);
    }
    let mut forks = vec![Fork {
        state: unknown.model.init(),
        used: Vec::new(),
    }];
    let mut from = 0;
    for group in sure.chunk_by(|one, other| one.call.revision() == other.call.revision()) {
        let soonest = soonest[from];
        from += group.len();
        forks = pass(unknown, forks, group, soonest)?;
        if forks.is_empty() {
            return Some(Decision::Illegal(String::new()));
        }
    }
    Some(Decision::Linearizable)
}

/// Brings every fork through the answers of one revision: one of them made it, or an unknown request did, or it was there.
fn pass(
    unknown: &Unknown<'_>,
    forks: Vec<Fork>,
    group: &[&Timed<Call>],
    soonest: u32,
) -> Option<Vec<Fork>> {
    let model = unknown.model;
    let revision = group[0].call.revision().unwrap_or_default();
    if group.iter().all(|timed| timed.call.is_pure()) {
        let there = fill(unknown, forks, revision, soonest)?;
        return Some(agreeing(model, there, group));
    }
    if group[0].call.is_change() {
        let before = fill(unknown, forks, revision.saturating_sub(1), soonest)?;
        let made = makers(group).next().map(|maker| make(model, before, maker));
        return Some(agreeing(model, made.unwrap_or_default(), group));
    }
    let seen = fill(unknown, forks.clone(), revision, soonest)?;
    let mut there = agreeing(model, seen, group);
    let before = fill(unknown, forks, revision.saturating_sub(1), soonest)?;
    for maker in makers(group) {
        crate::deadline::look();
        let made = make(model, before.clone(), maker);
        let others: Vec<&Timed<Call>> = group
            .iter()
            .copied()
            .filter(|timed| timed.operation != maker.operation)
            .collect();
        there.extend(agreeing(model, made, &others));
        if there.len() > FORKS {
            return None;
        }
    }
    if there.len() > 1 {
        let mut known = FxHashSet::default();
        there.retain(|fork| known.insert(fork.clone()));
    }
    Some(there)
}

/// Those of a group that may have made its revision: the rest saw it, so none of them was over before.
fn makers<'a>(group: &'a [&'a Timed<Call>]) -> impl Iterator<Item = &'a Timed<Call>> {
    let first_return = group.iter().map(|timed| timed.returned).min();
    let candidates = if group[0].call.is_change() {
        &group[..1]
    } else {
        group
    };
    candidates.iter().copied().filter(move |maker| {
        !maker.call.is_pure() && first_return.is_some_and(|first| maker.invoked < first)
    })
}

/// The forks after `maker`, which made its revision.
fn make(model: &Etcd, forks: Vec<Fork>, maker: &Timed<Call>) -> Vec<Fork> {
    let made = forks.into_iter().filter_map(|fork| {
        let before = fork.state.revision;
        let state = model.step_in_place(fork.state, &maker.call)?;
        (state.revision > before).then_some(Fork { state, ..fork })
    });
    made.collect()
}

/// The forks in which every answer of a group is right that only saw its revision. The one that made it, if it is among them,
/// stands first and is passed over.
fn agreeing(model: &Etcd, mut forks: Vec<Fork>, group: &[&Timed<Call>]) -> Vec<Fork> {
    let seen = match group.first() {
        Some(first) if first.call.is_change() => &group[1..],
        _ => group,
    };
    forks.retain(|fork| {
        seen.iter()
            .all(|timed| model.step(&fork.state, &timed.call).is_some())
    });
    forks
}

/// Brings every fork to `revision` by unknown requests; those that cannot be brought there end. All forks grow by one revision
/// at a time, so that those that have come to the same are one.
fn fill(unknown: &Unknown<'_>, forks: Vec<Fork>, revision: i64, soonest: u32) -> Option<Vec<Fork>> {
    let mut there = FxHashSet::default();
    let mut on_the_way: FxHashSet<Fork> = forks.into_iter().collect();
    while !on_the_way.is_empty() {
        let mut next = FxHashSet::default();
        for fork in on_the_way {
            crate::deadline::look();
            if fork.state.revision < revision {
                next.extend(ways_on(unknown, &fork, soonest));
            } else if fork.state.revision == revision {
                there.insert(fork);
            }
            if next.len() + there.len() > FORKS {
                return None;
            }
        }
        on_the_way = next;
    }
    Some(there.into_iter().collect())
}

/// What may have come of a fork by one more unknown request that was invoked before `soonest`.
fn ways_on(unknown: &Unknown<'_>, fork: &Fork, soonest: u32) -> impl Iterator<Item = Fork> {
    let numbered = (0..).zip(unknown.requests);
    numbered.filter_map(move |(number, timed)| {
        debug_assert_eq!(timed.returned, OPEN);
        let is_used = |number: &u32| fork.used.binary_search(number).is_ok();
        let place = fork.used.binary_search(&number).err()?;
        let twin = unknown.twins[number as usize];
        if timed.invoked > soonest || twin.is_some_and(|twin| !is_used(&twin)) {
            return None;
        }
        let state = unknown.model.step(&fork.state, &timed.call)?;
        if state.revision <= fork.state.revision
            || !unknown.shown.allows(&timed.call.request, &state)
        {
            return None;
        }
        let mut used = fork.used.clone();
        used.insert(place, number);
        Some(Fork { state, used })
    })
}
