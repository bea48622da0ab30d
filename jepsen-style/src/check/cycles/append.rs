//! What list-append transactions say about their order.
//!
//! A read of a list shows the whole history of its key: every append that came before, in order. So the longest read of a
//! key gives the order of its versions, every other read must be a prefix of it, and each read names the transaction it
//! depends on (who appended its last element) and the one that depends on it (who appended the next one). Elle's insight
//! (section 3 of the paper) is that no guess is needed anywhere.
//!
//! Committed appends that no read shows come after all those that reads show: so every reader of the longest version comes
//! before their transactions. Without this an acknowledged append that was lost would never be missed.
//!
//! An append of a transaction whose outcome is unknown counts once a read shows it, and then all of that transaction counts.

use std::ops::Range;

use super::anomaly::Anomaly;
use super::evidence::{Evidence, Findings, KnownFrom, Reason};
use super::explain::{Explain, Unjudgeable};
use super::fan::Fan;
use super::graph::{EdgeKind, GraphBuilder, Node};
use super::keys::{Entry, KeyIndex, NONE, ValueNumbers};
use super::transactions::{
    KeyId, MicroKind, MicroOperation, TransactionId, Transactions, ValueId, index_u32,
};
use crate::deadline;
use crate::history::Outcome;

/// An append of the key at hand.
#[derive(Clone, Copy)]
struct Append {
    value: ValueId,
    transaction: Node,
    outcome: Outcome,
    /// Whether its transaction appends nothing more to the key.
    is_final: bool,
}

/// Committed appends that no read shows, and what comes before them.
#[derive(Default)]
struct Unseen {
    targets: Vec<Node>,
    sources: Vec<(Node, EdgeKind)>,
    /// For each key with any: its parts of the two lists.
    keys: Vec<(Range<usize>, Range<usize>)>,
}

/// Infers the graph key by key; its buffers are used for all keys.
pub(super) struct Inference<'a> {
    transactions: &'a Transactions,
    builder: &'a mut GraphBuilder,
    findings: &'a mut Findings,
    /// Transactions that took effect: committed, or unknown and seen.
    took_effect: Vec<bool>,
    unseen: Unseen,
    longest_reads: Vec<u32>,
    numbers: ValueNumbers,
    appends: Vec<Append>,
    /// Whether one of the appends aborted.
    has_aborted: bool,
    /// For each position of the longest read, the number of its append.
    order: Vec<u32>,
    is_seen: Vec<bool>,
    /// For each version (by length) the first transaction that read it and then appended.
    updates: Vec<u32>,
    own: Vec<ValueId>,
}

/// The order of versions, kept to explain edges later: the longest read of each key.
pub(super) struct AppendOrder<'a> {
    transactions: &'a Transactions,
    longest_reads: Vec<u32>,
}

/// Adds the dependencies between list-append transactions to the graph, and what contradicts itself without any cycle to
/// the findings.
pub(super) fn infer<'a>(
    transactions: &'a Transactions,
    builder: &mut GraphBuilder,
    findings: &mut Findings,
) -> Result<AppendOrder<'a>, Unjudgeable> {
    let index = KeyIndex::new(transactions);
    let mut inference = Inference {
        transactions,
        builder,
        findings,
        took_effect: transactions.committed(),
        unseen: Unseen::default(),
        longest_reads: vec![NONE; transactions.key_count()],
        numbers: ValueNumbers::default(),
        appends: Vec::new(),
        has_aborted: false,
        order: Vec::new(),
        is_seen: Vec::new(),
        updates: Vec::new(),
        own: Vec::new(),
    };
    for key in 0..index_u32(transactions.key_count()) {
        inference.key(KeyId(key), index.of(KeyId(key)))?;
    }
    inference.connect_unseen();
    Ok(AppendOrder {
        transactions,
        longest_reads: inference.longest_reads,
    })
}

