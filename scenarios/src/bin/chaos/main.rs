//! Runs scenarios: `chaos list`, `chaos run NAME`, `chaos soak NAME`, `chaos twice NAME`.

mod args;
mod perform;

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

fn main() -> ExitCode {
    match args::parse() {
        Ok(Some(order)) => perform::perform(&order).into(),
        Ok(None) => ExitCode::SUCCESS,
        Err(exit) => exit.into(),
    }
}
