//! What transactions over registers say about their order.
//!
//! A read of a register shows one version, not how it came about, so the order of versions must be inferred, and is known in
//! part only. Three rules hold whatever the store:
//!
//! * the initial state comes before everything written;
//! * who read a version and then wrote one put its own after it;
//! * of one transaction's writes to a key the last is its version.
//!
//! A fourth holds in stores that respect real time: if somebody was done with version 1 (its writer or a reader) before
//! somebody was invoked who wrote or read version 2, then version 1 is the earlier one. Were it later, the second would have
//! had to see it. Edges that rest on this rule are of kinds of their own and count only where real time counts; they find
//! the stale reads of stores that are serializable but not strictly so. Elle has this rule as an option
//! (`linearizable-keys?`); here it cannot mislead, so it is always on.
//!
//! A pass is therefore weaker here than for lists: the order of blind writes that nobody read in between stays open.

use super::anomaly::Anomaly;
use super::evidence::{Evidence, Findings, KnownFrom, Reason};
use super::explain::{Explain, Unjudgeable};
use super::fan::Fan;
use super::graph::{EdgeKind, GraphBuilder, Node};
use super::keys::{Entry, KeyIndex, NONE, ValueNumbers};
use super::transactions::{
    KeyId, MicroKind, MicroOperation, NEVER, NIL, TransactionId, Transactions, ValueId, index_u32,
};
use crate::deadline;
use crate::history::Outcome;

/// A write of the key at hand.
#[derive(Clone, Copy)]
struct Write {
    transaction: Node,
    /// Whether its transaction writes nothing more to the key.
    is_final: bool,
}

/// A read of the key at hand by a transaction that had not touched the key before.
#[derive(Clone, Copy)]
struct Read {
    value: ValueId,
    /// The transaction that wrote what was read, [`NONE`] for the initial state.
    writer: Node,
    reader: Node,
    /// Whether the reader went on to write the key.
    updates: bool,
}

/// The transaction that put a version there, and the moments between which the version is known to have been.
#[derive(Clone, Copy)]
struct Version {
    writer: Node,
    /// The first moment at which somebody was done with it.
    settled: u64,
    /// The last moment at which somebody who wrote or read it was invoked.
    touched: u64,
}

/// Infers the graph key by key; its buffers are used for all keys.
struct Inference<'a> {
    transactions: &'a Transactions,
    builder: &'a mut GraphBuilder,
    findings: &'a mut Findings,
    /// Transactions that took effect: committed, or unknown and seen.
    took_effect: Vec<bool>,
    numbers: ValueNumbers,
    writes: Vec<Write>,
    reads: Vec<Read>,
}

/// Explains edges later.
pub(super) struct RegisterOrder<'a> {
    transactions: &'a Transactions,
}

/// Adds the dependencies between register transactions to the graph, and what contradicts itself without any cycle to the
/// findings.
pub(super) fn infer<'a>(
    transactions: &'a Transactions,
    builder: &mut GraphBuilder,
    findings: &mut Findings,
) -> Result<RegisterOrder<'a>, Unjudgeable> {
    let index = KeyIndex::new(transactions);
    let mut inference = Inference {
        transactions,
        builder,
        findings,
        took_effect: transactions.committed(),
        numbers: ValueNumbers::default(),
        writes: Vec::new(),
        reads: Vec::new(),
    };
    let keys = || (0..index_u32(transactions.key_count())).map(KeyId);
    // Which unknown transactions took effect must be known for all keys before the edges of any.
    for key in keys() {
        inference.number_writes(key, index.of(key))?;
        inference.mark_seen(index.of(key));
    }
    for key in keys() {
        inference.number_writes(key, index.of(key))?;
        inference.collect_reads(key, index.of(key));
        inference.connect(key);
    }
    Ok(RegisterOrder { transactions })
}

