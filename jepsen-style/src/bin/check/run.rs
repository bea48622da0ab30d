//! Reads, judges and prints, file by file.

use std::fmt;
use std::fs::File;
use std::io::{BufReader, Write};
use std::path::Path;
use std::time::Instant;

use quorate_jepsen_style::check::{Report, Verdict};
use quorate_jepsen_style::deadline;
use quorate_jepsen_style::history::read::{Fault, ReadError, read_within};
use serde_json::json;

use crate::args::{Exit, Output, Plan};
use crate::progress::{self, Progress};

/// Judges every file and says how the program ends: with the worst that it met.
pub(crate) fn run(plan: &Plan) -> Exit {
    let mut worst = Exit::Pass;
    progress::shown(plan.files.len(), plan.timeout, |progress| {
        for file in &plan.files {
            let started = now();
            progress.begin(file, started);
            forget_peak();
            // A time too long to add is no bound.
            let end = plan.timeout.and_then(|time| started.checked_add(time));
            let judged = judge_until(end, plan, file, progress);
            progress.end();
            worst = worst.max(exit(&judged));
            let seconds = started.elapsed().as_secs_f64();
            if print(plan.output, file, &judged, seconds).is_err() {
                // Whoever was to read this has gone.
                break;
            }
        }
    });
    worst
}

fn exit(judged: &Judged) -> Exit {
    match judged {
        Ok((report, _)) => match report.verdict {
            Verdict::Pass => Exit::Pass,
            Verdict::Fail => Exit::Fail,
            Verdict::Unknown | Verdict::NotRun => Exit::Unknown,
        },
        Err(_) => Exit::BadInput,
    }
}

/// Why there is no verdict on a file.
enum Trouble {
    /// It could not be opened.
    Unopened(std::io::Error),
    /// It is no recording.
    Unread(ReadError),
}

impl fmt::Display for Trouble {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unopened(error) => write!(formatter, "cannot be opened: {error}"),
            Self::Unread(error) => error.fmt(formatter),
        }
    }
}

/// The report, and how many operations it is on.
type Judged = Result<(Report, usize), Trouble>;

/// Reads and judges a file until `end`.
fn judge_until(end: Option<Instant>, plan: &Plan, file: &Path, progress: &Progress) -> Judged {
    deadline::within(end, || judge(plan, file, progress)).unwrap_or_else(|passed| {
        let reason = format!("{passed}: it was not even read");
        Ok((Report::unknown(reason), 0))
    })
}

fn judge(plan: &Plan, file: &Path, progress: &Progress) -> Judged {
    #[expect(
        clippy::disallowed_methods,
        reason = "a command of its own, on a real disk"
    )]
    let opened = File::open(file);
    let opened = opened.map_err(Trouble::Unopened)?;
    let size = opened.metadata().map_or(0, |metadata| metadata.len());
    let input = BufReader::with_capacity(1 << 20, progress.reading(opened, size));
    let mut history = match read_within(input, plan.format, plan.limits) {
        Ok(history) => history,
        // The recording may be good: nothing can be said of it, not even that.
        Err(error) if error.fault == Fault::Memory => {
            return Ok((Report::unknown(error.to_string()), 0));
        }
        Err(error) => return Err(Trouble::Unread(error)),
    };
    if plan.independent {
        history = history.split_pairs();
    }
    let operations = history.len();
    progress.judging(operations);
    Ok(((plan.model)(&history, &plan.settings), operations))
}

fn print(output: Output, file: &Path, judged: &Judged, seconds: f64) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    match (output, judged) {
        (Output::Text, Ok((report, operations))) => {
            writeln!(
                out,
                "{}: {report} ({operations} operations, {seconds:.3} s)",
                file.display()
            )
        }
        (Output::Text, Err(error)) => {
            out.flush()?;
            eprintln!("{}: {error}", file.display());
            Ok(())
        }
        (Output::Json, Ok((report, operations))) => {
            let line = json!({
                "file": file.display().to_string(),
                "verdict": report.verdict,
                "reason": report.reason,
                "operations": operations,
                "seconds": seconds,
                "peak_memory": peak_memory(),
                "witness": report.witness,
                "details": report.details,
                "parts": report.parts,
            });
            writeln!(out, "{line}")
        }
        (Output::Json, Err(error)) => {
            let place = match error {
                Trouble::Unopened(_) => None,
                Trouble::Unread(error) => Some((error.line, error.column)),
            };
            let problem = match error {
                Trouble::Unopened(_) => error.to_string(),
                Trouble::Unread(error) => error.problem.clone(),
            };
            let line = json!({
                "file": file.display().to_string(),
                "verdict": Verdict::Unknown,
                "reason": error.to_string(),
                "error": problem,
                "line": place.map(|(line, _)| line),
                "column": place.map(|(_, column)| column),
                "operations": 0,
                "seconds": seconds,
                "peak_memory": peak_memory(),
                "witness": [],
                "details": {},
                "parts": {},
            });
            writeln!(out, "{line}")
        }
    }
}

/// Lets the system forget how much memory was resident before, so that [`peak_memory`] is that of one file. Where it does
/// not let itself be told so, the peak is that of the process.
fn forget_peak() {
    #[expect(
        clippy::disallowed_methods,
        reason = "a request to the system in the form of a file"
    )]
    let _ = std::fs::write("/proc/self/clear_refs", "5");
}

/// The most memory that was resident since [`forget_peak`], in bytes, where the system tells. What was resident then counts:
/// the program itself, and what it has not given back.
fn peak_memory() -> Option<u64> {
    #[expect(
        clippy::disallowed_methods,
        reason = "an answer of the system in the form of a file"
    )]
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes * 1024)
}

fn now() -> Instant {
    #[expect(
        clippy::disallowed_methods,
        reason = "a command of its own, on a real clock"
    )]
    Instant::now()
}
