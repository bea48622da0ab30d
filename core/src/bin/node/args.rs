//! What the user typed, before anything is checked.

use crate::bench;
use clap::{Parser, Subcommand};

/// A small, highly available datastore: SQLite replicated by Raft behind the etcd v3 API.
#[derive(Debug, Parser)]
#[command(version, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// One variant per command.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measure any etcd v3 endpoints, or compare a cluster of ours with one of etcd's.
    #[command(long_about = bench::args::ABOUT)]
    Bench(bench::args::Arguments),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
