//! The connections that read the state, lent out one at a time.
//!
//! A point read costs a few microseconds and runs where the request is, on whatever thread that is; a large one runs
//! beside the tasks. Both take a connection from here, and none keeps it for longer than its one read.

use std::sync::{Mutex, PoisonError};

use crate::database::Place;
use crate::state::{Reader, StateError};

/// Connections that are kept when nobody uses them. More are opened when more read at once, which the number of threads
/// bounds, and closed again.
const KEPT: usize = 4;

/// Readers of one state database.
pub struct Readers {
    place: Place,
    idle: Mutex<Vec<Reader>>,
}

impl Readers {
    /// Readers of the state at `place`, which must be open for writing.
    ///
    /// # Errors
    /// When the first cannot be opened.
    pub fn open(place: &Place) -> Result<Self, StateError> {
        let first = Reader::open(place)?;
        Ok(Self {
            place: place.clone(),
            idle: Mutex::new(vec![first]),
        })
    }

    /// Lends a reader to `read`.
    ///
    /// # Errors
    /// What `read` answers, or that no further connection can be opened.
    pub fn with<T, E: From<StateError>>(
        &self,
        read: impl FnOnce(&Reader) -> Result<T, E>,
    ) -> Result<T, E> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = idle().pop();
        let reader = match kept {
            Some(reader) => reader,
            None => Reader::open(&self.place)?,
        };
        let answer = read(&reader);
        let mut idle = idle();
        if idle.len() < KEPT {
            idle.push(reader);
        }
        answer
    }
}