impl<'a> Inference<'a> {
    fn key(&mut self, key: KeyId, entries: &[Entry]) -> Result<(), Unjudgeable> {
        let longest = self.collect(key, entries)?;
        let (longest, longest_reader) = match longest {
            Some(entry) => (self.elements(entry), entry.transaction),
            None => (&[][..], NONE),
        };
        let mut is_sound = self.order_versions(key, longest, longest_reader);
        if !is_sound {
            // There is no order of versions, and every level is violated already: no edges of this key.
            self.order.clear();
        }
        self.connect_versions();
        self.updates.clear();
        self.updates.resize(longest.len() + 1, NONE);
        for group in entries.chunk_by(|first, second| first.transaction == second.transaction) {
            deadline::look();
            if self.transactions.outcome(group[0].transaction) == Outcome::Ok {
                is_sound &= self.reads_of(key, group, longest, longest_reader);
            }
        }
        if is_sound {
            self.remember_unseen(entries, longest);
        }
        Ok(())
    }

    /// Lists and numbers the appends of the key; returns its longest committed read.
    fn collect(&mut self, key: KeyId, entries: &[Entry]) -> Result<Option<Entry>, Unjudgeable> {
        self.appends.clear();
        self.has_aborted = false;
        let mut longest: Option<(usize, Entry)> = None;
        for (place, entry) in entries.iter().enumerate() {
            let operation = self.operation(*entry);
            let outcome = self.transactions.outcome(entry.transaction);
            match operation.kind {
                MicroKind::Append => {
                    if let Some(last) = self.appends.last_mut()
                        && last.transaction == entry.transaction
                    {
                        last.is_final = false;
                    }
                    self.has_aborted |= outcome == Outcome::Failed;
                    self.appends.push(Append {
                        value: operation.value(),
                        transaction: entry.transaction,
                        outcome,
                        is_final: true,
                    });
                }
                MicroKind::ReadList => {
                    let length = operation.list_length();
                    if outcome == Outcome::Ok && longest.is_none_or(|(best, _)| length > best) {
                        longest = Some((length, entries[place]));
                    }
                }
                MicroKind::Write | MicroKind::ReadValue => {
                    return Err(Unjudgeable::WrongKind {
                        transaction: TransactionId(entry.transaction),
                        key,
                    });
                }
            }
        }
        self.number_appends(key)?;
        let longest = longest.map(|(_, entry)| entry);
        self.longest_reads[key.index()] = longest.map_or(NONE, |entry| entry.operation);
        Ok(longest)
    }

    fn number_appends(&mut self, key: KeyId) -> Result<(), Unjudgeable> {
        self.numbers
            .prepare(self.appends.iter().map(|append| append.value));
        for (number, append) in (0..).zip(&self.appends) {
            if let Some(previous) = self.numbers.insert(append.value, number) {
                return Err(Unjudgeable::RepeatedValue {
                    first: TransactionId(self.appends[previous as usize].transaction),
                    second: TransactionId(append.transaction),
                    key,
                    value: append.value,
                });
            }
        }
        Ok(())
    }

    /// Finds the append of each element of the longest read. False if the list makes no sense.
    fn order_versions(&mut self, key: KeyId, longest: &[ValueId], reader: Node) -> bool {
        self.order.clear();
        self.is_seen.clear();
        self.is_seen.resize(self.appends.len(), false);
        let mut is_sound = true;
        for value in longest {
            let number = self.numbers.get(*value);
            self.order.push(number);
            if number == NONE {
                let evidence = Evidence::Garbage {
                    reader: TransactionId(reader),
                    key,
                    value: *value,
                };
                self.findings.add(Anomaly::GarbageRead, evidence);
                is_sound = false;
            } else if std::mem::replace(&mut self.is_seen[number as usize], true) {
                let evidence = Evidence::Duplicate {
                    reader: TransactionId(reader),
                    key,
                    value: *value,
                };
                self.findings.add(Anomaly::DuplicateElements, evidence);
                is_sound = false;
            } else {
                self.took_effect[self.appends[number as usize].transaction as usize] = true;
                if self.is_out_of_turn(number) {
                    let evidence = Evidence::Reordered {
                        reader: TransactionId(reader),
                        writer: TransactionId(self.appends[number as usize].transaction),
                        key,
                        value: *value,
                    };
                    self.findings.add(Anomaly::IncompatibleOrder, evidence);
                    is_sound = false;
                }
            }
        }
        is_sound
    }

    /// Whether the same transaction had appended something before that the list does not show before.
    fn is_out_of_turn(&self, number: u32) -> bool {
        number.checked_sub(1).is_some_and(|before| {
            let [before, number] = [before as usize, number as usize];
            self.appends[before].transaction == self.appends[number].transaction
                && !self.is_seen[before]
        })
    }

