//! What server processes of this machine spent, read from `/proc`.

use crate::exit::{Context, Exit, Failure};
use serde::Serialize;
use std::fs;

/// One process at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Usage {
    /// User and system time of all threads.
    cpu_us: u64,
    resident_bytes: u64,
    /// What reached the block layer: counted once a page is written back, whoever asked for it.
    written_bytes: u64,
}

/// What the servers spent between two moments.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Cost {
    /// All servers together, for one operation.
    pub(super) cpu_us_per_op: f64,
    /// The largest of them, at the end.
    pub(super) resident_bytes_max: u64,
    /// All servers together.
    pub(super) written_bytes: u64,
    /// The share of one core that one server used, on average.
    pub(super) cpu_share_each: f64,
}

impl Usage {
    pub(super) fn read(pid: u32) -> Result<Self, Failure> {
        let file = |name: &str| {
            let path = format!("/proc/{pid}/{name}");
            fs::read_to_string(&path).context(Exit::Failed, format!("reading {path}"))
        };
        let malformed = || Failure::new(Exit::Failed, format!("/proc/{pid} has an unknown form"));
        Ok(Self {
            cpu_us: cpu_ticks(&file("stat")?).ok_or_else(malformed)? * 1_000_000
                / ticks_per_second(),
            resident_bytes: field(&file("status")?, "VmRSS:").ok_or_else(malformed)? * 1024,
            written_bytes: field(&file("io")?, "write_bytes:").ok_or_else(malformed)?,
        })
    }

    pub(super) fn read_all(pids: &[u32]) -> Result<Vec<Self>, Failure> {
        pids.iter().map(|&pid| Usage::read(pid)).collect()
    }
}

impl Cost {
    /// `before` and `after` are readings of the same processes in the same order.
    pub(super) fn between(before: &[Usage], after: &[Usage], ops: u64, seconds: f64) -> Self {
        let spent = |of: fn(&Usage) -> u64| {
            let sum = |usages: &[Usage]| usages.iter().map(of).sum::<u64>();
            sum(after).saturating_sub(sum(before))
        };
        let cpu_us = spent(|usage| usage.cpu_us) as f64;
        Self {
            cpu_us_per_op: (cpu_us / ops.max(1) as f64 * 10.0).round() / 10.0,
            resident_bytes_max: after
                .iter()
                .map(|usage| usage.resident_bytes)
                .max()
                .unwrap_or(0),
            written_bytes: spent(|usage| usage.written_bytes),
            cpu_share_each: cpu_us / 1e6 / seconds.max(1e-9) / after.len().max(1) as f64,
        }
    }
}

/// `utime` and `stime` of a `stat` line. The process's name stands in brackets before them and may hold anything, so
/// the count starts at the last bracket.
fn cpu_ticks(stat: &str) -> Option<u64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

/// The number after `name` at the start of a line.
fn field(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

fn ticks_per_second() -> u64 {
    rustix::param::clock_ticks_per_second()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_with_brackets_and_blanks_does_not_shift_the_fields() {
        let stat = "42 (a ) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 7 5 0 0 20 0 1 0 99 1 2";
        assert_eq!(cpu_ticks(stat), Some(12));
        assert_eq!(cpu_ticks("42 (short) S 1"), None);
    }

    #[test]
    fn a_field_is_found_by_its_whole_name() {
        let io = "rchar: 1\nwchar: 2\nwrite_bytes: 4096\ncancelled_write_bytes: 7\n";
        assert_eq!(field(io, "write_bytes:"), Some(4096));
        assert_eq!(field("VmRSS:\t    1234 kB\n", "VmRSS:"), Some(1234));
        assert_eq!(field(io, "absent:"), None);
    }

    #[test]
    fn this_process_can_be_read() {
        let usage = Usage::read(std::process::id()).unwrap();
        assert!(usage.resident_bytes > 0);
        assert!(Usage::read(u32::MAX).is_err());
    }

    #[test]
    fn a_cost_is_what_was_spent_between() {
        let usage = |cpu_us, resident_bytes, written_bytes| Usage {
            cpu_us,
            resident_bytes,
            written_bytes,
        };
        let before = [usage(1_000_000, 10, 100), usage(2_000_000, 20, 200)];
        let after = [usage(2_000_000, 30, 150), usage(2_500_000, 25, 250)];
        let cost = Cost::between(&before, &after, 1_000, 10.0);
        assert_eq!(cost.cpu_us_per_op, 1_500.0);
        assert_eq!(cost.resident_bytes_max, 30);
        assert_eq!(cost.written_bytes, 100);
        assert!((cost.cpu_share_each - 0.075).abs() < 1e-9);
    }
}
