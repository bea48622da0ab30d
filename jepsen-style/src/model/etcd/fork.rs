//! Histories whose answers carry revisions, decided without a search.
//!
//! A store that numbers its changes tells their order. Every change that was answered stands at its revision, and what
//! changed nothing stands at the revision that it saw, in any order among its like. What is left open is which unknown
//! requests fill the revisions that nobody owns. So the history is replayed once, in the order of revisions, over a
//! *set* of states: it forks where several unknown requests could fill a gap, and thins where an answer rules some out.

use super::{Call, Etcd, Request, State};
use crate::model::{Decision, Model, OPEN, Timed};

/// With more states than this at a time a search, which remembers what it has seen, does better.
const FORKS: usize = 4096;

/// One way in which things may have been so far.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Fork {
    state: State,
    /// Which unknown requests have been used, in order.
    used: Vec<u32>,
}

/// Decides if every answer carries its revision and says whether it took it, and no lease is involved; `None` otherwise, and when forks abound.
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
    // Whether a request took a revision must be known of each, or its place is not.
    if sure
        .iter()
        .any(|timed| !timed.call.is_pure() && !timed.call.is_change())
    {
        return None;
    }
    let doubtful: Vec<&Timed<Call>> = doubtful
        .into_iter()
        .filter(|timed| !timed.call.is_pure())
        .collect();
    sure.sort_by_key(|timed| (timed.call.revision(), timed.call.is_pure(), timed.invoked));
    if let Some(reason) = backward(&sure) {
        return Some(Decision::Illegal(reason));
    }
    replay(model, &sure, &doubtful)
}

/// Whether something stands before another in the order of revisions that began only after the other had returned. Those
/// that changed nothing and saw one revision stand in the order of their invocations, which is always possible.
fn backward(sure: &[&Timed<Call>]) -> Option<String> {
    let mut latest: Option<&Timed<Call>> = None;
    for timed in sure {
        if let Some(latest) = latest.filter(|latest| latest.invoked > timed.returned) {
            return Some(format!(
                "revision {} was answered before a request began that was answered revision {}",
                timed.call.revision().unwrap_or_default(),
                latest.call.revision().unwrap_or_default()
            ));
        }
        if latest.is_none_or(|latest| latest.invoked < timed.invoked) {
            latest = Some(timed);
        }
    }
    None
}

fn replay(model: &Etcd, sure: &[&Timed<Call>], doubtful: &[&Timed<Call>]) -> Option<Decision> {
    // An unknown request can stand before others only if it was invoked before each of them returned.
    let mut soonest: Vec<u32> = sure.iter().map(|timed| timed.returned).collect();
    for earlier in (1..soonest.len()).rev() {
        soonest[earlier - 1] = soonest[earlier - 1].min(soonest[earlier]);
    }
    let mut forks = vec![Fork {
        state: model.init(),
        used: Vec::new(),
    }];
    for (timed, soonest) in sure.iter().zip(soonest) {
        let seen = timed.call.revision().unwrap_or_default();
        let before = if timed.call.is_pure() { seen } else { seen - 1 };
        forks = fill(model, forks, doubtful, before, soonest)?;
        let mut next = Vec::with_capacity(forks.len());
        for fork in forks {
            if let Some(state) = model.step(&fork.state, &timed.call) {
                next.push(Fork {
                    state,
                    used: fork.used,
                });
            }
        }
        if next.is_empty() {
            return Some(Decision::Illegal(String::new()));
        }
        forks = next;
    }
    Some(Decision::Linearizable)
}

/// Brings every fork to `revision` by unknown requests; those that cannot be brought there end.
fn fill(
    model: &Etcd,
    forks: Vec<Fork>,
    doubtful: &[&Timed<Call>],
    revision: i64,
    soonest: u32,
) -> Option<Vec<Fork>> {
    let mut there = Vec::new();
    let mut on_the_way = forks;
    while let Some(fork) = on_the_way.pop() {
        crate::deadline::look();
        if fork.state.revision >= revision {
            if fork.state.revision == revision && !there.contains(&fork) {
                there.push(fork);
            }
            continue;
        }
        for (number, timed) in (0..).zip(doubtful) {
            debug_assert_eq!(timed.returned, OPEN);
            let Err(place) = fork.used.binary_search(&number) else {
                continue;
            };
            if timed.invoked > soonest {
                continue;
            }
            let after = model.step(&fork.state, &timed.call);
            let Some(state) = after.filter(|state| state.revision > fork.state.revision) else {
                continue;
            };
            let mut used = fork.used.clone();
            used.insert(place, number);
            on_the_way.push(Fork { state, used });
        }
        if on_the_way.len() + there.len() > FORKS {
            return None;
        }
    }
    Some(there)
}
