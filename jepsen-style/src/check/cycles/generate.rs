//! Histories that are right by construction, and some that are wrong in a known way.
//!
//! A simulated store runs transactions of a few processes. Each is invoked, takes effect at one moment, and completes later;
//! what it reads is the state at one earlier moment, and which moment that is makes the store what it is ([`Store`]). The
//! same seed and shape give the same history.

use std::collections::VecDeque;

use super::transactions::{KeyId, NEVER, NIL, Span, Transactions, ValueId, index_u32};
use crate::history::Outcome;

/// What the simulated store promises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    /// A transaction reads the state at the moment at which it takes effect: strictly serializable.
    Strict,
    /// Transactions that only read are served by a replica that is some transactions behind: serializable, not strictly.
    Lagging,
    /// A transaction reads the state at its invocation and aborts if a key that it writes has changed since: strong
    /// snapshot isolation, hence write skew.
    Snapshot,
    /// The same without the abort: updates are lost.
    Careless,
}

/// What transactions do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Append to lists and read them.
    ListAppend,
    /// Write registers and read them.
    Register,
}

/// How large a history is and what it is like.
#[derive(Clone, Copy, Debug)]
pub struct Shape {
    /// What transactions do.
    pub workload: Workload,
    /// How many there are.
    pub transactions: usize,
    /// How many processes run them.
    pub processes: usize,
    /// How many micro-operations one has at most; at least it has one.
    pub operations: usize,
    /// How many keys are in use at a time.
    pub keys: usize,
    /// After how many writes a key is replaced by a new one.
    pub writes_per_key: usize,
    /// How many of a thousand transactions fail without effect.
    pub failed_per_mille: u64,
    /// How many of a thousand end with an unknown outcome; half of these take effect.
    pub unknown_per_mille: u64,
}

impl Shape {
    /// What Elle's generator does if nothing else is asked (ten keys at a time, 32 writes a key, one to four
    /// micro-operations), with 50 processes and a few failures.
    #[must_use]
    pub const fn usual(workload: Workload, transactions: usize) -> Self {
        Self {
            workload,
            transactions,
            processes: 50,
            operations: 4,
            keys: 10,
            writes_per_key: 32,
            failed_per_mille: 10,
            unknown_per_mille: 5,
        }
    }
}

/// Generates a history.
#[must_use]
pub fn generate(seed: u64, store: Store, shape: &Shape) -> Transactions {
    let mut run = Run::new(seed, store, shape);
    while run.invoked < shape.transactions || run.open > 0 {
        run.step();
    }
    run.flush();
    run.history
}

/// A small generator of random numbers (`SplitMix64`): these histories need variety, not secrecy.
#[derive(Clone, Copy, Debug)]
pub struct Dice(u64);

impl Dice {
    /// The numbers of a seed.
    #[must_use]
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `bound`.
    pub fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        usize::try_from(mixed % bound.max(1) as u64).expect("it is below a usize")
    }
}

#[derive(Clone, Copy)]
enum Planned {
    Read(KeyId),
    Write(KeyId, ValueId),
}

/// A version of a key and the commit that made it.
struct Version {
    value: ValueId,
    commit: u64,
}

/// A transaction on its way.
struct Flight {
    span: Span,
    snapshot: u64,
    plan: Vec<Planned>,
    /// What each read of the plan returned, in order.
    answers: Vec<Vec<ValueId>>,
    is_over: bool,
}

/// What a process is doing.
#[derive(Clone, Copy)]
enum Stage {
    Idle,
    /// Invoked; the number of its transaction.
    Waiting(usize),
    /// In effect, not answered.
    Done(usize),
}

struct Run<'a> {
    dice: Dice,
    store: Store,
    shape: &'a Shape,
    clock: u64,
    commits: u64,
    invoked: usize,
    open: usize,
    processes: Vec<Stage>,
    /// Transactions in the order of invocation, from number `first` on: the history must be in that order too.
    flights: VecDeque<Flight>,
    first: usize,
    keys: Vec<KeyId>,
    versions: Vec<Vec<Version>>,
    next_values: Vec<ValueId>,
    history: Transactions,
}

impl<'a> Run<'a> {
    fn new(seed: u64, store: Store, shape: &'a Shape) -> Self {
        let keys: Vec<KeyId> = (0..index_u32(shape.keys)).map(KeyId).collect();
        Self {
            dice: Dice::new(seed),
            store,
            shape,
            clock: 0,
            commits: 0,
            invoked: 0,
            open: 0,
            processes: vec![Stage::Idle; shape.processes],
            flights: VecDeque::new(),
            first: 0,
            versions: keys.iter().map(|_| Vec::new()).collect(),
            next_values: vec![1; keys.len()],
            keys,
            history: Transactions::default(),
        }
    }

