//! The commands of the scripts in `tests/scripts/membership`. Nodes are named by their ids, in hexadecimal.

use std::fmt::Write as _;
use std::time::Duration;

use quorate::ids::NodeId;
use quorate::membership::{Configuration, Duty, OwnTerm, Plan, Role, Signer};

use crate::world::{Node, Power, TICK, World};

pub(crate) fn execute(world: &mut World, words: &[&str]) -> String {
    match words {
        ["voters", ids @ ..] => add(world, Role::Voter, ids),
        ["standbys", ids @ ..] => add(world, Role::Standby, ids),
        ["join", ids @ ..] => add(world, Role::Spare, ids),
        ["down", ids @ ..] => each(world, ids, |node| node.power = Power::Off),
        ["up", ids @ ..] => each(world, ids, |node| node.power = Power::On),
        ["stuck", ids @ ..] => each(world, ids, |node| {
            node.stuck = true;
            node.lag = 50_000;
        }),
        ["leaving", ids @ ..] => each(world, ids, |node| node.facts.duty = Duty::Leaving),
        ["spare-only", ids @ ..] => each(world, ids, |node| node.facts.duty = Duty::SpareOnly),
        ["signer", ids @ ..] => each(world, ids, |node| node.facts.signer = Signer::Held),
        ["no-signer", ids @ ..] => each(world, ids, |node| node.facts.signer = Signer::Missing),
        ["no-hand-over"] => {
            world.manual_signers = true;
            String::new()
        }
        ["joint"] => {
            world.raft.configuration = Configuration::Joint;
            String::new()
        }
        ["new-leader"] => {
            world.raft.own_term = OwnTerm::Pending;
            String::new()
        }
        ["standbys-wanted", count] => {
            world.policy.standbys = count.parse().expect("a number of standbys");
            String::new()
        }
        ["clean-up", "voters", "after", span] => {
            world.policy.clean_up.voters = true;
            world.policy.clean_up.grace = Some(seconds(span));
            String::new()
        }
        ["clean-up", "after", span] => {
            world.policy.clean_up.grace = Some(seconds(span));
            String::new()
        }
        ["plan"] => match world.plan() {
            Some(plan) => plan.to_string(),
            None => "no leader".to_owned(),
        },
        ["roles"] => roles(world),
        ["wait", span] => {
            let end = world.now + seconds(span);
            while world.now < end {
                world.tick();
            }
            String::new()
        }
        ["run", span] => run(world, seconds(span)),
        words => panic!("no such command: {words:?}"),
    }
}

fn id(word: &str) -> NodeId {
    NodeId(u64::from_str_radix(word, 16).expect("nodes are named in hexadecimal"))
}

fn seconds(word: &str) -> Duration {
    Duration::from_secs(
        word.strip_suffix('s')
            .expect("a span ends in s")
            .parse()
            .expect("a span is a number"),
    )
}

/// `a` or `a@domain`.
fn add(world: &mut World, role: Role, ids: &[&str]) -> String {
    for word in ids {
        let (name, domain) = word.split_once('@').unwrap_or((word, ""));
        world.add(id(name), role, domain);
    }
    String::new()
}

fn each(world: &mut World, ids: &[&str], change: impl Fn(&mut Node)) -> String {
    for word in ids {
        change(world.nodes.get_mut(&id(word)).expect("the node was added"));
    }
    String::new()
}

fn roles(world: &World) -> String {
    let mut line = String::new();
    for (title, role) in [
        ("voters", Role::Voter),
        ("standbys", Role::Standby),
        ("spares", Role::Spare),
    ] {
        let nodes: Vec<String> = world
            .with_role(role)
            .iter()
            .map(ToString::to_string)
            .collect();
        if !nodes.is_empty() {
            let _ = write!(
                line,
                "{}{title} {}",
                if line.is_empty() { "" } else { ", " },
                nodes.join(" ")
            );
        }
    }
    line
}

/// Lets time pass, carries every step out and tells when; ends with what the planner says then, and the roles.
fn run(world: &mut World, span: Duration) -> String {
    let start = world.now;
    let mut output = String::new();
    while world.now < start + span {
        world.tick();
        let mut steps = 0;
        while let Some(Plan::Step(step)) = world.plan() {
            steps += 1;
            assert!(steps < 40, "the planner goes in circles:\n{output}");
            let at = world.now.since(start).as_secs_f64();
            let _ = writeln!(output, "{at:6.2} s  {step}");
            world.apply(&step);
            assert!(
                world.now.since(start) < span + TICK,
                "time passed within a step"
            );
        }
    }
    let last = world
        .plan()
        .map_or_else(|| "no leader".to_owned(), |plan| plan.to_string());
    let _ = write!(output, "{last}\n{}", roles(world));
    output
}
