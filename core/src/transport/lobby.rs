//! Who is at a listener: connections that still shake hands, guests, and everybody else.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::runtime::Instant;

/// Lines of the log that refused handshakes may write at once, and in what span they earn one more: whoever knocks without
/// end must not fill a disk with it.
const MOST_LINES: u32 = 20;
const LINE_EARNED_IN: Duration = Duration::from_secs(1);

/// The open connections of one listener, by number.
#[derive(Debug)]
pub(super) struct Lobby {
    most_handshakes: usize,
    guests: Arc<Semaphore>,
    present: Mutex<Present>,
}

#[derive(Debug, Default)]
struct Present {
    /// Tells each open connection to end. One sender for each: a shared signal would be polled under a lock by every
    /// connection at every request.
    open: BTreeMap<u64, oneshot::Sender<()>>,
    /// Those whose handshake is not over; the oldest first, as numbers grow.
    shaking: BTreeSet<u64>,
    refused: Refused,
}

/// What the log has said lately of refused handshakes.
#[derive(Debug, Default)]
struct Refused {
    /// Lines written, less those that are long enough ago.
    lines: u32,
    /// Since when the next one is being earned.
    since: Option<Instant>,
    /// Refusals that were not written down.
    unsaid: u64,
}

impl Present {
    fn end(&mut self, number: u64) {
        self.shaking.remove(&number);
        if let Some(stop) = self.open.remove(&number) {
            // A connection that has just ended does not listen any more.
            let _ = stop.send(());
        }
    }
}

impl Lobby {
    /// With room for so many handshakes and guests at a time.
    pub(super) fn new(most_handshakes: u32, most_guests: u32) -> Self {
        Self {
            most_handshakes: most_handshakes as usize,
            guests: Arc::new(Semaphore::new(most_guests as usize)),
            present: Mutex::default(),
        }
    }

    /// A connection comes in; what it gets completes when it should end. If too many shake hands, the one that has done so
    /// for longest goes: whoever means it is done in a moment, and only those who do not are still there.
    pub(super) fn enter(&self, number: u64) -> oneshot::Receiver<()> {
        let mut present = self.present();
        if present.shaking.len() >= self.most_handshakes
            && let Some(oldest) = present.shaking.first().copied()
        {
            present.end(oldest);
        }
        let (sender, stop) = oneshot::channel();
        present.open.insert(number, sender);
        present.shaking.insert(number);
        stop
    }

    /// Its handshake is over.
    pub(super) fn greeted(&self, number: u64) {
        self.present().shaking.remove(&number);
    }

    /// A place for a guest, held for as long as it stays; none when there are too many.
    pub(super) fn guest(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.guests).try_acquire_owned().ok()
    }

    /// It has ended.
    pub(super) fn leave(&self, number: u64) {
        self.present().end(number);
    }

    /// A handshake was refused. Whether the log should say so, and then how many before it were passed over.
    pub(super) fn refused(&self, now: Instant) -> Option<u64> {
        let mut present = self.present();
        let refused = &mut present.refused;
        let since = *refused.since.get_or_insert(now);
        let earned = now.since(since).as_secs() / LINE_EARNED_IN.as_secs();
        if earned > 0 {
            let earned = u32::try_from(earned).unwrap_or(u32::MAX);
            refused.lines = refused.lines.saturating_sub(earned);
            refused.since = Some(now);
        }
        if refused.lines == MOST_LINES {
            refused.unsaid += 1;
            return None;
        }
        refused.lines += 1;
        Some(std::mem::take(&mut refused.unsaid))
    }

    /// All are told to end.
    pub(super) fn say_goodbye(&self) {
        let everybody = std::mem::take(&mut *self.present());
        for (_, stop) in everybody.open {
            let _ = stop.send(());
        }
    }

    fn present(&self) -> MutexGuard<'_, Present> {
        self.present.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_without_end_write_few_lines() {
        let lobby = Lobby::new(1, 0);
        let at = |seconds| Instant::from_start(Duration::from_secs(seconds));
        let said = |now| {
            (0..1_000)
                .filter_map(|_| lobby.refused(now))
                .collect::<Vec<_>>()
        };
        assert_eq!(said(at(0)), [0; 20]);
        assert_eq!(said(at(3)), [980, 0, 0]);
        assert!(said(at(3)).is_empty());
        assert_eq!(said(at(1_000)).len(), 20);
    }

    #[test]
    fn the_one_that_shakes_hands_for_longest_makes_room() {
        let lobby = Lobby::new(2, 0);
        let mut stops: Vec<_> = (1..=3).map(|number| lobby.enter(number)).collect();
        assert_eq!(stops[0].try_recv(), Ok(()));
        lobby.greeted(2);
        stops.push(lobby.enter(4));
        assert!(
            stops[1..].iter_mut().all(|stop| stop.try_recv().is_err()),
            "there was room"
        );
        stops.push(lobby.enter(5));
        assert_eq!(stops[2].try_recv(), Ok(()));
        lobby.say_goodbye();
        assert_eq!(stops[1].try_recv(), Ok(()));
    }
}
