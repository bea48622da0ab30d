//! What was asked, what was answered, and in which order.
//!
//! | file | noun |
//! |---|---|
//! | [`text`] | [`Text`], a string that is stored inline when short; [`Name`], a shared one |
//! | [`value`] | [`Value`], what an operation carried: everything that JSON and EDN can say |
//! | [`op`] | [`Operation`], [`Process`], [`Outcome`], [`Moment`] |
//! | [`event`] | [`Event`], one line of a log: an invocation or a completion |
//! | [`pair`] | [`Pairing`], which makes operations of events |
//! | [`read`] | readers of JSON Lines, EDN and logs, with errors by line and column |
//! | [`write`](mod@write) | the writer of JSON Lines |
//!
//! A [`History`] is a list of operations in the order of their invocations. Order between operations is the order in
//! which their events were recorded ([`Moment::order`]), never a comparison of clocks; the clock readings beside it serve
//! latencies and reports.

pub mod event;
pub mod op;
pub mod pair;
pub mod read;
pub mod text;
pub mod value;
pub mod write;

use std::collections::BTreeMap;

pub use event::{Event, EventKind};
pub use op::{Details, Moment, Operation, Outcome, Process};
pub use pair::{PairError, Pairing};
pub use text::{Name, Text};
pub use value::Value;

use crate::deadline;

/// A finished recording: operations in the order in which they were invoked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    operations: Vec<Operation>,
    story: String,
}

impl History {
    /// A history of `operations`, which are put into the order of their invocations.
    pub fn new(mut operations: Vec<Operation>) -> Self {
        // A log that was paired as it was read is sorted already; the check is cheaper than the sort.
        if !operations.is_sorted_by_key(|operation| operation.invoked.order) {
            operations.sort_by_key(|operation| operation.invoked.order);
        }
        Self {
            operations,
            story: String::new(),
        }
    }

    /// Pairs `events`, which stand in the order in which they happened.
    pub fn from_events(events: impl IntoIterator<Item = Event>) -> Result<Self, PairError> {
        let mut pairing = Pairing::default();
        for event in events {
            pairing.push(event)?;
        }
        Ok(pairing.finish())
    }

    /// The same history with the sentence that tells a reader what happens in it.
    #[must_use]
    pub fn with_story(mut self, story: impl Into<String>) -> Self {
        self.story = story.into();
        self
    }

    /// The sentence at the head of the recording; empty when there was none.
    pub fn story(&self) -> &str {
        &self.story
    }

    /// All operations, faults included, in the order of invocation.
    pub fn operations(&self) -> &[Operation] {
        &self.operations
    }

    /// The operations of clients: everything but the nemesis.
    pub fn clients(&self) -> impl Iterator<Item = &Operation> {
        self.operations
            .iter()
            .inspect(|_| deadline::look())
            .filter(|operation| operation.process != Process::Nemesis)
    }

    /// What the nemesis did.
    pub fn nemesis(&self) -> impl Iterator<Item = &Operation> {
        self.operations
            .iter()
            .filter(|operation| operation.process == Process::Nemesis)
    }

    /// How many operations there are, faults included.
    pub fn len(&self) -> usize {
        self.operations.len()
    }

    /// Whether nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.operations.is_empty()
    }

    /// One history for each key, in the order of keys; operations without a key come under [`Value::Nil`].
    pub fn by_key(&self) -> BTreeMap<&Value, Vec<&Operation>> {
        let mut parts: BTreeMap<&Value, Vec<&Operation>> = BTreeMap::new();
        for operation in self.clients() {
            parts.entry(&operation.key).or_default().push(operation);
        }
        parts
    }

    /// The events of the history in the order in which they happened: what [`Pairing`] would make this history of.
    pub fn events(&self) -> Vec<Event> {
        let mut events = Vec::with_capacity(self.operations.len() * 2);
        for operation in &self.operations {
            events.push((operation.invoked.order, operation.invocation()));
            if let (Some(moment), Some(event)) = (operation.ended, operation.completion()) {
                events.push((moment.order, event));
            }
        }
        events.sort_by_key(|(order, _)| *order);
        events.into_iter().map(|(_, event)| event).collect()
    }

    /// The history of values `[key value]`, as Jepsen's independent workloads record them, with the keys in their place.
    /// What carries no such pair (a fault, say) stays as it is.
    #[must_use]
    pub fn split_pairs(mut self) -> Self {
        fn split(value: &mut Value, key: &mut Value) {
            if let Value::List(pair) = value
                && let [first, second] = &mut **pair
            {
                *key = std::mem::take(first);
                *value = std::mem::take(second);
            }
        }
        for operation in &mut self.operations {
            deadline::look();
            if operation.process != Process::Nemesis {
                split(&mut operation.input, &mut operation.key);
                split(&mut operation.output, &mut operation.key);
            }
        }
        self
    }

    /// Gives up the operations.
    pub fn into_operations(self) -> Vec<Operation> {
        self.operations
    }
}

impl FromIterator<Operation> for History {
    fn from_iter<I: IntoIterator<Item = Operation>>(operations: I) -> Self {
        Self::new(operations.into_iter().collect())
    }
}