impl Inference<'_> {
    fn number_writes(&mut self, key: KeyId, entries: &[Entry]) -> Result<(), Unjudgeable> {
        let operations = self.transactions.all_operations();
        let is_write =
            |entry: &&Entry| operations[entry.operation as usize].kind == MicroKind::Write;
        let writes = entries.iter().filter(is_write);
        self.numbers.prepare(
            writes
                .clone()
                .map(|entry| operations[entry.operation as usize].value()),
        );
        self.writes.clear();
        for (number, entry) in (0..).zip(writes) {
            let value = operations[entry.operation as usize].value();
            if let Some(previous) = self.numbers.insert(value, number) {
                return Err(Unjudgeable::RepeatedValue {
                    first: TransactionId(self.writes[previous as usize].transaction),
                    second: TransactionId(entry.transaction),
                    key,
                    value,
                });
            }
            if let Some(last) = self.writes.last_mut()
                && last.transaction == entry.transaction
            {
                last.is_final = false;
            }
            self.writes.push(Write {
                transaction: entry.transaction,
                is_final: true,
            });
        }
        let is_list = |entry: &&Entry| {
            matches!(
                operations[entry.operation as usize].kind,
                MicroKind::Append | MicroKind::ReadList
            )
        };
        match entries.iter().find(is_list) {
            Some(entry) => Err(Unjudgeable::WrongKind {
                transaction: TransactionId(entry.transaction),
                key,
            }),
            None => Ok(()),
        }
    }

    fn mark_seen(&mut self, entries: &[Entry]) {
        for entry in entries {
            let operation = self.operation(*entry);
            if operation.kind == MicroKind::ReadValue
                && self.transactions.outcome(entry.transaction) == Outcome::Ok
            {
                let number = self.numbers.get(operation.value());
                if number != NONE {
                    self.took_effect[self.writes[number as usize].transaction as usize] = true;
                }
            }
        }
    }

    fn collect_reads(&mut self, key: KeyId, entries: &[Entry]) {
        self.reads.clear();
        for group in entries.chunk_by(|first, second| first.transaction == second.transaction) {
            deadline::look();
            if self.transactions.outcome(group[0].transaction) == Outcome::Ok {
                self.reads_of(key, group);
            }
        }
    }

    /// What one committed transaction read at the key.
    fn reads_of(&mut self, key: KeyId, group: &[Entry]) {
        let reader = group[0].transaction;
        let mut known: Option<ValueId> = None;
        for entry in group {
            let operation = *self.operation(*entry);
            if operation.kind == MicroKind::ReadValue && known != Some(operation.value()) {
                let source = self.source(key, reader, operation.value());
                let is_own = source.is_some_and(|writer| writer == reader);
                if known.is_some() || is_own {
                    // It read something else before, or reads what it wrote only later.
                    let evidence = Evidence::Contradiction {
                        transaction: TransactionId(reader),
                        key,
                    };
                    self.findings.add(Anomaly::Internal, evidence);
                } else if let Some(writer) = source {
                    let is_write = |entry: &Entry| {
                        deadline::look();
                        self.operation(*entry).kind == MicroKind::Write
                    };
                    let updates = group.iter().any(is_write);
                    let value = operation.value();
                    self.reads.push(Read {
                        value,
                        writer,
                        reader,
                        updates,
                    });
                }
            }
            known = Some(operation.value());
        }
    }

    /// Who wrote what was read ([`NONE`] for the initial state); nothing if that is no version. What may not be read is
    /// reported.
    fn source(&mut self, key: KeyId, reader: Node, value: ValueId) -> Option<Node> {
        if value == NIL {
            return Some(NONE);
        }
        let number = self.numbers.get(value);
        if number == NONE {
            let evidence = Evidence::Garbage {
                reader: TransactionId(reader),
                key,
                value,
            };
            self.findings.add(Anomaly::GarbageRead, evidence);
            return None;
        }
        let write = self.writes[number as usize];
        let writer = TransactionId(write.transaction);
        let premature = Evidence::Premature {
            reader: TransactionId(reader),
            writer,
            key,
            value,
        };
        if self.transactions.outcome(write.transaction) == Outcome::Failed {
            self.findings.add(Anomaly::G1a, premature);
            return None;
        }
        if !write.is_final && write.transaction != reader {
            self.findings.add(Anomaly::G1b, premature);
        }
        Some(write.transaction)
    }

    /// The edges of the key at hand.
    fn connect(&mut self, key: KeyId) {
        self.reads.sort_by_key(|read| (read.writer, read.reader));
        let mut versions = self.written_versions();
        let reads = std::mem::take(&mut self.reads);
        for group in reads.chunk_by(|first, second| first.writer == second.writer) {
            if group[0].writer == NONE {
                self.connect_initial(group, &versions);
            } else {
                self.connect_readers(group);
                self.stamp(group, &mut versions);
            }
            self.check_updates(key, group);
        }
        self.connect_timed(&reads, versions);
        self.reads = reads;
    }

    /// One version for each transaction that wrote the key and took effect, by number.
    fn written_versions(&self) -> Vec<Version> {
        let mut versions: Vec<Version> = Vec::new();
        for write in &self.writes {
            let is_new = versions
                .last()
                .is_none_or(|version| version.writer != write.transaction);
            if is_new && self.took_effect[write.transaction as usize] {
                let span = self.transactions.spans()[write.transaction as usize];
                let settled = if span.outcome == Outcome::Ok {
                    span.completed
                } else {
                    NEVER
                };
                versions.push(Version {
                    writer: write.transaction,
                    settled,
                    touched: span.invoked,
                });
            }
        }
        versions
    }

    /// Who read the initial state comes before all who wrote.
    fn connect_initial(&mut self, readers: &[Read], versions: &[Version]) {
        let writers: Vec<Node> = versions.iter().map(|version| version.writer).collect();
        self.connect_all(readers, &writers);
    }

    /// The writer comes before those who read its version, and they before those of them who overwrote it.
    fn connect_readers(&mut self, readers: &[Read]) {
        let updaters: Vec<Node> = readers
            .iter()
            .filter(|read| read.updates)
            .map(|read| read.reader)
            .collect();
        for read in readers {
            self.builder
                .edge(read.writer, EdgeKind::WriteRead, read.reader);
            if read.updates {
                self.builder
                    .edge(read.writer, EdgeKind::WriteWrite, read.reader);
            }
        }
        self.connect_all(readers, &updaters);
    }

    /// Each of the readers before each of the writers (ascending) but itself.
    fn connect_all(&mut self, readers: &[Read], writers: &[Node]) {
        let fan = Fan::new(writers, readers.len(), self.builder);
        for read in readers {
            let own = writers.binary_search(&read.reader).ok();
            fan.connect_others(
                read.reader,
                EdgeKind::ReadWrite,
                0..writers.len(),
                self.builder,
                own,
            );
        }
    }

    /// Two transactions that read one version and then both wrote.
    fn check_updates(&mut self, key: KeyId, readers: &[Read]) {
        let mut updaters = readers.iter().filter(|read| read.updates);
        let Some(first) = updaters.next() else { return };
        for second in updaters {
            let evidence = Evidence::Lost {
                first: TransactionId(first.reader),
                second: TransactionId(second.reader),
                key,
                seen: (first.value != NIL).then_some(first.value),
            };
            self.findings.add(Anomaly::LostUpdate, evidence);
        }
    }

    /// Widens what is known of a version's time by its readers.
    fn stamp(&self, readers: &[Read], versions: &mut [Version]) {
        let Ok(place) = versions.binary_search_by_key(&readers[0].writer, |version| version.writer)
        else {
            return;
        };
        for read in readers {
            let span = self.transactions.spans()[read.reader as usize];
            versions[place].settled = versions[place].settled.min(span.completed);
            versions[place].touched = versions[place].touched.max(span.invoked);
        }
    }

    /// A version that was settled before another was touched is the earlier one: its writer and its readers come before
    /// the writer of the other. `reads` are sorted by writer.
    fn connect_timed(&mut self, reads: &[Read], mut versions: Vec<Version>) {
        versions.sort_by_key(|version| (version.touched, version.writer));
        let writers: Vec<Node> = versions.iter().map(|version| version.writer).collect();
        // Where each writer stands among the versions, to leave it out of its own range.
        let mut places: Vec<(Node, usize)> = writers.iter().copied().zip(0..).collect();
        places.sort_unstable();
        let place_of = |writer: Node| {
            let found = places.binary_search_by_key(&writer, |(writer, _)| *writer);
            found.ok().map(|found| places[found].1)
        };
        let fan = Fan::new(&writers, reads.len() + versions.len(), self.builder);
        for (place, version) in versions.iter().enumerate() {
            deadline::look();
            let later = versions.partition_point(|other| other.touched <= version.settled);
            let range = later..versions.len();
            let kind = EdgeKind::TimedWriteWrite;
            fan.connect_others(
                version.writer,
                kind,
                range.clone(),
                self.builder,
                Some(place),
            );
            let first = reads.partition_point(|read| read.writer < version.writer);
            for read in reads[first..]
                .iter()
                .take_while(|read| read.writer == version.writer)
            {
                let mut cuts = [Some(place), place_of(read.reader)];
                cuts.sort_unstable();
                let mut start = range.start;
                for cut in cuts.into_iter().flatten().filter(|cut| range.contains(cut)) {
                    fan.connect(
                        read.reader,
                        EdgeKind::TimedReadWrite,
                        start..cut,
                        self.builder,
                    );
                    start = cut + 1;
                }
                fan.connect(
                    read.reader,
                    EdgeKind::TimedReadWrite,
                    start..range.end,
                    self.builder,
                );
            }
        }
    }

    fn operation(&self, entry: Entry) -> &MicroOperation {
        self.transactions.operation(entry.operation)
    }
}

