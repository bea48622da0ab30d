//! The one way that this crate takes a lock.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Takes the lock, also after a panic: a simulated node that panics is a finding to report, and the world around it has
/// to live on to report it.
pub(crate) fn guard<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
