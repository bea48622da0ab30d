//! What the user typed, and what the program needs.

use std::ops::Range;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use quorate_reports::Exit;
use quorate_scenarios::catalog;
use quorate_scenarios::soak::Soak;
use quorate_scenarios::{Scenario, WorldName};
use quorate_sim::seed::Seed;

/// Breaks clusters in simulated worlds, and judges what their clients saw.
///
/// A run is a scenario, a seed and a world; the same three are the same run, bit for bit. The first line of output is the
/// seed with every option that follows from it, and the last line of a failure is the command that repeats it.
///
/// Exit status: 0 if nothing was found, 1 on a bug, 2 if it could not be told, 3 if the harness failed, 64 for wrong
/// usage.
#[derive(Parser, Debug)]
#[command(name = "chaos", version, max_term_width = 100)]
struct Typed {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// The scenarios, with what each shows.
    List,
    /// Runs a scenario once and judges it.
    Run {
        #[command(flatten)]
        which: Which,
        /// How to print: a page for people, or one JSON object as the last line.
        #[arg(long, short, value_enum, default_value_t = Output::Text)]
        output: Output,
        /// Also save what clients asked and were told, as JSON Lines; `check --model etcd` judges it again.
        #[arg(long, value_name = "FILE")]
        history: Option<PathBuf>,
        /// Also save everything that happened, a line each.
        #[arg(long, value_name = "FILE")]
        trace: Option<PathBuf>,
    },
    /// Runs many seeds one after the other, whatever becomes of them: a line of JSON for each that did not pass, and at the
    /// end one that counts. Exits with the worst of them.
    Soak {
        /// A name from `chaos list`.
        name: String,
        /// The seeds from the first up to the second, which is not run.
        #[arg(long, value_name = "FROM..TO", value_parser = seeds)]
        seeds: Range<u64>,
        /// The simulator: madsim, turmoil or both.
        #[arg(long, default_value = "both", value_parser = worlds)]
        world: Worlds,
        /// Ends with the first seed that did not pass: to see how soon a known bug is found.
        #[arg(long)]
        until_found: bool,
    },
    /// Runs a scenario twice and compares everything that happened.
    Twice {
        #[command(flatten)]
        which: Which,
    },
}

#[derive(Args, Debug)]
struct Which {
    /// A name from `chaos list`.
    name: String,
    /// A number, or the hash of a commit.
    #[arg(long, default_value_t = Seed::new(1))]
    seed: Seed,
    /// The simulator: madsim or turmoil.
    #[arg(long, default_value_t = WorldName::Madsim)]
    world: WorldName,
}

/// How to print.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Text,
    /// For programs.
    Json,
}

/// What the program is to do.
pub(crate) enum Order {
    /// Name the scenarios.
    List,
    /// One run.
    Run {
        target: Target,
        output: Output,
        history: Option<PathBuf>,
        trace: Option<PathBuf>,
    },
    /// Many.
    Soak(Soak),
    /// Two, compared.
    Twice(Target),
}

/// Simulators to run in turn.
type Worlds = Vec<WorldName>;

fn worlds(typed: &str) -> Result<Worlds, String> {
    match typed {
        "both" => Ok(WorldName::ALL.to_vec()),
        name => Ok(vec![name.parse()?]),
    }
}

fn seeds(typed: &str) -> Result<Range<u64>, String> {
    let parsed = || {
        let (from, to) = typed.split_once("..")?;
        let range: Range<u64> = from.parse().ok()?..to.parse().ok()?;
        (!range.is_empty()).then_some(range)
    };
    parsed().ok_or_else(|| format!("{typed:?} is no range of seeds, as in 1..1001"))
}

/// What is run.
pub(crate) struct Target {
    pub(crate) scenario: &'static Scenario,
    pub(crate) seed: Seed,
    pub(crate) world: WorldName,
}

fn scenario(name: &str) -> Result<&'static Scenario, Exit> {
    catalog::find(name).ok_or_else(|| {
        eprintln!("chaos: there is no scenario {name}; `chaos list` names them");
        Exit::Usage
    })
}

impl Which {
    fn check(self) -> Result<Target, Exit> {
        let Self { name, seed, world } = self;
        Ok(Target {
            scenario: scenario(&name)?,
            seed,
            world,
        })
    }
}

/// Parses and checks the command line; what is wrong with it has been printed. Nothing is left to do after `--help`.
pub(crate) fn parse() -> Result<Option<Order>, Exit> {
    let typed = match Typed::try_parse() {
        Ok(typed) => typed,
        Err(error) => {
            // Nothing can be done about a terminal that went away.
            let _ = error.print();
            return if error.use_stderr() {
                Err(Exit::Usage)
            } else {
                Ok(None)
            };
        }
    };
    Ok(Some(match typed.command {
        Command::List => Order::List,
        Command::Run {
            which,
            output,
            history,
            trace,
        } => Order::Run {
            target: which.check()?,
            output,
            history,
            trace,
        },
        Command::Soak {
            name,
            seeds,
            world,
            until_found,
        } => Order::Soak(Soak {
            scenario: scenario(&name)?,
            seeds,
            worlds: world,
            until_found,
        }),
        Command::Twice { which } => Order::Twice(which.check()?),
    }))
}