    /// Each writer comes before the next one, over the heads of aborted ones.
    fn connect_versions(&mut self) {
        let mut previous = NONE;
        for position in 0..self.order.len() {
            let writer = self.writer(position);
            if writer != NONE {
                if previous != NONE {
                    self.builder.edge(previous, EdgeKind::WriteWrite, writer);
                }
                previous = writer;
            }
        }
    }

    /// The transaction that appended the element at a position, unless it aborted or does not exist.
    fn writer(&self, position: usize) -> Node {
        match self.order.get(position) {
            Some(number) if *number != NONE => {
                let append = self.appends[*number as usize];
                if append.outcome == Outcome::Failed {
                    NONE
                } else {
                    append.transaction
                }
            }
            _ => NONE,
        }
    }

    /// What one committed transaction read at the key. False if a read is no prefix of the longest.
    fn reads_of(
        &mut self,
        key: KeyId,
        group: &[Entry],
        longest: &[ValueId],
        longest_reader: Node,
    ) -> bool {
        let reader = group[0].transaction;
        let mut is_sound = true;
        let mut last_read: Option<&[ValueId]> = None;
        let mut appends = false;
        self.own.clear();
        for (place, entry) in group.iter().enumerate() {
            deadline::look();
            let operation = self.operation(*entry);
            if operation.kind == MicroKind::Append {
                appends = true;
                if group.len() > 1 {
                    self.own.push(operation.value());
                }
                continue;
            }
            let list = self.elements(*entry);
            if group.len() > 1 {
                self.check_internal(key, &group[place + 1..], reader, last_read, list);
            }
            if longest.starts_with(list) {
                self.prefix_read(key, reader, list);
                if !appends && place == 0 && group.len() > 1 {
                    self.check_update(key, group, list);
                }
            } else {
                self.stray_read(key, reader, list, longest, longest_reader);
                is_sound = false;
            }
            last_read = Some(list);
            self.own.clear();
        }
        is_sound
    }

    /// A read must show what the same transaction read and appended before, and nothing that it appends later.
    fn check_internal(
        &mut self,
        key: KeyId,
        later: &[Entry],
        reader: Node,
        last_read: Option<&[ValueId]>,
        list: &[ValueId],
    ) {
        let is_consistent = match last_read {
            Some(last) => list.strip_prefix(last) == Some(self.own.as_slice()),
            None => list.ends_with(&self.own),
        };
        let is_early = later.iter().any(|entry| {
            deadline::look();
            let operation = self.operation(*entry);
            operation.kind == MicroKind::Append && list.contains(&operation.value())
        });
        if !is_consistent || is_early {
            let evidence = Evidence::Contradiction {
                transaction: TransactionId(reader),
                key,
            };
            self.findings.add(Anomaly::Internal, evidence);
        }
    }

    /// Edges of a read that is a prefix of the longest, and whether its elements may be read.
    fn prefix_read(&mut self, key: KeyId, reader: Node, list: &[ValueId]) {
        let before = list
            .len()
            .checked_sub(1)
            .map_or(NONE, |last| self.writer(last));
        if before != NONE {
            self.builder.edge(before, EdgeKind::WriteRead, reader);
        }
        let after = self.writer(list.len());
        if after != NONE {
            self.builder.edge(reader, EdgeKind::ReadWrite, after);
        }
        self.check_premature(key, reader, list);
    }

    /// Reads of aborted appends, and of lists whose last append was not its transaction's last.
    fn check_premature(&mut self, key: KeyId, reader: Node, list: &[ValueId]) {
        // Most keys were never touched by an aborted transaction; the flag is cheaper than the walk.
        if self.has_aborted {
            for value in list {
                let number = self.numbers.get(*value);
                if number != NONE && self.appends[number as usize].outcome == Outcome::Failed {
                    self.premature(Anomaly::G1a, reader, key, number);
                    return;
                }
            }
        }
        let number = list.last().map_or(NONE, |last| self.numbers.get(*last));
        if number != NONE {
            let append = self.appends[number as usize];
            if !append.is_final && append.transaction != reader {
                self.premature(Anomaly::G1b, reader, key, number);
            }
        }
    }

