//! Where the socket of a node is.
//!
//! `admin/socket` below the data directory, the former for its owner alone (0700): whoever may enter it may as well read the
//! node's keys. A socket's path has 108 bytes at most and data directories may be longer, so both sides go through
//! the kernel's own name for the open directory.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

const DIRECTORY: &str = "admin";
const SOCKET: &str = "socket";

/// The directory of a socket, held open: as long as this lives, [`SocketPath::short`] leads there.
pub(super) struct SocketPath {
    directory: File,
    shown: PathBuf,
}

impl SocketPath {
    /// Makes the directory if it is missing.
    pub(super) fn make(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(DIRECTORY);
        match DirBuilder::new().mode(0o700).create(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::set_permissions(&path, PermissionsExt::from_mode(0o700))?;
            }
            made => made?,
        }
        Self::open(data_dir)
    }

    /// Opens the directory that a running node has made.
    pub(super) fn open(data_dir: &Path) -> io::Result<Self> {
        let path = data_dir.join(DIRECTORY);
        Ok(Self {
            directory: File::open(&path)?,
            shown: path.join(SOCKET),
        })
    }

    /// A path that is short whatever the directory is called.
    pub(super) fn short(&self) -> PathBuf {
        let descriptor = self.directory.as_raw_fd();
        PathBuf::from(format!("/proc/self/fd/{descriptor}/{SOCKET}"))
    }

    /// For people.
    pub(super) fn shown(&self) -> std::path::Display<'_> {
        self.shown.display()
    }
}
