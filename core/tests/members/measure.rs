//! How long a join takes, and what a hundred nodes cost their leader. Not tests: they print what they measured, on demand, and the
//! table stands in `core/benches/join.md`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::running::Process;
use crate::world::{World, node};

const ROUNDS: usize = 5;
const NODES: usize = 100;
const WATCHED: Duration = Duration::from_secs(30);

#[test]
#[ignore = "a measurement"]
fn join_into_an_idle_cluster_of_three() {
    let mut world = World::cluster(&["a", "b", "c"]);
    for round in 0..ROUNDS {
        let name = format!("d{round}");
        let line = world.line("b", &[]);
        let mut command = world.command(&name, &["join", &line]);
        let log = fs::File::create(world.path(&name).with_extension("log")).unwrap();
        let began = Instant::now();
        let mut process = Process::start(command.stdout(Stdio::piped()).stderr(log));
        let said = BufReader::new(process.0.stdout.take().unwrap()).lines();
        let joined = said
            .map_while(Result::ok)
            .find(|line| line.starts_with("Joined"));
        assert!(joined.is_some(), "it did not join");
        let joined = began.elapsed();
        world.adopt(&name, process);
        world.until("a", "it follows the log", |status| {
            let new = node(status, &name);
            new["role"] == "standby" && new["caught_up"] == true
        });
        let follows = began.elapsed();
        println!(
            "join {}: joined after {} ms, follows the log after {} ms",
            round + 1,
            joined.as_millis(),
            follows.as_millis()
        );
        world.ask(&name, &["leave"]).done();
        world.ends(&name);
        world.until("a", "three are left", |status| count(status) == 3);
    }
}

#[test]
#[ignore = "a measurement, with a hundred processes"]
fn a_hundred_nodes() {
    let mut world = World::cluster(&["a"]);
    let uses = NODES.to_string();
    let line = world.line("a", &["--uses", &uses]);
    let began = Instant::now();
    for number in 1..NODES {
        let name = format!("n{number}");
        let command = world.command(&name, &["join", &line, "--patience", "300s"]);
        world.spawn(&name, command);
        // As an operator with a loop would: one after the other.
        std::thread::sleep(Duration::from_millis(200));
    }
    world.until("a", "everyone is a member", |status| count(status) == NODES);
    println!(
        "{NODES} members after {:.1} s",
        began.elapsed().as_secs_f64()
    );
    world.until("a", "the roles are settled", |status| {
        let roles = |role: &str| {
            let nodes = status["nodes"].as_array().map_or(&[][..], Vec::as_slice);
            nodes.iter().filter(|node| node["role"] == role).count()
        };
        roles("voter") == 5 && roles("standby") == 3 && status["planner"]["reason"] == "settled"
    });
    println!("settled after {:.1} s", began.elapsed().as_secs_f64());
    std::thread::sleep(Duration::from_secs(10));
    let status = world.status("a");
    let leader = status["nodes"].as_array().unwrap().iter();
    let leader = leader.clone().find(|node| node["id"] == status["leader"]);
    let leader = leader.unwrap()["name"].as_str().unwrap().to_owned();
    let before = world.processor_time(&leader);
    std::thread::sleep(WATCHED);
    let used = world.processor_time(&leader) - before;
    println!(
        "the leader used {:.2} % of a core over {} s",
        used.as_secs_f64() / WATCHED.as_secs_f64() * 100.0,
        WATCHED.as_secs()
    );
    let silent = world.status("a");
    let silent = silent["nodes"].as_array().unwrap().iter();
    let silent = silent
        .filter(|node| node["contact"] != "responding")
        .count();
    println!("{silent} of {NODES} are not heard");
}

fn count(status: &Value) -> usize {
    status["nodes"].as_array().map_or(0, Vec::len)
}
