//! What the user typed, before anything is checked.

use crate::admin::{client_cert, commands};
use crate::{bench, demo, recover, start, status};
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
    /// Run a node, and make a new cluster if there is none.
    #[command(long_about = start::ABOUT)]
    Start(start::StartArguments),
    /// Run a new node and make it part of a cluster.
    #[command(long_about = start::ABOUT_JOIN)]
    Join(start::JoinArguments),
    /// Let one more node join the cluster: prints the line to run on the other machine.
    #[command(long_about = commands::ABOUT)]
    AddNode(commands::AddNodeArguments),
    /// Show or take back tokens that nodes could join with.
    #[command(subcommand)]
    Token(commands::TokenCommand),
    /// Take a member out of the cluster for good.
    #[command(long_about = commands::ABOUT_REMOVE)]
    RemoveNode(commands::RemoveNodeArguments),
    /// Take this machine's node out of its cluster.
    #[command(long_about = commands::ABOUT_LEAVE)]
    Leave(commands::LeaveArguments),
    /// Go on with this node alone when most voters are lost for good.
    #[command(long_about = recover::ABOUT)]
    Recover(recover::Arguments),
    /// Issue a certificate for a client of the etcd API on another machine.
    #[command(long_about = client_cert::ABOUT)]
    ClientCert(client_cert::Arguments),
    /// Say anew with what this machine's node fails together.
    SetFailureDomain(commands::FailureDomainArguments),
    /// Show the members of a cluster, who leads, and how many more may fail.
    #[command(long_about = status::ABOUT)]
    Status(status::Arguments),
    /// Start three nodes, kill one under load, and see that nothing is lost.
    #[command(long_about = demo::args::ABOUT)]
    Demo(demo::args::Arguments),
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
