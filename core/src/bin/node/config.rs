//! What a node is started with: the settings, checked, with the defaults in one place.

use crate::client::is_loopback;
use crate::exit::Failure;
use crate::settings::{LogFormat, Settings};
use quorate::config::{ClientAccess, NodeConfig};
use quorate::join::may_be_claimed;
use quorate::membership::Policy;
use quorate::raft::config::{DEFAULT_HEARTBEAT, Timing};
use quorate::runtime::tokio::socket_path;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tracing_subscriber::EnvFilter;

const MIB: u64 = 1 << 20;
const DEFAULT_DATA_DIR: &str = "quorate-data";
const DEFAULT_LISTEN_CLIENT: &str = "127.0.0.1:2379";
const DEFAULT_LISTEN_PEER: &str = "127.0.0.1:2380";
const DEFAULT_FAILURE_DOMAIN: &str = "default";
const DEFAULT_MAX_CLIENT_CONNECTIONS: u32 = 4096;
const DEFAULT_MIN_FREE_MIB: u64 = 64;
const DEFAULT_DRAIN: Duration = Duration::from_secs(3);
/// Given back when the disk is full: enough for what is in flight then.
const RESERVE_BYTES: u64 = 32 * MIB;
/// openraft tells much at the level at which we tell little.
const DEFAULT_LOG_LEVEL: &str = "info,openraft=warn";
const LONGEST_NAME: usize = 63;
/// The kernel's limit, less the zero at the end.
const LONGEST_SOCKET_PATH: usize = 107;

/// A node's configuration and how it logs.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) node: NodeConfig,
    pub(crate) log: Log,
    /// Other machines' clients are served without asking who they are.
    pub(crate) insecure_client: bool,
}

/// What is logged and how it looks.
#[derive(Debug)]
pub(crate) struct Log {
    pub(crate) filter: EnvFilter,
    pub(crate) format: LogFormat,
}

impl Config {
    /// Checks every setting and names every error.
    pub(crate) fn check(settings: Settings) -> Result<Self, Failure> {
        let mut errors = Errors::default();
        let policy = errors.policy(&settings);
        let name = errors.name("--name", settings.name.unwrap_or_else(machine_name));
        let failure_domain = settings
            .failure_domain
            .unwrap_or_else(|| DEFAULT_FAILURE_DOMAIN.into());
        let failure_domain = errors.name("--failure-domain", failure_domain);
        let listen = |typed: Option<String>, usual: &str| typed.unwrap_or_else(|| usual.into());
        let listen_client = listen(settings.listen_client, DEFAULT_LISTEN_CLIENT);
        let listen_peer = listen(settings.listen_peer, DEFAULT_LISTEN_PEER);
        errors.require(
            listen_client != listen_peer,
            "--listen-client and --listen-peer are the same",
        );
        let socket = socket_path(&listen_client);
        let client = match socket {
            Some(path) => {
                errors.socket("--listen-client", path);
                None
            }
            None => errors.address("--listen-client", &listen_client),
        };
        let peer = errors.address("--listen-peer", &listen_peer);
        let insecure = settings.insecure_client.unwrap_or(false);
        let local = client.as_ref().is_some_and(|(host, _)| is_loopback(host));
        let (client_access, scheme) = match (local, insecure) {
            _ if socket.is_some() => (ClientAccess::SameUser, ""),
            (true, _) => (ClientAccess::Anyone, ""),
            (false, true) => (ClientAccess::Anyone, "http://"),
            (false, false) => (ClientAccess::Certificate, "https://"),
        };
        errors.require(
            socket.is_none() || settings.advertise_client.is_none(),
            "--advertise-client makes no sense with a socket: only this machine's clients reach it",
        );
        let advertise_client = errors.advertised("client", settings.advertise_client, client);
        let advertise_client = advertise_client
            .into_iter()
            .map(|address| format!("{scheme}{address}"))
            .collect();
        let warn = insecure && !local && socket.is_none();
        let advertise_peer = errors.advertised("peer", settings.advertise_peer, peer);
        let heartbeat = settings
            .heartbeat_ms
            .map_or(DEFAULT_HEARTBEAT, Duration::from_millis);
        let beats = Duration::from_millis(5)..=Duration::from_secs(10);
        errors.require(beats.contains(&heartbeat), "--heartbeat-ms is 5 to 10000");
        let connections = settings
            .max_client_connections
            .unwrap_or(DEFAULT_MAX_CLIENT_CONNECTIONS);
        errors.require(connections > 0, "--max-client-connections is at least 1");
        let min_free_mib = settings.min_free_mib.unwrap_or(DEFAULT_MIN_FREE_MIB);
        errors.require(
            min_free_mib <= 1 << 30,
            "--min-free-mib is at most 1073741824",
        );
        let drain = settings
            .drain_ms
            .map_or(DEFAULT_DRAIN, Duration::from_millis);
        errors.require(
            drain <= Duration::from_secs(600),
            "--drain-ms is at most 600000",
        );
        let log = errors.log(settings.log_level, settings.log_format);
        errors.none()?;
        let node = NodeConfig {
            data_dir: settings
                .data_dir
                .unwrap_or_else(|| PathBuf::from(DEFAULT_DATA_DIR)),
            name,
            listen_client,
            listen_peer,
            advertise_peer,
            advertise_client,
            failure_domain,
            client_access,
            policy,
            timing: Timing::new(heartbeat),
            max_client_connections: connections,
            min_free_bytes: min_free_mib * MIB,
            reserve_bytes: RESERVE_BYTES,
            drain,
        };
        Ok(Self {
            node,
            log,
            insecure_client: warn,
        })
    }
}

