//! Which program the nodes of a cluster are.

use super::node::Place;
use crate::exit::{Context, Exit, Failure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// A datastore that can be run as a cluster of processes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    /// etcd, with the path of its binary.
    Etcd(PathBuf),
    /// This very program.
    Quorate(PathBuf),
}

impl Program {
    /// This program, from the file that it was started from.
    pub(crate) fn ourselves() -> Result<Self, Failure> {
        let path = std::env::current_exe();
        let path = path.context(Exit::Failed, "finding this program's own file")?;
        Ok(Self::Quorate(path))
    }

    /// etcd, if it is there and runs: `path` itself, or looked for in PATH if it is a bare name.
    pub(crate) fn etcd(path: &Path) -> Option<Self> {
        let found = Self::Etcd(path.to_owned());
        found.version().is_some().then_some(found)
    }

    /// What the program says about its version, in one line.
    pub(crate) fn version(&self) -> Option<String> {
        let (Self::Etcd(path) | Self::Quorate(path)) = self;
        let output = Command::new(path).arg("--version").output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?;
        let line = text.lines().next()?.trim();
        (output.status.success() && !line.is_empty()).then(|| line.to_owned())
    }

    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Etcd(_) => "etcd",
            Self::Quorate(_) => "quorate",
        }
    }

    /// The command that starts the node at `places[index]` of a cluster of all the places, the first time and again.
    pub(super) fn command(&self, places: &[Place], index: usize) -> Result<Command, Failure> {
        match self {
            Self::Etcd(path) => Ok(etcd(path, places, index)),
            Self::Quorate(path) => quorate(path, places, index),
        }
    }
}

fn etcd(path: &Path, places: &[Place], index: usize) -> Command {
    let place = &places[index];
    let url = |port: u16| format!("http://127.0.0.1:{port}");
    let cluster: Vec<String> = places
        .iter()
        .map(|place| format!("{}={}", place.name, url(place.peer_port)))
        .collect();
    let mut command = Command::new(path);
    command
        .args(["--name", &place.name, "--data-dir"])
        .arg(&place.directory)
        .args(["--listen-client-urls", &url(place.client_port)])
        .args(["--advertise-client-urls", &url(place.client_port)])
        .args(["--listen-peer-urls", &url(place.peer_port)])
        .args(["--initial-advertise-peer-urls", &url(place.peer_port)])
        .args(["--initial-cluster", &cluster.join(",")])
        .args(["--initial-cluster-state", "new", "--log-level", "error"]);
    command
}

fn quorate(path: &Path, places: &[Place], index: usize) -> Result<Command, Failure> {
    let place = &places[index];
    let address = |port: u16| format!("127.0.0.1:{port}");
    let mut command = Command::new(path);
    // A used directory knows its cluster: only a new node has to be told whom to join.
    if index == 0 || place.directory.exists() {
        command.arg("start");
    } else {
        command.args(["join", &join_line(path, &places[0])?]);
    }
    command
        .arg("--data-dir")
        .arg(&place.directory)
        .args(["--name", &place.name])
        .args(["--listen-client", &address(place.client_port)])
        .args(["--listen-peer", &address(place.peer_port)])
        .args(["--log-level", "warn"]);
    Ok(command)
}

/// What `quorate add-node` prints on a running node.
fn join_line(path: &Path, member: &Place) -> Result<String, Failure> {
    let mut command = Command::new(path);
    let output = command
        .args(["add-node", "-o", "json", "--data-dir"])
        .arg(&member.directory)
        .output()
        .context(Exit::Failed, "running add-node")?;
    let answer: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
    match answer["line"].as_str() {
        Some(line) if output.status.success() => Ok(line.to_owned()),
        _ => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            Err(Failure::new(Exit::Failed, format!("add-node: {said}")))
        }
    }
}