    /// Lets one process take its next step.
    fn step(&mut self) {
        let process = self.dice.below(self.processes.len());
        self.clock += 1;
        self.processes[process] = match self.processes[process] {
            Stage::Idle if self.invoked < self.shape.transactions => self.invoke(process),
            Stage::Idle => Stage::Idle,
            Stage::Waiting(number) => {
                self.take_effect(number);
                Stage::Done(number)
            }
            Stage::Done(number) => {
                self.complete(number);
                Stage::Idle
            }
        };
    }

    fn invoke(&mut self, process: usize) -> Stage {
        let count = 1 + self.dice.below(self.shape.operations);
        let plan = (0..count).map(|_| self.plan()).collect();
        let span = Span {
            process: index_u32(process),
            invoked: self.clock,
            completed: NEVER,
            outcome: Outcome::Ok,
        };
        let snapshot = self.commits;
        self.flights.push_back(Flight {
            span,
            snapshot,
            plan,
            answers: Vec::new(),
            is_over: false,
        });
        self.invoked += 1;
        self.open += 1;
        Stage::Waiting(self.invoked - 1)
    }

    fn plan(&mut self) -> Planned {
        let slot = self.dice.below(self.keys.len());
        let key = self.keys[slot];
        if self.dice.below(2) == 0 {
            return Planned::Read(key);
        }
        let value = self.next_values[key.index()];
        self.next_values[key.index()] += 1;
        if value as usize >= self.shape.writes_per_key {
            self.keys[slot] = KeyId(index_u32(self.versions.len()));
            self.versions.push(Vec::new());
            self.next_values.push(1);
        }
        Planned::Write(key, value)
    }

    fn take_effect(&mut self, number: usize) {
        let roll = self.dice.below(1_000) as u64;
        let (failed, unknown) = (self.shape.failed_per_mille, self.shape.unknown_per_mille);
        let lag = self.dice.below(8) as u64;
        let mut flight = std::mem::replace(&mut self.flights[number - self.first], Flight::over());
        let writes_none = flight
            .plan
            .iter()
            .all(|planned| matches!(planned, Planned::Read(_)));
        flight.snapshot = match self.store {
            Store::Strict => self.commits,
            Store::Lagging if writes_none => self.commits.saturating_sub(lag),
            Store::Lagging => self.commits,
            Store::Snapshot | Store::Careless => flight.snapshot,
        };
        flight.span.outcome =
            if roll < failed || self.store == Store::Snapshot && self.conflicts(&flight) {
                Outcome::Failed
            } else if roll < failed + unknown {
                Outcome::Unknown
            } else {
                Outcome::Ok
            };
        let has_effect = match flight.span.outcome {
            Outcome::Ok => true,
            Outcome::Failed => false,
            Outcome::Unknown => lag.is_multiple_of(2),
        };
        if has_effect {
            flight.answers = self.execute(&flight);
        }
        self.flights[number - self.first] = flight;
    }

    /// Whether a key that the transaction writes has changed since its snapshot.
    fn conflicts(&self, flight: &Flight) -> bool {
        flight.plan.iter().any(|planned| match planned {
            Planned::Read(_) => false,
            Planned::Write(key, _) => self.versions[key.index()]
                .last()
                .is_some_and(|version| version.commit > flight.snapshot),
        })
    }

    fn execute(&mut self, flight: &Flight) -> Vec<Vec<ValueId>> {
        self.commits += 1;
        let mut answers = Vec::new();
        for planned in &flight.plan {
            match planned {
                Planned::Read(key) => answers.push(self.read(*key, flight.snapshot)),
                Planned::Write(key, value) => {
                    self.versions[key.index()].push(Version {
                        value: *value,
                        commit: self.commits,
                    });
                }
            }
        }
        answers
    }

    /// What a transaction sees: what was there at its snapshot, and what it wrote itself.
    fn read(&self, key: KeyId, snapshot: u64) -> Vec<ValueId> {
        let versions = &self.versions[key.index()];
        let before = versions.partition_point(|version| version.commit <= snapshot);
        let own = versions[before..]
            .iter()
            .filter(|version| version.commit == self.commits);
        let mut seen = versions[..before]
            .iter()
            .chain(own)
            .map(|version| version.value);
        match self.shape.workload {
            Workload::ListAppend => seen.collect(),
            Workload::Register => vec![seen.next_back().unwrap_or(NIL)],
        }
    }

    fn complete(&mut self, number: usize) {
        let clock = self.clock;
        let flight = &mut self.flights[number - self.first];
        flight.is_over = true;
        if flight.span.outcome != Outcome::Unknown {
            flight.span.completed = clock;
        }
        self.open -= 1;
        self.flush();
    }

