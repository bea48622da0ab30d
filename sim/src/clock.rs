//! The clocks of one machine, which are never quite right.
//!
//! The monotonic clock drifts and may jump forward, as after a suspended virtual machine; it never goes back. The wall
//! clock follows it, and beside that is offset by hand or strobes between two times.

use std::collections::BTreeMap;
use std::time::Duration;

use quorate::runtime::{Instant, WallTime};

/// Where wall time starts in every world: the first moment of 2026, in milliseconds since the Unix epoch.
const EPOCH_MILLIS: i64 = 1_767_225_600_000;
/// What a rate is counted in.
const MILLION: u128 = 1_000_000;

/// A wall clock that somebody sets forth and back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Strobe {
    /// After so long it is set the other way.
    pub period: Duration,
    /// How far, in milliseconds.
    pub millis: i64,
}

/// What may be wrong with clocks for a while.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClockTrouble {
    /// They run faster or slower by so many millionths.
    Drift(i32),
    /// They jumped forward.
    Jump(Duration),
    /// Wall time is off by so many milliseconds.
    Bump(i64),
    /// Wall time goes forth and back.
    Strobe(Strobe),
}

/// How a machine's clocks are wrong by themselves, which nobody heals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ClockError {
    /// By so many milliseconds its wall time is off from the start.
    pub millis: i64,
    /// By so many millionths both run too fast.
    pub per_million: i32,
}

/// A trouble that began, to end it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClockTroubleId(u64);

impl ClockTroubleId {
    /// The trouble of this number; a world gives each of a machine's another one.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }
}

/// The clocks of one machine.
#[derive(Debug, Clone)]
pub struct MachineClock {
    /// What the monotonic clock showed when its rate last changed, and when that was.
    shown: Duration,
    at: Duration,
    /// What is wrong with them by themselves.
    built: ClockError,
    /// By how many millionths it is too fast by itself.
    own_drift: i32,
    wall_offset_millis: i64,
    strobe: Option<Strobe>,
    /// What is wrong for a while, and since when. Several add up, and each ends by itself.
    troubles: BTreeMap<ClockTroubleId, (Duration, ClockTrouble)>,
    begun: u64,
}

