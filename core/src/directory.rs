//! The data directory: whose it is, and whether a node may start on it.
//!
//! The danger is a directory that looks new and is not: a volume that was not mounted, a typo, a replaced disk. A node
//! that made a fresh cluster there would answer its clients with an empty store. So a cluster is made only where *no*
//! directory was, or when that is asked for in so many words.
//!
//! ```text
//! identity.json   which node of which cluster this is; written last, so it vouches for the rest
//! node.key, …     keys, certificates and the member view: see `join/keep.rs`
//! log.db          the Raft log (with -wal and -shm beside it)
//! state.db        the applied state (likewise)
//! lock            held by the process that uses the directory
//! reserve         space that is given back when the disk is full
//! recovery        there while a recovery replaces the rest: the node does not start then
//! joining/        what a join makes while another life's data are still here: see `node/ground.rs`
//! ```

use std::io;
use std::path::{Path, PathBuf};

use crate::config::Beginning;
use crate::ids::{ClusterId, Epoch, LogIndex, NodeId};
use crate::raft::journal;
use crate::raft::peers::Identity;
use crate::runtime::{Access, Disk, Found};

const IDENTITY: &str = "identity.json";
const LOCK: &str = "lock";
const RESERVE: &str = "reserve";
const PROBE: &str = "probe";
const RECOVERY: &str = "recovery";
const JOINING: &str = "joining";

/// What a node that has left keeps begins so.
const LEFT: &str = "left.";

/// The databases; SQLite puts files beside them.
const STORES: [&str; 2] = [journal::LAYOUT.file, crate::state::LAYOUT.file];

/// The layout of the directory and of `identity.json` that this program writes.
const FORMAT: u32 = 1;

/// What `identity.json` says. Numbers are strings, because JSON's own lose the last digits of 64 bits.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
struct IdentityFile {
    format: u32,
    #[serde(default)]
    cluster: String,
    #[serde(default)]
    epoch: u64,
    #[serde(default)]
    node: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    holds_log: bool,
    #[serde(default)]
    elects_from: u64,
    #[serde(default)]
    outdated: bool,
}

/// Who lives in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inhabitant {
    /// Node, cluster and epoch.
    pub identity: Identity,
    /// The node's name.
    pub name: String,
    /// Whether it has the log and the state; a spare has neither, and anybody else's must not be missing.
    pub holds_log: bool,
    /// It stands for no election before its log reaches this index. A log that is taken up anew begins with configurations of
    /// long ago, in one of which the node may have been the only voter.
    pub elects_from: LogIndex,
    /// Whether what is here was found to be older than what others count on. It stays so until somebody else lives here.
    pub outdated: bool,
}

