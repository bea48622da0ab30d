//! The slow twin: the same verdicts from definitions alone, for histories of a few transactions.
//!
//! Two independent ways. *Orders*: is there an order of the transactions in which each read is right? That is what
//! serializable means, and no graph is needed. *Pairs*: every pair of transactions is asked for every dependency by its
//! definition, every simple cycle is walked, and each is judged by the best sorts of edges that it can do with. Histories
//! come from simulated stores, right and wrong ones, and are then damaged at random.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::generate::{Dice, Shape, Store, Workload, generate};
use super::*;
use crate::check::Verdict;
use crate::history::Outcome;

#[derive(Clone, Debug, PartialEq)]
enum Micro {
    Write(u32, ValueId),
    /// A list, or a register as the list of its one value (none for the initial state).
    Read(u32, Vec<ValueId>),
}

#[derive(Clone, Debug)]
struct Small {
    span: Span,
    steps: Vec<Micro>,
}

#[derive(Clone, Debug)]
struct History {
    workload: Workload,
    transactions: Vec<Small>,
}

impl History {
    fn generate(seed: u64, workload: Workload, store: Store) -> Self {
        let shape = Shape {
            processes: 3,
            operations: 3,
            keys: 2,
            writes_per_key: 5,
            failed_per_mille: 50,
            unknown_per_mille: 100,
            ..Shape::usual(workload, 6)
        };
        let packed = generate(seed, store, &shape);
        let transactions = (0..).map(TransactionId).take(packed.len()).map(|id| Small {
            span: packed.span(id),
            steps: packed
                .operations(id)
                .iter()
                .map(|step| Self::micro(&packed, step))
                .collect(),
        });
        Self {
            workload,
            transactions: transactions.collect(),
        }
    }

    fn micro(packed: &Transactions, step: &MicroOperation) -> Micro {
        match step.kind {
            MicroKind::Append | MicroKind::Write => Micro::Write(step.key.0, step.value()),
            MicroKind::ReadList => Micro::Read(step.key.0, packed.elements(step).to_vec()),
            MicroKind::ReadValue if step.value() == NIL => Micro::Read(step.key.0, vec![]),
            MicroKind::ReadValue => Micro::Read(step.key.0, vec![step.value()]),
        }
    }

    fn packed(&self) -> Transactions {
        let mut packed = Transactions::default();
        for transaction in &self.transactions {
            for step in &transaction.steps {
                match (step, self.workload) {
                    (Micro::Write(key, value), Workload::ListAppend) => {
                        packed.append(KeyId(*key), *value);
                    }
                    (Micro::Write(key, value), Workload::Register) => {
                        packed.write(KeyId(*key), *value);
                    }
                    (Micro::Read(key, list), Workload::ListAppend) => {
                        packed.read_list(KeyId(*key), list);
                    }
                    (Micro::Read(key, list), Workload::Register) => {
                        packed.read_value(KeyId(*key), list.first().copied().unwrap_or(NIL));
                    }
                }
            }
            packed.finish(transaction.span);
        }
        packed
    }

    /// Damages the history a little, in a way that leaves it judgeable: what a read saw, or how something ended.
    fn damage(&mut self, dice: &mut Dice) {
        let count = self.transactions.len();
        let victim = dice.below(count);
        let (kind, place) = (dice.below(6), dice.below(4));
        let values: Vec<ValueId> = (1..6).collect();
        let extra = values[dice.below(values.len())];
        let workload = self.workload;
        let transaction = &mut self.transactions[victim];
        match kind {
            4 if transaction.span.outcome == Outcome::Ok => {
                transaction.span.outcome = [Outcome::Failed, Outcome::Unknown][place % 2];
                transaction
                    .steps
                    .retain(|step| matches!(step, Micro::Write(..)));
            }
            4 => {}
            5 => transaction.span.invoked = transaction.span.invoked.saturating_sub(place as u64),
            _ => {
                let reads = transaction.steps.iter_mut().filter_map(|step| match step {
                    Micro::Read(_, list) => Some(list),
                    Micro::Write(..) => None,
                });
                let Some(list) = reads.take(1 + place).last() else {
                    return;
                };
                match (kind, workload) {
                    (0 | 1, _) => {
                        list.pop();
                    }
                    (2, Workload::ListAppend) => list.push(extra),
                    (_, Workload::ListAppend) if list.len() > 1 => list.swap(0, 1),
                    (_, Workload::ListAppend) => {}
                    (_, Workload::Register) => *list = vec![extra],
                }
            }
        }
    }

