//! The few files that a node keeps outside SQLite: identity, keys, certificates, the member view.
//!
//! All calls block; they are rare and small. Databases are opened by SQLite itself, through the VFS that [`Disk::vfs`]
//! names, so that a simulated disk serves both.

use std::fmt::Debug;
use std::io;
use std::path::Path;

/// Who may read a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Its owner alone (0600): keys.
    Private,
    /// Everyone (0644): certificates, addresses.
    Public,
}

/// What is found at a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing.
    Nothing,
    /// A file.
    File,
    /// A directory without entries.
    EmptyDirectory,
    /// A directory with entries.
    Directory,
}

/// The disk of a node.
pub trait Disk: Clone + Debug + Send + Sync + 'static {
    /// Held while a directory is in use; dropping it, or the end of the process, releases it.
    type Lock: Send + Sync + 'static;

    /// Name of the SQLite VFS that reaches this disk; none for the operating system's own.
    fn vfs(&self) -> Option<String>;

    /// What is at `path`.
    ///
    /// # Errors
    /// When it cannot be looked at.
    fn find(&self, path: &Path) -> io::Result<Found>;

    /// The content of a file; none when it does not exist.
    ///
    /// # Errors
    /// When it exists and cannot be read.
    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>>;

    /// Replaces a file as a whole: after a crash it holds the old content or the new, and once this returns, the new.
    ///
    /// # Errors
    /// When it cannot be written; then the old content stands.
    fn write(&self, path: &Path, content: &[u8], access: Access) -> io::Result<()>;

    /// Writes every byte of a file anew in its place, as it can be read now, durably, and answers how many they are; nothing
    /// happens when it does not exist. After a sync that failed, what is read need not be what the disk holds, and no later
    /// sync mends that: this does. A crash on the way leaves of each byte what the disk held or what was read. Needs no room.
    ///
    /// # Errors
    /// When it cannot be read, written or synced.
    fn write_anew(&self, path: &Path) -> io::Result<u64>;

    /// Renames a file over another, durably.
    ///
    /// # Errors
    /// When it cannot be renamed.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file, durably; nothing happens when it does not exist.
    ///
    /// # Errors
    /// When it exists and cannot be removed.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// The names in a directory, sorted.
    ///
    /// # Errors
    /// When it is not a directory that can be listed.
    fn list(&self, directory: &Path) -> io::Result<Vec<String>>;

    /// Makes a directory and its parents, readable by the owner alone (0700), durably.
    ///
    /// # Errors
    /// When it cannot be made.
    fn create_directory(&self, directory: &Path) -> io::Result<()>;

    /// Removes a directory that is empty, durably.
    ///
    /// # Errors
    /// When it is missing, not empty, or cannot be removed.
    fn remove_directory(&self, directory: &Path) -> io::Result<()>;

    /// Bytes that may still be written below `directory`.
    ///
    /// # Errors
    /// When the file system does not tell.
    fn free_bytes(&self, directory: &Path) -> io::Result<u64>;

    /// Makes `path` a file of `bytes` really allocated bytes, to be given back when the disk is full.
    ///
    /// # Errors
    /// When there is no room for it.
    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()>;

    /// Takes the exclusive lock on `path`, a file that is made when missing.
    ///
    /// # Errors
    /// `WouldBlock` when another process holds it.
    fn lock(&self, path: &Path) -> io::Result<Self::Lock>;
}
