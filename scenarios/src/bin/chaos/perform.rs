//! Does what was ordered and says how the program ends.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use quorate_jepsen_style::history::write;
use quorate_reports::{Exit, Verdict, json, text};
use quorate_scenarios::run::{not_run, repeat};
use quorate_scenarios::soak::{Soak, Tally};
use quorate_scenarios::{Run, catalog, run};
use quorate_sim::determinism::same;
use quorate_sim::trace::Keep;

use crate::args::{Order, Output, Target};

/// How many of the last events a single run keeps; its digest covers all.
const KEPT: usize = 100;

/// Does it. Whoever was to read the output may have gone, which changes nothing about a verdict.
pub(crate) fn perform(order: &Order) -> Exit {
    match order {
        Order::List => {
            for scenario in catalog::ALL {
                say(&format!("{:<12} {}", scenario.name, scenario.story));
            }
            Exit::Pass
        }
        Order::Run {
            target,
            output,
            history,
            trace,
        } => once(target, *output, history.as_deref(), trace.as_deref()),
        Order::Soak(order) => soak(order),
        Order::Twice(target) => twice(target),
    }
}

fn once(target: &Target, output: Output, history: Option<&Path>, trace: Option<&Path>) -> Exit {
    announce(target);
    let keep = trace.map_or(Keep::Last(KEPT), |_| Keep::All);
    let Some(run) = attempt(target, keep) else {
        return harness_failed(target, output, "the harness panicked; see above".to_owned());
    };
    let saved = save(history, |file| write::write(&run.history, file)).and_then(|()| {
        let lines = run.recording.lines.join("\n");
        save(trace, |mut file| {
            file.write_all(lines.as_bytes())?;
            file.flush()
        })
    });
    if let Err(reason) = saved {
        eprintln!("chaos: {reason}");
        return harness_failed(target, output, reason);
    }
    match output {
        Output::Text => say(&text::page(&run.report)),
        Output::Json => match json::line(&run.report) {
            Ok(line) => say(&line),
            Err(error) => {
                let reason = format!("the report cannot be written: {error}");
                return harness_failed(target, output, reason);
            }
        },
    }
    run.report.verdict.into()
}

/// What did not pass is printed as it is found, so that a soak that is ended early has said what it knew.
fn soak(order: &Soak) -> Exit {
    const EVERY: u64 = 100;
    let mut tally = Tally::default();
    order.perform(|seed, world, report| {
        tally.expect(&order.scenario.options(seed));
        tally.add(report);
        match report {
            Some(report) if report.verdict == Verdict::Pass => {}
            Some(report) => say(&json::line(report).unwrap_or_else(|error| error.to_string())),
            None => say(&format!(
                "the harness failed; again: {}",
                repeat(order.scenario, seed, world)
            )),
        }
        if tally.runs() % EVERY == 0 {
            eprintln!("{tally}");
        }
    });
    for name in tally.silent() {
        eprintln!("never struck, though it might have: {name}");
    }
    say(&tally.line());
    tally.exit()
}

/// A run that is not the same twice is a bug of the harness: nothing that it finds could be looked at again.
fn twice(target: &Target) -> Exit {
    announce(target);
    let (Some(first), Some(second)) = (attempt(target, Keep::All), attempt(target, Keep::All))
    else {
        return harness_failed(target, Output::Text, String::new());
    };
    match same(&first.recording, &second.recording) {
        Ok(()) => {
            let (digest, events) = (&first.report.trace_digest, first.report.trace_events);
            say(&format!("the same twice: {digest} over {events} events"));
            Exit::Pass
        }
        Err(difference) => {
            say(&difference.to_string());
            let Target {
                scenario,
                seed,
                world,
            } = target;
            say(&format!(
                "again: chaos twice {} --seed {seed} --world {world}",
                scenario.name
            ));
            Exit::Harness
        }
    }
}

/// The first line: the seed, and everything that follows from it.
fn announce(target: &Target) {
    let Target {
        scenario,
        seed,
        world,
    } = target;
    let options = scenario.options(*seed);
    say(&format!(
        "seed={seed} scenario={} world={world} {options}",
        scenario.name
    ));
}

/// A run, unless the harness panics: what that said has been printed.
fn attempt(target: &Target, keep: Keep) -> Option<Run> {
    let run = || run(target.scenario, target.seed, target.world, keep);
    catch_unwind(AssertUnwindSafe(run)).ok()
}

/// A program that reads the last line gets a report in any case.
fn harness_failed(target: &Target, output: Output, reason: String) -> Exit {
    let (scenario, seed, world) = (target.scenario, target.seed, target.world);
    say(&format!("again: {}", repeat(scenario, seed, world)));
    if output == Output::Json
        && let Ok(line) = json::line(&not_run(scenario, seed, world, reason))
    {
        say(&line);
    }
    Exit::Harness
}

/// Writes to a file, if one was asked for; what is not written to the end is an error that names it.
fn save(
    path: Option<&Path>,
    write: impl FnOnce(BufWriter<File>) -> io::Result<()>,
) -> Result<(), String> {
    let Some(path) = path else {
        return Ok(());
    };
    #[expect(
        clippy::disallowed_methods,
        reason = "a command of its own, on a real disk"
    )]
    let file = File::create(path).map(BufWriter::new);
    let written = file.and_then(write);
    written.map_err(|error| format!("{}: {error}", path.display()))
}

fn say(line: &str) {
    // See `perform`.
    let _ = writeln!(io::stdout(), "{line}");
}
