//! The production runtime: tokio, the operating system's clocks, network, disk and randomness.
//!
//! The only file of the library that names tokio's time, net and spawn, and `std::fs`.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the one place where the real world is asked for what the Runtime promises"
)]

use std::fs;
use std::future::Future;
use std::io::{self, Write as _};
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _,
};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{OnceLock, mpsc};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ::tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use ::tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use ::tokio::sync::oneshot;
use ::tokio::task::JoinHandle;

use super::disk::{Access, Disk, Found};
use super::{Instant, Listener, Runtime, TaskEnd, TaskHandle, WallTime, Worker};

/// The real world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TokioRuntime;

/// When the process first asked for the time.
static START: OnceLock<std::time::Instant> = OnceLock::new();

/// A peer that vanished without a word is noticed after this long even when nothing waits for it.
const KEEPALIVE: Duration = Duration::from_secs(15);
/// Unacknowledged data ends a connection after this long: a pulled cable must not stall anyone for the kernel's 15 minutes.
const USER_TIMEOUT: Duration = Duration::from_secs(20);

impl Runtime for TokioRuntime {
    type Stream = TokioStream;
    type Listener = TokioListener;
    type Disk = StdDisk;
    type Task<T: Send + 'static> = TokioTask<T>;
    type Sleep = ::tokio::time::Sleep;
    type Worker = ThreadWorker;

    fn now() -> Instant {
        Instant::from_start(START.get_or_init(std::time::Instant::now).elapsed())
    }

    fn wall() -> WallTime {
        // A clock before 1970 is a clock that was never set; zero is as wrong and does not panic.
        let since_epoch = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        WallTime::from_millis(u64::try_from(since_epoch.as_millis()).unwrap_or(u64::MAX))
    }

    fn sleep(duration: Duration) -> Self::Sleep {
        ::tokio::time::sleep(duration)
    }

    fn spawn<F>(future: F) -> TokioTask<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        TokioTask(::tokio::spawn(future))
    }

    fn random() -> u64 {
        let mut bytes = [0; 8];
        Self::secret(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn secret(bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("the operating system has a random generator");
    }

    /// `unix:PATH` means a socket in the file system.
    async fn listen(address: &str) -> io::Result<TokioListener> {
        match socket_path(address) {
            Some(path) => SocketFile::listen(path),
            None => TcpListener::bind(address).await.map(TokioListener::Tcp),
        }
    }

    /// `unix:PATH` means a socket in the file system.
    async fn connect(address: &str) -> io::Result<TokioStream> {
        if let Some(path) = socket_path(address) {
            return UnixStream::connect(path).await.map(TokioStream::Unix);
        }
        let stream = TcpStream::connect(address).await?;
        tune(&stream)?;
        Ok(TokioStream::Tcp(stream))
    }

    async fn blocking<T: Send + 'static>(job: impl FnOnce() -> T + Send + 'static) -> T {
        match ::tokio::task::spawn_blocking(job).await {
            Ok(value) => value,
            Err(end) => match end.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Only a runtime that shuts down cancels blocking jobs, and it polls nobody any more.
                Err(_) => std::future::pending().await,
            },
        }
    }

    fn worker(name: &str) -> ThreadWorker {
        ThreadWorker::start(name)
    }

    fn disk() -> StdDisk {
        StdDisk
    }
}

/// Small messages leave at once, and a peer behind a pulled cable is given up in seconds (R14).
fn tune(stream: &TcpStream) -> io::Result<()> {
    use rustix::net::sockopt;
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, KEEPALIVE)?;
    sockopt::set_tcp_keepintvl(stream, Duration::from_secs(5))?;
    sockopt::set_tcp_keepcnt(stream, 3)?;
    let millis = u32::try_from(USER_TIMEOUT.as_millis()).expect("a constant below 2^32");
    sockopt::set_tcp_user_timeout(stream, millis)?;
    Ok(())
}

/// The path in `unix:PATH` or `unix://PATH`, as etcd's clients write it; none for any other address.
#[must_use]
pub fn socket_path(address: &str) -> Option<&Path> {
    let path = address.strip_prefix("unix:")?;
    Some(Path::new(path.strip_prefix("//").unwrap_or(path)))
}

/// A connection over TCP, or to a socket in the file system.
#[derive(Debug)]
pub enum TokioStream {
    /// Over TCP.
    Tcp(TcpStream),
    /// On this machine.
    Unix(UnixStream),
}

/// Calls a method of whichever stream it is.
macro_rules! either {
    ($stream:expr, $method:ident $(, $argument:expr)*) => {
        match $stream.get_mut() {
            TokioStream::Tcp(stream) => Pin::new(stream).$method($($argument),*),
            TokioStream::Unix(stream) => Pin::new(stream).$method($($argument),*),
        }
    };
}

impl AsyncRead for TokioStream {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        either!(self, poll_read, context, buffer)
    }
}

