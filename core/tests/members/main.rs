//! Joining, roles, leaving and recovery, as an operator meets them: the shipped binary, real processes, real TLS.
//!
//! Nothing here measures time; where something has to happen first, it is waited for with a generous bound.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "these tests run real processes on real files; whatever is not as it must be ends the test"
)]

mod access;
mod cables;
mod clients;
mod measure;
mod memory;
mod refusals;
#[path = "../running/mod.rs"]
mod running;
mod unplugged;
mod world;

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use clients::{get, put};
use running::eventually;
use world::{World, node};

const USAGE: i32 = 2;
const UNREACHABLE: i32 = 4;
const REFUSED: i32 = 6;
const DATA_DIRECTORY: i32 = 3;
const NO_QUORUM: i32 = 8;

#[test]
fn three_lines_make_a_highly_available_cluster_and_status_tells_the_truth() {
    let mut world = World::cluster(&["a", "b", "c"]);
    world.until("c", "it survives a failure", |status| {
        status["high_availability"] == true
    });
    let text = world.ask("b", &["status"]).done();
    assert!(
        text.starts_with("quorate is running\nhigh-availability: yes\n"),
        "{text}"
    );
    world.join("d", "b", &["--role", "spare"]);
    put(&world, "d", "key", "through a spare");
    assert_eq!(get(&world, "d", "key").as_deref(), Some("through a spare"));
    assert!(
        !world.path("d").join("state.db").exists(),
        "a spare holds no data"
    );
    world.until("d", "the spare is listed", |status| {
        node(status, "d")["role"] == "spare"
    });
    world.kill("c");
    world.until("a", "the dead voter counts no more", |status| {
        status["high_availability"] == false && node(status, "c")["contact"] == "lost"
    });
    let text = world.ask("a", &["status"]).done();
    assert!(text.contains("high-availability: no"), "{text}");
    assert!(text.contains("(lost)"), "{text}");
    world.kill("b");
    let start = std::time::Instant::now();
    while world.ask("a", &["status"]).code != Some(NO_QUORUM) {
        assert!(
            start.elapsed() < Duration::from_secs(60),
            "status does not see that the quorum is lost"
        );
        sleep(Duration::from_millis(100));
    }
}

#[test]
fn a_leader_that_is_told_to_stop_hands_over() {
    let names = ["a", "b", "c"];
    let mut world = World::cluster(&names);
    let status = world.status("a");
    let leads = |name: &&&str| node(&status, name)["id"] == status["leader"];
    let leader = names.iter().find(leads).expect("one leads");
    assert_eq!(world.stop(leader), Some(0));
    let said = "leadership handed over";
    assert_eq!(world.logged(leader, &[said]), 1);
    for name in names.iter().filter(|name| *name != leader) {
        put(&world, name, "key", name);
        assert_eq!(get(&world, name, "key").as_deref(), Some(*name));
    }
}

#[test]
fn a_standby_votes_in_place_of_a_lost_voter() {
    let mut world = World::cluster(&["a", "b", "c", "d", "e"]);
    world.join("f", "a", &[]);
    world.until("a", "the sixth stands by", |status| {
        node(status, "f")["role"] == "standby" && node(status, "f")["caught_up"] == true
    });
    let leader = world.status("a")["leader"].clone();
    let victim = if node(&world.status("a"), "e")["id"] == leader {
        "d"
    } else {
        "e"
    };
    put(&world, "a", "key", "before");
    world.kill(victim);
    world.until("a", "it votes", |status| {
        node(status, "f")["role"] == "voter"
    });
    put(&world, "f", "key", "after");
    assert_eq!(get(&world, "b", "key").as_deref(), Some("after"));
}

#[test]
fn a_member_leaves_and_a_dead_one_is_forced_out() {
    let mut world = World::cluster(&["a", "b", "c"]);
    put(&world, "a", "key", "kept");
    let said = world.ask("c", &["leave"]).done();
    assert!(said.contains("c has left"), "{said}");
    assert_eq!(world.ends("c"), Some(0));
    assert!(
        world.path("c").join("left.state.db").exists(),
        "a copy stays behind"
    );
    let again = world
        .command("c", &["start", "--existing"])
        .output()
        .unwrap();
    assert_eq!(again.status.code(), Some(DATA_DIRECTORY));
    assert_eq!(get(&world, "a", "key").as_deref(), Some("kept"));
    let alone = |status: &serde_json::Value| status["nodes"].as_array().map(Vec::len) == Some(2);
    world.until("a", "two are left", alone);
    let leader = world.status("a")["leader"].clone();
    let (stays, goes) = if node(&world.status("a"), "a")["id"] == leader {
        ("a", "b")
    } else {
        ("b", "a")
    };
    world.kill(goes);
    world.until(stays, "it is lost", |status| {
        node(status, goes)["contact"] == "lost"
    });
    world
        .ask(stays, &["remove-node", goes])
        .refused(REFUSED, "--force");
    let said = world.ask(stays, &["remove-node", "--force", goes]).done();
    assert!(said.contains("is removed"), "{said}");
    let said = world.ask(stays, &["remove-node", "--force", goes]).done();
    assert!(said.contains("was removed before"), "{said}");
    world
        .ask(stays, &["remove-node", stays])
        .refused(REFUSED, "only member");
    assert_eq!(get(&world, stays, "key").as_deref(), Some("kept"));
    // The removed one knocks again, and gets nowhere.
    world.start(goes, &["start", "--existing"]);
    eventually("it is told why", || {
        let said = world.ask(goes, &["status"]);
        said.code == Some(NO_QUORUM) && said.out.contains("was removed")
    });
    let turned_away = ["somebody was not let in", "was removed from the cluster"];
    eventually("the member says so", || {
        world.logged(stays, &turned_away) > 0
    });
    assert_eq!(
        world.status(stays)["nodes"].as_array().map(Vec::len),
        Some(1)
    );
    world
        .ask(stays, &["remove-node", "nobody"])
        .refused(1, "nobody");
}