    fn outcome(&self, id: usize) -> Outcome {
        self.transactions[id].span.outcome
    }

    fn writes(&self, id: usize) -> impl DoubleEndedIterator<Item = (u32, ValueId)> {
        self.transactions[id]
            .steps
            .iter()
            .filter_map(|step| match step {
                Micro::Write(key, value) => Some((*key, *value)),
                Micro::Read(..) => None,
            })
    }

    fn reads(&self, id: usize) -> Vec<(u32, &[ValueId])> {
        let steps = self.transactions[id]
            .steps
            .iter()
            .filter(|_| self.outcome(id) == Outcome::Ok);
        steps
            .filter_map(|step| match step {
                Micro::Read(key, list) => Some((*key, list.as_slice())),
                Micro::Write(..) => None,
            })
            .collect()
    }

    fn writer(&self, key: u32, value: ValueId) -> Option<usize> {
        (0..self.transactions.len()).find(|id| self.writes(*id).any(|write| write == (key, value)))
    }

    /// Committed, or unknown and seen by somebody committed.
    fn took_effect(&self, id: usize) -> bool {
        let seen = || {
            self.writes(id).any(|(key, value)| {
                (0..self.transactions.len()).any(|reader| {
                    self.reads(reader)
                        .iter()
                        .any(|(at, list)| *at == key && list.contains(&value))
                })
            })
        };
        match self.outcome(id) {
            Outcome::Ok => true,
            Outcome::Failed => false,
            Outcome::Unknown => seen(),
        }
    }

    fn before_in_time(&self, first: usize, second: usize) -> bool {
        let (first, second) = (
            &self.transactions[first].span,
            &self.transactions[second].span,
        );
        first.outcome == Outcome::Ok && first.completed < second.invoked
    }

    fn before_in_process(&self, first: usize, second: usize) -> bool {
        let (one, other) = (
            &self.transactions[first].span,
            &self.transactions[second].span,
        );
        one.process == other.process && self.before_in_time(first, second)
    }
}

// Orders.

/// Whether the transactions can be put in an order that keeps the given one and makes each read right.
fn has_order(history: &History, keeps: &dyn Fn(usize, usize) -> bool) -> bool {
    let all = 0..history.transactions.len();
    let committed: Vec<usize> = all
        .clone()
        .filter(|id| history.outcome(*id) == Outcome::Ok)
        .collect();
    let unknown: Vec<usize> = all
        .filter(|id| history.outcome(*id) == Outcome::Unknown)
        .collect();
    (0..1_u32 << unknown.len()).any(|chosen| {
        let extra = unknown
            .iter()
            .enumerate()
            .filter(|(bit, _)| chosen >> bit & 1 == 1)
            .map(|(_, id)| *id);
        let left: BTreeSet<usize> = committed.iter().copied().chain(extra).collect();
        can_finish(history, &left, &BTreeMap::new(), keeps)
    })
}

fn can_finish(
    history: &History,
    left: &BTreeSet<usize>,
    state: &BTreeMap<u32, Vec<ValueId>>,
    keeps: &dyn Fn(usize, usize) -> bool,
) -> bool {
    left.is_empty()
        || left.iter().any(|next| {
            if left.iter().any(|other| keeps(*other, *next)) {
                return false;
            }
            let Some(after) = run(history, *next, state) else {
                return false;
            };
            let mut rest = left.clone();
            rest.remove(next);
            can_finish(history, &rest, &after, keeps)
        })
}