impl AsyncWrite for TokioStream {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        either!(self, poll_write, context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        either!(self, poll_write_vectored, context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Tcp(stream) => stream.is_write_vectored(),
            Self::Unix(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, poll_flush, context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        either!(self, poll_shutdown, context)
    }
}

/// Where connections over TCP, or to a socket in the file system, arrive.
#[derive(Debug)]
pub enum TokioListener {
    /// Over TCP.
    Tcp(TcpListener),
    /// On this machine.
    Unix(UnixListener, SocketFile),
}

impl Listener for TokioListener {
    type Stream = TokioStream;

    async fn accept(&self) -> io::Result<(TokioStream, String)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, from) = listener.accept().await?;
                tune(&stream)?;
                Ok((TokioStream::Tcp(stream), from.to_string()))
            }
            Self::Unix(listener, file) => {
                let (stream, _) = listener.accept().await?;
                Ok((TokioStream::Unix(stream), file.address()))
            }
        }
    }

    fn local_address(&self) -> String {
        match self {
            Self::Tcp(listener) => listener
                .local_addr()
                .map(|address| address.to_string())
                .unwrap_or_default(),
            Self::Unix(_, file) => file.address(),
        }
    }
}

/// The file of a socket, which goes when nobody listens there any more.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode: somebody else's socket at the same path is not ours to remove.
    made: (u64, u64),
}

