//! A smaller history with the same verdict.
//!
//! Taking an operation out of a history can make it illegal for a reason that was never in it: a read of a value whose write
//! has been taken out. So an operation is *forgotten* rather than removed: its outcome becomes unknown, it may have
//! happened or not, and if the history fails even so then it was not needed for the failure. What is forgotten is left
//! out of the result. Every violation in the small history is one of the large.

use super::{Judgement, Linearizability};
use crate::deadline;
use crate::history::{History, Operation, Outcome};
use crate::model::Model;

/// Forgets operations of `history`, ever smaller chunks of them, while `keeps` holds of what is left; gives what could not
/// be forgotten. `attempts` bounds how often `keeps` is asked; the end of a deadline ends it too.
pub fn shrink(
    history: &History,
    attempts: usize,
    mut keeps: impl FnMut(&History) -> bool,
) -> History {
    let mut operations = history.operations().to_vec();
    let mut kept: Vec<usize> = (0..operations.len())
        .filter(|number| operations[*number].outcome == Outcome::Ok)
        .collect();
    let mut attempts = attempts;
    let mut chunk = kept.len();
    while chunk > 0 && attempts > 0 && !deadline::has_passed() {
        let mut from = 0;
        while from < kept.len() && attempts > 0 && !deadline::has_passed() {
            attempts -= 1;
            let to = (from + chunk).min(kept.len());
            let forgotten = kept[from..to].to_vec();
            let before: Vec<Operation> = forgotten
                .iter()
                .map(|number| operations[*number].clone())
                .collect();
            forgotten
                .iter()
                .for_each(|number| forget(&mut operations[*number]));
            if keeps(&History::new(operations.clone())) {
                kept.drain(from..to);
            } else {
                for (number, operation) in forgotten.into_iter().zip(before) {
                    operations[number] = operation;
                }
                from = to;
            }
        }
        chunk /= 2;
    }
    let was_doubtful = |number: &usize| history.operations()[*number].outcome == Outcome::Unknown;
    let left = (0..operations.len())
        .filter(|number| kept.binary_search(number).is_ok() || was_doubtful(number));
    History::new(left.map(|number| operations[number].clone()).collect())
        .with_story(history.story())
}

fn forget(operation: &mut Operation) {
    operation.outcome = Outcome::Unknown;
    operation.output = crate::history::Value::Nil;
}

impl<M: Model> Linearizability<M> {
    /// The operations of an illegal history that it takes to be illegal.
    pub fn shrink(&self, history: &History, attempts: usize) -> History {
        shrink(history, attempts, |smaller| {
            matches!(self.judge(smaller), Judgement::Illegal { .. })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::read::{Format, read};
    use crate::model::register::CasRegister;

    fn event(process: u32, kind: &str, function: &str, value: &str) -> String {
        format!(
            "{{\"process\":{process},\"type\":\"{kind}\",\"f\":\"{function}\",\"value\":{value}}}\n"
        )
    }

    #[test]
    fn what_nobody_knows_of_stays_or_a_good_read_would_look_bad() {
        let log = [
            event(1, "invoke", "write", "1"),
            event(2, "invoke", "read", "null"),
            event(2, "ok", "read", "1"),
            event(2, "invoke", "read", "null"),
            event(2, "ok", "read", "null"),
        ];
        let history = read(log.concat().as_bytes(), Some(Format::JsonLines)).unwrap();
        let small = Linearizability::of(CasRegister::default()).shrink(&history, 1000);
        assert_eq!(small, history);
    }

    #[test]
    fn what_is_left_is_what_it_takes() {
        let mut log = String::new();
        let mut one = |process: u32, function: &str, asked: &str, answered: &str| {
            for (kind, value) in [("invoke", asked), ("ok", answered)] {
                log += &event(process, kind, function, value);
            }
        };
        for round in 0..20 {
            one(1, "write", &round.to_string(), &round.to_string());
            one(2, "read", "null", &round.to_string());
        }
        one(3, "read", "null", "7");
        let history = read(log.as_bytes(), Some(Format::JsonLines)).unwrap();
        let small = Linearizability::of(CasRegister::default()).shrink(&history, 1000);
        let left: Vec<String> = small.operations().iter().map(ToString::to_string).collect();
        // The write of 7, one write after it that had returned, and the late read.
        assert!(left.len() <= 3, "{left:?}");
        assert!(
            left.contains(&"process 3: read -> 7".to_owned()),
            "{left:?}"
        );
    }
}