/// The state after a transaction, if all that it read was right.
fn run(
    history: &History,
    id: usize,
    state: &BTreeMap<u32, Vec<ValueId>>,
) -> Option<BTreeMap<u32, Vec<ValueId>>> {
    let mut state = state.clone();
    for step in &history.transactions[id].steps {
        match step {
            Micro::Write(key, value) => {
                let list = state.entry(*key).or_default();
                if history.workload == Workload::Register {
                    list.clear();
                }
                list.push(*value);
            }
            Micro::Read(key, list) => {
                let now = state.get(key).map_or(&[][..], Vec::as_slice);
                if history.outcome(id) == Outcome::Ok && list != now {
                    return None;
                }
            }
        }
    }
    Some(state)
}

// Pairs.

/// What stands between two transactions, one bit a sort.
#[derive(Clone, Copy, Default)]
struct Pair {
    write: bool,
    read: bool,
    anti: bool,
    process: bool,
    time: bool,
    timed_write: bool,
    timed_anti: bool,
}

/// The longest list that a committed transaction read.
fn longest(history: &History, key: u32) -> Vec<ValueId> {
    let reads = (0..history.transactions.len()).flat_map(|id| history.reads(id));
    let mut best: &[ValueId] = &[];
    for (at, list) in reads {
        if at == key && list.len() > best.len() {
            best = list;
        }
    }
    best.to_vec()
}

fn append_pair(history: &History, first: usize, second: usize) -> Pair {
    let mut pair = Pair::default();
    for key in 0..8 {
        let order = longest(history, key);
        let place = |value: &ValueId| {
            order
                .iter()
                .position(|other| other == value)
                .unwrap_or(usize::MAX)
        };
        let places = |id| {
            history
                .writes(id)
                .filter(|(at, _)| *at == key)
                .map(|(_, value)| place(&value))
                .collect()
        };
        let (ours, theirs): (Vec<usize>, Vec<usize>) = (places(first), places(second));
        pair.write |= ours
            .iter()
            .any(|one| theirs.iter().any(|other| one < other));
        let reads = |id| {
            history
                .reads(id)
                .into_iter()
                .filter(|(at, _)| *at == key)
                .map(|(_, list)| list)
        };
        pair.read |= reads(second).any(|list| {
            list.last()
                .is_some_and(|last| history.writer(key, *last) == Some(first))
        });
        pair.anti |= reads(first).any(|list| theirs.iter().any(|other| *other >= list.len()));
    }
    pair
}

/// Reads of keys that the transaction had not touched before.
fn external(history: &History, id: usize) -> Vec<(u32, Option<ValueId>)> {
    let steps = &history.transactions[id].steps;
    let mut touched = BTreeSet::new();
    let mut reads = Vec::new();
    for step in steps.iter().filter(|_| history.outcome(id) == Outcome::Ok) {
        match step {
            Micro::Read(key, list) if touched.insert(*key) => {
                reads.push((*key, list.first().copied()));
            }
            Micro::Write(key, _) | Micro::Read(key, _) => {
                touched.insert(*key);
            }
        }
    }
    reads
}

/// Who wrote the version that an external read saw, if that can stand in the order of versions.
fn source(history: &History, reader: usize, key: u32, value: Option<ValueId>) -> Option<usize> {
    let writer = history.writer(key, value?)?;
    (writer != reader && history.outcome(writer) != Outcome::Failed).then_some(writer)
}

/// Everybody who wrote or read the version of `writer`.
fn witnesses(history: &History, writer: usize, key: u32) -> Vec<usize> {
    let readers = (0..history.transactions.len()).filter(|reader| {
        external(history, *reader)
            .into_iter()
            .any(|(at, value)| at == key && source(history, *reader, key, value) == Some(writer))
    });
    readers.chain([writer]).collect()
}

fn register_pair(history: &History, first: usize, second: usize) -> Pair {
    let mut pair = Pair::default();
    let writes = |id: usize, key: u32| history.writes(id).any(|(at, _)| at == key);
    let timed = |key: u32, one: usize, other: usize| {
        let earlier = witnesses(history, one, key);
        let later = witnesses(history, other, key);
        one != other
            && earlier.iter().any(|one| {
                later
                    .iter()
                    .any(|other| history.before_in_time(*one, *other))
            })
    };
    for (key, value) in external(history, second) {
        if source(history, second, key, value) == Some(first) {
            pair.read = true;
            pair.write |= writes(second, key);
        }
    }
    for (key, value) in external(history, first) {
        if !writes(second, key) {
            continue;
        }
        let seen = source(history, first, key, value);
        let Some(seen) = seen else {
            pair.anti |= value.is_none();
            continue;
        };
        let also = external(history, second)
            .into_iter()
            .any(|(at, other)| (at, other) == (key, value));
        pair.anti |= also;
        pair.timed_anti |= timed(key, seen, second);
    }
    for key in (0..8).filter(|key| writes(first, *key) && writes(second, *key)) {
        pair.timed_write |= timed(key, first, second);
    }
    pair
}

