//! A recovery that is cut off anywhere leaves a directory that starts as it was, or as it was to be, or says what to do.
//!
//! A disk that copies the data directory before each change shows every place where a machine could have lost its power.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test looks at the disk itself, and whatever is not as it must be ends it"
)]

use std::future::Future;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use quorate::config::{Beginning, ClientAccess, NodeConfig};
use quorate::directory::{Directory, DirectoryError};
use quorate::membership::Policy;
use quorate::node::recover::Patient;
use quorate::node::{Invitation, NodeError, Wipe};
use quorate::proto::etcdserverpb::{PutRequest, RangeRequest};
use quorate::proto::join::RoleWanted;
use quorate::proto::store::command::Body;
use quorate::raft::config::Timing;
use quorate::real::{self, RealNode};
use quorate::runtime::tokio::{StdDisk, TokioRuntime as Real};
use quorate::runtime::{Access, Disk, Found, Instant, Runtime, WallTime};

/// The directory that is copied, where to, and how often it was.
struct Camera {
    from: PathBuf,
    to: PathBuf,
    shots: usize,
}

static CAMERA: Mutex<Option<Camera>> = Mutex::new(None);

fn shoot() {
    if let Some(camera) = CAMERA.lock().unwrap().as_mut() {
        copy(&camera.from, &camera.to.join(camera.shots.to_string()));
        camera.shots += 1;
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        // SQLite makes this one anew from the file beside it.
        if entry.file_type().unwrap().is_file() && !name.ends_with("-shm") {
            std::fs::copy(entry.path(), to.join(name)).unwrap();
        }
    }
}

/// The real disk, copied before each change.
#[derive(Clone, Debug)]
struct Filmed;

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

    fn write_anew(&self, path: &Path) -> io::Result<()> {
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
struct World;

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

fn config(directory: &Path) -> NodeConfig {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap().to_string();
    NodeConfig {
        data_dir: directory.to_owned(),
        name: directory.file_name().unwrap().to_str().unwrap().to_owned(),
        listen_client: "127.0.0.1:0".to_owned(),
        listen_peer: peer.clone(),
        advertise_peer: vec![peer],
        advertise_client: vec![],
        failure_domain: String::new(),
        timing: Timing::default(),
        client_access: ClientAccess::Anyone,
        policy: Policy::production(),
        max_client_connections: 64,
        min_free_bytes: 0,
        reserve_bytes: 4096,
        drain: Duration::from_secs(1),
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if holds() {
            return;
        }
        Real::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 30 s: {what}");
}

async fn leads(node: &RealNode) {
    until("it leads", || {
        node.handle()
            .own_status()
            .is_some_and(|status| status.voters.alive == 1)
    })
    .await;
}

async fn value(node: &RealNode) -> (i64, Option<Vec<u8>>) {
    let request = RangeRequest {
        key: "key".into(),
        ..RangeRequest::default()
    };
    let readers = node.replica().readers().await.unwrap().unwrap();
    let answer = readers.with(|reader| reader.range(&request)).unwrap();
    let revision = answer.header.map_or(0, |header| header.revision);
    (revision, answer.kvs.first().map(|kv| kv.value.to_vec()))
}

/// A cluster's only voter, which has written something, and two machines that joined and have gone.
async fn survivor(parent: &Path) -> PathBuf {
    let directory = parent.join("survivor");
    let node = real::start(config(&directory), Beginning::Usual)
        .await
        .unwrap();
    leads(&node).await;
    let put = PutRequest {
        key: "key".into(),
        value: "value".into(),
        ..PutRequest::default()
    };
    node.replica().command(Body::Put(put)).await.unwrap();
    for name in ["b", "c"] {
        let invitation = Invitation {
            ttl: Duration::from_secs(60),
            uses: 1,
            role: RoleWanted::Spare,
            name: String::new(),
        };
        let (line, _) = node.handle().invite(invitation).await.unwrap();
        let config = config(&parent.join(name));
        let patience = Duration::from_secs(30);
        real::join(&config, line, RoleWanted::Spare, Wipe::Refuse, patience)
            .await
            .unwrap();
    }
    real::stop(node).await;
    directory
}

/// Starts a node on the directory and asks what it holds; none if it does not start because a recovery was cut off there.
async fn start(directory: &Path) -> Option<(u64, i64)> {
    let node = match real::start(config(directory), Beginning::Existing).await {
        Ok(node) => node,
        Err(NodeError::Directory(DirectoryError::HalfRecovered { .. })) => return None,
        Err(error) => panic!("{}: {error}", directory.display()),
    };
    leads(&node).await;
    let epoch = node.identity().epoch.0;
    let (revision, value) = value(&node).await;
    assert_eq!(value.as_deref(), Some(&b"value"[..]));
    real::stop(node).await;
    Some((epoch, revision))
}

async fn every_cut_is_told_or_harmless(signer: bool) {
    let parent = tempfile::tempdir().unwrap();
    let directory = survivor(parent.path()).await;
    if !signer {
        std::fs::remove_file(directory.join("ca.key")).unwrap();
    }
    let shots = parent.path().join("shots");
    let mut patient = Patient::<World>::examine(Directory::new(Filmed, directory.clone())).unwrap();
    *CAMERA.lock().unwrap() = Some(Camera {
        from: directory.clone(),
        to: shots.clone(),
        shots: 0,
    });
    let recovered = patient.recover().unwrap();
    let count = CAMERA.lock().unwrap().take().unwrap().shots;
    drop(patient);
    assert_eq!(recovered.new_authority, !signer);
    // The log is written before the state: the one after the recovery, the other before.
    let between = shots.join(count.to_string());
    copy(&shots.join("1"), &between);
    for name in ["state.db", "state.db-wal"] {
        let before = shots.join("0").join(name);
        let _ = std::fs::remove_file(between.join(name));
        if before.exists() {
            std::fs::copy(before, between.join(name)).unwrap();
        }
    }
    let mut refused = 0;
    for cut in 0..=count {
        let directory = shots.join(cut.to_string());
        match start(&directory).await {
            // Nothing was changed yet.
            Some((1, _)) => assert_eq!(cut, 0, "cut {cut} is of the old cluster"),
            Some(other) => panic!("cut {cut} starts in {other:?}"),
            None => {
                refused += 1;
                let place = Directory::new(StdDisk, directory.clone());
                let mut patient = Patient::<Real>::examine(place).unwrap();
                let recovered = patient.recover().unwrap();
                drop(patient);
                let (epoch, revision) = start(&directory).await.unwrap();
                assert_eq!(epoch, recovered.epoch.0);
                assert!(epoch > 1 && revision > 1_000_000_000);
            }
        }
    }
    assert!(
        refused > 4,
        "only {refused} of {count} cuts were in between"
    );
    let (epoch, revision) = start(&directory).await.unwrap();
    assert_eq!(epoch, 2);
    assert!(revision > 1_000_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_that_is_cut_off_anywhere_is_begun_anew() {
    every_cut_is_told_or_harmless(true).await;
    every_cut_is_told_or_harmless(false).await;
}