/// Why a node does not start on a directory.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It must exist and does not.
    #[error(
        "{directory}: there is no such directory. Is the volume mounted? To make a new cluster there, start with --bootstrap"
    )]
    Missing {
        /// The directory.
        directory: String,
    },
    /// It exists and is empty.
    #[error(
        "{directory}: the directory is empty. Is the volume mounted? To make a new cluster in it, start with --bootstrap; \
         to make this node part of a cluster, use `quorate join`"
    )]
    Empty {
        /// The directory.
        directory: String,
    },
    /// It holds files, but no identity.
    #[error(
        "{directory}: this is not the data directory of a node: it holds {found} and no identity.json. Name another \
         directory, or, if a node's first start was interrupted there, remove it and start again"
    )]
    Foreign {
        /// The directory.
        directory: String,
        /// Something that is in it.
        found: String,
    },
    /// It has an identity, but the log is gone.
    #[error(
        "{directory}: the node's log ({file}) is missing. A node without its log must not come back under its old name and \
         id: it may have voted. Put the file back, or remove the node from its cluster, wipe the directory and join anew"
    )]
    LogMissing {
        /// The directory.
        directory: String,
        /// The file.
        file: &'static str,
    },
    /// It was put back to an older state.
    #[error(
        "{directory}: what is here is older than what the cluster counts on: the disk was put back to an older state. Remove \
         node {name} from its cluster, wipe the directory and join anew"
    )]
    Outdated {
        /// The directory.
        directory: String,
        /// Who lives there.
        name: String,
    },
    /// It is inhabited, and something new was to be made in it.
    #[error(
        "{directory}: node {name} of cluster {cluster} lives here. To go on with it, start without --bootstrap"
    )]
    Inhabited {
        /// The directory.
        directory: String,
        /// Who lives there.
        name: String,
        /// Of which cluster.
        cluster: ClusterId,
    },
    /// Its identity cannot be read.
    #[error("{file}: {detail}. Restore it from a backup, or wipe the directory and join anew")]
    Unreadable {
        /// The file.
        file: String,
        /// What is wrong with it.
        detail: String,
    },
    /// It was written by a newer program.
    #[error(
        "{file}: written in format {found} by a newer quorate, this one knows up to {FORMAT}; start the newer version again"
    )]
    Future {
        /// The file.
        file: String,
        /// Its format.
        found: u32,
    },
    /// Its node has left its cluster.
    #[error(
        "{directory}: node {name} has left its cluster, and keeps a copy of its data here. To join a cluster, name another \
         directory, or use `quorate join` with --wipe on this one"
    )]
    Left {
        /// The directory.
        directory: String,
        /// The node that it was.
        name: String,
    },
    /// A recovery was cut off here: part of what is here belongs to the cluster's next life, and part to the one before.
    #[error(
        "{directory}: a recovery began here and did not end, so this node belongs to neither cluster. Run `quorate recover --yes` \
         again, which begins it anew; or put the copy that it kept back in its place ({directory}.before-recovery-…)"
    )]
    HalfRecovered {
        /// The directory.
        directory: String,
    },
    /// Another process uses it.
    #[error("{directory}: another process uses this data directory")]
    InUse {
        /// The directory.
        directory: String,
    },
    /// It cannot be used.
    #[error("{directory}: {error}")]
    Io {
        /// The directory.
        directory: String,
        /// Why.
        #[source]
        error: io::Error,
    },
}

/// What was at a directory's place before a join began there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    /// Nothing.
    Nothing,
    /// A directory, empty or a node's.
    Directory,
}

/// Whether a node keeps a file of this name; beginnings, because SQLite and atomic replacement put files beside theirs.
fn is_ours(name: &str) -> bool {
    const OURS: [&str; 16] = [
        IDENTITY,
        LOCK,
        RESERVE,
        RECOVERY,
        JOINING,
        STORES[0],
        STORES[1],
        "node.key",
        "node.crt",
        "ca.key",
        "ca.crt",
        "members.view",
        "join-attempt.json",
        PROBE,
        "admin",
        LEFT,
    ];
    OURS.iter().any(|ours| name.starts_with(ours))
}

/// A data directory.
#[derive(Clone, Debug)]
pub struct Directory<D: Disk> {
    disk: D,
    path: PathBuf,
}

impl<D: Disk> Directory<D> {
    /// The directory at `path`.
    #[must_use]
    pub fn new(disk: D, path: PathBuf) -> Self {
        Self { disk, path }
    }

