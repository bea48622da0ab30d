//! The shipped binary as real processes: what it says no to, how it stops, and what twenty kills cost.
//!
//! Nothing here measures time; where something has to happen first, it is waited for with a generous bound.

#![expect(
    clippy::disallowed_methods,
    reason = "these tests run real processes on real files"
)]

mod running;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use quorate::ids::ClusterId;
use quorate::join::{Address, JoinLine, Token};
use quorate::tls::KeyHash;
use running::{Process, eventually, free_ports, quorate};
use tempfile::TempDir;

/// The exit codes that scripts rely on.
const FAILED: i32 = 1;
const USAGE: i32 = 2;
const DATA_DIRECTORY: i32 = 3;
const UNREACHABLE: i32 = 4;
const IN_USE: i32 = 5;

/// A directory for data and two ports.
struct Place {
    parent: TempDir,
    client: u16,
    peer: u16,
}

impl Place {
    fn new() -> Self {
        let parent = tempfile::tempdir().expect("a temporary directory");
        let [client, peer] = free_ports();
        Self {
            parent,
            client,
            peer,
        }
    }

    fn data(&self) -> PathBuf {
        self.parent.path().join("data")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = quorate(arguments);
        command
            .args(["--name", "one", "--log-format", "json", "--data-dir"])
            .arg(self.data())
            .args(["--listen-client", &format!("127.0.0.1:{}", self.client)])
            .args(["--listen-peer", &format!("127.0.0.1:{}", self.peer)]);
        command
    }

    /// Runs a command that is expected to end by itself.
    fn refusal(&self, arguments: &[&str]) -> Refusal {
        Refusal::of(&ended(self.command(arguments)))
    }

    /// Starts the node and waits until it leads its cluster.
    fn serve(&self, arguments: &[&str]) -> Process {
        let mut command = self.command(arguments);
        let node = Process::start(command.stdout(Stdio::null()).stderr(Stdio::null()));
        eventually("the node serves", || self.status().status.success());
        node
    }

    fn status(&self) -> Output {
        let endpoint = format!("127.0.0.1:{}", self.client);
        let output = quorate(&["status", "-o", "json", "--endpoints", &endpoint]).output();
        output.expect("the binary runs")
    }
}

/// How a command that was refused ended.
#[derive(Debug)]
struct Refusal {
    code: Option<i32>,
    said: String,
}

impl Refusal {
    fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            said: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    fn is(&self, code: i32, words: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.said);
        for word in words {
            assert!(
                self.said.contains(word),
                "{word:?} is not in: {}",
                self.said
            );
        }
    }
}

/// The output of a command, which is killed if it does not end.
fn ended(mut command: Command) -> Output {
    let mut node = Process::start(command.stdout(Stdio::piped()).stderr(Stdio::piped()));
    let mut output = Output {
        status: node.ends(),
        stdout: Vec::new(),
        stderr: Vec::new(),
    };
    let pipes = (node.0.stdout.take(), node.0.stderr.take());
    if let (Some(mut out), Some(mut err)) = pipes {
        std::io::Read::read_to_end(&mut out, &mut output.stdout).expect("a pipe");
        std::io::Read::read_to_end(&mut err, &mut output.stderr).expect("a pipe");
    }
    output
}

fn overwrite(path: &Path, content: &[u8]) {
    fs::write(path, content).expect("the file is ours");
}

#[test]
fn each_line_of_a_json_log_is_an_object_with_its_time_level_and_message() {
    let place = Place::new();
    let path = place.parent.path().join("log");
    let log = fs::File::create(&path).expect("a log");
    let mut command = place.command(&["start"]);
    let node = Process::start(command.stdout(Stdio::null()).stderr(log));
    eventually("the node serves", || place.status().status.success());
    assert_eq!(node.stop(), Some(0));
    let log = fs::read_to_string(&path).expect("text");
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for line in &lines {
        let has = |part: &str| line[part].is_string();
        assert!(has("timestamp") && has("level"), "{line}");
        assert!(has("message"), "{line}");
    }
    let says = |word: &str| lines.iter().any(|line| line["message"] == word);
    assert!(says("serving") && says("stopping"), "{log}");
}

#[test]
fn twenty_kills_under_load_lose_nothing_that_was_acknowledged() {
    let place = Place::new();
    let mut command = quorate(&[
        "demo",
        "--kills",
        "20",
        "--victim",
        "any",
        "--phase-ms",
        "300",
    ]);
    command.arg("--directory").arg(place.parent.path());
    let output = command.output().expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}\n{errors}");
    assert_eq!(said.matches("kill -9").count(), 20, "{said}");
    assert!(said.contains("equal on all three"), "{said}");
    assert!(
        said.contains("Nothing that was acknowledged is lost."),
        "{said}"
    );
    assert_eq!(
        fs::read_dir(place.parent.path())
            .expect("it exists")
            .count(),
        0,
        "the demonstration cleans up"
    );
}

