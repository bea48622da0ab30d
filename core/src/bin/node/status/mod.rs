//! `quorate status`: is the cluster well, and how much more may fail?
//!
//! Asked of this machine's own node, which asks the leader: only the leader knows who answers and who is level with the log. With
//! `--endpoints` it is asked of any nodes from afar, as a client would; that shows who answers *from here*.
//!
//! * `own` the cluster as its leader sees it, by way of this machine's node
//! * `afar` the cluster as a client sees it
//! * `view` what the nodes told a client, and what follows from it
//! * `yaml` JSON in the form that people prefer to read

mod afar;
mod own;
mod view;
mod yaml;

use crate::admin::commands::{Target, span};
use crate::exit::Failure;
use crate::say::{self, say};
use clap::{Args, ValueEnum};
use std::time::Duration;

/// The long help of `quorate status`.
pub(crate) const ABOUT: &str = "\
Show the members of the cluster, who leads, and how many more may fail.

`high-availability: yes` means that any one node may fail now: it is computed from who answers and who is level with the log, never \
from what is configured. The fields of the JSON are described in core/docs/status.schema.json.

Ends with 0 if the cluster takes writes, with 4 if no node runs here, and with 8 if it does not: too few voters \
answer, nobody leads, or the leader's disk is nearly full.";

/// `quorate status`
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// Ask these nodes instead, where they serve clients, separated by commas; the first that answers names the members.
    #[arg(
        long,
        value_delimiter = ',',
        env = "QUORATE_ENDPOINTS",
        value_name = "HOST:PORT"
    )]
    endpoints: Vec<String>,
    /// Wait until the cluster takes writes.
    #[arg(long)]
    wait_ready: bool,
    /// How long to wait: a number with s, m, h or d behind it.
    #[arg(long, default_value = "60s", value_parser = span, requires = "wait_ready")]
    timeout: Duration,
    /// How the answer looks.
    #[arg(long, short, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Text,
    /// For programs: one object; ids are strings in hexadecimal, because they exceed what a JSON number holds.
    Json,
    /// The same as YAML.
    Yaml,
}

/// Asks and prints.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let ask = || {
        if arguments.endpoints.is_empty() {
            own::ask(&arguments.target.data_dir)
        } else {
            afar::ask(&arguments.endpoints)
        }
    };
    let mut answer = ask();
    let deadline = std::time::Instant::now() + arguments.timeout;
    while arguments.wait_ready && !is_ready(&answer) && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(100));
        answer = ask();
    }
    let answer = answer?;
    match arguments.output {
        Output::Text => say!("{}", answer.text.trim_end()),
        Output::Json => say!("{:#}", answer.json),
        Output::Yaml => say::text(&yaml::block(&answer.json)),
    }
    answer.refusal.map_or(Ok(()), Err)
}

/// What is shown, and what a script is told besides.
struct Answer {
    text: String,
    json: serde_json::Value,
    /// Set when the cluster does not take writes.
    refusal: Option<Failure>,
}

fn is_ready(answer: &Result<Answer, Failure>) -> bool {
    answer.as_ref().is_ok_and(|answer| answer.refusal.is_none())
}