    /// The disk that it is on.
    #[must_use]
    pub fn disk(&self) -> &D {
        &self.disk
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn shown(&self) -> String {
        self.path.display().to_string()
    }

    pub(crate) fn io(&self, error: io::Error) -> DirectoryError {
        DirectoryError::Io {
            directory: self.shown(),
            error,
        }
    }

    /// Who lives here; none when a new cluster may be made.
    ///
    /// # Errors
    /// When starting so is not allowed; the message names the directory and the way out.
    pub fn inspect(&self, beginning: Beginning) -> Result<Option<Inhabitant>, DirectoryError> {
        let found = self.look(beginning)?;
        let begun = self.disk.find(&self.path.join(RECOVERY));
        if found.is_some() && begun.map_err(|error| self.io(error))? != Found::Nothing {
            return Err(DirectoryError::HalfRecovered {
                directory: self.shown(),
            });
        }
        match found {
            Some(Inhabitant { outdated, name, .. }) if outdated => Err(self.outdated(name)),
            found => Ok(found),
        }
    }

    /// The refusal of a directory that was put back to an older state.
    pub(crate) fn outdated(&self, name: String) -> DirectoryError {
        DirectoryError::Outdated {
            directory: self.shown(),
            name,
        }
    }

    /// The same for a recovery, which may have been cut off here before, and compares what is here with others by itself.
    ///
    /// # Errors
    /// As [`Directory::inspect`], but for that.
    pub(crate) fn look(&self, beginning: Beginning) -> Result<Option<Inhabitant>, DirectoryError> {
        let directory = self.shown();
        match (
            self.disk.find(&self.path).map_err(|error| self.io(error))?,
            beginning,
        ) {
            (Found::Nothing, Beginning::Existing) => Err(DirectoryError::Missing { directory }),
            (Found::EmptyDirectory, Beginning::Usual | Beginning::Existing) => {
                Err(DirectoryError::Empty { directory })
            }
            (Found::Nothing, _) | (Found::EmptyDirectory, Beginning::Bootstrap) => Ok(None),
            (Found::File, _) => Err(DirectoryError::Foreign {
                directory,
                found: "a file".to_owned(),
            }),
            (Found::Directory, _) => {
                let inhabitant = self.inhabitant()?;
                if beginning == Beginning::Bootstrap {
                    let (name, cluster) = (inhabitant.name, inhabitant.identity.cluster);
                    return Err(DirectoryError::Inhabited {
                        directory,
                        name,
                        cluster,
                    });
                }
                Ok(Some(inhabitant))
            }
        }
    }

    fn inhabitant(&self) -> Result<Inhabitant, DirectoryError> {
        let directory = self.shown();
        let read = |file: &str| self.disk.read(&self.path.join(file));
        let Some(content) = read(IDENTITY).map_err(|error| self.io(error))? else {
            if let Some(left) =
                read(&format!("{LEFT}{IDENTITY}")).map_err(|error| self.io(error))?
            {
                let name = serde_json::from_slice::<IdentityFile>(&left).map(|file| file.name);
                return Err(DirectoryError::Left {
                    directory,
                    name: name.unwrap_or_default(),
                });
            }
            let names = self.disk.list(&self.path).map_err(|error| self.io(error))?;
            let found = names.into_iter().next().unwrap_or_default();
            return Err(DirectoryError::Foreign { directory, found });
        };
        let file = self.path.join(IDENTITY).display().to_string();
        let unreadable = |detail: String| DirectoryError::Unreadable {
            file: file.clone(),
            detail,
        };
        let identity: IdentityFile =
            serde_json::from_slice(&content).map_err(|error| unreadable(error.to_string()))?;
        if identity.format > FORMAT {
            return Err(DirectoryError::Future {
                file,
                found: identity.format,
            });
        }
        let number = |text: &str| match u64::from_str_radix(text, 16) {
            Ok(number) if number != 0 => Ok(number),
            _ => Err(unreadable(format!("{text:?} is not an id"))),
        };
        let inhabitant = Inhabitant {
            identity: Identity {
                cluster: ClusterId(number(&identity.cluster)?),
                epoch: Epoch(identity.epoch),
                node: NodeId(number(&identity.node)?),
            },
            name: identity.name,
            holds_log: identity.holds_log,
            elects_from: LogIndex(identity.elects_from),
            outdated: identity.outdated,
        };
        let log = journal::LAYOUT.file;
        if inhabitant.holds_log
            && self
                .disk
                .find(&self.path.join(log))
                .map_err(|error| self.io(error))?
                != Found::File
        {
            return Err(DirectoryError::LogMissing {
                directory,
                file: log,
            });
        }
        Ok(inhabitant)
    }

    /// Whether a machine may join from here: nothing is there, or what an earlier join or an earlier member left. Whose it
    /// is decides the conversation.
    ///
    /// # Errors
    /// When it is something else's directory, which not even a wipe may touch.
    pub fn look_before_join(&self) -> Result<Before, DirectoryError> {
        let directory = self.shown();
        match self.disk.find(&self.path).map_err(|error| self.io(error))? {
            Found::Nothing => Ok(Before::Nothing),
            Found::EmptyDirectory => Ok(Before::Directory),
            Found::File => Err(DirectoryError::Foreign {
                directory,
                found: "a file".to_owned(),
            }),
            Found::Directory => {
                let names = self.disk.list(&self.path).map_err(|error| self.io(error))?;
                match names.into_iter().find(|name| !is_ours(name)) {
                    None => Ok(Before::Directory),
                    Some(found) => Err(DirectoryError::Foreign { directory, found }),
                }
            }
        }
    }

    /// Where a join keeps what it makes while another life's data are still here.
    pub(crate) fn joining(&self) -> PathBuf {
        self.path.join(JOINING)
    }

    /// Whether anything is here besides the lock.
    pub(crate) fn holds_anything(&self) -> Result<bool, DirectoryError> {
        let names = self.disk.list(&self.path).map_err(|error| self.io(error))?;
        Ok(names.iter().any(|name| name != LOCK))
    }

    /// Whether the node that lived here has left its cluster, and nobody has moved in since.
    ///
    /// # Errors
    /// As the error that says so, if `join` must not use the directory as it is.
    pub(crate) fn refuse_left(&self) -> Result<(), DirectoryError> {
        let left = self.disk.find(&self.path.join(format!("{LEFT}{IDENTITY}")));
        if self.is_settled()? || left.map_err(|error| self.io(error))? != Found::File {
            return Ok(());
        }
        self.inhabitant().map(drop)
    }

    /// Whether somebody lives here.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn is_settled(&self) -> Result<bool, DirectoryError> {
        let found = self.disk.find(&self.path.join(IDENTITY));
        Ok(found.map_err(|error| self.io(error))? == Found::File)
    }

