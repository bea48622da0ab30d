//! Transactions, packed for checking: what a history of transactions is once names are numbers.
//!
//! A million transactions must fit in memory next to the graph that is made of them, so nothing here owns a heap block of
//! its own: micro-operations of all transactions stand in one array, and the elements of all list reads in another.
//! Transactions are numbered by order of arrival, keys by the caller (dense numbers from zero).

use crate::history::Outcome;

/// A transaction's number: its position in [`Transactions`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TransactionId(pub u32);

impl TransactionId {
    /// The number, as an index into arrays by transaction.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// A key's number. Keys are numbered densely from zero, so that arrays by key are possible.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId(pub u32);

impl KeyId {
    /// The number, as an index into arrays by key.
    #[must_use]
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

/// An interned value: equal numbers mean equal values of the history.
pub type ValueId = u32;

/// The value of a register that nothing has written yet.
pub const NIL: ValueId = ValueId::MAX;

/// The completion time of a transaction that never completed.
pub const NEVER: u64 = u64::MAX;

/// What one micro-operation does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MicroKind {
    /// Appends one value to the list at a key.
    Append,
    /// Reads the whole list at a key.
    ReadList,
    /// Writes one value to the register at a key.
    Write,
    /// Reads the register at a key.
    ReadValue,
}

/// One step of a transaction, 16 bytes.
#[derive(Clone, Copy, Debug)]
pub struct MicroOperation {
    /// The key it touches.
    pub key: KeyId,
    /// What it does there.
    pub kind: MicroKind,
    /// The value written, appended or read; for a list read, where its elements begin.
    payload: u32,
    /// The number of elements of a list read, otherwise 0.
    length: u32,
}

impl MicroOperation {
    /// The value written, appended or read. Meaningless for a list read.
    #[must_use]
    pub const fn value(self) -> ValueId {
        self.payload
    }

    /// The number of elements of a list read, without touching its elements.
    pub(super) const fn list_length(self) -> usize {
        self.length as usize
    }
}

/// Who ran a transaction, when, and how it ended.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    /// The process: it runs one transaction at a time.
    pub process: u32,
    /// When the transaction was invoked; any clock will do that orders events, positions in the history too.
    pub invoked: u64,
    /// When its answer arrived, [`NEVER`] if none did.
    pub completed: u64,
    /// How it ended.
    pub outcome: Outcome,
}

/// A history of transactions in flat arrays.
///
/// ```
/// use quorate_jepsen_style::check::cycles::{KeyId, Span, Transactions};
/// use quorate_jepsen_style::history::Outcome;
///
/// let mut transactions = Transactions::default();
/// transactions.append(KeyId(0), 7);
/// transactions.finish(Span { process: 0, invoked: 0, completed: 1, outcome: Outcome::Ok });
/// transactions.read_list(KeyId(0), &[7]);
/// transactions.finish(Span { process: 1, invoked: 2, completed: 3, outcome: Outcome::Ok });
/// assert_eq!(transactions.len(), 2);
/// ```
#[derive(Clone, Debug, Default)]
pub struct Transactions {
    spans: Vec<Span>,
    /// `ends[t]` is one past the last micro-operation of transaction `t`.
    ends: Vec<u32>,
    operations: Vec<MicroOperation>,
    elements: Vec<ValueId>,
    keys: u32,
}

impl Transactions {
    /// Room for so many transactions, micro-operations and elements of list reads, so that filling never copies.
    #[must_use]
    pub fn with_capacity(transactions: usize, operations: usize, elements: usize) -> Self {
        Self {
            spans: Vec::with_capacity(transactions),
            ends: Vec::with_capacity(transactions),
            operations: Vec::with_capacity(operations),
            elements: Vec::with_capacity(elements),
            keys: 0,
        }
    }

    /// Adds an append to the transaction being built.
    pub fn append(&mut self, key: KeyId, value: ValueId) {
        self.push(key, MicroKind::Append, value, 0);
    }

    /// Adds a list read and what it returned to the transaction being built.
    pub fn read_list(&mut self, key: KeyId, elements: &[ValueId]) {
        let start = index_u32(self.elements.len());
        self.elements.extend_from_slice(elements);
        self.push(key, MicroKind::ReadList, start, index_u32(elements.len()));
    }

    /// Adds a register write to the transaction being built.
    pub fn write(&mut self, key: KeyId, value: ValueId) {
        self.push(key, MicroKind::Write, value, 0);
    }

    /// Adds a register read and what it returned ([`NIL`] for nothing) to the transaction being built.
    pub fn read_value(&mut self, key: KeyId, value: ValueId) {
        self.push(key, MicroKind::ReadValue, value, 0);
    }

    /// Ends the transaction being built and numbers it. What a transaction read counts only if its outcome is
    /// [`Outcome::Ok`].
    pub fn finish(&mut self, span: Span) -> TransactionId {
        let id = TransactionId(index_u32(self.spans.len()));
        self.spans.push(span);
        self.ends.push(index_u32(self.operations.len()));
        id
    }

    /// The number of transactions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.spans.len()
    }

    /// Whether there is no transaction.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }

    /// One more than the greatest key number used.
    #[must_use]
    pub fn key_count(&self) -> usize {
        self.keys as usize
    }

    /// Who ran a transaction, when, and how it ended.
    #[must_use]
    pub fn span(&self, transaction: TransactionId) -> Span {
        self.spans[transaction.index()]
    }

    /// All spans, by transaction number.
    #[must_use]
    pub fn spans(&self) -> &[Span] {
        &self.spans
    }

    /// The micro-operations of a transaction, in program order.
    #[must_use]
    pub fn operations(&self, transaction: TransactionId) -> &[MicroOperation] {
        &self.operations[self.operation_range(transaction)]
    }

    /// Where a transaction's micro-operations stand in [`Self::all_operations`].
    pub(super) fn operation_range(&self, transaction: TransactionId) -> std::ops::Range<usize> {
        let index = transaction.index();
        let start = if index == 0 { 0 } else { self.ends[index - 1] };
        start as usize..self.ends[index] as usize
    }

    /// The micro-operation at a place of [`Self::all_operations`].
    pub(super) fn operation(&self, place: u32) -> &MicroOperation {
        &self.operations[place as usize]
    }

    /// How a transaction ended.
    pub(super) fn outcome(&self, transaction: u32) -> Outcome {
        self.spans[transaction as usize].outcome
    }

    /// For each transaction whether it committed.
    pub(super) fn committed(&self) -> Vec<bool> {
        let outcomes = self.spans.iter().map(|span| span.outcome);
        outcomes.map(|outcome| outcome == Outcome::Ok).collect()
    }

    /// The micro-operations of all transactions.
    pub(super) fn all_operations(&self) -> &[MicroOperation] {
        &self.operations
    }

    /// What a list read returned.
    #[must_use]
    pub fn elements(&self, operation: &MicroOperation) -> &[ValueId] {
        let start = operation.payload as usize;
        &self.elements[start..start + operation.length as usize]
    }

    fn push(&mut self, key: KeyId, kind: MicroKind, payload: u32, length: u32) {
        self.keys = self.keys.max(key.0 + 1);
        self.operations.push(MicroOperation {
            key,
            kind,
            payload,
            length,
        });
    }
}

/// Four bytes an index halve the memory of every array; no history that fits in memory comes near the limit.
pub(super) fn index_u32(length: usize) -> u32 {
    u32::try_from(length).expect("a history has fewer than 2^32 micro-operations and list elements")
}