/// Whether what is told of the edge between two transactions is so, by the definitions.
fn is_true(history: &History, first: usize, reason: Reason, second: usize) -> bool {
    let wrote = |id: usize, key: KeyId, value: ValueId| {
        history.writes(id).any(|write| write == (key.0, value))
    };
    let read = |id: usize, key: KeyId, value: Option<ValueId>| {
        let mut reads = history.reads(id).into_iter();
        reads.any(|(at, list)| at == key.0 && list.last().copied() == value)
    };
    // Where a value stands in the order that reads show; behind all if it is in none.
    let place = |key: KeyId, value: ValueId| {
        let order = longest(history, key.0);
        let found = order.iter().position(|other| *other == value);
        found.unwrap_or(usize::MAX)
    };
    // A register was read at the version that a value belongs to.
    let read_version = |id: usize, key: KeyId, value: Option<ValueId>| {
        let mut reads = external(history, id).into_iter();
        let writer = |value: Option<ValueId>| value.map(|value| history.writer(key.0, value));
        reads.any(|(at, other)| at == key.0 && writer(other) == writer(value))
    };
    match reason {
        Reason::SameProcess { process } => {
            history.before_in_process(first, second)
                && history.transactions[first].span.process == process
        }
        Reason::CompletedBefore { completed, invoked } => {
            history.before_in_time(first, second)
                && completed == history.transactions[first].span.completed
                && invoked == history.transactions[second].span.invoked
        }
        Reason::Read { key, value } => wrote(first, key, value) && read(second, key, Some(value)),
        Reason::Overwrote {
            key,
            before,
            after,
            known,
        } => {
            let is_known = match known {
                KnownFrom::Observation => {
                    place(key, before) < place(key, after) && place(key, after) != usize::MAX
                }
                KnownFrom::NeverSeen => {
                    place(key, before) != usize::MAX && place(key, after) == usize::MAX
                }
                KnownFrom::ReadBeforeWrite => read_version(second, key, Some(before)),
                KnownFrom::RealTime => register_pair(history, first, second).timed_write,
            };
            wrote(first, key, before) && wrote(second, key, after) && is_known
        }
        Reason::Missed {
            key,
            seen,
            missed,
            known,
        } => {
            let after_seen = seen.map_or(0, |seen| place(key, seen).saturating_add(1));
            let is_known = match known {
                KnownFrom::Observation => {
                    after_seen <= place(key, missed) && place(key, missed) != usize::MAX
                }
                KnownFrom::NeverSeen => place(key, missed) == usize::MAX,
                KnownFrom::ReadBeforeWrite => seen.is_none() || read_version(second, key, seen),
                KnownFrom::RealTime => register_pair(history, first, second).timed_anti,
            };
            read(first, key, seen) && wrote(second, key, missed) && is_known
        }
    }
}

/// The first edge of a cycle of which something is told that is not so.
fn edge_told_wrongly(history: &History, findings: &Findings) -> Option<Step> {
    let found = findings.anomalies().values();
    let cycles = found
        .flat_map(|found| &found.examples)
        .filter_map(|evidence| match evidence {
            Evidence::Cycle(steps) => Some(steps),
            _ => None,
        });
    let mut edges = cycles.flat_map(|steps| {
        let next = steps.iter().cycle().skip(1);
        steps.iter().zip(next)
    });
    let wrong = edges.find(|(step, next)| {
        let (first, second) = (step.transaction.index(), next.transaction.index());
        !is_true(history, first, step.reason, second)
    });
    wrong.map(|(step, _)| *step)
}

