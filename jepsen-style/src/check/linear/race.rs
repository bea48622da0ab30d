//! The objects of a history, judged over threads. The first illegal one ends the race.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use super::bounds::{Bounds, Exhausted, now};
use super::plan::Plan;
use super::search::{Foresight, Found, search};
use super::{Judgement, Partition, Parts};
use crate::deadline;
use crate::history::Value;
use crate::model::{Decision, Model, Timed};

/// Judges all objects, together or apart.
pub(super) fn judge<M: Model>(
    model: &M,
    parts: &Parts<'_, M::Call>,
    partition: Partition,
    bounds: &Bounds,
) -> Judgement {
    let started = now();
    let apart = judge_apart(model, parts, bounds, started);
    if partition == Partition::ByPart
        || parts.calls.len() < 2
        || matches!(apart, Judgement::Illegal { .. })
    {
        return apart;
    }
    let plan = Plan::new(model, &parts.calls);
    match search(model, &plan, Foresight::Use, &bounds.afresh(), started) {
        Found::Order(_) => Judgement::Linearizable,
        Found::Nothing(_) => Judgement::Illegal {
            part: Value::Nil,
            reason: String::new(),
        },
        Found::GaveUp(exhausted) => Judgement::Unknown(exhausted.to_string()),
    }
}

fn judge_apart<M: Model>(
    model: &M,
    parts: &Parts<'_, M::Call>,
    bounds: &Bounds,
    started: Instant,
) -> Judgement {
    let bounds = bounds.afresh();
    let threads = bounds.jobs.min(parts.calls.len());
    if threads < 2 {
        return judge_in_turn(model, parts, &bounds, started, &AtomicUsize::new(0));
    }
    let next = AtomicUsize::new(0);
    let deadline = deadline::current();
    let verdict = Mutex::new(Judgement::Linearizable);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let work = || judge_in_turn(model, parts, &bounds, started, &next);
                let found = deadline::within(deadline, work)
                    .unwrap_or_else(|_| Judgement::Unknown(Exhausted::Time.to_string()));
                let mut verdict = verdict
                    .lock()
                    .expect("nobody panics while holding the verdict");
                if rank(&found) > rank(&verdict) {
                    *verdict = found;
                }
            });
        }
    });
    verdict
        .into_inner()
        .expect("nobody panics while holding the verdict")
}

/// Takes objects until there are no more or one is illegal.
fn judge_in_turn<M: Model>(
    model: &M,
    parts: &Parts<'_, M::Call>,
    bounds: &Bounds,
    started: Instant,
    next: &AtomicUsize,
) -> Judgement {
    let mut verdict = Judgement::Linearizable;
    loop {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let Some(calls) = parts.calls.get(number) else {
            return verdict;
        };
        match judge_one(model, calls, bounds, started) {
            Verdict::Linearizable => {}
            Verdict::Illegal(reason) => {
                bounds.stop.store(true, Ordering::Relaxed);
                return Judgement::Illegal {
                    part: parts.keys[number].clone(),
                    reason,
                };
            }
            Verdict::GaveUp(Exhausted::Stopped) => return verdict,
            // Another object may still turn out illegal, which says more.
            Verdict::GaveUp(exhausted) => verdict = Judgement::Unknown(exhausted.to_string()),
        }
    }
}

enum Verdict {
    Linearizable,
    Illegal(String),
    GaveUp(Exhausted),
}

fn judge_one<M: Model>(
    model: &M,
    calls: &Vec<Timed<M::Call>>,
    bounds: &Bounds,
    started: Instant,
) -> Verdict {
    match model.decide(calls) {
        Some(Decision::Linearizable) => return Verdict::Linearizable,
        Some(Decision::Illegal(reason)) => return Verdict::Illegal(reason),
        None => {}
    }
    let plan = Plan::new(model, std::slice::from_ref(calls));
    match search(model, &plan, Foresight::Use, bounds, started) {
        Found::Order(_) => Verdict::Linearizable,
        Found::Nothing(_) => Verdict::Illegal(String::new()),
        Found::GaveUp(exhausted) => Verdict::GaveUp(exhausted),
    }
}

/// What says more about a history.
fn rank(judgement: &Judgement) -> u8 {
    match judgement {
        Judgement::Linearizable => 0,
        Judgement::Unknown(_) => 1,
        Judgement::Illegal { .. } => 2,
    }
}
