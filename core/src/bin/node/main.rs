//! The `quorate` command.
//!
//! `args` is what the user typed; each command checks it into what the program needs and then runs only that; `exit` is
//! how every command ends. This is the one place outside `runtime/tokio.rs` that meets the real machine: its clock,
//! its processes, its files.
#![expect(
    clippy::disallowed_methods,
    reason = "the binary runs on the real machine, never in a simulation"
)]

mod args;
mod bench;
mod client;
mod exit;
mod processes;

use args::{Cli, Command};
use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let outcome = match Cli::parse().command {
        Command::Bench(arguments) => bench::run(&arguments),
    };
    exit::report(outcome)
}
