//! The arguments of `quorate demo`, as typed.

use crate::exit::Failure;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// The long help of `quorate demo`.
pub(crate) const ABOUT: &str = "\
Start three nodes, kill one under load, and see that nothing is lost.

The nodes are processes of this program on loopback ports that nobody uses; their data lies in a temporary directory that \
is removed at the end. Ends with code 7 if a write that was acknowledged is lost.";

/// `quorate demo`
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// Clients that write, each with one request in flight.
    #[arg(long, default_value_t = 8)]
    pub(super) clients: usize,
    /// Milliseconds of writing before the first kill and after each.
    #[arg(long, default_value_t = 2_000)]
    pub(super) phase_ms: u64,
    /// How many times a node is killed.
    #[arg(long, default_value_t = 1)]
    pub(super) kills: usize,
    /// Which node is killed.
    #[arg(long, value_enum, default_value_t = Victim::Leader)]
    pub(super) victim: Victim,
    /// The seed of the choice of victims.
    #[arg(long, default_value_t = 1)]
    pub(super) seed: u64,
    /// Where the data goes [default: the system's directory for temporary files]
    #[arg(long, value_name = "DIR")]
    pub(super) directory: Option<PathBuf>,
    /// Leave the data there.
    #[arg(long)]
    pub(super) keep: bool,
}

/// Which node is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Victim {
    /// The one that leads.
    Leader,
    /// Any of the three.
    Any,
}

impl Arguments {
    /// Names every error.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let rules = [
            ((1..=256).contains(&self.clients), "--clients is 1 to 256"),
            (
                (1..=600_000).contains(&self.phase_ms),
                "--phase-ms is 1 to 600000",
            ),
            ((1..=1000).contains(&self.kills), "--kills is 1 to 1000"),
        ];
        let errors = rules
            .iter()
            .filter(|(holds, _)| !holds)
            .map(|(_, rule)| (*rule).to_owned());
        let errors: Vec<String> = errors.collect();
        if errors.is_empty() {
            Ok(())
        } else {
            Err(Failure::usage(&errors))
        }
    }
}
