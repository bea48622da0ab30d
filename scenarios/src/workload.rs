//! What clients ask: reads of one register and of all, unique writes, and transactions over two registers.
//!
//! Every write writes another number and every answer carries its revision, so that a history over all registers is judged
//! in about the time of a sort. A transaction compares one register with what was last written to it, as far as the
//! workload knows, and writes it and another if that is still there; otherwise it reads both.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use quorate_jepsen_style::generator::{Ask, Context, Generator, Next, from_fn, stagger};
use quorate_jepsen_style::history::{Operation, Process, Value};

use crate::scenario::Workload;

/// What the key of every register begins with.
const PREFIX: &str = "register/";
/// The first key behind all of them.
const BEHIND: &str = "register0";

/// The functions that are asked. Of each at least one must have been answered, or a run has shown nothing.
pub const FUNCTIONS: [&str; 3] = ["put", "get", "txn"];

impl Workload {
    /// What is asked for so long, and for as long as `overtime` until each function has been answered: under some seeds nearly
    /// nothing is before the heal.
    #[must_use]
    pub fn generator(&self, time: Duration, overtime: Duration) -> impl Generator + use<> {
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
        Shown {
            time,
            overtime,
            end: None,
            unanswered: FUNCTIONS.into(),
            inner: stagger(self.pause, Anyone(asks)),
        }
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

/// The asks of another generator for a time, and then until each function has been answered, but not for ever.
struct Shown<G> {
    time: Duration,
    overtime: Duration,
    /// When the time is over.
    end: Option<Duration>,
    unanswered: BTreeSet<&'static str>,
    inner: G,
}

impl<G: Generator> Generator for Shown<G> {
    fn next(&mut self, context: &mut Context<'_>) -> Next {
        let mut end = *self.end.get_or_insert(context.now + self.time);
        if !self.unanswered.is_empty() {
            end += self.overtime;
        }
        if context.now >= end {
            return Next::Done;
        }
        match self.inner.next(context) {
            Next::Wait(until) => Next::Wait(until.min(end)),
            // An operation that never completes must not keep the time from ending.
            Next::Blocked => Next::Wait(end),
            next => next,
        }
    }

    fn completed(&mut self, operation: &Operation) {
        if operation.is_ok() {
            self.unanswered.remove(operation.function.as_str());
        }
        self.inner.completed(operation);
    }
}

#[cfg(test)]
mod tests {
    use quorate_jepsen_style::history::read::read;
    use quorate_jepsen_style::random::Random;

    use super::*;

    const OVERTIME: Duration = Duration::from_secs(20);

    #[test]
    fn all_clients_ask_everything_and_no_value_comes_twice() {
        let workload = Workload {
            clients: 4,
            registers: 3,
            pause: Duration::from_millis(10),
        };
        let time = Duration::from_secs(5);
        let mut generator = workload.generator(time, OVERTIME);
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
        assert_eq!(now, time + OVERTIME, "nothing was answered");
        // Three puts, four gets, and the transaction, which has no key of its own.
        assert_eq!((askers.len(), asked.len()), (4, 8));
        let distinct: BTreeSet<&Value> = written.iter().collect();
        assert_eq!(distinct.len(), written.len());
        assert!(written.len() > 100, "{}", written.len());
    }

    #[test]
    fn time_is_over_once_each_function_was_answered() {
        const ANSWERED: &str = r#"{"process":0,"type":"invoke","f":"put","key":"a","value":1}
{"process":0,"type":"ok","f":"put","key":"a","value":{"revision":2}}
{"process":0,"type":"invoke","f":"get","key":"a"}
{"process":0,"type":"ok","f":"get","key":"a","value":{"revision":2,"kvs":[]}}
{"process":0,"type":"invoke","f":"txn","value":{"compare":[],"then":[],"else":[]}}
{"process":0,"type":"ok","f":"txn","value":{"revision":2,"succeeded":true,"responses":[]}}
"#;
        let workload = Workload {
            clients: 1,
            registers: 3,
            pause: Duration::from_millis(10),
        };
        let time = Duration::from_secs(5);
        let mut generator = workload.generator(time, OVERTIME);
        let mut random = Random::new(1);
        let mut over_at = |now, generator: &mut dyn Generator| {
            let mut context = Context {
                now,
                free: &[Process::Client(0)],
                open: 0,
                clients: 1,
                random: &mut random,
            };
            matches!(generator.next(&mut context), Next::Done)
        };
        assert!(!over_at(Duration::ZERO, &mut generator));
        let history = read(ANSWERED.as_bytes(), None).unwrap();
        for operation in history.clients() {
            assert!(!over_at(time, &mut generator));
            generator.completed(operation);
        }
        assert!(over_at(time, &mut generator));
    }
}
