//! How far the clocks of a joiner and of the cluster may be apart.

use std::fmt;
use std::time::Duration;

use crate::runtime::WallTime;
use crate::tls::validity::BACK_DATED;

/// From here on a fresh certificate may not be good yet where it is used.
const LIMIT: Duration = BACK_DATED;

/// How wrong a clock is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    minutes: u64,
    behind: bool,
}

impl Gap {
    /// How far the `joiner`'s clock is from the `member`'s; none if both may go on.
    #[must_use]
    pub fn between(joiner: WallTime, member: WallTime) -> Option<Self> {
        let millis = joiner.millis().abs_diff(member.millis());
        (Duration::from_millis(millis) >= LIMIT).then_some(Self {
            minutes: millis / 60_000,
            behind: joiner < member,
        })
    }
}

/// As in "the clock is 61 minutes behind".
impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.behind { "behind" } else { "ahead of" };
        write!(f, "{} minutes {direction}", self.minutes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_hour_is_too_much_in_either_direction() {
        let member = WallTime::from_millis(1_764_000_000_000);
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        for fine in [member, member - minutes(59), member + minutes(59)] {
            assert_eq!(Gap::between(fine, member), None);
        }
        let words = |joiner| Gap::between(joiner, member).unwrap().to_string();
        assert_eq!(words(member - minutes(60)), "60 minutes behind");
        assert_eq!(words(member + minutes(90)), "90 minutes ahead of");
    }
}
