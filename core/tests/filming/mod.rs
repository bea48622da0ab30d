//! A disk that copies a directory before each change: every place where a machine could have lost its power.

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use quorate::runtime::tokio::{StdDisk, TokioRuntime as Real};
use quorate::runtime::{Access, Disk, Found, Instant, Runtime, WallTime};

/// The directory that is copied, where to, and how often it was.
pub(crate) struct Camera {
    pub(crate) from: PathBuf,
    pub(crate) to: PathBuf,
    pub(crate) shots: usize,
}

pub(crate) static CAMERA: Mutex<Option<Camera>> = Mutex::new(None);

fn shoot() {
    if let Some(camera) = CAMERA.lock().unwrap().as_mut() {
        copy(&camera.from, &camera.to.join(camera.shots.to_string()));
        camera.shots += 1;
    }
}

pub(crate) fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        // SQLite makes this one anew from the file beside it.
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &to.join(name));
        } else if entry.file_type().unwrap().is_file() && !name.ends_with("-shm") {
            std::fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}

/// The real disk, copied before each change.
#[derive(Clone, Debug)]
pub(crate) struct Filmed;

impl Disk for Filmed {
    type Lock = <StdDisk as Disk>::Lock;

    fn vfs(&self) -> Option<String> {
        None
    }

    fn find(&self, path: &Path) -> io::Result<Found> {
        StdDisk.find(path)
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        StdDisk.read(path)
    }

    fn write(&self, path: &Path, content: &[u8], access: Access) -> io::Result<()> {
        shoot();
        StdDisk.write(path, content, access)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        shoot();
        StdDisk.rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        shoot();
        StdDisk.remove(path)
    }

    fn write_anew(&self, path: &Path) -> io::Result<u64> {
        shoot();
        StdDisk.write_anew(path)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        StdDisk.list(directory)
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        StdDisk.create_directory(directory)
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        shoot();
        StdDisk.remove_directory(directory)
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        StdDisk.free_bytes(directory)
    }

    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        StdDisk.reserve(path, bytes)
    }

    fn lock(&self, path: &Path) -> io::Result<Self::Lock> {
        StdDisk.lock(path)
    }
}

/// The real world but for its disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct World;

impl Runtime for World {
    type Stream = <Real as Runtime>::Stream;
    type Listener = <Real as Runtime>::Listener;
    type Disk = Filmed;
    type Task<T: Send + 'static> = <Real as Runtime>::Task<T>;
    type Sleep = <Real as Runtime>::Sleep;
    type Worker = <Real as Runtime>::Worker;

    fn now() -> Instant {
        Real::now()
    }

    fn wall() -> WallTime {
        Real::wall()
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        Real::sleep(duration)
    }

    fn spawn<F>(future: F) -> Self::Task<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        Real::spawn(future)
    }

    fn random() -> u64 {
        Real::random()
    }

    fn secret(bytes: &mut [u8]) {
        Real::secret(bytes);
    }

    async fn listen(address: &str) -> io::Result<Self::Listener> {
        Real::listen(address).await
    }

    async fn connect(address: &str) -> io::Result<Self::Stream> {
        Real::connect(address).await
    }

    async fn blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
        Real::blocking(job).await
    }

    fn worker(name: &str) -> Self::Worker {
        Real::worker(name)
    }

    fn disk() -> Filmed {
        Filmed
    }
}
