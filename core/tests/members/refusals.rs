//! What must not get in: each gets a clear error, the member says it in one line of its log, and nothing changes. The rest of the
//! list stands where it can be made: a clock that is off and requests for foreign names in `tests/join`, a removed node and a node of
//! an old epoch beside the stories in `main.rs`, certificates of clients in `access.rs`, addresses where nobody is in
//! `tests/processes.rs`.

use std::thread::sleep;
use std::time::Duration;

use quorate::join::{JoinLine, Token};
use quorate::tls::KeyHash;
use serde_json::Value;

use crate::running::{eventually, free_ports, quorate};
use crate::world::{Said, World, node};
use crate::{NO_QUORUM, REFUSED, UNREACHABLE, USAGE};

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
    assert!(world.logged(outside, &["used up"]) > 0);
    assert_eq!(world.logged("a", &["asked to join", "used up"]), 1);
    assert_eq!(world.logged("a", &["asked to join", "admitted"]), 1);
}

/// A line and the words with which it is refused, by the joiner and in the member's log.
struct Worthless {
    line: String,
    words: &'static str,
}

#[test]
fn lines_that_are_worthless_say_why_and_change_nothing() {
    let mut world = World::cluster(&["a"]);
    let named = world.line("a", &["--name", "z"]);
    let spare = world.line("a", &["--role", "spare"]);
    let short = world.line("a", &["--ttl", "1s"]);
    let revoked = world.line("a", &[]);
    revoke_latest(&world, &revoked);
    let mut made_up = parse(&revoked);
    made_up.token = Token::from_secret([7; 32]);
    sleep(Duration::from_millis(1_500));
    let before = what_is(&world);
    for Worthless { line, words } in [
        worthless(&named, "another name"),
        worthless(&spare, "spares only"),
        worthless(&short, "has expired"),
        worthless(&revoked, "the token is unknown"),
        worthless(&made_up.encode(), "the token is unknown"),
    ] {
        let logged = world.logged("a", &["asked to join", words]);
        let said = join(&mut world, &line, "b", &[]);
        said.refused(REFUSED, words);
        assert_eq!(world.logged("a", &["asked to join", words]), logged + 1);
    }
    let taken = world.line("a", &[]);
    let before = [before, what_is(&world)];
    let said = join(&mut world, &taken, "b", &["--name", "a"]);
    said.refused(REFUSED, "\"a\" is taken");
    assert_eq!(world.logged("a", &["asked to join", "is taken"]), 1);
    assert_eq!(before[1], what_is(&world));
    assert_eq!(before[0].0, before[1].0, "somebody joined");
    // The member never hears of these: the line is found out where it was typed.
    let said = join(&mut world, &named[..named.len() - 3], "b", &[]);
    said.refused(USAGE, "cut off");
    let said = join(&mut world, &named.replacen('/', "x/", 1), "b", &[]);
    assert_eq!(said.code, Some(USAGE), "{said:?}");
}

#[test]
fn a_wrong_pin_ends_the_handshake_and_the_member_says_so() {
    let mut world = World::cluster(&["a"]);
    let mut line = parse(&world.line("a", &[]));
    line.pins = vec![KeyHash([1; 32])];
    let before = what_is(&world);
    let said = join(&mut world, &line.encode(), "b", &["--patience", "1s"]);
    said.refused(UNREACHABLE, "somebody stands between");
    assert!(world.logged("a", &["somebody was not let in"]) > 0);
    assert_eq!(before, what_is(&world));
}

#[test]
fn a_man_in_the_middle_with_another_authority_gets_no_request() {
    let mut world = World::cluster(&["a"]);
    // The line of one cluster, with the address of another: what a redirected connection reaches.
    let mut middle = World::cluster(&["m"]);
    let mut line = parse(&world.line("a", &[]));
    line.addresses = parse(&middle.line("m", &[])).addresses;
    let before = [what_is(&world), what_is_of(&middle, "m")];
    let said = join(&mut world, &line.encode(), "b", &["--patience", "1s"]);
    said.refused(UNREACHABLE, "somebody stands between");
    assert!(middle.logged("m", &["somebody was not let in"]) > 0);
    assert_eq!(middle.logged("m", &["asked to join"]), 0);
    assert_eq!(before, [what_is(&world), what_is_of(&middle, "m")]);
    assert_eq!(middle.stop("m"), Some(0));
}

