//! The disk as one life of a node sees it: core's [`Disk`] over the image, for what a node keeps beside its databases.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

use quorate::runtime::{Access, Disk, Found};

use super::Inner;
use super::image::directory_of;
use super::state::{Failure, Generation, Operation, State};
use crate::sync::guard;

/// The disk as one life of the node sees it. After a crash this value answers errors for ever; the next life mounts the
/// disk anew.
#[derive(Clone)]
pub struct Mount {
    disk: Arc<Inner>,
    generation: Generation,
}

impl Mount {
    pub(super) fn new(disk: Arc<Inner>) -> Self {
        let generation = guard(&disk.state).generation;
        Self { disk, generation }
    }

    fn with<T>(
        &self,
        path: &str,
        act: impl FnOnce(&mut State, Generation) -> Result<T, Failure>,
    ) -> io::Result<T> {
        let mut state = guard(&self.disk.state);
        let result = state
            .admit(self.generation, Operation::Control)
            .and_then(|()| act(&mut state, self.generation));
        result.map_err(|failure| io_error(failure, path))
    }
}

impl fmt::Debug for Mount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Mount")
            .field("generation", &self.generation)
            .finish_non_exhaustive()
    }
}

impl Disk for Mount {
    type Lock = FileLock;

    fn vfs(&self) -> Option<String> {
        Some(self.disk.registration.name().to_owned())
    }

    fn find(&self, path: &Path) -> io::Result<Found> {
        let path = text(path)?;
        self.with(path, |state, _| {
            Ok(if state.image.find(path).is_some() {
                Found::File
            } else if !state.image.has_directory(path) {
                Found::Nothing
            } else if state.image.list(path).is_empty() {
                Found::EmptyDirectory
            } else {
                Found::Directory
            })
        })
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        let path = text(path)?;
        self.with(path, |state, generation| {
            let Some(inode) = state.image.find(path) else {
                return Ok(None);
            };
            let length = state
                .image
                .file(inode)
                .ok_or(Failure::Missing)?
                .content()
                .len();
            let mut bytes = vec![0; length];
            state.read(generation, inode, 0, &mut bytes)?;
            Ok(Some(bytes))
        })
    }

    /// In the order that leaves old or new after a crash at any moment, and never a mixture: another file is written
    /// and synced, takes the name, and the directory is synced.
    fn write(&self, path: &Path, content: &[u8], _access: Access) -> io::Result<()> {
        let path = text(path)?;
        let beside = format!("{path}.new");
        self.with(path, |state, generation| {
            state.make_file(generation, &beside, |state, inode| {
                state.write(generation, inode, 0, content)?;
                state.sync(generation, inode)
            })?;
            state.rename(generation, &beside, path)
        })
    }

