//! Unique ids: no id is given out twice.
//!
//! Operations: `generate`, answered with an id. An id that was made but whose answer was lost collides with nothing that
//! anybody knows.

use std::collections::BTreeMap;

use super::{Checker, Report};
use crate::history::{History, Operation, Value};

/// Judges ids given out.
#[derive(Clone, Copy, Debug)]
pub struct UniqueIds;

impl Checker for UniqueIds {
    fn check(&self, history: &History) -> Report {
        let mut owners: BTreeMap<&Value, &Operation> = BTreeMap::new();
        let (mut twice, mut count) = (Vec::new(), 0_u64);
        let generated = history
            .clients()
            .filter(|operation| operation.function.as_str() == "generate");
        for operation in generated.filter(|operation| operation.is_ok()) {
            count += 1;
            if let Some(first) = owners.insert(&operation.output, operation) {
                twice.push(format!(
                    "{} was given to process {} at {} and to process {} at {}",
                    operation.output,
                    first.process,
                    first.invoked.order,
                    operation.process,
                    operation.invoked.order
                ));
            }
        }
        let report = match twice.len() {
            _ if count == 0 => Report::unknown("no id was given out"),
            0 => Report::pass(),
            times => Report::fail(format!("{times} ids were given out again: {}", twice[0]))
                .with_witness(twice.into_iter().take(8)),
        };
        report.with("ids", count)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Verdict;
    use super::super::testing::{history, ok, unknown};
    use super::*;

    proptest! {
        /// The twin compares every pair.
        #[test]
        fn an_id_given_twice_is_found(ids in prop::collection::vec(0_i64..12, 1..8)) {
            let operations = (0_u32..).zip(&ids).map(|(place, id)| {
                ok(place, (2 * place, 2 * place + 1), "generate", Value::Nil, *id)
            });
            let collides = (0..ids.len()).any(|one| (0..one).any(|other| ids[one] == ids[other]));
            let report = UniqueIds.check(&history(operations));
            prop_assert_eq!(report.verdict == Verdict::Fail, collides);
        }
    }

    #[test]
    fn an_id_whose_answer_was_lost_collides_with_nothing() {
        let history = history([
            unknown(0, (0, 1), "generate", Value::Nil),
            ok(1, (2, 3), "generate", Value::Nil, 1),
        ]);
        assert_eq!(UniqueIds.check(&history).verdict, Verdict::Pass);
    }
}