#[test]
fn a_member_comes_back_with_another_address() {
    let mut world = World::cluster(&["a", "b", "c"]);
    assert_eq!(world.stop("c"), Some(0));
    world.move_peer("c");
    world.start("c", &["start", "--existing"]);
    let moved = format!("127.0.0.1:{}", world.peer_port("c"));
    world.until("a", "it is known where it is", |status| {
        node(status, "c")["peer_addresses"][0] == moved && status["high_availability"] == true
    });
    put(&world, "c", "key", "value");
    assert_eq!(get(&world, "a", "key").as_deref(), Some("value"));
}

#[test]
fn an_older_copy_of_the_data_takes_no_part_alone_and_ends_when_somebody_remembers() {
    let mut world = World::cluster(&["a", "b", "c"]);
    put(&world, "a", "key", "old");
    assert_eq!(world.stop("c"), Some(0));
    world.copy("c", "c-of-yesterday");
    world.start("c", &["start", "--existing"]);
    put(&world, "a", "key", "newer");
    // What the others remember of it reaches their disks with a write, once in a second.
    sleep(Duration::from_millis(1_200));
    put(&world, "a", "key", "new");
    assert_eq!(get(&world, "c", "key").as_deref(), Some("new"));
    for name in ["a", "b", "c"] {
        assert_eq!(world.stop(name), Some(0));
    }
    fs::remove_dir_all(world.path("c")).unwrap();
    fs::rename(world.path("c-of-yesterday"), world.path("c")).unwrap();

    world.start("c", &["start", "--existing"]);
    assert_eq!(world.ask("c", &["status"]).code, Some(NO_QUORUM));
    let waits = ["too few of the other voters answer"];
    eventually("it says that it waits", || world.logged("c", &waits) == 1);
    for name in ["a", "b"] {
        world.start(name, &["start", "--existing"]);
    }
    assert_eq!(world.ends("c"), Some(DATA_DIRECTORY));
    assert!(world.logged("c", &["put back to an older state"]) > 0);
    assert_eq!(get(&world, "a", "key").as_deref(), Some("new"));
}

#[test]
fn one_survivor_of_three_goes_on_and_the_old_epoch_stays_out() {
    let mut world = World::cluster(&["a", "b", "c"]);
    put(&world, "a", "key", "before");
    for name in ["b", "c"] {
        assert_eq!(get(&world, name, "key").as_deref(), Some("before"));
    }
    for name in ["a", "b", "c"] {
        world.kill(name);
    }
    let dry = world.ask("c", &["recover"]).done();
    assert!(dry.contains("Nothing was changed"), "{dry}");
    world
        .ask("c", &["recover", "--other", "b=9999:1"])
        .refused(REFUSED, "newer copy");
    let done = world.ask("c", &["recover", "--yes"]).done();
    let line = done
        .split_whitespace()
        .skip_while(|word| *word != "join")
        .nth(1)
        .unwrap();
    world.start("c", &["start", "--existing"]);
    world.until("c", "it works alone", |status| {
        status["epoch"] == 2 && status["availability"] == "available"
    });
    assert_eq!(get(&world, "c", "key").as_deref(), Some("before"));
    put(&world, "c", "key", "after");
    // A node of the old epoch is nobody's peer any more.
    world.start("b", &["start", "--existing"]);
    assert_eq!(world.ask("b", &["status"]).code, Some(NO_QUORUM));
    world.kill("b");
    // As a new member it is welcome.
    world.start("b", &["join", line, "--wipe"]);
    world.until("c", "it is back", |status| {
        node(status, "b")["role"] == "standby"
    });
    assert_eq!(get(&world, "b", "key").as_deref(), Some("after"));
}