    fn premature(&mut self, anomaly: Anomaly, reader: Node, key: KeyId, number: u32) {
        let append = self.appends[number as usize];
        let evidence = Evidence::Premature {
            reader: TransactionId(reader),
            writer: TransactionId(append.transaction),
            key,
            value: append.value,
        };
        self.findings.add(anomaly, evidence);
    }

    /// Two transactions that read one version and then both appended.
    fn check_update(&mut self, key: KeyId, group: &[Entry], list: &[ValueId]) {
        if !group
            .iter()
            .any(|entry| self.operation(*entry).kind == MicroKind::Append)
        {
            return;
        }
        let updater = group[0].transaction;
        let slot = &mut self.updates[list.len()];
        if *slot == NONE {
            *slot = updater;
            return;
        }
        let (first, second) = (TransactionId(*slot), TransactionId(updater));
        let evidence = Evidence::Lost {
            first,
            second,
            key,
            seen: list.last().copied(),
        };
        self.findings.add(Anomaly::LostUpdate, evidence);
    }

    /// A read that is no prefix of the longest: nothing can be said of its place, but of its elements.
    fn stray_read(
        &mut self,
        key: KeyId,
        reader: Node,
        list: &[ValueId],
        longest: &[ValueId],
        longest_reader: Node,
    ) {
        let same = list
            .iter()
            .zip(longest)
            .take_while(|(one, other)| one == other)
            .count();
        let evidence = Evidence::Incompatible {
            first: TransactionId(longest_reader),
            second: TransactionId(reader),
            key,
            position: same,
        };
        self.findings.add(Anomaly::IncompatibleOrder, evidence);
        for value in &list[same..] {
            let number = self.numbers.get(*value);
            if number == NONE {
                let evidence = Evidence::Garbage {
                    reader: TransactionId(reader),
                    key,
                    value: *value,
                };
                self.findings.add(Anomaly::GarbageRead, evidence);
            } else {
                self.took_effect[self.appends[number as usize].transaction as usize] = true;
            }
        }
        self.check_premature(key, reader, list);
    }

    /// Keeps the appends that no read shows for the end: which unknown transactions took effect is known only then.
    fn remember_unseen(&mut self, entries: &[Entry], longest: &[ValueId]) {
        let first_target = self.unseen.targets.len();
        for (append, is_seen) in self.appends.iter().zip(&self.is_seen) {
            let is_repeated =
                self.unseen.targets[first_target..].last() == Some(&append.transaction);
            if !is_seen && append.outcome != Outcome::Failed && !is_repeated {
                self.unseen.targets.push(append.transaction);
            }
        }
        let targets = first_target..self.unseen.targets.len();
        if targets.is_empty() {
            return;
        }
        let first_source = self.unseen.sources.len();
        let last_writer = (0..longest.len())
            .rev()
            .map(|position| self.writer(position))
            .find(|writer| *writer != NONE);
        self.unseen
            .sources
            .extend(last_writer.map(|writer| (writer, EdgeKind::WriteWrite)));
        for entry in entries {
            let operation = self.operation(*entry);
            let is_last_version = operation.kind == MicroKind::ReadList
                && self.transactions.outcome(entry.transaction) == Outcome::Ok
                && operation.list_length() == longest.len();
            if is_last_version {
                self.unseen
                    .sources
                    .push((entry.transaction, EdgeKind::ReadWrite));
            }
        }
        self.unseen
            .keys
            .push((first_source..self.unseen.sources.len(), targets));
    }

    fn connect_unseen(&mut self) {
        let mut targets = Vec::new();
        for (source_range, target_range) in &self.unseen.keys {
            deadline::look();
            targets.clear();
            let kept = &self.unseen.targets[target_range.clone()];
            targets.extend(
                kept.iter()
                    .copied()
                    .filter(|target| self.took_effect[*target as usize]),
            );
            let sources = &self.unseen.sources[source_range.clone()];
            let fan = Fan::new(&targets, sources.len(), self.builder);
            for (source, kind) in sources {
                // Targets ascend, since appends are listed by transaction.
                let own = targets.binary_search(source).ok();
                fan.connect_others(*source, *kind, 0..targets.len(), self.builder, own);
            }
        }
    }

