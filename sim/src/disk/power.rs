//! Whether a disk has power: asked whenever a task is polled, and so without the disk's lock.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::outages::Outages;

/// The power of a disk, on at first.
#[derive(Default)]
pub(super) struct Power {
    is_off: AtomicBool,
    outages: OnceLock<Outages>,
}

impl Power {
    pub(super) fn is_on(&self) -> bool {
        !self.is_off.load(Ordering::SeqCst)
    }

    /// Answers whether it was on.
    pub(super) fn cut(&self) -> bool {
        let was_on = !self.is_off.swap(true, Ordering::SeqCst);
        if let Some(outages) = self.outages.get().filter(|_| was_on) {
            outages.tell();
        }
        was_on
    }

    pub(super) fn restore(&self) {
        self.is_off.store(false, Ordering::SeqCst);
    }

    /// Where its end is told; the first place that is named stays.
    pub(super) fn set_outages(&self, outages: Outages) {
        let _ = self.outages.set(outages);
    }
}