    /// Records what is over, as far as nothing invoked before is still open.
    fn flush(&mut self) {
        while self.flights.front().is_some_and(|flight| flight.is_over) {
            let flight = self.flights.pop_front().expect("there is a front");
            self.first += 1;
            self.record(&flight);
        }
    }

    fn record(&mut self, flight: &Flight) {
        let answered = flight.span.outcome == Outcome::Ok;
        let mut answers = flight.answers.iter();
        for planned in &flight.plan {
            match (planned, self.shape.workload) {
                (Planned::Write(key, value), Workload::ListAppend) => {
                    self.history.append(*key, *value);
                }
                (Planned::Write(key, value), Workload::Register) => {
                    self.history.write(*key, *value);
                }
                (Planned::Read(_), _) if !answered => {}
                (Planned::Read(key), workload) => {
                    let answer = answers
                        .next()
                        .expect("each read of a committed transaction has an answer");
                    match workload {
                        Workload::ListAppend => self.history.read_list(*key, answer),
                        Workload::Register => self.history.read_value(*key, answer[0]),
                    }
                }
            }
        }
        self.history.finish(flight.span);
    }
}

impl Flight {
    /// Holds the place of a flight that is being worked on.
    fn over() -> Self {
        let span = Span {
            process: 0,
            invoked: 0,
            completed: 0,
            outcome: Outcome::Failed,
        };
        Self {
            span,
            snapshot: 0,
            plan: Vec::new(),
            answers: Vec::new(),
            is_over: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{
        Anomaly, CycleKind, Findings, IsolationLevel, Layer, list_append, rw_register,
    };
    use super::*;
    use crate::check::Verdict;

    fn judge(seed: u64, store: Store, workload: Workload) -> Findings {
        let shape = Shape {
            processes: 8,
            keys: 3,
            writes_per_key: 12,
            ..Shape::usual(workload, 400)
        };
        let history = generate(seed, store, &shape);
        match workload {
            Workload::ListAppend => list_append(&history),
            Workload::Register => rw_register(&history),
        }
        .expect("what is generated can be judged")
    }

    fn passes(findings: &Findings, level: IsolationLevel) -> bool {
        findings.verdict(level) == Verdict::Pass
    }

    #[test]
    fn a_strict_store_is_never_called_wrong() {
        for seed in 0..150 {
            for workload in [Workload::ListAppend, Workload::Register] {
                let findings = judge(seed, Store::Strict, workload);
                assert!(
                    findings.anomalies().is_empty(),
                    "seed {seed}, {workload:?}: {findings:?}"
                );
            }
        }
    }

    #[test]
    fn a_lagging_replica_is_serializable_and_always_found_not_to_be_strict() {
        for seed in 0..60 {
            for workload in [Workload::ListAppend, Workload::Register] {
                let findings = judge(seed, Store::Lagging, workload);
                assert!(
                    passes(&findings, IsolationLevel::Serializable),
                    "seed {seed}, {workload:?}: {findings:?}"
                );
                assert!(
                    !passes(&findings, IsolationLevel::StrictSerializable),
                    "seed {seed}, {workload:?}"
                );
            }
        }
    }

    #[test]
    fn snapshots_allow_write_skew_and_nothing_worse() {
        for seed in 0..60 {
            let findings = judge(seed, Store::Snapshot, Workload::ListAppend);
            assert!(
                passes(&findings, IsolationLevel::StrongSnapshotIsolation),
                "seed {seed}: {findings:?}"
            );
            let skew = Anomaly::Cycle(CycleKind::G2Item, Layer::Value);
            assert!(
                findings.anomalies().contains_key(&skew),
                "seed {seed}: {findings:?}"
            );
        }
    }

    #[test]
    fn carelessness_loses_updates() {
        let mut seeds_with_a_loss = [0; 2];
        for seed in 0..60 {
            for (workload, losses) in [Workload::ListAppend, Workload::Register]
                .into_iter()
                .zip(&mut seeds_with_a_loss)
            {
                let findings = judge(seed, Store::Careless, workload);
                let lost = findings.anomalies().contains_key(&Anomaly::LostUpdate);
                *losses += u32::from(lost);
                let passes = passes(&findings, IsolationLevel::SnapshotIsolation);
                // A list shows the order of appends whether somebody lost by it or not.
                assert!(
                    !passes || !lost && workload == Workload::Register,
                    "seed {seed}, {workload:?}"
                );
            }
        }
        // Now and then no two transactions of a run happen to read and write one key at a time.
        assert!(
            seeds_with_a_loss.iter().all(|losses| *losses > 50),
            "{seeds_with_a_loss:?}"
        );
    }
}