impl SocketFile {
    /// Listens at `path`, for this user alone: the socket's mode is 0600 before anybody can connect, and a directory that has to be
    /// made for it is 0700 (T28). A socket that nobody answers at any more is replaced, anything else is left alone.
    fn listen(path: &Path) -> io::Result<TokioListener> {
        use rustix::net::{self, AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
        let address = SocketAddrUnix::new(path)?;
        if let Some(parent) = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
        {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(parent)?;
        }
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
        match net::bind(&socket, &address) {
            Err(rustix::io::Errno::ADDRINUSE) => {
                Self::remove_dead(path)?;
                net::bind(&socket, &address)?;
            }
            bound => bound?,
        }
        // Bound and not yet listening: nobody can connect in between.
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600))?;
        let meta = fs::symlink_metadata(path)?;
        net::listen(&socket, 1024)?;
        let file = Self {
            path: path.to_owned(),
            made: (meta.dev(), meta.ino()),
        };
        let listener = std::os::unix::net::UnixListener::from(socket);
        Ok(TokioListener::Unix(UnixListener::from_std(listener)?, file))
    }

    /// Removes what a process left that did not come to close its socket.
    fn remove_dead(path: &Path) -> io::Result<()> {
        let in_use = || io::Error::from(io::ErrorKind::AddrInUse);
        if !fs::symlink_metadata(path)?.file_type().is_socket() {
            return Err(in_use());
        }
        match std::os::unix::net::UnixStream::connect(path) {
            Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => {
                fs::remove_file(path)
            }
            _ => Err(in_use()),
        }
    }

    fn address(&self) -> String {
        format!("unix:{}", self.path.display())
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let found = fs::symlink_metadata(&self.path);
        if found.is_ok_and(|meta| (meta.dev(), meta.ino()) == self.made) {
            // Left behind, it is replaced by the next start.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// A tokio task.
#[derive(Debug)]
pub struct TokioTask<T>(JoinHandle<T>);

impl<T> Future for TokioTask<T> {
    type Output = Result<T, TaskEnd>;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map_err(|end| {
            if end.is_panic() {
                TaskEnd::Panicked
            } else {
                TaskEnd::Aborted
            }
        })
    }
}

impl<T: Send> TaskHandle<T> for TokioTask<T> {
    fn abort(&self) {
        self.0.abort();
    }
}

type Job = Box<dyn FnOnce() + Send>;

/// A thread that runs jobs in order; it ends when the last handle is dropped and the queue is empty.
#[derive(Clone, Debug)]
pub struct ThreadWorker(mpsc::Sender<Job>);

impl ThreadWorker {
    fn start(name: &str) -> Self {
        let (sender, jobs) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name(name.to_owned())
            .spawn(move || jobs.into_iter().for_each(|job| job()))
            .expect("the operating system can start a thread");
        Self(sender)
    }
}

impl Worker for ThreadWorker {
    async fn run<T: Send + 'static>(&self, job: impl FnOnce() -> T + Send + 'static) -> T {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(move || {
            let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(job));
            // Whoever waited may be gone; the job's effect stands.
            let _ = answer.send(outcome);
        });
        self.0
            .send(job)
            .expect("the thread lives as long as a handle");
        match answered.await.expect("a job is run or its thread lives") {
            Ok(value) => value,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

/// The operating system's file system.
#[derive(Clone, Copy, Debug)]
pub struct StdDisk;

impl StdDisk {
    fn sync_directory_of(path: &Path) -> io::Result<()> {
        let parent = path
            .parent()
            .filter(|parent| !parent.as_os_str().is_empty())
            .unwrap_or(Path::new("."));
        fs::File::open(parent)?.sync_all()
    }

    fn beside(path: &Path) -> PathBuf {
        let mut name = path.file_name().unwrap_or_default().to_owned();
        name.push(".new");
        path.with_file_name(name)
    }
}

impl Disk for StdDisk {
    type Lock = fs::File;

    fn vfs(&self) -> Option<String> {
        None
    }

    fn find(&self, path: &Path) -> io::Result<Found> {
        match fs::metadata(path) {
            Ok(meta) if meta.is_dir() => {
                let empty = fs::read_dir(path)?.next().is_none();
                Ok(if empty {
                    Found::EmptyDirectory
                } else {
                    Found::Directory
                })
            }
            Ok(_) => Ok(Found::File),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
            Err(error) => Err(error),
        }
    }

    fn read(&self, path: &Path) -> io::Result<Option<Vec<u8>>> {
        match fs::read(path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn write(&self, path: &Path, content: &[u8], access: Access) -> io::Result<()> {
        let mode = match access {
            Access::Private => 0o600,
            Access::Public => 0o644,
        };
        let new = Self::beside(path);
        // A leftover of an earlier crash may have other permissions.
        self.remove(&new)?;
        let mut file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(&new)?;
        file.write_all(content)?;
        file.sync_all()?;
        self.rename(&new, path)
    }

    fn write_anew(&self, path: &Path) -> io::Result<u64> {
        let file = match fs::OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        let mut chunk = vec![0; 256 << 10];
        let mut at = 0;
        loop {
            let length = file.read_at(&mut chunk, at)?;
            if length == 0 {
                break;
            }
            file.write_all_at(&chunk[..length], at)?;
            at += length as u64;
        }
        file.sync_all()?;
        Self::sync_directory_of(path)?;
        Ok(at)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)?;
        Self::sync_directory_of(to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match fs::remove_file(path) {
            Ok(()) => Self::sync_directory_of(path),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<String>> {
        let mut names = fs::read_dir(directory)?
            .map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()))
            .collect::<io::Result<Vec<_>>>()?;
        names.sort();
        Ok(names)
    }

    fn create_directory(&self, directory: &Path) -> io::Result<()> {
        let made: Vec<&Path> = directory
            .ancestors()
            .take_while(|ancestor| !ancestor.as_os_str().is_empty() && !ancestor.exists())
            .collect();
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)?;
        // One that was made on the way must outlive a loss of power too, or all below it goes; and so must one that another
        // process made, and was ended before it had synced anything.
        Self::sync_directory_of(directory)?;
        made.into_iter()
            .filter(|ancestor| *ancestor != directory)
            .try_for_each(Self::sync_directory_of)
    }

    fn remove_directory(&self, directory: &Path) -> io::Result<()> {
        fs::remove_dir(directory)?;
        Self::sync_directory_of(directory)
    }

    fn free_bytes(&self, directory: &Path) -> io::Result<u64> {
        let space = rustix::fs::statvfs(directory)?;
        Ok(space.f_bavail.saturating_mul(space.f_frsize))
    }

    fn reserve(&self, path: &Path, bytes: u64) -> io::Result<()> {
        let file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes)?;
        file.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<fs::File> {
        let file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        file.try_lock().map_err(io::Error::from)?;
        Ok(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::contract;

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        let runtime = ::tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        runtime.unwrap().block_on(work)
    }

    #[test]
    fn a_socket_is_this_users_alone_and_goes_with_its_listener() {
        use std::os::unix::fs::PermissionsExt as _;
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("run/client.socket");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        for address in [
            format!("unix:{}", path.display()),
            format!("unix://{}", path.display()),
        ] {
            block_on(async {
                let listener = TokioRuntime::listen(&address).await.unwrap();
                assert_eq!(listener.local_address(), format!("unix:{}", path.display()));
                assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
                let (accepted, dialled) =
                    ::tokio::join!(listener.accept(), TokioRuntime::connect(&address));
                assert!(accepted.is_ok() && dialled.is_ok());
                let second = TokioRuntime::listen(&address).await.unwrap_err();
                assert_eq!(second.kind(), io::ErrorKind::AddrInUse);
            });
            assert!(!path.exists(), "it was left behind");
        }
    }

    #[test]
    fn a_dead_socket_is_replaced_and_a_file_is_not() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("client.socket");
        let address = format!("unix:{}", path.display());
        // A process that was killed leaves its socket.
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        assert!(path.exists());
        block_on(async { drop(TokioRuntime::listen(&address).await.unwrap()) });
        fs::write(&path, "a letter").unwrap();
        let refused = block_on(TokioRuntime::listen(&address)).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(fs::read_to_string(&path).unwrap(), "a letter");
    }

    #[test]
    fn tokio_keeps_the_contract() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for (name, case) in contract::suite::<TokioRuntime>() {
            println!("contract: {name}");
            let runtime = ::tokio::runtime::Builder::new_multi_thread()
                .worker_threads(2)
                .enable_all()
                .build()
                .unwrap();
            runtime.block_on(case(directory.path().join(name), "127.0.0.1".to_owned()));
        }
    }
}