impl MachineClock {
    /// Clocks that are right.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            shown: Duration::ZERO,
            at: Duration::ZERO,
            built: ClockError {
                millis: 0,
                per_million: 0,
            },
            own_drift: 0,
            wall_offset_millis: 0,
            strobe: None,
            troubles: BTreeMap::new(),
            begun: 0,
        }
    }

    /// Makes them wrong by themselves: before the machine is used.
    pub fn build(&mut self, error: ClockError) {
        self.built = error;
        self.own_drift = error.per_million;
        self.wall_offset_millis = error.millis;
    }

    /// How many of its microseconds a second takes.
    fn rate(&self) -> u32 {
        if self.troubles.is_empty() && self.own_drift == 0 {
            return 1_000_000;
        }
        let drifts = self.troubles.values().map(|(_, trouble)| match trouble {
            ClockTrouble::Drift(per_million) => *per_million,
            _ => 0,
        });
        let drift = drifts.fold(self.own_drift, i32::saturating_add);
        1_000_000_u32.saturating_add_signed(drift).max(1)
    }

    /// The monotonic clock, when the world has run for `elapsed`.
    #[must_use]
    pub fn now(&self, elapsed: Duration) -> Instant {
        let real = elapsed.saturating_sub(self.at);
        Instant::from_start(self.shown + self.by_its_rate(real))
    }

    /// How far it goes on in so much time.
    fn by_its_rate(&self, real: Duration) -> Duration {
        // Most clocks are right, and all are asked all the time.
        match self.rate() {
            1_000_000 => real,
            rate => nanos(real.as_nanos() * u128::from(rate) / MILLION),
        }
    }

    /// The wall clock.
    #[must_use]
    pub fn wall(&self, elapsed: Duration) -> WallTime {
        let strobed = |strobe: &Strobe| {
            let odd = elapsed.as_nanos() / strobe.period.as_nanos().max(1) % 2 == 1;
            if odd { strobe.millis } else { 0 }
        };
        let troubles = self.troubles.values().map(|(_, trouble)| match trouble {
            ClockTrouble::Bump(millis) => *millis,
            ClockTrouble::Strobe(strobe) => strobed(strobe),
            ClockTrouble::Drift(_) | ClockTrouble::Jump(_) => 0,
        });
        let own = self.strobe.as_ref().map_or(0, strobed);
        let offset = self.wall_offset_millis + own + troubles.sum::<i64>();
        let monotonic =
            i64::try_from(self.now(elapsed).since_start().as_millis()).unwrap_or(i64::MAX / 2);
        WallTime::from_millis(u64::try_from(EPOCH_MILLIS + monotonic + offset).unwrap_or(0))
    }

    /// How long the world has to run until the monotonic clock has gone on by `duration`: never too short.
    #[must_use]
    pub fn real(&self, duration: Duration) -> Duration {
        match self.rate() {
            1_000_000 => duration,
            rate => nanos((duration.as_nanos() * MILLION).div_ceil(u128::from(rate))),
        }
    }

    /// Lets the clocks run faster or slower by so many millionths from now on.
    pub fn drift(&mut self, elapsed: Duration, per_million: i32) {
        self.reach(elapsed);
        self.own_drift = per_million;
    }

    /// What was shown until now stays, whatever the rate becomes.
    fn reach(&mut self, elapsed: Duration) {
        self.shown = self.now(elapsed).since_start();
        self.at = elapsed;
    }

    /// Something goes wrong, beside what is wrong already.
    pub fn begin(&mut self, elapsed: Duration, trouble: ClockTrouble) -> ClockTroubleId {
        self.reach(elapsed);
        if let ClockTrouble::Jump(by) = trouble {
            self.jump(by);
        }
        self.begun += 1;
        let id = ClockTroubleId(self.begun);
        self.troubles.insert(id, (elapsed, trouble));
        id
    }

    /// One trouble ends, and wall time is as if it had not been; the monotonic clock keeps what it has gained or lost. Nothing
    /// happens when a heal has ended it before.
    pub fn end(&mut self, elapsed: Duration, id: ClockTroubleId) {
        self.reach(elapsed);
        let Some((since, trouble)) = self.troubles.remove(&id) else {
            return;
        };
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(0);
        self.wall_offset_millis -= match trouble {
            ClockTrouble::Drift(per_million) => {
                millis(elapsed.saturating_sub(since)) * i64::from(per_million) / 1_000_000
            }
            ClockTrouble::Jump(by) => millis(by),
            ClockTrouble::Bump(_) | ClockTrouble::Strobe(_) => 0,
        };
    }

    /// Both clocks jump forward.
    pub fn jump(&mut self, duration: Duration) {
        self.shown += duration;
    }

    /// Sets the wall clock off by so much, in addition to what it was off by.
    pub fn bump_wall(&mut self, millis: i64) {
        self.wall_offset_millis += millis;
    }

    /// Lets the wall clock strobe, or stop strobing.
    pub fn strobe_wall(&mut self, strobe: Option<Strobe>) {
        self.strobe = strobe;
    }

    /// All troubles end: wall time is as right again as the machine has it by itself, and the rate, too; the monotonic clock keeps
    /// what it has gained or lost.
    pub fn heal(&mut self, elapsed: Duration) {
        self.reach(elapsed);
        self.troubles.clear();
        self.drift(elapsed, self.built.per_million);
        let ahead = i128::try_from(self.shown.as_millis()).unwrap_or(0)
            - i128::try_from(elapsed.as_millis()).unwrap_or(0);
        self.wall_offset_millis = self.built.millis + i64::try_from(-ahead).unwrap_or(0);
        self.strobe = None;
    }
}

impl Default for MachineClock {
    fn default() -> Self {
        Self::new()
    }
}

