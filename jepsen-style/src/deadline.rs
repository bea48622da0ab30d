//! The moment at which work is given up.
//!
//! Reading and judging are deep and plain: loops within loops, in code that has no other reason to fail. So the end of their
//! time unwinds the thread that works, from the loop that notices it to [`within`], as a panic would but without its words.
//! Nothing goes on behind the caller's back, and what the work held is freed on the way.
//!
//! Loops that may be long call [`look`] once a round. It is a countdown in a thread-local cell; the clock is asked once in
//! [`STRIDE`] looks, and not at all where no deadline is set.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::Instant;

/// Looks between two looks at the clock.
const STRIDE: u32 = 256;

thread_local! {
    static DEADLINE: Cell<Option<Instant>> = const { Cell::new(None) };
    static LOOKS: Cell<u32> = const { Cell::new(0) };
}

/// The deadline passed before the work was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("it did not end within its time")]
pub struct Passed;

/// Puts the deadline back that was there before, however the work ends.
struct Before(Option<Instant>);

impl Drop for Before {
    fn drop(&mut self) {
        DEADLINE.set(self.0);
    }
}

/// Does `work` on this thread until `deadline`, for as long as it takes if there is none. Within another call the earlier
/// deadline holds. Threads that the work starts itself do not know of it unless it hands them [`current`].
pub fn within<T>(deadline: Option<Instant>, work: impl FnOnce() -> T) -> Result<T, Passed> {
    let outer = DEADLINE.get();
    let both = outer.zip(deadline).map(|(outer, inner)| outer.min(inner));
    let before = Before(outer);
    DEADLINE.set(both.or(outer).or(deadline));
    // The first look asks the clock: work that comes too late is not begun.
    LOOKS.set(0);
    // What the work left half-done is dropped with it and not looked at again.
    let done = catch_unwind(AssertUnwindSafe(work));
    drop(before);
    done.map_err(|panic| {
        if panic.is::<Passed>() {
            Passed
        } else {
            resume_unwind(panic)
        }
    })
}

/// The deadline of the work that this thread does.
pub fn current() -> Option<Instant> {
    DEADLINE.get()
}

/// Whether the deadline of this thread's work has passed.
pub fn has_passed() -> bool {
    DEADLINE.get().is_some_and(|deadline| deadline <= now())
}

/// Ends the work if its deadline has passed.
#[inline]
pub fn look() {
    let looks = LOOKS.get();
    if looks == 0 {
        look_at_the_clock();
    } else {
        LOOKS.set(looks - 1);
    }
}

#[cold]
fn look_at_the_clock() {
    LOOKS.set(STRIDE);
    look_closely();
}

/// Ends the work if its deadline has passed, asking the clock now: for rounds that are long by themselves.
pub fn look_closely() {
    if has_passed() {
        resume_unwind(Box::new(Passed));
    }
}

/// The clock that bounds of time go by.
pub(crate) fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "a bound of wall time is about this machine, never about a simulated one"
    )]
    Instant::now()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn endless_work_ends_and_the_thread_works_on() {
        let endless = || {
            loop {
                look();
            }
        };
        let soon = now() + Duration::from_millis(5);
        assert_eq!(within::<()>(Some(soon), endless), Err(Passed));
        assert_eq!(current(), None);
        assert_eq!(within(None, || 7), Ok(7));
    }

    #[test]
    fn the_earlier_of_two_deadlines_holds() {
        let (past, future) = (now(), now() + Duration::from_secs(3600));
        assert_eq!(
            within(Some(past), || within(Some(future), look)),
            Ok(Err(Passed))
        );
        assert_eq!(
            within(Some(future), || within(Some(past), look)),
            Ok(Err(Passed))
        );
        assert_eq!(within(Some(past), || within(None, look)), Ok(Err(Passed)));
    }
}
