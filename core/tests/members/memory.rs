//! Memory is bounded, whatever clients write at once (T5).

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::running::quorate;
use super::world::{World, node};

/// The most that a node of the dev profile may ever have taken, in KiB. What is written below is 270 MiB, of which 64 MiB wait at
/// once; a node takes 8 MiB of large requests at a time, and holds some copies of them.
const PEAK_KIB: u64 = 192 << 10;

/// What the kernel says of a process, in KiB.
fn kib(process: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).expect("it runs");
    let line = status.lines().find(|line| line.starts_with(field));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

/// 270 values of 1 MiB from 64 clients; who is told that it is too much asks again no more.
fn write_large_values(world: &World) -> Value {
    let endpoints = ["a", "b"].map(|name| format!("127.0.0.1:{}", world.client_port(name)));
    let mut command: Command = quorate(&["bench", "put", "--clients", "64", "--total", "270"]);
    command.args(["--seconds", "120", "--value-size", "1048576"]);
    command.args(["--timeout-ms", "60000", "--endpoints"]);
    let output = command.arg(endpoints.join(",")).output();
    let output = output.expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let report = said.lines().last().unwrap_or_default();
    serde_json::from_str(report).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

#[test]
fn large_writes_of_many_clients_fill_no_memory_and_who_was_away_catches_up() {
    let mut world = World::cluster(&["a", "b", "c"]);
    world.until("a", "it survives a failure", |status| {
        status["high_availability"] == true
    });
    world.kill("c");
    let report = write_large_values(&world);
    let first_error = report["first_error"].as_str().unwrap_or_default();
    assert!(
        report["errors"] == 0 || first_error.contains("too many requests"),
        "{report}"
    );
    assert!(report["ops_per_second"].as_f64() > Some(0.0), "{report}");

    world.start("c", &["start", "--existing"]);
    world.until("a", "who was away has everything", |status| {
        let returned = node(status, "c");
        status["high_availability"] == true && returned["caught_up"] == true && returned["lag"] == 0
    });
    for name in ["a", "b", "c"] {
        let peak = kib(world.process_id(name), "VmHWM");
        println!("{name}: at most {} MiB", peak >> 10);
        assert!(peak < PEAK_KIB, "{name} took {peak} KiB");
    }
}
