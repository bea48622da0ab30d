//! Clusters of the shipped binary as real processes on loopback, and what an operator types.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use quorate::runtime::Runtime as _;
use quorate::runtime::tokio::TokioRuntime;
use quorate::transport::{Channel, ChannelOptions, PlainDial};
use serde_json::Value;
use tempfile::TempDir;

use crate::running::{Process, eventually, free_ports, quorate};

/// Far longer than anything here takes on an idle machine.
const BOUND: Duration = Duration::from_secs(90);

/// Nodes by name, on one machine.
pub(crate) struct World {
    directory: TempDir,
    nodes: BTreeMap<String, Node>,
}

/// A node's ports and, while it runs, its process.
struct Node {
    client: u16,
    peer: u16,
    process: Option<Process>,
}

/// How a command ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Said {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    #[track_caller]
    pub(crate) fn done(self) -> String {
        assert_eq!(self.code, Some(0), "{self:?}");
        self.out
    }

    /// It was refused with this code, and these words.
    #[track_caller]
    pub(crate) fn refused(&self, code: i32, words: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.err.contains(words), "{words:?} is not in {self:?}");
    }
}

impl World {
    /// No node yet.
    pub(crate) fn new() -> Self {
        Self {
            directory: tempfile::tempdir().expect("a temporary directory"),
            nodes: BTreeMap::new(),
        }
    }