fn nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(secs: u64) -> Duration {
        Duration::from_secs(secs)
    }

    #[test]
    fn what_is_wrong_by_itself_outlasts_a_heal() {
        let mut clock = MachineClock::new();
        let right = clock.wall(Duration::ZERO);
        clock.build(ClockError {
            millis: -5_000,
            per_million: 100_000,
        });
        assert_eq!(right.millis() - clock.wall(Duration::ZERO).millis(), 5_000);
        assert_eq!(clock.now(secs(10)).since_start(), secs(11));
        clock.begin(secs(10), ClockTrouble::Bump(60_000));
        clock.heal(secs(10));
        let healed = clock.wall(secs(10)).millis();
        assert_eq!(healed, right.millis() + 10_000 - 5_000);
        assert_eq!(
            clock.now(secs(20)).since_start(),
            secs(22),
            "at its own rate"
        );
    }

    #[test]
    fn drift_changes_the_rate_and_never_the_past() {
        let mut clock = MachineClock::new();
        clock.drift(secs(100), 100_000);
        assert_eq!(clock.now(secs(100)).since_start(), secs(100));
        assert_eq!(clock.now(secs(110)).since_start(), secs(111));
        clock.drift(secs(110), -500_000);
        assert_eq!(clock.now(secs(112)).since_start(), secs(112));
        clock.jump(secs(5));
        assert_eq!(clock.now(secs(112)).since_start(), secs(117));
    }

    #[test]
    fn wait_is_never_shorter_than_asked_by_the_own_clock() {
        let mut clock = MachineClock::new();
        for per_million in [-300_000, -1, 0, 1, 7, 300_000] {
            clock.drift(secs(1), per_million);
            for millis in [1, 3, 50, 299] {
                let duration = Duration::from_millis(millis);
                let before = clock.now(secs(1));
                assert!(
                    clock.now(secs(1) + clock.real(duration)) - before >= duration,
                    "{per_million} {millis}"
                );
            }
        }
    }

    #[test]
    fn trouble_that_ends_ends_no_other() {
        let mut clock = MachineClock::new();
        let right = clock.wall(secs(0)).millis();
        let after = |seconds: u64, off: i64| right + seconds * 1_000 + off.unsigned_abs();
        let bump = clock.begin(secs(0), ClockTrouble::Bump(7_000));
        let drift = clock.begin(secs(10), ClockTrouble::Drift(500_000));
        let jump = clock.begin(secs(10), ClockTrouble::Jump(secs(3)));
        assert_eq!(
            clock.wall(secs(20)).millis(),
            after(20, 7_000 + 5_000 + 3_000)
        );
        clock.end(secs(20), jump);
        assert_eq!(clock.wall(secs(20)).millis(), after(20, 7_000 + 5_000));
        clock.end(secs(20), drift);
        assert_eq!(clock.wall(secs(30)).millis(), after(30, 7_000));
        assert_eq!(
            clock.now(secs(30)).since_start(),
            secs(38),
            "it never goes back"
        );
        let strobe = Strobe {
            period: secs(1),
            millis: 500,
        };
        let strobe = clock.begin(secs(30), ClockTrouble::Strobe(strobe));
        clock.end(secs(30), bump);
        assert_eq!(clock.wall(secs(31)).millis(), after(31, 500));
        clock.heal(secs(31));
        clock.end(secs(31), strobe);
        assert_eq!(clock.wall(secs(31)).millis(), after(31, 0));
    }

    #[test]
    fn wall_clock_is_bumped_and_strobes_and_heals() {
        let mut clock = MachineClock::new();
        let right = clock.wall(secs(10)).millis();
        clock.bump_wall(-3_600_000);
        assert_eq!(clock.wall(secs(10)).millis(), right - 3_600_000);
        clock.strobe_wall(Some(Strobe {
            period: secs(1),
            millis: 500,
        }));
        assert_eq!(
            clock.wall(secs(11)).millis() - clock.wall(secs(10)).millis(),
            1500
        );
        clock.jump(secs(40));
        clock.heal(secs(10));
        assert_eq!(clock.wall(secs(10)).millis(), right);
    }
}
