//! Trouble at the named points of core, as a seed says.
//!
//! Which points make trouble at all is drawn once for a run, and how often; the same on all machines. A run in which every
//! point makes a little of it would hardly ever see one of them often.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use rand::RngExt;
use rand::rngs::SmallRng;

use crate::seed::Seed;

/// Every point of core, so that one at which nothing ever happened is missed.
pub const POINTS: [&str; 22] = [
    "buggify/append.answer-lost",
    "buggify/apply.begun",
    "buggify/apply.committed",
    "buggify/join.admitted",
    "buggify/join.judged",
    "buggify/leadership.hand-over",
    "buggify/leadership.heir-chosen",
    "buggify/leadership.planned",
    "buggify/log.taken",
    "buggify/log.written",
    "buggify/read.index-named",
    "buggify/read.unsure",
    "buggify/role.log-given-up",
    "buggify/role.stores-made",
    "buggify/roles.decided",
    "buggify/snapshot.durable",
    "buggify/snapshot.installed",
    "buggify/snapshot.not-sent",
    "buggify/snapshot.opened",
    "buggify/snapshot.received",
    "buggify/view.not-taken",
    "buggify/view.taken",
];

/// What happens at a point.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stumble {
    /// Everything else goes first.
    Yield,
    /// It takes so long.
    Delay(Duration),
    /// The power goes, and comes back after so long.
    Crash(Duration),
    /// What may fail there fails.
    Fail,
}

impl fmt::Display for Stumble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Yield => f.write_str("yields"),
            Self::Delay(time) => write!(f, "waits {time:?}"),
            Self::Crash(time) => write!(f, "loses its power for {time:?}"),
            Self::Fail => f.write_str("fails"),
        }
    }
}

/// The points as one machine meets them.
#[derive(Debug)]
pub struct Points {
    /// What the run says of the points, while they make trouble.
    run: Option<Seed>,
    rng: SmallRng,
    fired: BTreeMap<&'static str, u64>,
    dark_for: Option<Duration>,
}

impl Points {
    /// Points that make no trouble yet.
    #[must_use]
    pub fn new(seed: Seed) -> Self {
        Self {
            run: None,
            rng: seed.rng(),
            fired: BTreeMap::new(),
            dark_for: None,
        }
    }

    /// Lets them make trouble from now on, as `run` says, or not any more.
    pub fn switch(&mut self, run: Option<Seed>) {
        self.run = run;
    }

    /// How often each has made trouble.
    #[must_use]
    pub fn fired(&self) -> BTreeMap<&'static str, u64> {
        self.fired.clone()
    }

    /// How long the power stays away that a point has cut, once.
    pub fn take_dark(&mut self) -> Option<Duration> {
        self.dark_for.take()
    }

    /// What happens at a point that is passed now.
    pub fn stumble(&mut self, point: &'static str) -> Option<Stumble> {
        self.strikes(point)?;
        let stumble = match self.rng.random_range(0..100) {
            0..55 => Stumble::Delay(self.time(200)),
            55..96 => Stumble::Yield,
            _ => Stumble::Crash(self.time(3_000)),
        };
        if let Stumble::Crash(time) = stumble {
            self.dark_for = Some(time);
        }
        Some(stumble)
    }

    /// Whether what may fail at a point fails now.
    pub fn fails(&mut self, point: &'static str) -> bool {
        self.strikes(point).is_some()
    }

    fn strikes(&mut self, point: &'static str) -> Option<()> {
        let rate = rate(self.run?, point);
        if rate == 0 || !self.rng.random_ratio(rate, 1000) {
            return None;
        }
        *self.fired.entry(point).or_default() += 1;
        Some(())
    }

    /// Mostly short, at most so many milliseconds.
    fn time(&mut self, most: u32) -> Duration {
        let part: f64 = self.rng.random_range(0.0..1.0);
        Duration::from_millis(most.into()).mul_f64(part * part * part)
    }
}

/// How often a point makes trouble in a run, in a thousand times; never for most.
fn rate(run: Seed, point: &str) -> u32 {
    let mut rng = run.labelled(point).rng();
    if !rng.random_bool(0.4) {
        return 0;
    }
    [5, 20, 100][rng.random_range(0..3)]
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    const NAMES: [&str; 6] = ["a", "b", "c", "d", "e", "f"];

    /// The names of points in the sources of core.
    #[expect(clippy::disallowed_methods, reason = "reads sources")]
    fn in_core(directory: &Path, found: &mut BTreeSet<String>) {
        for entry in fs::read_dir(directory).expect("sources") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                in_core(&path, found);
            } else if !path.ends_with("runtime/buggify.rs") {
                let text = fs::read_to_string(&path).expect("text");
                let names = text.split("\"buggify/").skip(1);
                let names = names.filter_map(|rest| rest.split('"').next());
                found.extend(names.map(|name| format!("buggify/{name}")));
            }
        }
    }

    #[test]
    fn every_point_of_core_is_known_here() {
        let mut found = BTreeSet::new();
        in_core(
            &Path::new(env!("CARGO_MANIFEST_DIR")).join("../core/src"),
            &mut found,
        );
        assert!(found.iter().map(String::as_str).eq(POINTS));
    }

    /// What a machine meets in a run.
    fn met(machine: u64, run: u64) -> Vec<Option<Stumble>> {
        let mut points = Points::new(Seed::new(machine));
        points.switch(Some(Seed::new(run)));
        (0..600)
            .map(|turn| points.stumble(NAMES[turn % NAMES.len()]))
            .collect()
    }

    #[test]
    fn trouble_follows_from_the_seeds_and_some_points_make_none() {
        assert_eq!(met(1, 1), met(1, 1));
        assert_ne!(met(1, 1), met(2, 1));
        let silent = |run| {
            let quiet = |point: &&&str| rate(Seed::new(run), point) == 0;
            NAMES.iter().filter(quiet).count()
        };
        let silences: Vec<usize> = (0..20).map(silent).collect();
        assert!(silences.iter().any(|count| *count > 0), "{silences:?}");
        assert!(silences.iter().any(|count| *count < NAMES.len()));
        let distinct = silences.iter().collect::<BTreeSet<_>>();
        assert!(distinct.len() > 2, "how many differs by run: {silences:?}");
        let all: Vec<Stumble> = (0..40).flat_map(|run| met(1, run)).flatten().collect();
        let of = |kind: fn(&Stumble) -> bool| all.iter().filter(|stumble| kind(stumble)).count();
        let yields = of(|stumble| *stumble == Stumble::Yield);
        let delays = of(|stumble| matches!(stumble, Stumble::Delay(_)));
        let crashes = of(|stumble| matches!(stumble, Stumble::Crash(_)));
        assert!(yields > 0 && delays > 0 && crashes > 0 && crashes < yields);
    }

    #[test]
    fn points_that_are_off_make_no_trouble_and_every_firing_is_counted() {
        let mut points = Points::new(Seed::new(1));
        assert!((0..1000).all(|_| points.stumble("a").is_none() && !points.fails("b")));
        points.switch((0..).map(Seed::new).find(|run| rate(*run, "a") == 100));
        let fired = (0..1000).filter(|_| points.fails("a")).count() as u64;
        assert!((50..200).contains(&fired), "{fired}");
        assert_eq!(points.fired(), BTreeMap::from([("a", fired)]));
    }
}
