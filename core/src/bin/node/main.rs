//! The `quorate` command.
//!
//! * `args` what the user typed; `settings` those of a node, from flags, environment and file
//! * `config` the settings, checked; `start` runs a node with them; `log` is how it logs
//! * `descriptors` how many connections there is room for
//! * `admin` the socket by which commands reach their own node, and the commands that change the cluster
//! * `recover` goes on with one survivor of a lost quorum
//! * `status` asks nodes how they are
//! * `demo` and `bench` the commands that run clusters of their own; `processes` are the nodes of these
//! * `client` how commands talk to nodes
//! * `say` what they print; `exit` how every command ends
//!
//! This is the one place outside `runtime/tokio.rs` that meets the real machine: its clock,
//! its processes, its files.
#![expect(
    clippy::disallowed_methods,
    reason = "the binary runs on the real machine, never in a simulation"
)]
#![deny(
    clippy::print_stdout,
    reason = "`say!` survives a reader that went away"
)]

mod admin;
mod args;
mod bench;
mod client;
mod config;
mod demo;
mod descriptors;
mod exit;
mod log;
mod processes;
mod recover;
mod say;
mod settings;
mod start;
mod status;

use args::{Cli, Command};
use clap::Parser;
use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Start(arguments) => start::start(arguments),
        Command::Join(arguments) => start::join(arguments),
        Command::AddNode(arguments) => admin::commands::add_node(arguments),
        Command::Token(command) => admin::commands::token(command),
        Command::RemoveNode(arguments) => admin::commands::remove_node(arguments),
        Command::Recover(arguments) => recover::run(&arguments),
        Command::ClientCert(arguments) => admin::client_cert::run(&arguments),
        Command::Leave(arguments) => admin::commands::leave(&arguments),
        Command::SetFailureDomain(arguments) => admin::commands::set_failure_domain(arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Demo(arguments) => demo::run(&arguments),
        Command::Bench(arguments) => bench::run(&arguments),
    };
    exit::report(outcome)
}
