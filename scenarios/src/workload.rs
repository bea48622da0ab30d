//! What clients ask: reads of one register and of all, unique writes, and transactions over two registers.
//!
//! Every write writes another number and every answer carries its revision, so that a history over all registers is judged
//! in about the time of a sort. A transaction compares one register with what was last written to it, as far as the
//! workload knows, and writes it and another if that is still there; otherwise it reads both.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate_jepsen_style::generator::{
    Ask, Context, Generator, Next, from_fn, stagger, time_limit,
};
use quorate_jepsen_style::history::{Operation, Process, Value};

use crate::scenario::Workload;

/// What the key of every register begins with.
const PREFIX: &str = "register/";
/// The first key behind all of them.
const BEHIND: &str = "register0";

/// The functions that are asked. Of each at least one must have been answered, or a run has shown nothing.
pub const FUNCTIONS: [&str; 3] = ["put", "get", "txn"];

impl Workload {
    /// What is asked for so long.
    #[must_use]
    pub fn generator(&self, time: Duration) -> impl Generator + use<> {
        let registers = self.registers;
        let mut written = Written::default();
        let asks = from_fn(move |context| {
            let mut draw = |end| context.random.below(end);
            let (kind, one) = (draw(10), draw(registers));
            // Another one, where there is one.
            let other = (one + 1 + draw(registers.max(2) - 1)) % registers;
            Some(match kind {
                0..3 => Ask::new("put").of(key(one)).with(written.next(one)),
                3..6 => Ask::new("get").of(key(one)),
                6..8 => Ask::new("get").with(map([("key", PREFIX.into()), ("end", BEHIND.into())])),
                _ => written.transaction(one, other),
            })
        });
        time_limit(time, stagger(self.pause, Anyone(asks)))
    }
}

/// The values that were handed out.
#[derive(Debug, Default)]
struct Written {
    newest: i64,
    by_register: BTreeMap<u64, i64>,
}

impl Written {
    /// A value that nobody else writes.
    fn next(&mut self, register: u64) -> i64 {
        self.newest += 1;
        self.by_register.insert(register, self.newest);
        self.newest
    }

    fn transaction(&mut self, one: u64, other: u64) -> Ask {
        let expected = self.by_register.get(&one).copied().unwrap_or_default();
        let put = |register, value: i64| {
            map([
                ("f", "put".into()),
                ("key", key(register)),
                ("value", value.into()),
            ])
        };
        let get = |register| map([("f", "get".into()), ("key", key(register))]);
        let compare = map([
            ("key", key(one)),
            ("target", "value".into()),
            ("result", "=".into()),
            ("operand", expected.into()),
        ]);
        let mut then = vec![put(one, self.next(one))];
        let mut otherwise = vec![get(one)];
        // A transaction may not write a key twice.
        if one != other {
            then.push(put(other, self.next(other)));
            otherwise.push(get(other));
        }
        Ask::new("txn").with(map([
            ("compare", Value::list([compare])),
            ("then", then.into()),
            ("else", otherwise.into()),
        ]))
    }
}

fn key(register: u64) -> Value {
    format!("{PREFIX}{register}").into()
}

fn map<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::map(fields.map(|(name, value)| (name.into(), value)))
}

/// The asks of another generator, each by a client that is drawn among the free ones. The first free one would be the same
/// client again and again, and so the same node, as long as answers are quick.
struct Anyone<G>(G);

impl<G: Generator> Generator for Anyone<G> {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        let clients: Vec<Process> = context
            .free
            .iter()
            .copied()
            .filter(|process| *process != Process::Nemesis)
            .collect();
        match context.random.among(&clients).copied() {
            Some(drawn) => self.0.next(&mut context.among(&[drawn])),
            None => Next::Blocked,
        }
    }

    fn completed(&mut self, operation: &Operation) {
        self.0.completed(operation);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use quorate_jepsen_style::random::Random;

    use super::*;

    #[test]
    fn all_clients_ask_everything_and_no_value_comes_twice() {
        let workload = Workload {
            clients: 4,
            registers: 3,
            pause: Duration::from_millis(10),
        };
        let mut generator = workload.generator(Duration::from_secs(5));
        let mut random = Random::new(1);
        let free: Vec<Process> = (0..4)
            .map(Process::Client)
            .chain([Process::Nemesis])
            .collect();
        let (mut askers, mut asked, mut written) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
        let mut now = Duration::ZERO;
        loop {
            let mut context = Context {
                now,
                free: &free,
                open: 0,
                clients: 4,
                random: &mut random,
            };
            match generator.next(&mut context) {
                Next::Ask(process, ask) => {
                    askers.insert(process);
                    asked.insert((ask.function.to_string(), ask.key.to_string()));
                    let puts = ask.input.get("then").and_then(Value::as_list);
                    let puts = puts.unwrap_or_default().iter().map(|put| put.get("value"));
                    written.extend(
                        puts.flatten()
                            .chain(ask.input.as_integer().map(|_| &ask.input))
                            .cloned(),
                    );
                }
                Next::Wait(until) => now = until,
                Next::Blocked => panic!("everybody is free"),
                Next::Done => break,
            }
        }
        // Three puts, four gets, and the transaction, which has no key of its own.
        assert_eq!((askers.len(), asked.len()), (4, 8));
        let distinct: BTreeSet<&Value> = written.iter().collect();
        assert_eq!(distinct.len(), written.len());
        assert!(written.len() > 100, "{}", written.len());
    }
}
