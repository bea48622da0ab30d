//! Join tokens: each admits as many as it was made for.
//!
//! Operations, keyed by the token: `mint USES`; `redeem NODE`, ok if the node was admitted; `revoke`. A node that redeems a
//! token again is admitted once: repeating is no second use. A token admits nobody after its revocation was over, and nobody
//! at all if it was never minted.

use std::collections::BTreeSet;

use super::{Checker, Report};
use crate::history::{History, Operation, Outcome, Value};

/// Judges who was admitted by which token.
#[derive(Clone, Copy, Debug)]
pub struct Tokens;

impl Checker for Tokens {
    fn check(&self, history: &History) -> Report {
        let tokens = history.by_key();
        let admitted =
            |operation: &&Operation| operation.function.as_str() == "redeem" && operation.is_ok();
        let admissions = tokens
            .values()
            .flatten()
            .filter(|operation| admitted(operation))
            .count();
        let mut wrong = Vec::new();
        for (token, operations) in &tokens {
            let redeemed: Vec<&Operation> = operations.iter().copied().filter(admitted).collect();
            wrong.extend(misused(token, operations, &redeemed));
        }
        let report = match wrong.first() {
            None if admissions == 0 => Report::unknown("nobody was admitted"),
            None => Report::pass(),
            Some(first) => Report::fail(first.clone()).with_witness(wrong.into_iter().take(8)),
        };
        report
            .with("tokens", tokens.len())
            .with("admissions", admissions)
    }
}

fn misused(token: &Value, operations: &[&Operation], redeemed: &[&Operation]) -> Vec<String> {
    let mut wrong = Vec::new();
    let mints = || {
        operations.iter().filter(|operation| {
            operation.function.as_str() == "mint" && operation.outcome != Outcome::Failed
        })
    };
    let uses = mints()
        .filter_map(|mint| mint.input.as_integer())
        .max()
        .unwrap_or(0);
    let nodes: BTreeSet<&Value> = redeemed.iter().map(|operation| &operation.input).collect();
    let count = i64::try_from(nodes.len()).unwrap_or(i64::MAX);
    if count > uses {
        let nodes: Vec<String> = nodes.iter().map(ToString::to_string).collect();
        wrong.push(format!(
            "token {token} for {uses} admitted {count}: {}",
            nodes.join(", ")
        ));
    }
    for admission in redeemed {
        if mints().all(|mint| admission.precedes(mint)) && uses > 0 {
            wrong.push(format!(
                "token {token} admitted before it was minted: {admission}"
            ));
        }
        let revoked = operations.iter().any(|operation| {
            operation.function.as_str() == "revoke"
                && operation.is_ok()
                && operation.precedes(admission)
        });
        if revoked {
            wrong.push(format!(
                "token {token} admitted after it was revoked: {admission}"
            ));
        }
    }
    wrong
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Verdict;
    use super::super::testing::{history, ok, on, unknown};
    use super::*;

    #[test]
    fn a_revocation_that_is_not_over_stops_nobody() {
        let run = |end: u32| {
            let operations = [
                ok(0, (0, 1), "mint", 1, Value::Nil),
                ok(0, (2, end), "revoke", Value::Nil, Value::Nil),
                ok(1, (4, 7), "redeem", "n1", Value::Nil),
            ];
            Tokens
                .check(&history(operations.map(|operation| on("t", operation))))
                .verdict
        };
        assert_eq!((run(5), run(3)), (Verdict::Pass, Verdict::Fail));
    }

    proptest! {
        /// The twin counts nodes one by one; unknown and repeated redemptions count for nothing.
        #[test]
        fn a_token_admits_as_many_nodes_as_it_was_made_for(
            uses in 0_i64..4, nodes in prop::collection::vec((0_i64..4, any::<bool>()), 1..6)
        ) {
            let redemptions = (0_u32..).zip(&nodes).map(|(place, (node, is_known))| {
                let span = (10 + 2 * place, 11 + 2 * place);
                if *is_known { ok(1, span, "redeem", *node, Value::Nil) } else { unknown(1, span, "redeem", *node) }
            });
            let mint = ok(0, (0, 1), "mint", uses, Value::Nil);
            let operations = [mint].into_iter().chain(redemptions).map(|operation| on("t", operation));
            let admitted = (0_i64..4).filter(|node| nodes.contains(&(*node, true))).count();
            let report = Tokens.check(&history(operations));
            prop_assert_eq!(report.verdict == Verdict::Fail, admitted > usize::try_from(uses).expect("small"));
        }
    }
}