impl RegisterOrder<'_> {
    fn writes(
        &self,
        transaction: TransactionId,
    ) -> impl DoubleEndedIterator<Item = &MicroOperation> {
        let operations = self.transactions.operations(transaction).iter();
        operations.filter(|operation| operation.kind == MicroKind::Write)
    }

    /// The reads of a transaction at keys that it had not touched before.
    fn reads(&self, transaction: TransactionId) -> impl Iterator<Item = &MicroOperation> {
        let operations = self.transactions.operations(transaction);
        operations
            .iter()
            .enumerate()
            .filter_map(|(place, operation)| {
                let is_first = operations[..place]
                    .iter()
                    .all(|before| before.key != operation.key);
                (operation.kind == MicroKind::ReadValue && is_first).then_some(operation)
            })
    }

    /// What the transaction leaves at a key.
    fn final_write(&self, transaction: TransactionId, key: KeyId) -> Option<ValueId> {
        self.writes(transaction)
            .rev()
            .find(|write| write.key == key)
            .map(|write| write.value())
    }

    fn wrote(&self, transaction: TransactionId, key: KeyId, value: ValueId) -> bool {
        self.writes(transaction)
            .any(|write| write.key == key && write.value() == value)
    }

    fn missed(
        &self,
        first: TransactionId,
        second: TransactionId,
        holds: impl Fn(KeyId, Option<ValueId>) -> bool,
        known: KnownFrom,
    ) -> Option<Reason> {
        self.reads(first).find_map(|read| {
            let (key, missed) = (read.key, self.final_write(second, read.key)?);
            let seen = (read.value() != NIL).then_some(read.value());
            holds(key, seen).then_some(Reason::Missed {
                key,
                seen,
                missed,
                known,
            })
        })
    }

    /// `first` read a version and `second` wrote over it, having read it too (or it was the initial state).
    fn missed_update(&self, first: TransactionId, second: TransactionId) -> Option<Reason> {
        let read_by_second = |key, seen: &dyn Fn(ValueId) -> bool| {
            self.reads(second)
                .any(|read| read.key == key && seen(read.value()))
        };
        let known = KnownFrom::ReadBeforeWrite;
        let exact = |key, seen: Option<ValueId>| {
            seen.is_none_or(|seen| read_by_second(key, &|other| other == seen))
        };
        // Two reads of one transaction's version may differ in value: then one of them is a G1b.
        let alike = |key, seen: Option<ValueId>| {
            seen.is_some() && read_by_second(key, &|other| other != NIL)
        };
        self.missed(first, second, exact, known)
            .or_else(|| self.missed(first, second, alike, known))
    }

    fn missed_in_time(&self, first: TransactionId, second: TransactionId) -> Option<Reason> {
        let holds =
            |key, seen: Option<ValueId>| seen.is_some_and(|seen| !self.wrote(second, key, seen));
        self.missed(first, second, holds, KnownFrom::RealTime)
    }
}

