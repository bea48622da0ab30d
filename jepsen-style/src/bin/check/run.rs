//! Reads, judges and prints, file by file.

use std::fs::File;
use std::io::{BufReader, Write};
use std::path::Path;
use std::time::Instant;

use quorate_jepsen_style::check::{Report, Verdict};
use quorate_jepsen_style::history::read::{ReadError, read};
use serde_json::json;

use crate::args::{Exit, Output, Plan};
use crate::progress::Progress;

/// Judges every file and says how the program ends: with the worst that it met.
pub(crate) fn run(plan: &Plan) -> Exit {
    let mut worst = Exit::Pass;
    let progress = Progress::over(plan.files.len());
    for file in &plan.files {
        progress.at(file);
        let started = now();
        let judged = judge(plan, file);
        progress.clear();
        let exit = match &judged {
            Ok((report, _)) => match report.verdict {
                Verdict::Pass => Exit::Pass,
                Verdict::Fail => Exit::Fail,
                Verdict::Unknown | Verdict::NotRun => Exit::Unknown,
            },
            Err(_) => Exit::BadInput,
        };
        worst = worst.max(exit);
        if print(plan.output, file, &judged, started.elapsed().as_secs_f64()).is_err() {
            // Whoever was to read this has gone.
            break;
        }
    }
    worst
}

fn judge(plan: &Plan, file: &Path) -> Result<(Report, usize), ReadError> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a command of its own, on a real disk"
    )]
    let opened = File::open(file);
    let opened = opened.map_err(|error| ReadError {
        line: 0,
        column: 0,
        problem: error.to_string(),
    })?;
    let mut history = read(BufReader::with_capacity(1 << 20, opened), plan.format)?;
    if plan.independent {
        history = history.split_pairs();
    }
    let operations = history.len();
    Ok(((plan.model)(&history, &plan.settings), operations))
}

fn print(
    output: Output,
    file: &Path,
    judged: &Result<(Report, usize), ReadError>,
    seconds: f64,
) -> std::io::Result<()> {
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
            let line = json!({
                "file": file.display().to_string(),
                "error": error.problem,
                "line": error.line,
                "column": error.column,
                "seconds": seconds,
            });
            writeln!(out, "{line}")
        }
    }
}

/// The most memory that the process ever had, in bytes, where the system tells.
fn peak_memory() -> Option<u64> {
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