    fn write_anew(&self, path: &Path) -> io::Result<u64> {
        let Some(content) = self.read(path)? else {
            return Ok(0);
        };
        let path = text(path)?;
        self.with(path, |state, generation| {
            let inode = state.image.find(path).ok_or(Failure::Missing)?;
            if !content.is_empty() {
                state.write(generation, inode, 0, &content)?;
            }
            state.sync(generation, inode)?;
            state.sync_directory(generation, directory_of(path))
        })?;
        Ok(content.len() as u64)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let (from, to) = (text(from)?, text(to)?);
        self.with(from, |state, generation| state.rename(generation, from, to))
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let path = text(path)?;
        self.with(path, |state, generation| {
            if state.image.find(path).is_none() {
                return Ok(());
            }
            state.admit(generation, Operation::Name)?;
            state.image.remove(path);
            state.sync_directory(generation, directory_of(path))
        })
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let directory = text(directory)?;
        self.with(directory, |state, _| {
            if state.image.has_directory(directory) {
                Ok(state.image.list(directory))
            } else {
                Err(Failure::Missing)
            }
        })
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        let directory = text(directory)?;
        self.with(directory, |state, generation| {
            state.admit(generation, Operation::Name)?;
            state.image.create_directory(directory);
            Ok(())
        })
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        let directory = text(directory)?;
        self.with(directory, |state, generation| {
            state.admit(generation, Operation::Name)?;
            if state.image.remove_directory(directory) {
                Ok(())
            } else {
                Err(Failure::Missing)
            }
        })
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        /// What is left of a disk whose capacity nobody has set.
        const PLENTY: u64 = 1 << 40;
        let free = |state: &State| {
            state.capacity.map_or(PLENTY, |capacity| {
                capacity.saturating_sub(state.image.used())
            })
        };
        self.with(text(directory)?, |state, _| Ok(free(state)))
    }

    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let path = text(path)?;
        let length =
            usize::try_from(bytes).map_err(|_| io::Error::from(io::ErrorKind::StorageFull))?;
        self.with(path, |state, generation| {
            let reserve = |state: &mut State, inode| {
                state.resize(generation, inode, length)?;
                state.sync(generation, inode)
            };
            match state.image.find(path) {
                Some(inode) => reserve(state, inode),
                None => state.make_file(generation, path, reserve),
            }
        })
    }

    fn lock(&self, path: &Path) -> io::Result<FileLock> {
        let path = text(path)?;
        let token = self.with(path, |state, generation| {
            if state.image.find(path).is_none() {
                state.make_file(generation, path, |_, _| Ok(()))?;
            }
            if state.advisory_locks.contains_key(path) {
                return Err(Failure::Busy);
            }
            let token = state.take_token();
            state.advisory_locks.insert(path.to_owned(), token);
            Ok(token)
        })?;
        Ok(FileLock {
            disk: Arc::clone(&self.disk),
            path: path.to_owned(),
            token,
        })
    }
}

impl State {
    /// Makes an empty file, in place of one that may be there, and fills it.
    fn make_file(
        &mut self,
        generation: Generation,
        path: &str,
        fill: impl FnOnce(&mut Self, super::image::Inode) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        if !self.image.has_directory(directory_of(path)) {
            return Err(Failure::Missing);
        }
        self.admit(generation, Operation::Name)?;
        if self.image.find(path).is_some() {
            self.image.remove(path);
        }
        let inode = self.image.create(path);
        fill(self, inode)
    }

    fn rename(&mut self, generation: Generation, from: &str, to: &str) -> Result<(), Failure> {
        self.image.find(from).ok_or(Failure::Missing)?;
        self.admit(generation, Operation::Name)?;
        self.image.rename(from, to);
        self.sync_directory(generation, directory_of(to))
    }
}

/// Paths are kept as text without a slash at the end.
fn text(path: &Path) -> io::Result<&str> {
    let text = path
        .to_str()
        .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "a path is no UTF-8"))?;
    Ok(text.trim_end_matches('/'))
}

fn io_error(failure: Failure, path: &str) -> io::Error {
    let (kind, what) = match failure {
        Failure::Dead => (io::ErrorKind::BrokenPipe, "the machine has no power"),
        Failure::Faulty => (io::ErrorKind::Other, "input/output error"),
        Failure::Full => (io::ErrorKind::StorageFull, "no space left on the disk"),
        Failure::Missing => (io::ErrorKind::NotFound, "no such file or directory"),
        Failure::Busy => (
            io::ErrorKind::WouldBlock,
            "locked by another user of the directory",
        ),
    };
    io::Error::new(kind, format!("{path}: {what}"))
}

/// A lock on a path; released when dropped.
pub struct FileLock {
    disk: Arc<Inner>,
    path: String,
    token: u64,
}

impl Drop for FileLock {
    fn drop(&mut self) {
        let mut state = guard(&self.disk.state);
        // A crash released it, and the next life may have taken it since.
        if state.advisory_locks.get(&self.path) == Some(&self.token) {
            state.advisory_locks.remove(&self.path);
        }
    }
}