/// Transaction 4 reads a list that is no prefix of the longest, and then one that is: only of the second an edge is made.
#[test]
fn no_edge_is_told_by_a_read_that_has_no_place_in_the_order() {
    let history = damaged(12_433_074_139_741_266_050, Workload::ListAppend, 2);
    let findings = findings(&history).expect("it can be judged");
    let stray = Anomaly::IncompatibleOrder;
    assert!(findings.anomalies().contains_key(&stray), "{findings:?}");
    assert_eq!(edge_told_wrongly(&history, &findings), None);
}

/// The worst kind of cycle in each layer.
fn worst_cycles(history: &History) -> BTreeMap<Layer, CycleKind> {
    let nodes: Vec<usize> = (0..history.transactions.len())
        .filter(|id| history.took_effect(*id))
        .collect();
    let pair = |first: usize, second: usize| Pair {
        process: history.before_in_process(first, second),
        time: history.before_in_time(first, second),
        ..match history.workload {
            Workload::ListAppend => append_pair(history, first, second),
            Workload::Register => register_pair(history, first, second),
        }
    };
    let pairs: BTreeMap<(usize, usize), Pair> = nodes
        .iter()
        .flat_map(|first| nodes.iter().map(move |second| (*first, *second)))
        .filter(|(first, second)| first != second)
        .map(|(first, second)| ((first, second), pair(first, second)))
        .collect();
    let mut worst = BTreeMap::new();
    for start in &nodes {
        walk(&pairs, &nodes, &mut vec![*start], &mut worst);
    }
    worst
}

/// Walks every simple cycle that begins at its least node.
fn walk(
    pairs: &BTreeMap<(usize, usize), Pair>,
    nodes: &[usize],
    path: &mut Vec<usize>,
    worst: &mut BTreeMap<Layer, CycleKind>,
) {
    let start = path[0];
    for next in nodes.iter().filter(|next| **next > start) {
        if !path.contains(next) {
            path.push(*next);
            for layer in Layer::ALL {
                if let Some(kind) = judge_cycle(pairs, path, layer) {
                    worst
                        .entry(layer)
                        .and_modify(|worst| *worst = kind.min(*worst))
                        .or_insert(kind);
                }
            }
            walk(pairs, nodes, path, worst);
            path.pop();
        }
    }
}

/// The kind of a cycle that uses an anti-dependency only where nothing else leads on.
fn judge_cycle(
    pairs: &BTreeMap<(usize, usize), Pair>,
    path: &[usize],
    layer: Layer,
) -> Option<CycleKind> {
    let mut is_anti = Vec::new();
    let mut reads = false;
    for place in 0..path.len() {
        let pair = pairs[&(path[place], path[(place + 1) % path.len()])];
        let by_order = layer >= Layer::Process && pair.process
            || layer == Layer::RealTime && (pair.time || pair.timed_write);
        let anti = pair.anti || layer == Layer::RealTime && pair.timed_anti;
        if !(pair.write || by_order || pair.read || anti) {
            return None;
        }
        reads |= !pair.write && !by_order && pair.read;
        is_anti.push(!pair.write && !by_order && !pair.read);
    }
    let adjacent = (0..path.len()).any(|place| is_anti[place] && is_anti[(place + 1) % path.len()]);
    Some(match is_anti.iter().filter(|anti| **anti).count() {
        0 if !reads => CycleKind::G0,
        0 => CycleKind::G1c,
        1 => CycleKind::GSingle,
        _ if !adjacent => CycleKind::GNonadjacent,
        _ => CycleKind::G2Item,
    })
}

/// Anomalies that need no cycle, by their definitions.
fn plain_anomalies(history: &History) -> BTreeSet<Anomaly> {
    let mut found = BTreeSet::new();
    for reader in 0..history.transactions.len() {
        for (key, list) in history.reads(reader) {
            found.extend(anomalies_of_read(history, reader, key, list));
        }
        if history.outcome(reader) == Outcome::Ok && contradicts_itself(history, reader) {
            found.insert(Anomaly::Internal);
        }
        for other in 0..reader {
            if lost_update(history, reader, other) {
                found.insert(Anomaly::LostUpdate);
            }
        }
    }
    found
}