#[test]
fn the_demonstration_as_a_newcomer_runs_it_shows_the_stall_and_loses_nothing() {
    let place = Place::new();
    let mut command = quorate(&["demo"]);
    command.arg("--directory").arg(place.parent.path());
    let output = ended(command);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("kill -9").count(), 1, "{said}");
    assert!(
        said.contains("Nothing that was acknowledged is lost."),
        "{said}"
    );
}

#[test]
fn each_load_measures_a_node_and_one_that_it_cannot_serve_says_why() {
    let place = Place::new();
    let node = place.serve(&["start"]);
    let endpoint = format!("127.0.0.1:{}", place.client);
    let bench = |load: &str| {
        let words: Vec<&str> = load.split_whitespace().collect();
        let mut command = quorate(&["bench"]);
        command.args(words).args(["--endpoints", &endpoint]);
        ended(command)
    };
    for load in [
        "put --total 150",
        "put --total 150 --keys random",
        "get --total 150 --preload 30",
        "get --total 150 --preload 30 --serializable",
        "range --total 150 --preload 30",
        "txn --total 150 --kind create --prefix /create/",
        "txn --total 150 --kind update --prefix /update/",
        "mixed --total 150 --objects 20 --watches 0",
    ] {
        let output = bench(load);
        let said = String::from_utf8_lossy(&output.stdout);
        let line: serde_json::Value =
            serde_json::from_str(said.lines().last().unwrap_or_default()).expect("a line of JSON");
        assert_eq!(
            (&line["ops"], &line["errors"]),
            (&150.into(), &0.into()),
            "{load}: {said}"
        );
    }
    for load in ["watch --watchers 1", "lease"] {
        Refusal::of(&bench(load)).is(FAILED, &["not implemented"]);
    }
    assert_eq!(node.stop(), Some(0));
}

#[test]
fn a_comparison_without_an_etcd_says_so_and_cleans_up_when_it_is_interrupted() {
    let place = Place::new();
    let directory = place.parent.path().join("compare");
    fs::create_dir(&directory).expect("the directory is ours");
    let log = place.parent.path().join("log");
    let mut command = quorate(&["bench", "compare", "--etcd", "/nonexistent"]);
    command.args(["--seconds", "1", "--idle-seconds", "1", "--directory"]);
    let errors = fs::File::create(&log).expect("a log");
    let comparison = Process::start(command.arg(&directory).stdout(Stdio::null()).stderr(errors));
    let said = || fs::read_to_string(&log).expect("text");
    eventually("a load of ours is measured", || said().contains("1 client"));
    assert!(
        said().contains("No etcd runs as `/nonexistent`: ours is measured alone"),
        "{}",
        said()
    );
    assert_eq!(comparison.stop(), Some(FAILED));
    let left = fs::read_dir(&directory).expect("it exists").count();
    assert_eq!(left, 0, "what it made is gone");
}

#[test]
fn a_stopped_node_ends_with_zero_and_goes_on_where_it_was() {
    let place = Place::new();
    let first = place.serve(&["start"]);
    let before = place.status();
    assert_eq!(first.stop(), Some(0));
    let second = place.serve(&["start", "--existing"]);
    let after = place.status();
    let cluster = |output: &Output| {
        let json: serde_json::Value =
            serde_json::from_slice(&output.stdout).expect("status speaks JSON");
        (
            json["cluster"].clone(),
            json["nodes"][0]["id"].clone(),
            json["leader"].clone(),
        )
    };
    assert_eq!(cluster(&before), cluster(&after));
    assert!(cluster(&after).0.is_string());
    assert_eq!(second.stop(), Some(0));
    assert_eq!(place.status().status.code(), Some(UNREACHABLE));
}

#[test]
fn a_directory_that_may_be_an_unmounted_volume_is_not_made_a_new_cluster() {
    let place = Place::new();
    place
        .refusal(&["start", "--existing"])
        .is(DATA_DIRECTORY, &["data", "mounted"]);
    assert!(!place.data().exists());
    fs::create_dir(place.data()).expect("a directory");
    place
        .refusal(&["start"])
        .is(DATA_DIRECTORY, &["mounted", "--bootstrap", "quorate join"]);
    place
        .refusal(&["start", "--existing"])
        .is(DATA_DIRECTORY, &["mounted"]);
    assert_eq!(
        fs::read_dir(place.data()).expect("it exists").count(),
        0,
        "nothing was made"
    );
    assert_eq!(place.serve(&["start", "--bootstrap"]).stop(), Some(0));
    place
        .refusal(&["start", "--bootstrap"])
        .is(DATA_DIRECTORY, &["lives here"]);
}

