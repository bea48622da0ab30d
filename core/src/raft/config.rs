//! Raft's timing and limits.

use std::time::Duration;

/// When a snapshot is named and how much of the log stays behind it, in entries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trimming {
    /// After so many entries there is a new snapshot.
    pub snapshot_every: u64,
    /// So many entries that a snapshot covers are kept for followers that are a little behind.
    pub keep: u64,
}

impl Trimming {
    /// A snapshot is a durable point and nothing copied: often enough that a restart replays little, seldom enough that its
    /// sync does not count. A follower that is a moment behind gets entries, not a snapshot.
    pub const PRODUCTION: Self = Self {
        snapshot_every: 20_000,
        keep: 10_000,
    };
}

/// The three times of Raft, from one number, and when its log is cut short.
///
/// The defaults fit a local network and disks that sync within a few milliseconds: a leader that dies is replaced in about
/// half a second. On a slow disk or a long line everything is scaled by the heartbeat alone, so that the proportions that
/// the protocol needs stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timing {
    heartbeat: Duration,
    trimming: Trimming,
}

/// The heartbeat when nothing else is said.
pub const DEFAULT_HEARTBEAT: Duration = Duration::from_millis(50);

/// An election takes two synced writes on a majority; with fewer than this many syncs in the shortest timeout, votes are
/// split again and again and nobody is ever elected (T46).
const SYNCS_IN_A_TIMEOUT: u32 = 10;

impl Timing {
    /// From the heartbeat interval.
    #[must_use]
    pub const fn new(heartbeat: Duration) -> Self {
        Self {
            heartbeat,
            trimming: Trimming::PRODUCTION,
        }
    }

    /// The same times with a log that is cut at other lengths.
    #[must_use]
    pub const fn trimmed(self, trimming: Trimming) -> Self {
        Self { trimming, ..self }
    }

    /// How often the leader tells that it is there.
    #[must_use]
    pub const fn heartbeat(self) -> Duration {
        self.heartbeat
    }

    /// The shortest and the longest time without a leader after which a node stands for election.
    #[must_use]
    pub fn election(self) -> (Duration, Duration) {
        (self.heartbeat * 3, self.heartbeat * 6)
    }

    /// The same proportions, slow enough for a disk whose sync takes `sync`.
    #[must_use]
    pub fn fit_for(self, sync: Duration) -> Self {
        let (shortest, _) = self.election();
        let wanted = sync * SYNCS_IN_A_TIMEOUT;
        if wanted <= shortest {
            self
        } else {
            Self {
                heartbeat: wanted / 3 + Duration::from_millis(1),
                ..self
            }
        }
    }

    /// How long a proposal may take before its outcome is reported as unknown: etcd's five seconds and two elections.
    #[must_use]
    pub fn request_timeout(self) -> Duration {
        Duration::from_secs(5) + self.election().1 * 2
    }

    /// openraft's configuration, every value that matters stated.
    #[must_use]
    pub fn raft_config(self) -> openraft::Config {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let (shortest, longest) = self.election();
        let Trimming {
            snapshot_every,
            keep,
        } = self.trimming;
        openraft::Config {
            cluster_name: "quorate".to_owned(),
            heartbeat_interval: millis(self.heartbeat),
            election_timeout_min: millis(shortest),
            election_timeout_max: millis(longest),
            // Bytes are bounded by the log's reads; this bounds the count for tiny entries.
            max_payload_entries: 2048,
            // No more of a snapshot is taken, or it is not installed, for so long.
            install_snapshot_timeout: 600_000,
            snapshot_policy: openraft::SnapshotPolicy::LogsSinceLast(snapshot_every),
            // Who is further behind than the log is ever long gets a snapshot.
            replication_lag_threshold: snapshot_every + keep,
            max_in_snapshot_log_to_keep: keep,
            purge_batch_size: (keep / 10).max(1),
            // A leader that can send but not hear would keep its followers quiet for ever.
            quorum_loss_probe_interval: Some(2 * millis(longest)),
            // One that comes back from a partition must not depose a leader that everyone else hears.
            enable_pre_vote: Some(true),
            // A restarted leader would go on without an election, on a state that may have been rolled back.
            enable_leader_restore: Some(false),
            allow_log_reversion: Some(false),
            ..openraft::Config::default()
        }
    }
}

impl Default for Timing {
    fn default() -> Self {
        Self::new(DEFAULT_HEARTBEAT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn defaults_are_what_the_documentation_says() {
        let config = Timing::default()
            .raft_config()
            .validate()
            .expect("a valid configuration");
        assert_eq!(
            (
                config.heartbeat_interval,
                config.election_timeout_min,
                config.election_timeout_max
            ),
            (50, 150, 300)
        );
        assert_eq!(config.quorum_loss_probe_interval, Some(600));
        assert_eq!(
            (
                config.enable_pre_vote,
                config.enable_leader_restore,
                config.allow_log_reversion
            ),
            (Some(true), Some(false), Some(false)),
            "each of these is a hazard the other way round"
        );
        assert_eq!(
            (
                config.snapshot_policy,
                config.replication_lag_threshold,
                config.max_in_snapshot_log_to_keep,
                config.purge_batch_size
            ),
            (
                openraft::SnapshotPolicy::LogsSinceLast(20_000),
                30_000,
                10_000,
                1_000
            )
        );
    }

    #[test]
    fn log_is_cut_where_it_is_said_on_a_slow_disk_too() {
        let trimming = Trimming {
            snapshot_every: 50,
            keep: 7,
        };
        let timing = Timing::default().trimmed(trimming);
        for timing in [timing, timing.fit_for(Duration::from_millis(400))] {
            let config = timing.raft_config();
            assert_eq!(
                config.snapshot_policy,
                openraft::SnapshotPolicy::LogsSinceLast(50)
            );
            assert_eq!(
                (config.max_in_snapshot_log_to_keep, config.purge_batch_size),
                (7, 1)
            );
            config.validate().expect("a valid configuration");
        }
    }

    #[test]
    fn timeouts_are_several_syncs_long() {
        for millis in [0, 1, 15, 40, 400] {
            let sync = Duration::from_millis(millis);
            let timing = Timing::default().fit_for(sync);
            assert!(
                timing.election().0 >= sync * SYNCS_IN_A_TIMEOUT,
                "{millis} ms"
            );
            timing
                .raft_config()
                .validate()
                .expect("a valid configuration");
        }
        assert_eq!(
            Timing::default().fit_for(Duration::from_millis(15)),
            Timing::default()
        );
    }
}
