//! What the rows took, of all turns the quickest and the slowest.

use std::fmt;

/// What a turn of a row took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    /// CPU seconds of the thread.
    pub(crate) cpu: f64,
    /// Simulated seconds.
    pub(crate) simulated: f64,
    /// CPU seconds that TLS took of them, computed.
    pub(crate) tls: f64,
}

/// What a row counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unit {
    /// Simulated seconds in a CPU-second.
    SimulatedSeconds,
    /// So many acknowledged writes, in a CPU-second.
    Writes(u32),
    /// CPU milliseconds.
    CpuMillis,
    /// CPU seconds.
    CpuSeconds,
}

impl Unit {
    /// The figure of a turn if it had taken so much CPU time.
    fn figure(self, spent: &Spent, cpu: f64) -> f64 {
        match self {
            Self::SimulatedSeconds => spent.simulated / cpu,
            Self::Writes(writes) => f64::from(writes) / cpu,
            Self::CpuMillis => cpu * 1e3,
            Self::CpuSeconds => cpu,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::SimulatedSeconds => "sim s / CPU s",
            Self::Writes(_) => "writes / CPU s",
            Self::CpuMillis => "CPU ms",
            Self::CpuSeconds => "CPU s",
        }
    }
}

/// A row and its turns.
struct Row {
    world: &'static str,
    name: String,
    unit: Unit,
    turns: Vec<Spent>,
}

/// The rows in the order in which they first came.
#[derive(Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// Notes a turn of a row.
    ///
    /// # Panics
    /// When it did something else than the turn before: a seed is the same run each time.
    pub(crate) fn note(&mut self, world: &'static str, name: &str, unit: Unit, spent: Spent) {
        let mut rows = self.rows.iter_mut();
        let Some(row) = rows.find(|row| row.world == world && row.name == name) else {
            self.rows.push(Row {
                world,
                name: name.to_owned(),
                unit,
                turns: vec![spent],
            });
            return;
        };
        let same = row.unit == unit && (row.turns[0].simulated - spent.simulated).abs() < 1e-6;
        assert!(
            same,
            "{world}, {name}: not the same run: {unit:?}, {spent:?}"
        );
        row.turns.push(spent);
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<8} {:<15} {:>5} {:>8} {:>8} {:>7} {:>9} {:>9} {:>6} {:>9} {:>9}  unit",
            "world",
            "row",
            "turns",
            "CPU s",
            "sim s",
            "writes",
            "figure",
            "slowest",
            "TLS %",
            "plain",
            "slowest"
        )?;
        for row in &self.rows {
            row.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let by_cpu = |one: &&Spent, other: &&Spent| one.cpu.total_cmp(&other.cpu);
        let turns = || self.turns.iter();
        let (Some(quickest), Some(slowest)) = (turns().min_by(by_cpu), turns().max_by(by_cpu))
        else {
            return Ok(());
        };
        let writes = match self.unit {
            Unit::Writes(writes) => writes,
            _ => 0,
        };
        let with_tls = |spent: &Spent| self.unit.figure(spent, spent.cpu);
        let without = |spent: &Spent| self.unit.figure(spent, spent.cpu - spent.tls);
        writeln!(
            f,
            "{:<8} {:<15} {:>5} {:>8.3} {:>8.1} {writes:>7} {:>9.1} {:>9.1} {:>6.1} {:>9.1} {:>9.1}  {}",
            self.world,
            self.name,
            self.turns.len(),
            quickest.cpu,
            quickest.simulated,
            with_tls(quickest),
            with_tls(slowest),
            quickest.tls / quickest.cpu * 100.0,
            without(quickest),
            without(slowest),
            self.unit.name(),
        )
    }
}
