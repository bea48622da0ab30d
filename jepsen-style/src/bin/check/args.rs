//! What the user typed, and what the program needs.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use quorate_jepsen_style::check::linear::{Bounds, Partition};
use quorate_jepsen_style::history::read::{Format, Limits};

use crate::models;

/// Judges recorded histories of a distributed system.
///
/// Each file is one history: JSON Lines (one event a line), EDN as Jepsen saves it, or the log lines of Jepsen's first etcd
/// test. Prints one verdict for each file, with the evidence for a failure.
///
/// Exit status: 0 if all pass, 1 on a violation, 2 if something could not be told, 64 for wrong usage, 65 for a file
/// that cannot be read.
///
/// Each name takes operations of its own; `check --example kv` shows those of kv.
#[derive(Parser, Debug)]
#[command(name = "check", version, max_term_width = 100)]
struct Args {
    /// What the system promises.
    #[arg(long, short, value_name = "NAME", required_unless_present = "example", help = models::help())]
    model: Option<String>,

    /// Print the operations that a model or checker takes, with a history that passes and one that does not.
    #[arg(long, value_name = "NAME", exclusive = true)]
    example: Option<String>,

    /// The format of the files [default: recognised from the first letters] [possible: jsonl, edn, etcd-log]
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,

    /// How to print: a page for people, or one JSON object a line.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,

    /// Give a file up after this time, reading included, with the verdict unknown: 500ms, 60s, 5m.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,

    /// Give a file up, with the verdict unknown, when its history takes more than so many megabytes, or the search of a
    /// model more than so many besides. Checkers that are no models of linearizability do not search; they take memory
    /// in proportion to the history.
    #[arg(long, value_name = "MB", default_value_t = 4096)]
    memory: u64,

    /// Refuse a file with a line (in EDN: an event) of more than so many megabytes.
    #[arg(long, value_name = "MB", default_value_t = 64)]
    longest_event: usize,

    /// At most so many threads search the objects of a history [default: all processors]; checkers that are no models
    /// take one.
    #[arg(long, short, value_name = "N")]
    jobs: Option<usize>,

    /// Search all objects of a history together instead of each by itself; for models only.
    #[arg(long)]
    no_partition: bool,

    /// Values are pairs of a key and a value, as Jepsen's independent workloads record them.
    #[arg(long)]
    independent: bool,

    /// After a failure, look for the operations that it takes, and print only those; for models only.
    #[arg(long)]
    shrink: bool,

    /// The histories.
    #[arg(required_unless_present = "example", value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// What the program needs.
pub(crate) struct Plan {
    pub(crate) model: models::Judge,
    pub(crate) settings: models::Settings,
    pub(crate) format: Option<Format>,
    /// For the reading of a file.
    pub(crate) limits: Limits,
    /// For a file from its opening to its verdict.
    pub(crate) timeout: Option<Duration>,
    pub(crate) output: Output,
    pub(crate) independent: bool,
    pub(crate) files: Vec<PathBuf>,
}

/// How the program ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    /// All pass.
    Pass,
    /// Something could not be told.
    Unknown,
    /// A violation.
    Fail,
    /// A file cannot be read.
    BadInput,
    /// Wrong usage.
    Usage,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(match exit {
            Exit::Pass => 0,
            Exit::Fail => 1,
            Exit::Unknown => 2,
            Exit::Usage => 64,
            Exit::BadInput => 65,
        })
    }
}

/// Says that there is no such name.
fn unknown(name: &str) -> Exit {
    eprintln!("check: there is no model {name}; {}", models::help());
    Exit::Usage
}

/// Parses and checks the command line. An end is given instead where there is nothing to judge: what is wrong with it, or
/// what was asked for, has been printed.
pub(crate) fn parse() -> Result<Plan, Exit> {
    let args = Args::try_parse().map_err(|error| {
        let asked_for_help = !error.use_stderr();
        // Nothing can be done about a terminal that went away.
        let _ = error.print();
        if asked_for_help {
            Exit::Pass
        } else {
            Exit::Usage
        }
    })?;
    if let Some(name) = &args.example {
        let example = models::example(name).ok_or_else(|| unknown(name))?;
        print!("{example}");
        return Err(Exit::Pass);
    }
    let name = args.model.unwrap_or_default();
    let model = models::find(&name).ok_or_else(|| unknown(&name))?;
    if (args.no_partition || args.shrink) && !models::is_searched(&name) {
        eprintln!(
            "check: {name} does not search, so --no-partition and --shrink mean nothing to it"
        );
        return Err(Exit::Usage);
    }
    let processors = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let memory = args.memory.saturating_mul(1 << 20);
    let bounds = Bounds::generous()
        .on(args.jobs.unwrap_or_else(processors))
        .remembering(memory);
    let partition = if args.no_partition {
        Partition::Off
    } else {
        Partition::ByPart
    };
    Ok(Plan {
        model,
        settings: models::Settings {
            bounds,
            partition,
            shrink: args.shrink,
        },
        format: args.format,
        limits: Limits::generous()
            .remembering(memory)
            .with_events_of(args.longest_event.saturating_mul(1 << 20)),
        timeout: args.timeout,
        output: args.output,
        independent: args.independent,
        files: args.files,
    })
}

fn duration(text: &str) -> Result<Duration, String> {
    let units = [("ms", 0.001), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
    let found = units
        .iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(unit)?, seconds)));
    let (number, seconds) = found.ok_or("a time is a number and ms, s, m or h")?;
    let number: f64 = number
        .parse()
        .map_err(|_| format!("{number} is no number"))?;
    Duration::try_from_secs_f64(number * seconds).map_err(|error| error.to_string())
}