/// What is wrong so far.
#[derive(Default)]
struct Errors(Vec<String>);

impl Errors {
    fn require(&mut self, holds: bool, rule: impl Into<String>) {
        if !holds {
            self.0.push(rule.into());
        }
    }

    fn none(self) -> Result<(), Failure> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Failure::usage(&self.0))
        }
    }

    /// What the planner aims at.
    fn policy(&mut self, settings: &Settings) -> Policy {
        let mut policy = Policy::production();
        if let Some(most) = settings.voters {
            self.require(
                matches!(most, 1 | 3 | 5 | 7),
                format!("--voters {most}: 1, 3, 5 or 7, for an even number survives no more than the odd one below it"),
            );
            policy.voters_by_members = [1, 1, 3, 3, 5, 5, 7]
                .map(|wanted: usize| wanted.min(most))
                .to_vec();
        }
        if let Some(standbys) = settings.standbys {
            self.require(standbys <= 100, "--standbys is at most 100");
            policy.standbys = standbys;
        }
        if let Some(hours) = settings.clean_up_hours {
            self.require(hours <= 24 * 365, "--clean-up-hours is at most a year's");
            policy.clean_up.grace = (hours > 0).then(|| Duration::from_secs(hours * 3600));
        }
        policy.clean_up.voters = settings.clean_up_voters.unwrap_or(policy.clean_up.voters);
        policy
    }

    fn name(&mut self, flag: &str, name: String) -> String {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        let fits = (1..=LONGEST_NAME).contains(&name.len()) && name.bytes().all(allowed);
        let rule = format!(
            "{flag} {name:?}: 1 to {LONGEST_NAME} letters, digits, dots, dashes, underscores"
        );
        self.require(fits, rule);
        name
    }

    /// A socket in the file system that clients on this machine can open. Nothing is told of it to others, who could not.
    fn socket(&mut self, flag: &str, path: &Path) {
        let shown = path.display();
        let length = path.as_os_str().len();
        self.require(length > 0, format!("{flag} unix: a path follows"));
        self.require(
            length <= LONGEST_SOCKET_PATH,
            format!("{flag} unix:{shown}: a socket's path has {LONGEST_SOCKET_PATH} bytes at most"),
        );
    }

    /// The host and port of an address that others can dial or that can be listened on.
    fn address(&mut self, flag: &str, address: &str) -> Option<(String, u16)> {
        let parts = address.rsplit_once(':');
        let host_and_port =
            parts.and_then(|(host, port)| Some((host.to_owned(), port.parse().ok()?)));
        let good = host_and_port.filter(|(host, port): &(String, u16)| {
            let bare = host.trim_start_matches('[').trim_end_matches(']');
            // Without brackets the last group of an IPv6 address would be taken for the port.
            let bracketed = !bare.contains(':') || (host.starts_with('[') && host.ends_with(']'));
            !bare.is_empty() && bracketed && *port != 0 && !host.contains('/')
        });
        self.require(
            good.is_some(),
            format!("{flag} {address:?}: an address is HOST:PORT"),
        );
        good
    }

    /// The addresses that others are told: what the user says, or where this node listens.
    fn advertised(
        &mut self,
        whom: &str,
        typed: Option<Vec<String>>,
        listen: Option<(String, u16)>,
    ) -> Vec<String> {
        let flag = format!("--advertise-{whom}");
        if let Some(addresses) = typed {
            self.require(
                !addresses.is_empty(),
                format!("{flag}: at least one address"),
            );
            for address in &addresses {
                if let Some((host, _)) = self.address(&flag, address) {
                    let rule = format!(
                        "{flag} {address:?}: nobody can dial an address that means all of them"
                    );
                    self.require(!is_everywhere(&host), rule);
                    self.claimable(&flag, address);
                }
            }
            return addresses;
        }
        // A listening address that is wrong has been named already.
        let Some((host, port)) = listen else {
            return Vec::new();
        };
        let rule = format!(
            "{flag} is needed with --listen-{whom} on all addresses: others must know which to dial"
        );
        self.require(!is_everywhere(&host), rule);
        let address = format!("{host}:{port}");
        self.claimable(&flag, &address);
        vec![address]
    }

    /// The cluster would not take it, and say so only in the log.
    fn claimable(&mut self, flag: &str, address: &str) {
        self.require(
            may_be_claimed(address),
            format!("{flag} {address:?}: a host is a name, an IPv4 address or an IPv6 address in brackets, and no name under quorate.internal"),
        );
    }

    fn log(&mut self, level: Option<String>, format: Option<LogFormat>) -> Log {
        let level = level.unwrap_or_else(|| DEFAULT_LOG_LEVEL.into());
        let filter = EnvFilter::try_new(&level).unwrap_or_else(|error| {
            self.require(false, format!("--log-level {level:?}: {error}"));
            EnvFilter::default()
        });
        let format = format.unwrap_or(LogFormat::Text);
        Log { filter, format }
    }
}