    /// A cluster of these nodes, all of which vote if there are one, three or five.
    pub(crate) fn cluster(names: &[&str]) -> Self {
        let mut world = Self::new();
        world.start(names[0], &["start"]);
        for name in &names[1..] {
            world.join(name, names[0], &[]);
        }
        let voters = names.len();
        world.until(names[0], "everyone votes", |status| {
            status["voters"]["alive"] == voters
        });
        world
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Copies the directory of a node that does not run.
    pub(crate) fn copy(&self, name: &str, copy: &str) {
        let (from, to) = (self.path(name), self.path(copy));
        let copied = Command::new("cp").arg("-a").args([from, to]).status();
        assert!(copied.expect("cp runs").success());
    }

    fn ports(&mut self, name: &str) -> (u16, u16) {
        let node = self.nodes.entry(name.to_owned()).or_insert_with(|| {
            let [client, peer] = free_ports();
            Node {
                client,
                peer,
                process: None,
            }
        });
        (node.client, node.peer)
    }

    pub(crate) fn peer_port(&self, name: &str) -> u16 {
        self.nodes[name].peer
    }

    pub(crate) fn client_port(&self, name: &str) -> u16 {
        self.nodes[name].client
    }

    /// The node serves its clients at this port of the machine.
    pub(crate) fn serves_at(&mut self, name: &str, port: u16) {
        self.nodes.get_mut(name).expect("a node").client = port;
    }

    /// The node's command line, with `arguments` first.
    pub(crate) fn command(&mut self, name: &str, arguments: &[&str]) -> Command {
        let (client, _) = self.ports(name);
        self.command_at(name, arguments, &format!("127.0.0.1:{client}"))
    }

    /// The same, with clients served at `listen_client`.
    pub(crate) fn command_at(
        &mut self,
        name: &str,
        arguments: &[&str],
        listen_client: &str,
    ) -> Command {
        let (_, peer) = self.ports(name);
        let mut command = quorate(arguments);
        command
            .args(["--name", name, "--data-dir"])
            .arg(self.path(name))
            .args(["--listen-client", listen_client])
            .args(["--listen-peer", &format!("127.0.0.1:{peer}")]);
        command
    }

    /// Starts a node and waits until commands reach it.
    pub(crate) fn start(&mut self, name: &str, arguments: &[&str]) {
        let command = self.command(name, arguments);
        self.spawn(name, command);
        eventually("commands reach the node", || {
            self.ask(name, &["status"]).code != Some(4)
        });
    }

    pub(crate) fn spawn(&mut self, name: &str, mut command: Command) {
        let log = fs::File::create(self.path(name).with_extension("log")).expect("a log");
        let process = Process::start(command.stdout(Stdio::null()).stderr(log));
        self.nodes.get_mut(name).expect("it has ports").process = Some(process);
    }

    /// Takes a process that was started elsewhere for the node's.
    pub(crate) fn adopt(&mut self, name: &str, process: Process) {
        self.nodes.get_mut(name).expect("it has ports").process = Some(process);
    }

    pub(crate) fn process_id(&self, name: &str) -> u32 {
        let process = self.nodes[name].process.as_ref();
        process.expect("it runs").0.id()
    }

    /// Processor time that the node's process has used.
    pub(crate) fn processor_time(&self, name: &str) -> Duration {
        let process = self.nodes[name].process.as_ref().expect("it runs");
        let stat = fs::read_to_string(format!("/proc/{}/stat", process.0.id())).expect("it runs");
        // The name, in parentheses, may hold anything; user and system time are the twelfth and thirteenth field behind it.
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        let ticks = fields.split_whitespace().skip(11).take(2);
        let ticks: u64 = ticks
            .map(|ticks| ticks.parse::<u64>().expect("ticks"))
            .sum();
        Duration::from_millis(ticks * 1_000 / rustix::param::clock_ticks_per_second())
    }

    /// How many lines of the log of a node, since it was started last, hold all of these words.
    pub(crate) fn logged(&self, name: &str, words: &[&str]) -> usize {
        let log = fs::read_to_string(self.path(name).with_extension("log")).expect("a log");
        let holds = |line: &&str| words.iter().all(|word| line.contains(word));
        log.lines().filter(holds).count()
    }

    /// Lets `name` join through `member`.
    pub(crate) fn join(&mut self, name: &str, member: &str, flags: &[&str]) {
        let line = self.line(member, &[]);
        let mut arguments = vec!["join", &line];
        arguments.extend(flags);
        self.start(name, &arguments);
    }

    pub(crate) fn line(&self, member: &str, flags: &[&str]) -> String {
        let mut arguments = vec!["add-node", "-o", "json"];
        arguments.extend(flags);
        let said = self.ask(member, &arguments).done();
        let answer: Value = serde_json::from_str(&said).expect("JSON");
        answer["line"].as_str().expect("a line").to_owned()
    }

    /// What an operator types on the node's machine.
    pub(crate) fn ask(&self, name: &str, arguments: &[&str]) -> Said {
        let mut command = quorate(arguments);
        command.arg("--data-dir").arg(self.path(name));
        Said::of(&command.output().expect("the binary runs"))
    }

    /// The status as JSON; null while there is none.
    pub(crate) fn status(&self, name: &str) -> Value {
        let said = self.ask(name, &["status", "-o", "json"]);
        serde_json::from_str(&said.out).unwrap_or_default()
    }

    #[track_caller]
    pub(crate) fn until(&self, name: &str, what: &str, holds: impl Fn(&Value) -> bool) {
        let start = Instant::now();
        loop {
            let status = self.status(name);
            if holds(&status) {
                return;
            }
            assert!(start.elapsed() < BOUND, "not in time: {what}\n{status:#}");
            sleep(Duration::from_millis(100));
        }
    }

    fn process(&mut self, name: &str) -> Process {
        let node = self.nodes.get_mut(name).expect("a node");
        node.process.take().expect("it runs")
    }

    pub(crate) fn kill(&mut self, name: &str) {
        drop(self.process(name));
    }

    /// Asks the node to stop and returns its exit code.
    pub(crate) fn stop(&mut self, name: &str) -> Option<i32> {
        self.process(name).stop()
    }

    /// Waits until the node's process ends by itself.
    pub(crate) fn ends(&mut self, name: &str) -> Option<i32> {
        self.process(name).ends().code()
    }

    /// Gives the node another port for its peers, as a machine gets another address.
    pub(crate) fn move_peer(&mut self, name: &str) {
        let [port] = free_ports();
        self.nodes.get_mut(name).expect("a node").peer = port;
    }

    /// A client of the node's etcd API.
    pub(crate) fn channel(&self, name: &str) -> Channel<TokioRuntime> {
        channel(&format!("127.0.0.1:{}", self.client_port(name)))
    }
}

/// A client of whatever serves at `address`.
pub(crate) fn channel(address: &str) -> Channel<TokioRuntime> {
    Channel::new(PlainDial::<TokioRuntime>::new(address), options())
}

/// The status of one node in a cluster's.
pub(crate) fn node<'s>(status: &'s Value, name: &str) -> &'s Value {
    let nodes = status["nodes"].as_array();
    let found = nodes.and_then(|nodes| nodes.iter().find(|node| node["name"] == name));
    found.unwrap_or(&Value::Null)
}

pub(crate) fn options() -> ChannelOptions {
    let patience = Duration::from_secs(10);
    ChannelOptions {
        connect_timeout: patience,
        call_timeout: patience,
        keepalive_interval: patience,
        keepalive_timeout: patience,
        rest_min: Duration::from_millis(10),
        rest_max: Duration::from_millis(10),
    }
}

/// Runs something that waits, as a client does.
pub(crate) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.expect("a runtime").block_on(work)
}

/// Rests without holding a processor.
pub(crate) async fn rest() {
    TokioRuntime::sleep(Duration::from_millis(50)).await;
}