impl Explain for RegisterOrder<'_> {
    fn explain(
        &self,
        first: TransactionId,
        kind: EdgeKind,
        second: TransactionId,
    ) -> Option<Reason> {
        let read = |key: KeyId, value: ValueId| self.wrote(first, key, value).then_some(value);
        match kind {
            EdgeKind::WriteRead => self.reads(second).find_map(|operation| {
                let (key, value) = (operation.key, read(operation.key, operation.value())?);
                Some(Reason::Read { key, value })
            }),
            EdgeKind::WriteWrite => self.reads(second).find_map(|operation| {
                let (key, before) = (operation.key, read(operation.key, operation.value())?);
                let after = self.final_write(second, key)?;
                Some(Reason::Overwrote {
                    key,
                    before,
                    after,
                    known: KnownFrom::ReadBeforeWrite,
                })
            }),
            EdgeKind::TimedWriteWrite => self.writes(first).find_map(|write| {
                let (key, after) = (write.key, self.final_write(second, write.key)?);
                let before = self.final_write(first, key)?;
                Some(Reason::Overwrote {
                    key,
                    before,
                    after,
                    known: KnownFrom::RealTime,
                })
            }),
            EdgeKind::ReadWrite => self.missed_update(first, second),
            EdgeKind::TimedReadWrite => self.missed_in_time(first, second),
            EdgeKind::Process | EdgeKind::RealTime | EdgeKind::Relay => None,
        }
    }
}