    /// Removes everything that a node kept here, its identity first, so that a wipe that was cut off is told apart.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn wipe(&self) -> Result<(), DirectoryError> {
        let remove = || -> io::Result<()> {
            self.disk.remove(&self.path.join(IDENTITY))?;
            let names = self.disk.list(&self.path)?;
            for name in names.iter().filter(|name| is_ours(name) && *name != LOCK) {
                let path = self.path.join(name);
                if self.disk.find(&path)? == Found::File {
                    self.disk.remove(&path)?;
                }
            }
            Ok(())
        };
        remove().map_err(|error| self.io(error))
    }

    /// After a join that failed: removes what entering made, if nothing else is here now.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn leave_as_found(&self, before: Before) -> Result<(), DirectoryError> {
        let leave = || -> io::Result<()> {
            if self.disk.list(&self.path)?.iter().any(|name| name != LOCK) {
                return Ok(());
            }
            self.disk.remove(&self.path.join(LOCK))?;
            match before {
                Before::Nothing => self.disk.remove_directory(&self.path),
                Before::Directory => Ok(()),
            }
        };
        leave().map_err(|error| self.io(error))
    }

    /// Makes the directory, if need be, and takes its lock, which is held as long as the answer lives.
    ///
    /// # Errors
    /// When another process holds it, or it cannot be made.
    pub fn enter(&self) -> Result<D::Lock, DirectoryError> {
        self.disk
            .create_directory(&self.path)
            .map_err(|error| self.io(error))?;
        self.disk
            .lock(&self.path.join(LOCK))
            .map_err(|error| match error.kind() {
                io::ErrorKind::WouldBlock => DirectoryError::InUse {
                    directory: self.shown(),
                },
                _ => self.io(error),
            })
    }

    /// Writes who lives here, durably. Last of all that is made, so that an interrupted first start is told apart.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn settle(&self, inhabitant: &Inhabitant) -> Result<(), DirectoryError> {
        let file = IdentityFile {
            format: FORMAT,
            cluster: inhabitant.identity.cluster.to_string(),
            epoch: inhabitant.identity.epoch.0,
            node: inhabitant.identity.node.to_string(),
            name: inhabitant.name.clone(),
            holds_log: inhabitant.holds_log,
            elects_from: inhabitant.elects_from.0,
            outdated: inhabitant.outdated,
        };
        let content = serde_json::to_vec_pretty(&file).expect("strings and numbers");
        self.disk
            .write(&self.path.join(IDENTITY), &content, Access::Public)
            .map_err(|error| self.io(error))
    }

    /// Notes that a recovery begins, in which `lost` members are given up, and answers how many it is: a recovery that was cut off
    /// may have removed them from the member table already.
    ///
    /// # Errors
    /// When it cannot be noted; then nothing may be changed.
    pub(crate) fn begin_recovery(&self, lost: u32) -> Result<u32, DirectoryError> {
        let path = self.path.join(RECOVERY);
        let begin = || -> io::Result<u32> {
            let before = self.disk.read(&path)?;
            let before = before.and_then(|text| String::from_utf8(text).ok()?.parse().ok());
            let lost = before.unwrap_or(0).max(lost);
            let text = lost.to_string();
            self.disk.write(&path, text.as_bytes(), Access::Public)?;
            Ok(lost)
        };
        begin().map_err(|error| self.io(error))
    }

    /// Notes that a recovery has replaced everything: the last of its steps.
    ///
    /// # Errors
    /// When it cannot be noted; then the node does not start, and the recovery has to be repeated.
    pub(crate) fn end_recovery(&self) -> Result<(), DirectoryError> {
        let ended = self.disk.remove(&self.path.join(RECOVERY));
        ended.map_err(|error| self.io(error))
    }

    /// Removes the databases of a node that has become a spare, or what an earlier such removal left.
    ///
    /// # Errors
    /// When a file cannot be removed.
    pub fn remove_stores(&self) -> Result<(), DirectoryError> {
        let remove = || -> io::Result<()> {
            for name in self.disk.list(&self.path)? {
                if STORES.iter().any(|store| name.starts_with(store)) {
                    self.disk.remove(&self.path.join(name))?;
                }
            }
            Ok(())
        };
        remove().map_err(|error| self.io(error))
    }

    /// Keeps the state of a node that is leaving as a copy, when it gives its log up: the database, and the write-ahead log
    /// that belongs to it, which goes first, so that no database stands there without.
    ///
    /// # Errors
    /// When it cannot be renamed.
    pub fn keep_state(&self) -> Result<(), DirectoryError> {
        let keep = |file: &str| match self.disk.find(&self.path.join(file))? {
            Found::File => self.disk.rename(
                &self.path.join(file),
                &self.path.join(format!("{LEFT}{file}")),
            ),
            _ => Ok(()),
        };
        let state = STORES[1];
        keep(&format!("{state}-wal"))
            .and_then(|()| keep(state))
            .map_err(|error| self.io(error))
    }

    /// The node is no member any more: nobody starts here again by accident. Its state stays as a copy, its log goes.
    ///
    /// # Errors
    /// When it cannot be written down.
    pub fn vacate(&self) -> Result<(), DirectoryError> {
        let (from, to) = (self.path.join(IDENTITY), format!("{LEFT}{IDENTITY}"));
        let renamed = self.disk.rename(&from, &self.path.join(to));
        renamed.map_err(|error| self.io(error))?;
        self.keep_state()?;
        self.remove_stores()
    }

    /// Bytes that may still be written.
    ///
    /// # Errors
    /// When the file system does not tell.
    pub fn free_bytes(&self) -> io::Result<u64> {
        self.disk.free_bytes(&self.path)
    }

    /// Writes a small file and removes it, each durably.
    ///
    /// # Errors
    /// When the disk does not allow it.
    pub fn probe(&self) -> Result<(), DirectoryError> {
        let path = self.path.join(PROBE);
        let written = self.disk.write(&path, b"probe", Access::Private);
        written
            .and_then(|()| self.disk.remove(&path))
            .map_err(|error| self.io(error))
    }

    /// Sets space aside.
    ///
    /// # Errors
    /// When there is none.
    pub fn reserve(&self, bytes: u64) -> io::Result<()> {
        self.disk.reserve(&self.path.join(RESERVE), bytes)
    }

    /// Gives the reserved space back.
    ///
    /// # Errors
    /// When the file cannot be removed.
    pub fn release_reserve(&self) -> io::Result<()> {
        self.disk.remove(&self.path.join(RESERVE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::tokio::StdDisk;

    fn inhabitant() -> Inhabitant {
        let identity = Identity {
            cluster: ClusterId(u64::MAX),
            epoch: Epoch(0),
            node: NodeId(0xa1),
        };
        Inhabitant {
            identity,
            name: "one".to_owned(),
            holds_log: true,
            elects_from: LogIndex(7),
            outdated: false,
        }
    }

    fn directory(parent: &tempfile::TempDir) -> Directory<StdDisk> {
        Directory::new(StdDisk, parent.path().join("data"))
    }

    fn settled(parent: &tempfile::TempDir) -> Directory<StdDisk> {
        let directory = directory(parent);
        drop(directory.enter().unwrap());
        StdDisk
            .write(&directory.path().join("log.db"), b"", Access::Private)
            .unwrap();
        directory.settle(&inhabitant()).unwrap();
        directory
    }

    #[test]
    fn a_cluster_is_made_only_where_nothing_is_or_on_demand() {
        let parent = tempfile::tempdir().unwrap();
        let directory = directory(&parent);
        assert!(directory.inspect(Beginning::Usual).unwrap().is_none());
        assert!(directory.inspect(Beginning::Bootstrap).unwrap().is_none());
        assert!(matches!(
            directory.inspect(Beginning::Existing),
            Err(DirectoryError::Missing { .. })
        ));
        StdDisk.create_directory(directory.path()).unwrap();
        assert!(matches!(
            directory.inspect(Beginning::Usual),
            Err(DirectoryError::Empty { .. })
        ));
        assert!(matches!(
            directory.inspect(Beginning::Existing),
            Err(DirectoryError::Empty { .. })
        ));
        assert!(directory.inspect(Beginning::Bootstrap).unwrap().is_none());
    }

    #[test]
    fn a_used_directory_is_gone_on_with_and_never_made_anew() {
        let parent = tempfile::tempdir().unwrap();
        let directory = settled(&parent);
        assert_eq!(
            directory.inspect(Beginning::Usual).unwrap(),
            Some(inhabitant())
        );
        assert_eq!(
            directory.inspect(Beginning::Existing).unwrap(),
            Some(inhabitant())
        );
        assert!(matches!(
            directory.inspect(Beginning::Bootstrap),
            Err(DirectoryError::Inhabited { .. })
        ));
    }

    #[test]
    fn a_missing_log_a_foreign_directory_and_a_newer_format_are_refused() {
        let parent = tempfile::tempdir().unwrap();
        let directory = settled(&parent);
        StdDisk.remove(&directory.path().join("log.db")).unwrap();
        assert!(matches!(
            directory.inspect(Beginning::Usual),
            Err(DirectoryError::LogMissing { .. })
        ));
        let newer = br#"{"format": 2, "something": "else"}"#;
        StdDisk
            .write(&directory.path().join(IDENTITY), newer, Access::Public)
            .unwrap();
        assert!(matches!(
            directory.inspect(Beginning::Usual),
            Err(DirectoryError::Future { found: 2, .. })
        ));
        StdDisk
            .write(&directory.path().join(IDENTITY), b"{", Access::Public)
            .unwrap();
        assert!(matches!(
            directory.inspect(Beginning::Usual),
            Err(DirectoryError::Unreadable { .. })
        ));
        StdDisk.remove(&directory.path().join(IDENTITY)).unwrap();
        assert!(matches!(
            directory.inspect(Beginning::Usual),
            Err(DirectoryError::Foreign { .. })
        ));
    }

    #[test]
    fn a_directory_that_a_node_has_left_is_nobodys() {
        let parent = tempfile::tempdir().unwrap();
        let directory = settled(&parent);
        StdDisk
            .write(&directory.path().join("state.db"), b"data", Access::Private)
            .unwrap();
        StdDisk
            .write(
                &directory.path().join("state.db-wal"),
                b"data",
                Access::Private,
            )
            .unwrap();
        directory.vacate().unwrap();
        let kept = StdDisk.list(directory.path()).unwrap();
        assert_eq!(
            kept,
            [
                "left.identity.json",
                "left.state.db",
                "left.state.db-wal",
                "lock"
            ]
        );
        let refused = directory.inspect(Beginning::Usual).unwrap_err();
        assert!(
            matches!(&refused, DirectoryError::Left { name, .. } if name == "one"),
            "{refused}"
        );
        assert!(!directory.is_settled().unwrap());
        assert_eq!(directory.look_before_join().unwrap(), Before::Directory);
        directory.wipe().unwrap();
        assert_eq!(StdDisk.list(directory.path()).unwrap(), ["lock"]);
    }

    #[test]
    fn nobody_starts_where_a_recovery_was_cut_off() {
        let parent = tempfile::tempdir().unwrap();
        let directory = settled(&parent);
        assert_eq!(directory.begin_recovery(2).unwrap(), 2);
        let refused = directory.inspect(Beginning::Existing).unwrap_err();
        assert!(refused.to_string().contains("recover --yes"), "{refused}");
        assert_eq!(
            directory.look(Beginning::Existing).unwrap(),
            Some(inhabitant())
        );
        assert_eq!(directory.begin_recovery(0).unwrap(), 2, "it is remembered");
        directory.end_recovery().unwrap();
        assert!(directory.inspect(Beginning::Existing).unwrap().is_some());
    }

    #[test]
    fn a_spare_has_no_log_to_miss() {
        let parent = tempfile::tempdir().unwrap();
        let directory = settled(&parent);
        let spare = Inhabitant {
            holds_log: false,
            ..inhabitant()
        };
        directory.settle(&spare).unwrap();
        directory.remove_stores().unwrap();
        assert_eq!(directory.inspect(Beginning::Existing).unwrap(), Some(spare));
        directory.settle(&inhabitant()).unwrap();
        assert!(matches!(
            directory.inspect(Beginning::Existing),
            Err(DirectoryError::LogMissing { .. })
        ));
    }

    #[test]
    fn what_was_found_outdated_stays_refused_until_somebody_else_lives_there() {
        let parent = tempfile::tempdir().unwrap();
        let directory = settled(&parent);
        let outdated = Inhabitant {
            outdated: true,
            ..inhabitant()
        };
        directory.settle(&outdated).unwrap();
        for _ in 0..2 {
            let refused = directory.inspect(Beginning::Existing);
            assert!(matches!(refused, Err(DirectoryError::Outdated { .. })));
        }
        assert_eq!(
            directory.look(Beginning::Existing).unwrap(),
            Some(outdated),
            "a recovery judges by itself"
        );
        directory.settle(&inhabitant()).unwrap();
        assert!(directory.inspect(Beginning::Existing).is_ok());
    }

    #[test]
    fn one_process_at_a_time() {
        let parent = tempfile::tempdir().unwrap();
        let directory = directory(&parent);
        let held = directory.enter().unwrap();
        assert!(matches!(
            directory.enter(),
            Err(DirectoryError::InUse { .. })
        ));
        drop(held);
        directory.enter().unwrap();
    }
}
