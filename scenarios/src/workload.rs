//! What clients ask: reads and unique writes on a few registers.
//!
//! Every write writes another number, so that a read says who wrote, and a history is judged in the time of a sort.

use std::time::Duration;

use quorate_jepsen_style::generator::{
    Ask, Context, Generator, Next, Unique, from_fn, mix, stagger, time_limit,
};
use quorate_jepsen_style::history::{Operation, Process, Value};

use crate::scenario::Workload;

impl Workload {
    /// What is asked for so long.
    #[must_use]
    pub fn generator(&self, time: Duration) -> impl Generator + use<> {
        let registers = self.registers;
        let register = move |context: &mut Context<'_>| {
            let drawn = context.random.below(registers);
            Value::Integer(i64::try_from(drawn).expect("there are few registers"))
        };
        let mut values = Unique::default();
        let write = from_fn(move |context| {
            let key = register(context);
            Some(Ask::new("write").of(key).with(values.value()))
        });
        let read = from_fn(move |context| Some(Ask::new("read").of(register(context))));
        let mixed = mix(vec![(1, Box::new(write)), (1, Box::new(read))]);
        time_limit(time, stagger(self.pause, Anyone(mixed)))
    }
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
    fn all_clients_ask_all_registers_and_no_value_comes_twice() {
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
        let (mut askers, mut keys, mut written) = (BTreeSet::new(), BTreeSet::new(), Vec::new());
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
                    keys.insert(ask.key);
                    written.extend((!ask.input.is_nil()).then_some(ask.input));
                }
                Next::Wait(until) => now = until,
                Next::Blocked => panic!("everybody is free"),
                Next::Done => break,
            }
        }
        assert_eq!((askers.len(), keys.len()), (4, 3));
        let distinct: BTreeSet<&Value> = written.iter().collect();
        assert_eq!(distinct.len(), written.len());
        assert!(written.len() > 100, "{}", written.len());
    }
}
