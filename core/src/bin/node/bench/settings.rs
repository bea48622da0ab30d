//! What a run needs, checked: the only place that says no to a user's numbers.

use super::args::Common;
use crate::client::Endpoint;
use crate::exit::Failure;
use std::time::Duration;

const MAX_CLIENTS: usize = 4096;
const MAX_TOTAL: u64 = 50_000_000;
const MAX_SECONDS: u64 = 900;
const MAX_VALUE: usize = 1 << 20;
const MAX_KEY: usize = 64 << 10;
/// Enough that no load waits for a connection's flow control, few enough that a server is not measured on accepting.
const USUAL_CONNECTIONS: usize = 16;

/// The checked settings of one load.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    pub(super) endpoints: Vec<Endpoint>,
    pub(super) spread: Spread,
    pub(super) clients: usize,
    pub(super) connections: usize,
    pub(super) total: u64,
    pub(super) duration: Duration,
    pub(super) value_size: usize,
    pub(super) key_size: usize,
    pub(super) prefix: String,
    pub(super) key_space: u64,
    pub(super) seed: u64,
    pub(super) threads: usize,
    pub(super) timeout: Duration,
    pub(super) server_pids: Vec<u32>,
}

/// Which endpoints get connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Spread {
    /// All of them, in turn.
    Everywhere,
    /// Only the one that says it is the leader.
    LeaderOnly,
}

impl Settings {
    /// Checks everything and names every error.
    pub(super) fn check(common: &Common) -> Result<Self, Failure> {
        let mut errors = Vec::new();
        let mut require = |holds: bool, rule: String| {
            if !holds {
                errors.push(rule);
            }
        };
        let within = |n: u64, most: u64| (1..=most).contains(&n);
        require(
            within(common.clients as u64, MAX_CLIENTS as u64),
            format!("--clients is 1 to {MAX_CLIENTS}"),
        );
        require(
            common.connections <= MAX_CLIENTS,
            format!("--connections is at most {MAX_CLIENTS}"),
        );
        require(
            within(common.total, MAX_TOTAL),
            format!("--total is 1 to {MAX_TOTAL}"),
        );
        require(
            within(common.seconds, MAX_SECONDS),
            format!("--seconds is 1 to {MAX_SECONDS}"),
        );
        require(
            common.value_size <= MAX_VALUE,
            format!("--value-size is at most {MAX_VALUE}"),
        );
        require(
            common.key_size <= MAX_KEY,
            format!("--key-size is at most {MAX_KEY}"),
        );
        require(
            !common.prefix.is_empty() && common.prefix.is_ascii(),
            "--prefix is not empty, and ASCII".into(),
        );
        require(common.key_space > 0, "--key-space is at least 1".into());
        require(
            within(common.threads as u64, 64),
            "--threads is 1 to 64".into(),
        );
        require(
            within(common.timeout_ms, 600_000),
            "--timeout-ms is 1 to 600000".into(),
        );
        let mut endpoints = Vec::with_capacity(common.endpoints.len());
        for typed in &common.endpoints {
            match Endpoint::parse(typed) {
                Ok(e) if common.anywhere || e.is_loopback() => endpoints.push(e),
                Ok(e) => errors.push(format!(
                    "{e} is not a loopback address (--anywhere allows it)"
                )),
                Err(error) => errors.push(error),
            }
        }
        if !errors.is_empty() {
            return Err(Failure::usage(&errors));
        }
        let connections = match common.connections {
            0 => common.clients.min(USUAL_CONNECTIONS),
            n => n,
        };
        let spread = if common.leader {
            Spread::LeaderOnly
        } else {
            Spread::Everywhere
        };
        Ok(Self {
            endpoints,
            spread,
            clients: common.clients,
            connections,
            total: common.total,
            duration: Duration::from_secs(common.seconds),
            value_size: common.value_size,
            key_size: common.key_size,
            prefix: common.prefix.clone(),
            key_space: common.key_space,
            seed: common.seed,
            threads: common.threads,
            timeout: Duration::from_millis(common.timeout_ms),
            server_pids: common.server_pids.clone(),
        })
    }

    /// What `quorate bench compare` and tests start from: 16 clients, values of 256 bytes.
    pub(super) fn usual(endpoints: Vec<Endpoint>, duration: Duration) -> Self {
        Self {
            endpoints,
            spread: Spread::Everywhere,
            clients: USUAL_CONNECTIONS,
            connections: USUAL_CONNECTIONS,
            total: MAX_TOTAL,
            duration,
            value_size: 256,
            key_size: 0,
            prefix: "/load/".into(),
            key_space: 100_000,
            seed: 1,
            threads: 2,
            timeout: Duration::from_secs(10),
            server_pids: Vec::new(),
        }
    }

    pub(super) fn clients(mut self, clients: usize) -> Self {
        self.clients = clients;
        self.connections = clients.min(USUAL_CONNECTIONS);
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        common: Common,
    }

    fn check(arguments: &[&str]) -> Result<Settings, String> {
        let line = Line::try_parse_from([&["bench"], arguments].concat()).unwrap();
        Settings::check(&line.common).map_err(|failure| failure.to_string())
    }

    #[test]
    fn loopback_endpoints_are_accepted() {
        for good in [
            "127.0.0.1:2379",
            "http://127.8.0.1:1",
            "localhost:2379",
            "[::1]:2379",
        ] {
            check(&["--endpoints", good]).unwrap();
        }
    }

    #[test]
    fn other_endpoints_need_a_word_from_the_user() {
        for remote in [
            "10.0.0.1:2379",
            "example.org:2379",
            "0.0.0.0:2379",
            "[::]:1",
        ] {
            assert!(
                check(&["--endpoints", remote])
                    .unwrap_err()
                    .contains("--anywhere"),
                "{remote}"
            );
            check(&["--endpoints", remote, "--anywhere"]).unwrap();
        }
    }

    #[test]
    fn every_error_is_named_at_once() {
        let errors = check(&[
            "--clients",
            "0",
            "--seconds",
            "901",
            "--endpoints",
            "here,127.0.0.1:70000",
        ])
        .unwrap_err();
        for part in [
            "--clients",
            "--seconds",
            "here: an endpoint",
            "70000: the port",
        ] {
            assert!(errors.contains(part), "{part} in {errors}");
        }
    }

    #[test]
    fn few_clients_have_a_connection_each() {
        assert_eq!(check(&["--clients", "3"]).unwrap().connections, 3);
        assert_eq!(check(&["--clients", "300"]).unwrap().connections, 16);
    }
}
