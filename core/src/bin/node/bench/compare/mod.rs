//! `quorate bench compare`: three nodes of etcd and three of ours on this machine, the same loads on both, one table.
//!
//! Absolute figures move from day to day with the disk and the neighbours; ratios from one run move little. So the two
//! systems take turns within every round, each alone on the machine, on fresh directories, in an order that alternates;
//! what is shown is the median of the rounds. Client and nodes share the processors, as they do on a small machine: a
//! server that needs less leaves more to its clients.
//!
//! * `plan` what is measured and the bar for each figure
//! * `round` one system, measured once
//! * `figures` what was measured, by name, over the rounds
//! * `table` the figures of both systems beside their bars, in Markdown

mod figures;
mod plan;
mod round;
mod table;

use super::args::Compare;
use crate::exit::{Context, Exit, Failure};
use crate::processes::Program;
use crate::say;
use figures::Figures;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How much is measured.
struct Extent {
    load: Duration,
    write: Duration,
    idle: Duration,
    kills: usize,
}

/// A directory that is removed when the run is over, however it ends.
struct Scratch(PathBuf);

impl Scratch {
    fn new(parent: &Path) -> Result<Self, Failure> {
        let path = parent.join(format!("quorate-bench-{}", std::process::id()));
        let what = format!("making the directory {}", path.display());
        fs::create_dir_all(&path).context(Exit::Failed, what)?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is the user's to look at; the figures are printed all the same.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Measures and prints the table.
pub(super) async fn run(compare: &Compare) -> Result<(), Failure> {
    let extent = check(compare)?;
    let etcd = Program::etcd(&compare.etcd);
    if etcd.is_none() {
        let path = compare.etcd.display();
        eprintln!("No etcd runs as `{path}`: ours is measured alone and nothing can be compared.");
    }
    let ours = if compare.etcd_only {
        None
    } else {
        Some(Program::ourselves()?)
    };
    let mut programs: Vec<Program> = etcd.into_iter().chain(ours).collect();
    let scratch = Scratch::new(&compare.directory)?;
    let mut figures: Vec<(Program, Figures)> = programs
        .iter()
        .map(|program| (program.clone(), Figures::default()))
        .collect();
    for round in 1..=compare.rounds {
        for program in &programs {
            eprintln!("round {round} of {}: {}", compare.rounds, program.name());
            let directory = scratch.0.join(format!("{}-{round}", program.name()));
            let what = format!("making the directory {}", directory.display());
            fs::create_dir_all(&directory).context(Exit::Failed, what)?;
            let entry = figures.iter_mut().find(|(of, _)| of == program);
            let (_, into) = entry.expect("every program has its figures");
            let once = round == 1;
            round::measure(program, &directory, &extent, once, into).await?;
            // A fresh disk for the next: what is deleted now is not written back during its turn.
            let _ = fs::remove_dir_all(&directory);
        }
        programs.reverse();
    }
    say::text(&table::markdown(&figures));
    Ok(())
}

fn check(compare: &Compare) -> Result<Extent, Failure> {
    let mut errors = Vec::new();
    let mut within = |name: &str, value: u64, least: u64, most: u64| {
        if !(least..=most).contains(&value) {
            errors.push(format!("--{name} is {least} to {most}"));
        }
    };
    within("rounds", compare.rounds as u64, 1, 100);
    within("seconds", compare.seconds, 1, 900);
    within("write-seconds", compare.write_seconds, 0, 900);
    within("idle-seconds", compare.idle_seconds, 0, 900);
    within("kills", compare.kills as u64, 0, 100);
    if !errors.is_empty() {
        return Err(Failure::usage(&errors));
    }
    Ok(Extent {
        load: Duration::from_secs(compare.seconds),
        write: Duration::from_secs(compare.write_seconds),
        idle: Duration::from_secs(compare.idle_seconds),
        kills: compare.kills,
    })
}
