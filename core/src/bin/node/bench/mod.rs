//! `quorate bench`: how fast is a cluster, and what does it cost?
//!
//! A *load* is a closed loop of clients, each with one request in flight, bounded in operations and in seconds, and
//! pointed at loopback unless the user says otherwise: a load generator that can be aimed anywhere by a typing mistake
//! is a weapon. A load ends as one [`report::Report`], printed as one line of JSON.
//!
//! * `args` what the user typed; `settings` the same, checked
//! * `connections` those of one run
//! * `source` keys, values and choices, drawn from a seed
//! * `budget` when a run ends; `worker` the closed loop; `tally` and `latency` what it saw
//! * `servers` what the servers spent meanwhile, read from `/proc`
//! * `report` the line that is printed
//! * `load` the loads, one file each
//! * `compare` three nodes of etcd and three of ours, one after the other, as a Markdown table

pub(crate) mod args;
mod budget;
mod compare;
mod connections;
mod latency;
mod load;
mod report;
mod servers;
mod settings;
mod source;
mod tally;
mod worker;

use crate::exit::{Context, Exit, Failure};
use crate::processes::or_interrupted;
use crate::say::say;
use args::{Arguments, Target};
use settings::Settings;

/// Runs one load and prints its line, or the comparison.
pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    match &arguments.target {
        Target::Load(load) => {
            let settings = Settings::check(load.common())?;
            let report = runtime(settings.threads)?.block_on(load::run(load, &settings))?;
            say!("{}", report.to_json());
            Ok(())
        }
        Target::Compare(compare) => runtime(2)?.block_on(or_interrupted(compare::run(compare))),
    }
}

fn runtime(threads: usize) -> Result<tokio::runtime::Runtime, Failure> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(threads)
        .enable_all()
        .build()
        .context(Exit::Failed, "starting the runtime")
}