fn anomalies_of_read(history: &History, reader: usize, key: u32, list: &[ValueId]) -> Vec<Anomaly> {
    let mut found = Vec::new();
    let writers: Vec<Option<usize>> = list
        .iter()
        .map(|value| history.writer(key, *value))
        .collect();
    if writers.contains(&None) {
        found.push(Anomaly::GarbageRead);
    }
    if writers
        .iter()
        .flatten()
        .any(|writer| history.outcome(*writer) == Outcome::Failed)
    {
        found.push(Anomaly::G1a);
    }
    if let (Some(last), Some(Some(writer))) = (list.last(), writers.last())
        && *writer != reader
        && history.outcome(*writer) != Outcome::Failed
        && history.writes(*writer).rfind(|(at, _)| *at == key) != Some((key, *last))
    {
        found.push(Anomaly::G1b);
    }
    if (1..list.len()).any(|place| list[..place].contains(&list[place])) {
        found.push(Anomaly::DuplicateElements);
    }
    let is_reordered = writers.iter().flatten().any(|writer| {
        let theirs = history.writes(*writer).filter(|(at, _)| *at == key);
        let places: Vec<usize> = theirs
            .map(|(_, value)| {
                list.iter()
                    .position(|other| *other == value)
                    .unwrap_or(usize::MAX)
            })
            .collect();
        !places.is_sorted()
    });
    if history.workload == Workload::ListAppend && is_reordered {
        found.push(Anomaly::IncompatibleOrder);
    }
    if history.workload == Workload::ListAppend && !longest(history, key).starts_with(list) {
        found.push(Anomaly::IncompatibleOrder);
    }
    found
}

/// Whether no state at all at its beginning makes every read of the transaction right: all candidates are what a first
/// read shows, less what the transaction had written.
fn contradicts_itself(history: &History, id: usize) -> bool {
    let mut known: BTreeMap<u32, (Option<Vec<ValueId>>, Vec<ValueId>)> = BTreeMap::new();
    for (place, step) in history.transactions[id].steps.iter().enumerate() {
        match (step, history.workload) {
            (Micro::Write(key, value), Workload::ListAppend) => {
                known.entry(*key).or_default().1.push(*value);
            }
            (Micro::Write(key, value), Workload::Register) => {
                known.insert(*key, (Some(vec![*value]), vec![]));
            }
            (Micro::Read(key, list), _) => {
                let (before, own) = known.entry(*key).or_default();
                let is_wrong = match before {
                    Some(before) => [before.as_slice(), own].concat() != *list,
                    None => !list.ends_with(own),
                };
                // What the transaction writes only later.
                let written = |value: &ValueId| {
                    let before = &history.transactions[id].steps[..place];
                    before.contains(&Micro::Write(*key, *value))
                };
                let is_early = list
                    .iter()
                    .any(|value| history.writer(*key, *value) == Some(id) && !written(value));
                if is_wrong || is_early {
                    return true;
                }
                known.insert(*key, (Some(list.clone()), vec![]));
            }
        }
    }
    false
}

fn lost_update(history: &History, first: usize, second: usize) -> bool {
    let updated = |id: usize| -> Vec<(u32, Vec<ValueId>)> {
        let steps = &history.transactions[id].steps;
        let reads = steps
            .iter()
            .enumerate()
            .filter(|_| history.outcome(id) == Outcome::Ok);
        reads
            .filter_map(|(place, step)| match step {
                Micro::Read(key, list) => {
                    let touches = |step: &Micro| matches!(step, Micro::Write(at, _) | Micro::Read(at, _) if at == key);
                    let is_first = !steps[..place].iter().any(touches);
                    let writes = history.writes(id).any(|(at, _)| at == *key);
                    (is_first && writes).then(|| (*key, list.clone()))
                }
                Micro::Write(..) => None,
            })
            .collect()
    };
    let (ours, theirs) = (updated(first), updated(second));
    ours.iter().any(|update| theirs.contains(update))
}

fn pairs_verdict(history: &History, level: IsolationLevel) -> Verdict {
    let cycles = worst_cycles(history)
        .into_iter()
        .map(|(layer, kind)| Anomaly::Cycle(kind, layer));
    let mut anomalies = plain_anomalies(history).into_iter().chain(cycles);
    if anomalies.any(|anomaly| level.forbids(anomaly)) {
        Verdict::Fail
    } else {
        Verdict::Pass
    }
}

