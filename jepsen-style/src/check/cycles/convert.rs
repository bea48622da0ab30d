//! From a recorded history to packed transactions.
//!
//! A transaction is a client's operation `txn` whose value is a list of micro-operations, as Jepsen writes them:
//! `[["append", "x", 1], ["r", "x", null]]` when it is invoked, `[["append", "x", 1], ["r", "x", [1]]]` when it is answered;
//! `w` and `r` for registers. Keys and values may be anything; they are numbered here, and called by their names again in
//! the report.

use rustc_hash::FxHashMap;

use super::explain::Names;
use super::transactions::{
    KeyId, NEVER, NIL, Span, TransactionId, Transactions, ValueId, index_u32,
};
use crate::deadline;
use crate::history::{History, Operation, Outcome, Process, Value};

/// What micro-operations mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// `append` adds to a list, `r` reads it.
    ListAppend,
    /// `w` writes a register, `r` reads it.
    Register,
}

/// Why a history holds no transactions of the dialect.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConvertError {
    /// A client did something else.
    #[error("operation {place} is no transaction: {operation}")]
    NotATransaction {
        /// Its place in the history.
        place: usize,
        /// The operation.
        operation: String,
    },
    /// A micro-operation is not one.
    #[error("operation {place} holds a micro-operation that is not understood: {micro}")]
    NotUnderstood {
        /// Its place in the history.
        place: usize,
        /// The micro-operation.
        micro: String,
    },
}

/// Packed transactions, with the way back to names.
#[derive(Debug)]
pub struct Converted<'a> {
    /// What the checkers take.
    pub transactions: Transactions,
    operations: Vec<&'a Operation>,
    keys: Interner<'a>,
    values: Interner<'a>,
}

/// Numbers for values of a history. Small whole numbers, which is what most histories are made of, can stand for themselves.
#[derive(Debug, Default)]
struct Interner<'a> {
    numbers: FxHashMap<&'a Value, u32>,
    values: Vec<&'a Value>,
}

impl<'a> Interner<'a> {
    fn number(&mut self, value: &'a Value) -> u32 {
        *self.numbers.entry(value).or_insert_with(|| {
            self.values.push(value);
            index_u32(self.values.len() - 1)
        })
    }
}

/// Numbers from here on are places among the interned values; numbers below are themselves.
const FIRST_INTERNED: ValueId = 1 << 31;

impl<'a> Converted<'a> {
    /// Packs the transactions of a history.
    pub fn new(history: &'a History, dialect: Dialect) -> Result<Self, ConvertError> {
        let mut converted = Self {
            transactions: Transactions::with_capacity(history.len(), history.len() * 2, 0),
            operations: Vec::with_capacity(history.len()),
            keys: Interner::default(),
            values: Interner::default(),
        };
        let mut list = Vec::new();
        for (place, operation) in history.operations().iter().enumerate() {
            deadline::look();
            if let Process::Client(process) = operation.process {
                converted.add_transaction(place, operation, dialect, &mut list)?;
                converted.transactions.finish(Span {
                    process,
                    invoked: u64::from(operation.invoked.order),
                    completed: operation
                        .returned()
                        .map_or(NEVER, |moment| u64::from(moment.order)),
                    outcome: operation.outcome,
                });
                converted.operations.push(operation);
            }
        }
        Ok(converted)
    }

    fn add_transaction(
        &mut self,
        place: usize,
        operation: &'a Operation,
        dialect: Dialect,
        list: &mut Vec<ValueId>,
    ) -> Result<(), ConvertError> {
        let told = match operation.outcome {
            Outcome::Ok => &operation.output,
            Outcome::Failed | Outcome::Unknown => &operation.input,
        };
        let micros = match (operation.function.as_str(), told.as_list()) {
            ("txn", Some(micros)) => micros,
            _ => {
                let operation = operation.to_string();
                return Err(ConvertError::NotATransaction { place, operation });
            }
        };
        for micro in micros {
            self.micro(micro, dialect, operation.outcome, list)
                .ok_or_else(|| ConvertError::NotUnderstood {
                    place,
                    micro: micro.to_string(),
                })?;
        }
        Ok(())
    }

    /// Adds a micro-operation; nothing if it is not understood.
    fn micro(
        &mut self,
        micro: &'a Value,
        dialect: Dialect,
        outcome: Outcome,
        list: &mut Vec<ValueId>,
    ) -> Option<()> {
        let [function, key, value] = micro.as_list()? else {
            return None;
        };
        let key = KeyId(self.keys.number(key));
        match (dialect, function.as_text()?) {
            (Dialect::ListAppend, "append") => {
                let value = self.value(value);
                self.transactions.append(key, value);
            }
            (Dialect::Register, "w" | "write") => {
                let value = self.value(value);
                self.transactions.write(key, value);
            }
            // What a transaction read that did not commit is not known.
            (_, "r" | "read") if outcome != Outcome::Ok => {}
            (Dialect::ListAppend, "r" | "read") => {
                list.clear();
                if !value.is_nil() {
                    list.extend(value.as_list()?.iter().map(|element| self.value(element)));
                }
                self.transactions.read_list(key, list);
            }
            (Dialect::Register, "r" | "read") => {
                let value = if value.is_nil() {
                    NIL
                } else {
                    self.value(value)
                };
                self.transactions.read_value(key, value);
            }
            _ => return None,
        }
        Some(())
    }

    fn value(&mut self, value: &'a Value) -> ValueId {
        match value.as_integer().map(u32::try_from) {
            Some(Ok(number)) if number < FIRST_INTERNED => number,
            _ => FIRST_INTERNED + self.values.number(value),
        }
    }
}

impl Names for Converted<'_> {
    fn story(&self, transaction: TransactionId) -> Option<String> {
        Some(self.operations[transaction.index()].to_string())
    }

    fn key(&self, key: KeyId) -> String {
        self.keys.values[key.index()].to_string()
    }

    fn value(&self, value: ValueId) -> String {
        match value.checked_sub(FIRST_INTERNED) {
            None => value.to_string(),
            Some(place) => self.values.values[place as usize].to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::read::read;

    #[test]
    fn values_of_any_size_and_kind_are_told_apart() {
        let values = r#"[["append","x",1],["append","x",2147483647],["append","x",2147483648],["append","x","a"],["append","x",-1],["append","x","1"]]"#;
        let log = ["invoke", "ok"]
            .map(|kind| format!(r#"{{"process":0,"type":"{kind}","f":"txn","value":{values}}}"#));
        let history = read(log.join("\n").as_bytes(), None).unwrap();
        let converted = Converted::new(&history, Dialect::ListAppend).unwrap();
        let steps = converted.transactions.operations(TransactionId(0));
        let names: Vec<String> = steps
            .iter()
            .map(|step| converted.value(step.value()))
            .collect();
        assert_eq!(
            names,
            ["1", "2147483647", "2147483648", "\"a\"", "-1", "\"1\""]
        );
    }
}
