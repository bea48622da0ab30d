//! A lock whose grants carry fencing numbers: `acquire` (answer: the number of the grant), `release`, and `use` of a number
//! at the resource that the lock guards (answer: whether it was let in).
//!
//! Two promises are kept apart. A lock that is held until it is released never has two holders. A lock that expires may,
//! for a while, in the eyes of a holder that sleeps; there the numbers protect: each grant has a larger one than all
//! before it, and the resource lets no smaller number in once it has seen a larger.

use super::Model;
use crate::history::{Operation, Process, Value};

/// A lock with fencing numbers.
#[derive(Debug, Clone, Copy)]
pub struct Lock {
    ends: Ends,
}

/// How a grant ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ends {
    /// Only by its holder's release.
    ByRelease,
    /// By release, or by itself at any moment.
    ByExpiry,
}

impl Lock {
    /// A lock whose grants end so.
    pub fn ending(ends: Ends) -> Self {
        Self { ends }
    }
}

/// What the lock and the resource remember.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    holder: Option<Process>,
    granted: i64,
    seen: i64,
}

/// What can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Call {
    /// Granted with this number; `None` when nobody knows which.
    Acquire(Process, Option<i64>),
    /// Given back.
    Release(Process),
    /// The resource was approached with this number; `None` when nobody knows whether it was let in.
    Use(i64, Option<bool>),
}

impl Model for Lock {
    type State = State;
    type Call = Call;

    fn init(&self) -> State {
        State {
            holder: None,
            granted: 0,
            seen: 0,
        }
    }

    fn call(&self, operation: &Operation) -> Result<Option<Call>, String> {
        let process = operation.process;
        Ok(Some(match operation.function.as_str() {
            "acquire" if operation.is_ok() => Call::Acquire(
                process,
                Some(
                    operation
                        .output
                        .as_integer()
                        .ok_or("acquire answers a number")?,
                ),
            ),
            "acquire" => Call::Acquire(process, None),
            "release" => Call::Release(process),
            "use" => {
                let number = operation
                    .input
                    .as_integer()
                    .ok_or("use takes the number of a grant")?;
                Call::Use(
                    number,
                    operation
                        .is_ok()
                        .then_some(operation.output != Value::Bool(false)),
                )
            }
            other => {
                return Err(format!(
                    "a lock knows acquire, release and use, not {other}"
                ));
            }
        }))
    }

    fn step(&self, state: &State, call: &Call) -> Option<State> {
        let mut after = state.clone();
        match call {
            Call::Acquire(process, number) => {
                let number = number.unwrap_or(state.granted.saturating_add(1));
                let is_free = state.holder.is_none() || self.ends == Ends::ByExpiry;
                if !is_free || number <= state.granted {
                    return None;
                }
                after.holder = Some(*process);
                after.granted = number;
            }
            Call::Release(process) if state.holder == Some(*process) => after.holder = None,
            // What expired may be released in vain.
            Call::Release(_) if self.ends == Ends::ByExpiry => {}
            Call::Release(_) => return None,
            Call::Use(number, let_in) => {
                let fresh = *number >= state.seen;
                if let_in.is_some_and(|let_in| let_in != fresh) {
                    return None;
                }
                after.seen = state.seen.max(*number);
            }
        }
        Some(after)
    }

    fn part<'a>(&self, operation: &'a Operation) -> Option<&'a Value> {
        Some(&operation.key)
    }

    fn is_pure(&self, call: &Call) -> bool {
        matches!(call, Call::Use(_, Some(false)))
    }

    fn describe(&self, state: &State) -> String {
        let holder = state
            .holder
            .map_or_else(|| "free".to_owned(), |process| format!("held by {process}"));
        format!(
            "{holder}, last grant {}, last seen at the resource {}",
            state.granted, state.seen
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ONE: Process = Process::Client(1);
    const OTHER: Process = Process::Client(2);

    /// The state after all of `calls`, if each can have its answer.
    fn after(ends: Ends, calls: &[Call]) -> Option<State> {
        let lock = Lock::ending(ends);
        calls
            .iter()
            .try_fold(lock.init(), |state, call| lock.step(&state, call))
    }

    fn acquired(process: Process, number: i64) -> Call {
        Call::Acquire(process, Some(number))
    }

    #[test]
    fn numbers_of_grants_grow() {
        for ends in [Ends::ByRelease, Ends::ByExpiry] {
            let again = |number| {
                [
                    acquired(ONE, 3),
                    Call::Release(ONE),
                    acquired(OTHER, number),
                ]
            };
            assert!(after(ends, &again(4)).is_some());
            assert!(after(ends, &again(9)).is_some());
            assert!(after(ends, &again(3)).is_none());
            assert!(after(ends, &again(2)).is_none());
        }
    }

    #[test]
    fn a_grant_that_nobody_saw_has_the_next_number() {
        let unseen = [
            acquired(ONE, 3),
            Call::Release(ONE),
            Call::Acquire(OTHER, None),
        ];
        let state = after(Ends::ByRelease, &unseen);
        assert_eq!(state.map(|state| state.granted), Some(4));
    }

    #[test]
    fn only_its_holder_releases_a_lock_that_does_not_expire() {
        let by_another = [acquired(ONE, 1), Call::Release(OTHER)];
        assert!(after(Ends::ByRelease, &by_another).is_none());
        assert!(after(Ends::ByRelease, &[Call::Release(ONE)]).is_none());
        // What expired may be released in vain, and that takes nothing from the one who holds it now.
        let state = after(Ends::ByExpiry, &by_another);
        assert_eq!(state.and_then(|state| state.holder), Some(ONE));
    }

    #[test]
    fn a_lock_that_is_held_is_not_granted_unless_it_may_have_expired() {
        let both = [acquired(ONE, 1), acquired(OTHER, 2)];
        assert!(after(Ends::ByRelease, &both).is_none());
        assert!(after(Ends::ByExpiry, &both).is_some());
    }

    #[test]
    fn the_resource_lets_in_who_is_not_behind() {
        let used = |number, let_in| Call::Use(number, Some(let_in));
        let ends = Ends::ByExpiry;
        assert!(after(ends, &[used(2, true), used(2, true), used(3, true)]).is_some());
        assert!(after(ends, &[used(2, true), used(1, false)]).is_some());
        assert!(after(ends, &[used(2, true), used(1, true)]).is_none());
        assert!(after(ends, &[used(2, true), used(2, false)]).is_none());
        // Whether a use of unknown outcome was let in is not known, but if it was, it counts.
        assert!(after(ends, &[Call::Use(5, None), used(4, true)]).is_none());
    }
}