fn findings(history: &History) -> Option<Findings> {
    let packed = history.packed();
    match history.workload {
        Workload::ListAppend => list_append(&packed).ok(),
        Workload::Register => rw_register(&packed).ok(),
    }
}

fn damaged(seed: u64, workload: Workload, wounds: usize) -> History {
    let mut dice = Dice::new(seed ^ 0x5eed);
    let store = [
        Store::Strict,
        Store::Lagging,
        Store::Snapshot,
        Store::Careless,
    ][dice.below(4)];
    let mut history = History::generate(seed, workload, store);
    for _ in 0..wounds {
        history.damage(&mut dice);
    }
    history
}

/// Which transaction must stay before which.
type Keeps<'a> = &'a dyn Fn(usize, usize) -> bool;

/// How many histories: `QUORATE_TWIN_CASES` searches further.
fn cases() -> u32 {
    let wanted = std::env::var("QUORATE_TWIN_CASES").ok();
    wanted.and_then(|cases| cases.parse().ok()).unwrap_or(3_000)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: cases(), ..ProptestConfig::default() })]

    /// For lists the verdict on serializability is exact, in all three strengths: right where an order exists, wrong where
    /// none does.
    #[test]
    fn lists_are_serializable_exactly_if_there_is_an_order(seed in any::<u64>(), wounds in 0_usize..3) {
        let history = damaged(seed, Workload::ListAppend, wounds);
        let Some(findings) = findings(&history) else { return Ok(()) };
        let orders: [(IsolationLevel, Keeps<'_>); 3] = [
            (IsolationLevel::Serializable, &|_, _| false),
            (IsolationLevel::StrongSessionSerializable, &|first, second| history.before_in_process(first, second)),
            (IsolationLevel::StrictSerializable, &|first, second| history.before_in_time(first, second)),
        ];
        for (level, keeps) in orders {
            let expected = if has_order(&history, keeps) { Verdict::Pass } else { Verdict::Fail };
            prop_assert_eq!(expected, findings.verdict(level), "{}: {:?} {:#?}", level, findings, history);
        }
    }

    /// For registers a claim is always right: where an order exists nothing is called wrong.
    #[test]
    fn registers_with_an_order_are_never_called_wrong(seed in any::<u64>(), wounds in 0_usize..3) {
        let history = damaged(seed, Workload::Register, wounds);
        let Some(findings) = findings(&history) else { return Ok(()) };
        if findings.verdict(IsolationLevel::Serializable) == Verdict::Fail {
            prop_assert!(!has_order(&history, &|_, _| false), "{findings:?} {history:#?}");
        }
        if findings.verdict(IsolationLevel::StrictSerializable) == Verdict::Fail {
            let keeps = |first, second| history.before_in_time(first, second);
            prop_assert!(!has_order(&history, &keeps), "{findings:?} {history:#?}");
        }
    }

    /// What a cycle tells of each of its edges is so.
    #[test]
    fn every_edge_of_a_cycle_is_as_it_is_told(seed in any::<u64>(), wounds in 0_usize..3, lists in any::<bool>()) {
        let workload = if lists { Workload::ListAppend } else { Workload::Register };
        let history = damaged(seed, workload, wounds);
        let Some(findings) = findings(&history) else { return Ok(()) };
        prop_assert_eq!(edge_told_wrongly(&history, &findings), None, "{:?} {:#?}", findings, history);
    }

    /// On every level the verdict is the one that walking every cycle of every pair gives.
    #[test]
    fn every_level_agrees_with_all_cycles(seed in any::<u64>(), wounds in 0_usize..3, lists in any::<bool>()) {
        let workload = if lists { Workload::ListAppend } else { Workload::Register };
        let history = damaged(seed, workload, wounds);
        let Some(findings) = findings(&history) else { return Ok(()) };
        for level in IsolationLevel::ALL {
            let expected = pairs_verdict(&history, level);
            prop_assert_eq!(expected, findings.verdict(level), "{}: {:?} {:#?}", level, findings, history);
        }
    }
}