fn is_everywhere(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_unspecified())
}

/// What the machine calls itself, without its domain.
fn machine_name() -> String {
    let name = rustix::system::uname();
    let name = name.nodename().to_string_lossy();
    name.split('.').next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(change: impl FnOnce(&mut Settings)) -> Result<Config, String> {
        let mut settings = Settings {
            name: Some("one".into()),
            ..Settings::default()
        };
        change(&mut settings);
        Config::check(settings).map_err(|failure| failure.to_string())
    }

    #[test]
    fn defaults_are_what_the_help_says() {
        let node = check(|_| ()).unwrap().node;
        assert_eq!(node.data_dir, PathBuf::from("quorate-data"));
        assert_eq!(node.listen_client, "127.0.0.1:2379");
        assert_eq!(node.advertise_client, ["127.0.0.1:2379"]);
        assert_eq!(node.advertise_peer, ["127.0.0.1:2380"]);
        assert_eq!(node.timing, Timing::default());
        assert_eq!(node.min_free_bytes, 64 << 20);
    }

    #[test]
    fn every_error_is_named_at_once() {
        let error = check(|settings| {
            settings.name = Some("two words".into());
            settings.listen_client = Some("nowhere".into());
            settings.heartbeat_ms = Some(1);
            settings.log_level = Some("quorate=loud".into());
        });
        let error = error.unwrap_err();
        for part in ["--name", "--listen-client", "--heartbeat-ms", "--log-level"] {
            assert!(error.contains(part), "{part} in {error}");
        }
    }

    #[test]
    fn the_number_of_voters_is_odd_and_grows_with_the_cluster() {
        let with = |voters| check(|settings: &mut Settings| settings.voters = Some(voters));
        let wanted = |voters| {
            let policy = with(voters).unwrap().node.policy;
            assert!(policy.problems().is_empty());
            [1, 3, 5, 9].map(|members| policy.voters_wanted(members))
        };
        assert_eq!(wanted(3), [1, 3, 3, 3]);
        assert_eq!(wanted(7), [1, 3, 5, 7]);
        assert!(with(4).is_err());
    }

    #[test]
    fn clients_of_other_machines_need_a_certificate_unless_somebody_insists() {
        let at = |listen: &str, insecure| {
            let checked = check(|settings: &mut Settings| {
                settings.listen_client = Some(listen.into());
                settings.insecure_client = Some(insecure);
            });
            let node = checked.unwrap().node;
            (node.client_access, node.advertise_client[0].clone())
        };
        use ClientAccess::{Anyone, Certificate};
        for local in ["127.0.0.1:1", "localhost:1", "[::1]:1"] {
            assert_eq!(at(local, false), (Anyone, local.into()));
        }
        assert_eq!(
            at("10.0.0.1:1", false),
            (Certificate, "https://10.0.0.1:1".into())
        );
        assert_eq!(at("10.0.0.1:1", true), (Anyone, "http://10.0.0.1:1".into()));
    }

    #[test]
    fn a_socket_of_this_machine_needs_no_certificate_and_is_told_nobody() {
        let at = |listen: &str| {
            check(|settings: &mut Settings| settings.listen_client = Some(listen.into()))
        };
        for listen in ["unix:/run/quorate.socket", "unix:///run/quorate.socket"] {
            let node = at(listen).unwrap().node;
            assert_eq!(node.client_access, ClientAccess::SameUser);
            assert!(node.advertise_client.is_empty());
        }
        assert!(at("unix:").unwrap_err().contains("a path follows"));
        let long = format!("unix:/{}", "x".repeat(LONGEST_SOCKET_PATH));
        assert!(at(&long).unwrap_err().contains("107 bytes"));
        let told = check(|settings: &mut Settings| {
            settings.listen_client = Some("unix:/run/quorate.socket".into());
            settings.advertise_client = Some(vec!["10.0.0.1:2379".into()]);
        });
        assert!(told.unwrap_err().contains("--advertise-client"));
    }

    #[test]
    fn listening_everywhere_needs_an_address_to_advertise() {
        for everywhere in ["0.0.0.0:2380", "[::]:2380"] {
            let listen = |settings: &mut Settings| settings.listen_peer = Some(everywhere.into());
            assert!(
                check(listen)
                    .unwrap_err()
                    .contains("--advertise-peer is needed")
            );
            let both = |settings: &mut Settings| {
                listen(settings);
                settings.advertise_peer = Some(vec!["10.0.0.1:2380".into()]);
            };
            assert_eq!(check(both).unwrap().node.advertise_peer, ["10.0.0.1:2380"]);
            let itself =
                |settings: &mut Settings| settings.advertise_peer = Some(vec![everywhere.into()]);
            assert!(check(itself).unwrap_err().contains("nobody can dial"));
        }
    }

    #[test]
    fn what_the_cluster_would_not_take_is_refused_at_the_start() {
        for bad in ["10.0.0.300:1", "a b:1", "x.quorate.internal:1"] {
            let typed = |settings: &mut Settings| {
                settings.advertise_client = Some(vec![bad.into()]);
            };
            assert!(
                check(typed).unwrap_err().contains("--advertise-client"),
                "{bad}"
            );
            let derived = |settings: &mut Settings| settings.listen_peer = Some(bad.into());
            assert!(
                check(derived).unwrap_err().contains("--advertise-peer"),
                "{bad}"
            );
        }
    }

    #[test]
    fn addresses_have_a_host_and_a_port() {
        for good in ["host:1", "10.0.0.1:65535", "[::1]:2379"] {
            check(|settings| settings.listen_client = Some(good.into())).unwrap();
        }
        for bad in [
            "",
            ":1",
            "host",
            "host:0",
            "host:65536",
            "::1",
            "http://host:1",
            "fe80::1:2379",
        ] {
            let error = check(|settings| settings.listen_client = Some(bad.into()));
            assert!(error.is_err(), "{bad}");
        }
    }

    #[test]
    fn clients_and_nodes_are_not_served_at_one_address() {
        let same = |settings: &mut Settings| settings.listen_peer = Some("127.0.0.1:2379".into());
        assert!(check(same).unwrap_err().contains("are the same"));
    }
}
