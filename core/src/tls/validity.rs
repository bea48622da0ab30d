//! From when until when a certificate is good, and when to renew it.

use std::time::Duration;

use rustls::pki_types::CertificateDer;
use time::OffsetDateTime;

use super::TlsError;
use super::name::parse;
use crate::runtime::WallTime;

/// Clocks of two nodes may differ by this much without a fresh certificate being refused.
pub const BACK_DATED: Duration = Duration::from_secs(3_600);

/// How long a node's certificate is good for. A node that was switched off for longer than what is left of it has to be joined
/// again, so it is not short; removal does not wait for it.
pub const NODE_LIFE: Duration = Duration::from_secs(365 * 24 * 3_600);

/// How long the CA's own certificate is good for.
pub const AUTHORITY_LIFE: Duration = Duration::from_secs(20 * 365 * 24 * 3_600);

/// A certificate's span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first moment at which it is good.
    pub not_before: WallTime,
    /// The last.
    pub not_after: WallTime,
}

impl Validity {
    /// A span of `life` that begins now; back-dated, for clocks that are late.
    #[must_use]
    pub fn starting(now: WallTime, life: Duration) -> Self {
        Self {
            not_before: now - BACK_DATED,
            not_after: now + life,
        }
    }

    /// What a certificate says.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, TlsError> {
        let millis = |seconds: i64| {
            WallTime::from_millis(u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000))
        };
        let parsed = parse(certificate)?;
        let validity = parsed.validity();
        Ok(Self {
            not_before: millis(validity.not_before.timestamp()),
            not_after: millis(validity.not_after.timestamp()),
        })
    }

    /// Why it is not good yet at `now`, if so: the clock of whoever signed it is ahead by more than certificates are back-dated.
    #[must_use]
    pub fn not_good_yet(&self, now: WallTime) -> Option<String> {
        (now < self.not_before).then(|| {
            let ahead = self.not_before.millis() - now.millis();
            let minutes = (Duration::from_millis(ahead) + BACK_DATED).as_secs() / 60;
            format!(
                "the clock of the node that signs certificates is {minutes} minutes ahead of this machine's: set the one that is wrong"
            )
        })
    }

    /// When a third of it is left.
    #[must_use]
    pub fn renewal_due(&self) -> WallTime {
        let life = self
            .not_after
            .millis()
            .saturating_sub(self.not_before.millis());
        WallTime::from_millis(self.not_before.millis() + life / 3 * 2)
    }

    /// Whether the certificate should be replaced now.
    #[must_use]
    pub fn needs_renewal(&self, now: WallTime) -> bool {
        now >= self.renewal_due()
    }

    /// Until when it is good at `now`, and what becomes of it, for the operator of the node that it belongs to.
    #[must_use]
    pub fn in_words(&self, now: WallTime) -> String {
        let (expires, due) = (self.not_after, self.renewal_due());
        if now > expires {
            format!(
                "expired at {expires}: no other node accepts it. Remove the node from its cluster, and join anew with --wipe"
            )
        } else if now < self.not_before {
            format!("not good before {}: a clock is wrong", self.not_before)
        } else if now > due {
            format!("good until {expires}; its renewal has been due since {due}")
        } else {
            format!("good until {expires}; it renews itself from {due} on")
        }
    }

    pub(super) fn apply(self, parameters: &mut rcgen::CertificateParams) {
        parameters.not_before = date(self.not_before);
        parameters.not_after = date(self.not_after);
    }
}

/// Certificates know whole seconds, and years of four digits.
fn date(time: WallTime) -> OffsetDateTime {
    const LAST: i64 = 253_402_300_799;
    let seconds = i64::try_from(time.seconds()).unwrap_or(LAST).min(LAST);
    OffsetDateTime::from_unix_timestamp(seconds).expect("between 1970 and 9999")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renewal_is_due_at_two_thirds() {
        let now = WallTime::from_millis(1_000_000_000_000);
        let validity = Validity::starting(now, Duration::from_secs(8 * 3_600));
        assert_eq!(validity.not_before, now - Duration::from_secs(3_600));
        let due = now + Duration::from_secs(5 * 3_600);
        assert!(validity.needs_renewal(due));
        assert!(!validity.needs_renewal(due - Duration::from_millis(1)));
    }

    #[test]
    fn the_operator_is_told_what_becomes_of_it() {
        let now = WallTime::from_millis(1_764_000_000_000);
        let validity = Validity::starting(now, Duration::from_secs(8 * 3_600));
        let hours = |hours: u64| validity.in_words(now + Duration::from_secs(hours * 3_600));
        assert_eq!(
            hours(0),
            "good until 2025-11-25T00:00:00Z; it renews itself from 2025-11-24T21:00:00Z on"
        );
        assert!(hours(7).contains("due since 2025-11-24T21:00:00Z"));
        assert!(hours(9).starts_with("expired at 2025-11-25T00:00:00Z"));
        let late = validity.in_words(now - Duration::from_secs(2 * 3_600));
        assert!(late.contains("a clock is wrong"), "{late}");
    }

    #[test]
    fn no_time_is_out_of_range() {
        assert_eq!(date(WallTime::from_millis(u64::MAX)).year(), 9999);
        assert_eq!(date(WallTime::from_millis(0)).year(), 1970);
    }
}
