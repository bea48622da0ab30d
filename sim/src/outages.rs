//! How a world hears that a machine's power went, which happens inside of the machine: at a write, or at a named point.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};

use crate::sync::guard;

/// Where the disks of a world say that their power went. Clones are the same place.
#[derive(Clone, Default)]
pub struct Outages {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    happened: AtomicBool,
    waiting: Mutex<Option<Waker>>,
}

impl Outages {
    /// One happens.
    pub(crate) fn tell(&self) {
        self.inner.happened.store(true, Ordering::SeqCst);
        if let Some(waiting) = guard(&self.inner.waiting).take() {
            waiting.wake();
        }
    }

    /// Whether one happened since this was last asked.
    pub(crate) fn take(&self) -> bool {
        self.inner.happened.swap(false, Ordering::SeqCst)
    }

    /// Ready when one happened since this was last asked; until then somebody waits for it.
    pub(crate) fn poll(&self, context: &Context<'_>) -> Poll<()> {
        *guard(&self.inner.waiting) = Some(context.waker().clone());
        if self.take() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}
