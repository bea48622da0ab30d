//! Judges recorded histories: `check --model cas-register run/*.jsonl`.

mod args;
mod models;
mod progress;
mod run;

use std::process::ExitCode;

fn main() -> ExitCode {
    match args::parse() {
        Ok(plan) => run::run(&plan).into(),
        Err(exit) => exit.into(),
    }
}
