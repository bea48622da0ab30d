//! A lease does not expire before its time is over: counted from when it was granted, and again from when the leader that
//! sees it expire began to lead, for a new leader gives every lease its whole time again, and clients are told so.
//!
//! Time is the world's. What a clock that runs fast may cost is for whoever decides expiry to say; so far nobody does, and
//! leases end because a client asks, or as a test says.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate::runtime::Event;

use super::{Invariant, Seen, Violation};

/// How many terms are remembered with the time at which somebody began to lead in them.
const TERMS: usize = 1_000;

/// Leases that live, and since when.
#[derive(Debug, Default)]
pub(super) struct LeaseLives {
    /// Nodes that lag behind tell again what others have told.
    told_to: u64,
    granted: BTreeMap<i64, Grant>,
    led: BTreeMap<u64, Duration>,
}

#[derive(Debug)]
struct Grant {
    since: Duration,
    ttl: Duration,
}

impl LeaseLives {
    fn is_news(&mut self, at: u64) -> bool {
        let is_news = at > self.told_to;
        self.told_to = self.told_to.max(at);
        is_news
    }
}

impl Invariant for LeaseLives {
    fn name(&self) -> &'static str {
        "lease lives"
    }

    fn check(&mut self, seen: &Seen<'_>) -> Result<(), Violation> {
        match *seen.event {
            Event::Led { term } => {
                self.led.entry(term).or_insert(seen.time);
                if self.led.len() > TERMS {
                    self.led.pop_first();
                }
            }
            Event::LeaseGranted { at, lease, ttl } if self.is_news(at) => {
                let since = seen.time;
                self.granted.insert(lease, Grant { since, ttl });
            }
            Event::LeaseRevoked {
                at,
                lease,
                expired_in,
            } if self.is_news(at) => {
                let Some((grant, term)) = self.granted.remove(&lease).zip(expired_in) else {
                    return Ok(());
                };
                let led = self.led.get(&term).copied().unwrap_or_default();
                let lived = seen.time - grant.since.max(led);
                if lived < grant.ttl {
                    return Err(Violation::LeaseEarly {
                        lease,
                        term,
                        lived,
                        ttl: grant.ttl,
                    });
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tell;
    use super::*;

    const TTL: Duration = Duration::from_secs(3);

    fn granted(host: u16, at: u64) -> (u16, Event) {
        let (lease, ttl) = (7, TTL);
        (host, Event::LeaseGranted { at, lease, ttl })
    }

    fn revoked(host: u16, at: u64, expired_in: Option<u64>) -> (u16, Event) {
        let lease = 7;
        let event = Event::LeaseRevoked {
            at,
            lease,
            expired_in,
        };
        (host, event)
    }

    fn led(term: u64) -> (u16, Event) {
        (1, Event::Led { term })
    }

    fn early(term: u64, seconds: u64) -> Result<(), Violation> {
        Err(Violation::LeaseEarly {
            lease: 7,
            term,
            lived: Duration::from_secs(seconds),
            ttl: TTL,
        })
    }

    #[test]
    fn lease_that_expires_before_its_time_is_seen() {
        let pause = || led(1);
        let whole = [
            led(1),
            granted(1, 5),
            pause(),
            pause(),
            revoked(1, 6, Some(1)),
        ];
        assert_eq!(tell(LeaseLives::default(), 3, &whole), Ok(()));
        let cut = [led(1), granted(1, 5), pause(), revoked(1, 6, Some(1))];
        assert_eq!(tell(LeaseLives::default(), 3, &cut), early(1, 2));
        let asked_for = [led(1), granted(1, 5), revoked(1, 6, None)];
        assert_eq!(tell(LeaseLives::default(), 3, &asked_for), Ok(()));
    }

    #[test]
    fn new_leader_gives_the_whole_time_again() {
        let story = [
            led(1),
            granted(1, 5),
            led(2),
            led(2),
            revoked(1, 6, Some(2)),
        ];
        assert_eq!(tell(LeaseLives::default(), 3, &story), early(2, 2));
    }

    #[test]
    fn node_that_lags_behind_tells_nothing_new() {
        let story = [
            led(1),
            granted(1, 5),
            led(1),
            led(1),
            revoked(1, 6, Some(1)),
            granted(2, 5),
            revoked(2, 6, Some(1)),
        ];
        assert_eq!(tell(LeaseLives::default(), 3, &story), Ok(()));
        let granted_again = [&story[..5], &[granted(1, 7), revoked(1, 8, Some(1))]].concat();
        assert_eq!(tell(LeaseLives::default(), 3, &granted_again), early(1, 1));
    }
}
