//! A node's settings as typed: on the command line, in the environment, in a file.
//!
//! One structure is read three times. A flag wins over an environment variable (clap sees to that), a variable over the
//! file, the file over the default; the defaults stand in `config`, where everything is checked.

use crate::exit::{Context, Exit, Failure};
use clap::{Args, ValueEnum};
use serde::Deserialize;
use std::fs;
use std::path::{Path, PathBuf};

/// Every setting is optional here: nothing is known yet about where it will come from.
#[derive(Clone, Debug, Default, PartialEq, Args, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Settings {
    /// Where everything is kept [default: quorate-data]
    #[arg(long, env = "QUORATE_DATA_DIR", value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// This node's name, unique in its cluster [default: the machine's]
    #[arg(long, env = "QUORATE_NAME")]
    pub(crate) name: Option<String>,
    /// Where clients are served: HOST:PORT, or unix:PATH for a socket that only this user's processes can open [default:
    /// 127.0.0.1:2379]
    #[arg(
        long,
        env = "QUORATE_LISTEN_CLIENT",
        value_name = "HOST:PORT|unix:PATH"
    )]
    pub(crate) listen_client: Option<String>,
    /// Where the other nodes are served [default: 127.0.0.1:2380]
    #[arg(long, env = "QUORATE_LISTEN_PEER", value_name = "HOST:PORT")]
    pub(crate) listen_peer: Option<String>,
    /// How clients reach this node, the best address first, separated by commas [default: where they are served]
    #[arg(
        long,
        env = "QUORATE_ADVERTISE_CLIENT",
        value_name = "HOST:PORT",
        value_delimiter = ','
    )]
    pub(crate) advertise_client: Option<Vec<String>>,
    /// Serve clients in plain text and without asking who they are, although not only this machine can connect. Otherwise
    /// clients elsewhere need TLS and a certificate of `quorate client-cert`
    #[arg(long, env = "QUORATE_INSECURE_CLIENT", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) insecure_client: Option<bool>,
    /// How the other nodes reach this one, the best address first, separated by commas [default: where they are served]
    #[arg(
        long,
        env = "QUORATE_ADVERTISE_PEER",
        value_name = "HOST:PORT",
        value_delimiter = ','
    )]
    pub(crate) advertise_peer: Option<Vec<String>>,
    /// What this node shares with those that fail together with it: a rack, a room, a site [default: default]
    #[arg(long, env = "QUORATE_FAILURE_DOMAIN", value_name = "NAME")]
    pub(crate) failure_domain: Option<String>,
    /// How many nodes vote at most: 1, 3, 5 or 7. Fewer do while the cluster has fewer nodes; the same on all nodes [default: 5]
    #[arg(long, env = "QUORATE_VOTERS", value_name = "N")]
    pub(crate) voters: Option<usize>,
    /// How many further nodes hold the data without voting, to replace a lost voter; the same on all nodes [default: 3]
    #[arg(long, env = "QUORATE_STANDBYS", value_name = "N")]
    pub(crate) standbys: Option<usize>,
    /// Remove members that hold no vote and were lost for this many hours; 0 never does; the same on all nodes [default: 168]
    #[arg(long, env = "QUORATE_CLEAN_UP_HOURS", value_name = "HOURS")]
    pub(crate) clean_up_hours: Option<u64>,
    /// Remove voters that were lost for so long too [default: false]
    #[arg(long, env = "QUORATE_CLEAN_UP_VOTERS", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    pub(crate) clean_up_voters: Option<bool>,
    /// How often the leader shows itself, in milliseconds; the time until a dead one is replaced grows with it. Longer than
    /// the longest round trip between two members, more for slow disks, the same on all nodes [default: 50]
    #[arg(long, env = "QUORATE_HEARTBEAT_MS", value_name = "MS")]
    pub(crate) heartbeat_ms: Option<u64>,
    /// Connections of clients at a time [default: 4096]
    #[arg(long, env = "QUORATE_MAX_CLIENT_CONNECTIONS", value_name = "N")]
    pub(crate) max_client_connections: Option<u32>,
    /// Take no writes while less than this is free on the disk, in MiB [default: 64]
    #[arg(long, env = "QUORATE_MIN_FREE_MIB", value_name = "MIB")]
    pub(crate) min_free_mib: Option<u64>,
    /// How long a stopping node waits for requests in progress, in milliseconds [default: 3000]
    #[arg(long, env = "QUORATE_DRAIN_MS", value_name = "MS")]
    pub(crate) drain_ms: Option<u64>,
    /// What is logged, to standard error: a level, or levels by module as in info,quorate=debug [default: info,openraft=warn]
    #[arg(long, env = "QUORATE_LOG_LEVEL", value_name = "LEVEL")]
    pub(crate) log_level: Option<String>,
    /// How a line of the log looks [default: text]
    #[arg(long, env = "QUORATE_LOG_FORMAT", value_enum)]
    pub(crate) log_format: Option<LogFormat>,
}

/// How a line of the log looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

impl Settings {
    /// Reads a TOML file of settings; a key that does not exist is an error and not a silent default.
    pub(crate) fn from_file(path: &Path) -> Result<Self, Failure> {
        let what = format!("reading {}", path.display());
        let text = fs::read_to_string(path).context(Exit::Usage, &what)?;
        toml::from_str(&text).context(Exit::Usage, &what)
    }

    /// These settings, and where they say nothing, those.
    pub(crate) fn or(self, those: Settings) -> Self {
        Self {
            data_dir: self.data_dir.or(those.data_dir),
            name: self.name.or(those.name),
            listen_client: self.listen_client.or(those.listen_client),
            listen_peer: self.listen_peer.or(those.listen_peer),
            advertise_client: self.advertise_client.or(those.advertise_client),
            insecure_client: self.insecure_client.or(those.insecure_client),
            advertise_peer: self.advertise_peer.or(those.advertise_peer),
            failure_domain: self.failure_domain.or(those.failure_domain),
            voters: self.voters.or(those.voters),
            standbys: self.standbys.or(those.standbys),
            clean_up_hours: self.clean_up_hours.or(those.clean_up_hours),
            clean_up_voters: self.clean_up_voters.or(those.clean_up_voters),
            heartbeat_ms: self.heartbeat_ms.or(those.heartbeat_ms),
            max_client_connections: self.max_client_connections.or(those.max_client_connections),
            min_free_mib: self.min_free_mib.or(those.min_free_mib),
            drain_ms: self.drain_ms.or(those.drain_ms),
            log_level: self.log_level.or(those.log_level),
            log_format: self.log_format.or(those.log_format),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(text: &str) -> Result<Settings, String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("quorate.toml");
        fs::write(&path, text).unwrap();
        Settings::from_file(&path).map_err(|failure| failure.to_string())
    }

    #[test]
    fn what_was_typed_wins_over_the_file() {
        let typed = Settings {
            name: Some("typed".into()),
            ..Settings::default()
        };
        let file = file("name = 'file'\ndrain-ms = 5\nlog-format = 'json'").unwrap();
        let settings = typed.or(file);
        assert_eq!(settings.name.as_deref(), Some("typed"));
        assert_eq!(settings.drain_ms, Some(5));
        assert_eq!(settings.log_format, Some(LogFormat::Json));
    }

    #[test]
    fn an_unknown_key_in_the_file_is_named() {
        let error = file("data-directory = 'x'").unwrap_err();
        assert!(error.contains("data-directory"), "{error}");
        assert!(error.contains("quorate.toml"), "{error}");
    }
}