#[test]
fn a_foreign_directory_is_left_as_it_is() {
    let place = Place::new();
    fs::create_dir(place.data()).expect("a directory");
    overwrite(&place.data().join("thesis.txt"), b"years of work");
    for arguments in [
        &["start"][..],
        &["start", "--bootstrap"],
        &["start", "--existing"],
    ] {
        place.refusal(arguments).is(DATA_DIRECTORY, &["thesis.txt"]);
    }
    let names = fs::read_dir(place.data()).expect("it exists").count();
    assert_eq!(names, 1, "nothing was added");
}

#[test]
fn a_node_whose_log_is_gone_or_damaged_does_not_start() {
    let place = Place::new();
    assert_eq!(place.serve(&["start"]).stop(), Some(0));
    let log = place.data().join("log.db");
    let good = fs::read(&log).expect("the log");
    for beside in ["log.db-wal", "log.db-shm"] {
        // A clean stop may have removed them.
        let _ = fs::remove_file(place.data().join(beside));
    }
    let mut damaged = good.clone();
    damaged[..100].fill(0xA5);
    overwrite(&log, &damaged);
    place.refusal(&["start"]).is(DATA_DIRECTORY, &["log.db"]);
    assert_eq!(
        fs::read(&log).expect("the log"),
        damaged,
        "a damaged file is evidence"
    );
    fs::remove_file(&log).expect("the log");
    place
        .refusal(&["start"])
        .is(DATA_DIRECTORY, &["log.db", "join anew"]);
    overwrite(&place.data().join("identity.json"), br#"{"format": 99}"#);
    place
        .refusal(&["start"])
        .is(DATA_DIRECTORY, &["format 99", "newer"]);
}

#[test]
fn a_directory_or_a_port_in_use_is_named() {
    let place = Place::new();
    let node = place.serve(&["start"]);
    let [client, peer] = free_ports();
    let elsewhere = [format!("127.0.0.1:{client}"), format!("127.0.0.1:{peer}")];
    let mut same_directory = quorate(&["start", "--data-dir"]);
    same_directory.arg(place.data()).args([
        "--listen-client",
        &elsewhere[0],
        "--listen-peer",
        &elsewhere[1],
    ]);
    Refusal::of(&ended(same_directory)).is(IN_USE, &["another process"]);
    let mut same_port = quorate(&["start", "--data-dir"]);
    let taken = format!("127.0.0.1:{}", place.client);
    let other = place.parent.path().join("other");
    same_port
        .arg(&other)
        .args(["--listen-client", &taken, "--listen-peer", &elsewhere[1]]);
    Refusal::of(&ended(same_port)).is(IN_USE, &[&taken]);
    assert!(!other.exists(), "a node that cannot listen makes nothing");
    assert_eq!(node.stop(), Some(0));
}

#[test]
fn a_join_that_cannot_reach_anyone_makes_nothing() {
    let place = Place::new();
    let [nobody] = free_ports();
    let line = JoinLine {
        addresses: vec![Address::parse(&format!("127.0.0.1:{nobody}")).expect("an address")],
        token: Token::from_secret([7; 32]),
        cluster: ClusterId(7),
        pins: vec![KeyHash([7; 32])],
    };
    let refusal = place.refusal(&["join", &line.encode(), "--patience", "1s"]);
    assert_ne!(refusal.code, Some(0), "{refusal:?}");
    assert_ne!(refusal.code, Some(FAILED), "{refusal:?}");
    assert!(refusal.said.contains(&nobody.to_string()), "{refusal:?}");
    assert!(!place.data().exists());
}

#[test]
fn senseless_settings_are_all_named_wherever_they_come_from() {
    let place = Place::new();
    let file = place.parent.path().join("quorate.toml");
    overwrite(&file, b"heartbeat-ms = 1\nname = 'from the file'\n");
    let mut command = quorate(&["start", "--listen-peer", "nowhere", "--config"]);
    command.arg(&file).env("QUORATE_DRAIN_MS", "999999999");
    Refusal::of(&ended(command)).is(
        USAGE,
        &["--listen-peer", "--heartbeat-ms", "--name", "--drain-ms"],
    );
    overwrite(&file, b"heart-beat = 1\n");
    let mut command = quorate(&["start", "--config"]);
    command.arg(&file);
    Refusal::of(&ended(command)).is(USAGE, &["heart-beat", "quorate.toml"]);
    Refusal::of(&ended(quorate(&["start", "--no-such-flag"]))).is(USAGE, &["--no-such-flag"]);
}
