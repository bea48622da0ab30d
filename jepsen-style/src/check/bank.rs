//! Banks: money moves and is never made.
//!
//! Operations: `transfer {from, to, amount}`, and `read` whose answer maps each account to its balance. Every read must show
//! every account and the same total: a read that shows another total saw half a transfer, which no isolation above read
//! committed allows.

use std::collections::BTreeSet;

use super::{Checker, Report};
use crate::history::{History, Operation, Value};

/// Whether an account may be overdrawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overdraft {
    /// Balances may be negative.
    Allowed,
    /// A balance below zero is an error.
    Forbidden,
}

/// Judges reads of all accounts.
#[derive(Clone, Copy, Debug)]
pub struct Bank {
    /// The sum of all balances; if it is not given, the first read says it.
    pub total: Option<i64>,
    /// Whether balances may be negative.
    pub overdraft: Overdraft,
}

impl Checker for Bank {
    fn check(&self, history: &History) -> Report {
        let reads = history
            .clients()
            .filter(|operation| operation.function.as_str() == "read" && operation.is_ok());
        let mut expected: Option<(i128, BTreeSet<&Value>)> = None;
        let (mut errors, mut count) = (Vec::new(), 0_u64);
        for read in reads {
            count += 1;
            let balances = match balances(read) {
                Ok(balances) => balances,
                Err(error) => {
                    errors.push(error);
                    continue;
                }
            };
            let accounts: BTreeSet<&Value> = balances.iter().map(|(account, _)| *account).collect();
            let total: i128 = balances
                .iter()
                .map(|(_, balance)| i128::from(*balance))
                .sum();
            let (wanted, all) = expected
                .get_or_insert_with(|| (self.total.map_or(total, i128::from), accounts.clone()));
            if accounts != *all {
                errors.push(format!("other accounts than in the first read: {read}"));
            } else if total != *wanted {
                errors.push(format!(
                    "the total is {total} and should be {wanted}: {read}"
                ));
            } else if self.overdraft == Overdraft::Forbidden
                && balances.iter().any(|(_, balance)| *balance < 0)
            {
                errors.push(format!("a balance is negative: {read}"));
            }
        }
        let report = match errors.len() {
            _ if count == 0 => Report::unknown("the accounts were never read"),
            0 => Report::pass(),
            wrong => Report::fail(format!("{wrong} reads are wrong: {}", errors[0]))
                .with_witness(errors.into_iter().take(8)),
        };
        report.with("reads", count)
    }
}

/// What each account held.
fn balances<'a>(read: &'a Operation) -> Result<Vec<(&'a Value, i64)>, String> {
    let entries = read
        .output
        .as_map()
        .ok_or_else(|| format!("no map of accounts: {read}"))?;
    let balance = |(account, balance): &'a (Value, Value)| match balance.as_integer() {
        Some(balance) => Ok((account, balance)),
        None => Err(format!("no balance for account {account}: {read}")),
    };
    entries.iter().map(balance).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Verdict;
    use super::super::testing::{history, ok};
    use super::*;

    const BANK: Bank = Bank {
        total: None,
        overdraft: Overdraft::Forbidden,
    };

    fn accounts(balances: &[i64]) -> Value {
        Value::map(
            (0_i64..)
                .zip(balances)
                .map(|(account, balance)| (account.into(), (*balance).into())),
        )
    }

    #[test]
    fn an_account_without_a_balance_is_an_error() {
        let half = Value::map([(0.into(), 10.into()), (1.into(), Value::Nil)]);
        let report = BANK.check(&history([ok(0, (0, 1), "read", Value::Nil, half)]));
        assert_eq!(report.verdict, Verdict::Fail);
        assert!(
            report.reason.contains("no balance for account 1"),
            "{report}"
        );
    }

    proptest! {
        /// Reads between whole transfers pass; a read in the middle of one does not.
        #[test]
        fn reads_between_transfers_pass_and_reads_within_fail(
            transfers in prop::collection::vec((0_usize..3, 0_usize..3, 1_i64..5), 1..8), torn in prop::option::of(0_usize..8)
        ) {
            let mut state = [100_i64; 3];
            let mut reads = vec![state];
            let mut is_torn = false;
            for (place, (from, to, amount)) in transfers.iter().enumerate() {
                state[*from] -= amount;
                if torn == Some(place) {
                    is_torn = true;
                    reads.push(state);
                }
                state[*to] += amount;
                reads.push(state);
            }
            let operations = (0_u32..).zip(&reads).map(|(place, state)| {
                ok(0, (2 * place, 2 * place + 1), "read", Value::Nil, accounts(state))
            });
            let expected = if is_torn { Verdict::Fail } else { Verdict::Pass };
            prop_assert_eq!(BANK.check(&history(operations)).verdict, expected);
        }
    }
}