    fn operation(&self, entry: Entry) -> &'a MicroOperation {
        self.transactions.operation(entry.operation)
    }

    fn elements(&self, entry: Entry) -> &'a [ValueId] {
        self.transactions.elements(self.operation(entry))
    }
}

/// Where a value stands in the order of versions.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Seen(usize),
    /// After all that were seen.
    Unseen,
}

impl AppendOrder<'_> {
    fn longest(&self, key: KeyId) -> &[ValueId] {
        match self.longest_reads[key.index()] {
            NONE => &[],
            operation => self
                .transactions
                .elements(self.transactions.operation(operation)),
        }
    }

    fn place(&self, key: KeyId, value: ValueId) -> Place {
        self.longest(key)
            .iter()
            .position(|element| *element == value)
            .map_or(Place::Unseen, Place::Seen)
    }

    fn steps(
        &self,
        transaction: TransactionId,
        kind: MicroKind,
    ) -> impl Iterator<Item = &MicroOperation> {
        self.transactions
            .operations(transaction)
            .iter()
            .filter(move |operation| operation.kind == kind)
    }

    /// Appends of `second` after which comes the nearest after something of `first`: (key, place before, place after).
    fn overwrote(&self, first: TransactionId, second: TransactionId) -> Option<Reason> {
        let mut best: Option<(usize, Reason)> = None;
        for before in self.steps(first, MicroKind::Append) {
            let Place::Seen(from) = self.place(before.key, before.value()) else {
                continue;
            };
            for after in self
                .steps(second, MicroKind::Append)
                .filter(|after| after.key == before.key)
            {
                let Some((distance, known)) = self.distance(after, from + 1) else {
                    continue;
                };
                if best.is_none_or(|(least, _)| distance < least) {
                    let (key, before, after) = (before.key, before.value(), after.value());
                    best = Some((
                        distance,
                        Reason::Overwrote {
                            key,
                            before,
                            after,
                            known,
                        },
                    ));
                }
            }
        }
        best.map(|(_, reason)| reason)
    }

    fn missed(&self, first: TransactionId, second: TransactionId) -> Option<Reason> {
        let mut best: Option<(usize, Reason)> = None;
        for read in self.steps(first, MicroKind::ReadList) {
            let list = self.transactions.elements(read);
            if !self.longest(read.key).starts_with(list) {
                // It has no place in the order, and no edge was made of it.
                continue;
            }
            for after in self
                .steps(second, MicroKind::Append)
                .filter(|after| after.key == read.key)
            {
                let Some((distance, known)) = self.distance(after, list.len()) else {
                    continue;
                };
                if best.is_none_or(|(least, _)| distance < least) {
                    let (key, seen, missed) = (read.key, list.last().copied(), after.value());
                    best = Some((
                        distance,
                        Reason::Missed {
                            key,
                            seen,
                            missed,
                            known,
                        },
                    ));
                }
            }
        }
        best.map(|(_, reason)| reason)
    }

    /// How many versions after position `from` an append stands; none if before.
    fn distance(&self, append: &MicroOperation, from: usize) -> Option<(usize, KnownFrom)> {
        match self.place(append.key, append.value()) {
            Place::Seen(place) => place
                .checked_sub(from)
                .map(|distance| (distance, KnownFrom::Observation)),
            Place::Unseen => {
                let distance = self.longest(append.key).len().checked_sub(from)?;
                Some((distance, KnownFrom::NeverSeen))
            }
        }
    }
}

impl Explain for AppendOrder<'_> {
    fn explain(
        &self,
        first: TransactionId,
        kind: EdgeKind,
        second: TransactionId,
    ) -> Option<Reason> {
        match kind {
            EdgeKind::WriteWrite => self.overwrote(first, second),
            EdgeKind::WriteRead => self.steps(second, MicroKind::ReadList).find_map(|read| {
                let value = *self.transactions.elements(read).last()?;
                let is_source = self
                    .steps(first, MicroKind::Append)
                    .any(|append| append.key == read.key && append.value() == value);
                is_source.then_some(Reason::Read {
                    key: read.key,
                    value,
                })
            }),
            EdgeKind::ReadWrite => self.missed(first, second),
            _ => None,
        }
    }
}
