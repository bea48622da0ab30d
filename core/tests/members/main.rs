//! Joining, roles, leaving and recovery, as an operator meets them: the shipped binary, real processes, real TLS.
//!
//! Nothing here measures time; where something has to happen first, it is waited for with a generous bound.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "these tests run real processes on real files; whatever is not as it must be ends the test"
)]

mod clients;
mod world;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use clients::{get, put};
use world::{World, node};

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
        std::thread::sleep(Duration::from_millis(100));
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
    world::eventually("it is told why", || {
        let said = world.ask(goes, &["status"]);
        said.code == Some(NO_QUORUM) && said.out.contains("was removed")
    });
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

#[test]
fn one_token_admits_one_machine() {
    let mut world = World::cluster(&["a"]);
    let line = world.line("a", &[]);
    for name in ["b", "c"] {
        let command = world.command(name, &["join", &line]);
        world.spawn(name, command);
    }
    world.until("a", "one of them is in", |status| {
        status["nodes"].as_array().map(Vec::len) == Some(2)
    });
    let inside = if node(&world.status("a"), "b").is_null() {
        "c"
    } else {
        "b"
    };
    let outside = if inside == "b" { "c" } else { "b" };
    assert_eq!(world.ends(outside), Some(REFUSED));
    assert!(
        !world.path(outside).exists(),
        "a refusal leaves nothing behind"
    );
    let tokens = world.ask("a", &["token", "list", "-o", "json"]).done();
    assert!(tokens.contains("\"uses\": 0"), "{tokens}");
}

#[test]
fn lines_that_are_worthless_say_why() {
    let mut world = World::cluster(&["a"]);
    let named = world.line("a", &["--name", "z"]);
    let spare = world.line("a", &["--role", "spare"]);
    let short = world.line("a", &["--ttl", "1s"]);
    let revoked = world.line("a", &[]);
    let token = |line: &str| line.split('/').nth(1).unwrap().to_owned();
    assert!(
        !world
            .ask("a", &["token", "list"])
            .done()
            .contains(&token(&revoked)),
        "a token is never shown again"
    );
    let listed = world.ask("a", &["token", "list", "-o", "json"]).done();
    let listed: serde_json::Value = serde_json::from_str(&listed).unwrap();
    let mut unscoped: Vec<_> = listed.as_array().unwrap().iter().collect();
    unscoped.retain(|token| token["name"] == "" && token["role"] == "any");
    // The one that lives for an hour, not for a second.
    let latest = unscoped
        .iter()
        .max_by_key(|token| token["expires"].as_str())
        .unwrap();
    let id = latest["token_id"].as_str().unwrap();
    let said = world.ask("a", &["token", "revoke", id]).done();
    assert!(said.contains("is revoked"), "{said}");
    world
        .ask("a", &["token", "revoke", id])
        .refused(REFUSED, "token");
    std::thread::sleep(Duration::from_millis(1_500));
    let mut join = |line: &str, name: &str| {
        let output = world
            .command(name, &["join", line, "--patience", "5s"])
            .output()
            .unwrap();
        assert!(!world.path(name).exists(), "{name} leaves nothing behind");
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stderr).into_owned(),
        )
    };
    for (line, name, words) in [
        (&named, "b", "another name"),
        (&spare, "b", "spares only"),
        (&short, "b", "token"),
        (&revoked, "b", "unknown"),
    ] {
        let (code, said) = join(line, name);
        assert_eq!(code, Some(REFUSED), "{said}");
        assert!(said.contains(words), "{words:?} is not in {said}");
    }
    let (code, said) = join(&named[..named.len() - 3], "b");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("cut off"), "{said}");
    let (code, said) = join(&named.replace('/', "x/").replacen("x/", "/", 1), "b");
    assert_eq!(code, Some(2), "{said}");
}

#[test]
fn plain_text_gets_nowhere_at_the_peers_port() {
    let world = World::cluster(&["a"]);
    let mut stream = TcpStream::connect(("127.0.0.1", world.peer_port("a"))).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        .unwrap();
    let mut answer = Vec::new();
    // A reset is as good an end as a close.
    let _ = stream.read_to_end(&mut answer);
    // At most an alert: never a frame of HTTP/2.
    assert!(answer.len() <= 7, "{answer:?}");
}

#[test]
fn a_node_of_another_cluster_gets_nowhere() {
    let world = World::cluster(&["a"]);
    let answer = clients::as_foreign_member(&format!("127.0.0.1:{}", world.peer_port("a")));
    assert!(answer.is_err(), "a foreign certificate was accepted");
}

#[test]
fn clients_of_other_machines_need_a_certificate_of_the_cluster() {
    let mut world = World::new();
    // For the ports alone: a flag cannot be given twice.
    drop(world.command("a", &["start"]));
    let port = world.client_port("a");
    let mut command = world::quorate(&["start", "--name", "a", "--data-dir"]);
    command
        .arg(world.path("a"))
        .args(["--listen-client", &format!("0.0.0.0:{port}")])
        .args(["--advertise-client", &format!("127.0.0.1:{port}")])
        .args([
            "--listen-peer",
            &format!("127.0.0.1:{}", world.peer_port("a")),
        ]);
    world.spawn("a", command);
    world.until("a", "it leads", |status| {
        status["availability"] == "available"
    });
    let out = world.path("certificates");
    let out = out.to_str().unwrap();
    let said = world
        .ask("a", &["client-cert", "alice", "--out", out])
        .done();
    assert_eq!(said.lines().count(), 3, "{said}");
    assert_eq!(clients::put_with_certificate(&world, "a", "alice"), Ok(()));
    assert!(
        clients::plain_put(&world, "a").is_err(),
        "plain text was served"
    );
}