#[test]
fn a_voter_that_is_down_hinders_no_join_and_a_lost_quorum_is_said() {
    let mut world = World::cluster(&["a", "b", "c"]);
    world.kill("c");
    world.join("d", "a", &["--role", "spare"]);
    world.until("a", "it is a spare", |status| {
        node(status, "d")["role"] == "spare" && status["voters"]["total"] == 3
    });
    let line = world.line("a", &[]);
    world.kill("b");
    eventually("nobody leads", || {
        world.ask("a", &["status"]).code == Some(NO_QUORUM)
    });
    let said = join(&mut world, &line, "e", &["--patience", "12s"]);
    assert_eq!(said.code, Some(UNREACHABLE), "{said:?}");
    let why = ["nobody leads", "did not decide", "does not lead"];
    assert!(why.iter().any(|why| said.err.contains(why)), "{said:?}");
    assert!(world.logged("a", &["asked to join"]) > 0);
    world.start("b", &["start", "--existing"]);
    world.until("a", "nobody has joined", |status| {
        status["nodes"].as_array().map(Vec::len) == Some(4)
    });
    // Its request may have been carried out: it asks again as the same node, with the same line.
    world.start("e", &["join", &line]);
    world.until("a", "now it has", |status| !node(status, "e").is_null());
}

fn worthless(line: &str, words: &'static str) -> Worthless {
    let line = line.to_owned();
    Worthless { line, words }
}

/// Tries to join once; a refusal leaves nothing behind.
fn join(world: &mut World, line: &str, name: &str, flags: &[&str]) -> Said {
    let mut arguments = vec!["join", line];
    arguments.extend(flags);
    if !flags.contains(&"--patience") {
        arguments.extend(["--patience", "10s"]);
    }
    let mut command = quorate(&arguments);
    let [client, peer] = free_ports();
    if !flags.contains(&"--name") {
        command.args(["--name", name]);
    }
    command
        .arg("--data-dir")
        .arg(world.path(name))
        .args(["--listen-client", &format!("127.0.0.1:{client}")])
        .args(["--listen-peer", &format!("127.0.0.1:{peer}")]);
    let said = Said::of(&command.output().unwrap());
    if said.code == Some(REFUSED) || said.code == Some(USAGE) {
        assert!(!world.path(name).exists(), "{name} leaves something behind");
    }
    said
}

fn parse(line: &str) -> JoinLine {
    JoinLine::parse(line).unwrap()
}

/// The members and the tokens of a cluster, as its node `a` lists them.
fn what_is(world: &World) -> (Value, String) {
    what_is_of(world, "a")
}

fn what_is_of(world: &World, node: &str) -> (Value, String) {
    let status = world.status(node);
    let members = status["nodes"].as_array().unwrap().iter();
    let members = members.map(|node| node["id"].clone()).collect();
    (members, world.ask(node, &["token", "list"]).done())
}

/// Revokes the token of `line`, by the only id that fits it.
fn revoke_latest(world: &World, line: &str) {
    let token = parse(line).token;
    let id = token.id().to_string();
    let secret = line.split('/').nth(1).unwrap();
    let listed = world.ask("a", &["token", "list"]).done();
    assert!(listed.contains(&id));
    assert!(!listed.contains(secret), "a token is never shown again");
    let said = world.ask("a", &["token", "revoke", &id]).done();
    assert!(said.contains("is revoked"), "{said}");
    world
        .ask("a", &["token", "revoke", &id])
        .refused(REFUSED, "token");
}
