//! One node as a child process.

use crate::client::Endpoint;
use crate::exit::{Context, Exit, Failure};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Longer than any orderly stop takes.
const STOP_LIMIT: Duration = Duration::from_secs(10);
const POLL: Duration = Duration::from_millis(2);
/// Lines of a node's log that are shown when it ended by itself.
const LAST_LINES: usize = 8;

/// Where a node lives; it does not change over restarts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) name: String,
    pub(super) client_port: u16,
    pub(super) peer_port: u16,
    pub(super) directory: PathBuf,
}

/// A node's process. Dropping it kills the process: no run leaves one behind.
#[derive(Debug)]
pub(super) struct Node {
    child: Child,
    log: PathBuf,
}

impl Place {
    pub(super) fn endpoint(&self) -> Endpoint {
        Endpoint::local(self.client_port)
    }
}

impl Node {
    /// Starts `command` with its output appended to a file beside the node's directory.
    pub(super) fn spawn(place: &Place, mut command: Command) -> Result<Self, Failure> {
        let log = place.directory.with_extension("log");
        let what = format!("starting {}", place.name);
        let open = || fs::OpenOptions::new().create(true).append(true).open(&log);
        let output = open().context(Exit::Failed, &what)?;
        let errors = output.try_clone().context(Exit::Failed, &what)?;
        command.stdin(Stdio::null()).stdout(output).stderr(errors);
        let child = command.spawn().context(Exit::Failed, &what)?;
        Ok(Self { child, log })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends the process with SIGKILL: it has no chance to write or to say anything.
    pub(super) fn kill(&mut self) {
        // It may have ended already, and then there is nothing to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks the process to stop and waits until it has; one that does not is killed and reported.
    pub(super) async fn stop(&mut self) -> Result<ExitStatus, Failure> {
        let pid = Pid::from_child(&self.child);
        // As above: it may have ended already.
        let _ = kill_process(pid, Signal::TERM);
        let start = Instant::now();
        loop {
            if let Some(status) = self.ended()? {
                return Ok(status);
            }
            if start.elapsed() > STOP_LIMIT {
                self.kill();
                let seconds = STOP_LIMIT.as_secs();
                let message = format!("a node did not stop within {seconds} seconds of SIGTERM");
                return Err(Failure::new(Exit::Failed, message));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// How the process ended, if it has.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>, Failure> {
        self.child
            .try_wait()
            .context(Exit::Failed, "waiting for a node")
    }

    /// The end of what the process printed.
    pub(super) fn last_words(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(LAST_LINES)..].join("\n")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.kill();
    }
}
