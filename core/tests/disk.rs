//! The shipped binary on disks that are full, damaged or not to be written: what it says, and that nothing is lost.
//!
//! A full disk is a small file system in memory, in a namespace that only the node's process sees. Where the system does
//! not allow such namespaces those tests are reported as ignored, not as passed: that is why this file has a harness of its
//! own.

#![expect(
    clippy::disallowed_methods,
    reason = "these tests run real processes on real files"
)]
#![allow(
    clippy::unwrap_used,
    reason = "what is unwrapped outside of a test function is unwrapped for one"
)]

use std::fs;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use bytes::Bytes;
use libtest_mimic::{Arguments, Trial};
use quorate::proto::etcdserverpb::kv_client::KvClient;
use quorate::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate::proto::etcdserverpb::{
    AlarmMember, AlarmRequest, AlarmType, PutRequest, RangeRequest,
};
use quorate::runtime::tokio::TokioRuntime;
use quorate::transport::{Channel, ChannelOptions, PlainDial};
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;
use tonic::Status;

/// The exit code for a data directory that does not allow a start.
const DATA_DIRECTORY: i32 = 3;
/// Far longer than anything here takes on an idle machine.
const BOUND: Duration = Duration::from_secs(60);
/// What etcd says when it takes no writes for want of space.
const NO_SPACE: &str = "etcdserver: mvcc: database space exceeded";

type Kv = KvClient<Channel<TokioRuntime>>;

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let can_be_full = namespaces_are_allowed();
    if !can_be_full {
        eprintln!(
            "NO DISK CAN BE FULL HERE: this system does not let a process mount a file system of its own, so the tests of full disks are ignored."
        );
    }
    macro_rules! trials {
        ($($name:ident),+ $(,)?) => {
            [$(Trial::test(stringify!($name), || {
                tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()?
                    .block_on($name());
                Ok(())
            })),+]
        };
    }
    let full = trials![
        a_nearly_full_disk_stops_writes_and_only_until_there_is_room,
        a_disk_that_is_full_to_the_last_byte_loses_nothing_and_is_recovered_from,
        a_node_starts_on_a_full_disk_and_takes_no_writes_before_there_is_room,
        a_directory_on_a_file_system_that_cannot_be_written_is_named,
    ]
    .map(|trial| trial.with_ignored_flag(!can_be_full));
    let others = trials![
        a_damaged_database_is_refused_by_name_and_left_as_it_is,
        damage_met_while_running_is_said_and_nothing_is_made_anew,
        a_missing_state_is_refused_and_not_made_anew,
        a_directory_that_cannot_be_written_is_named,
    ];
    let trials = full.into_iter().chain(others).collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A parent directory, and the ports of the node that lives in it.
struct Place {
    parent: TempDir,
    client: u16,
    peer: u16,
}

/// A process that does not outlive the test.
struct Node(Child);

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Node {
    fn stop(mut self) -> Option<i32> {
        kill_process(Pid::from_child(&self.0), Signal::TERM).unwrap();
        self.0.wait().unwrap().code()
    }

    fn runs(&mut self) -> bool {
        self.0.try_wait().unwrap().is_none()
    }
}

impl Place {
    fn new() -> Self {
        let ports: [TcpListener; 2] =
            std::array::from_fn(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap());
        let [client, peer] = ports.map(|port| port.local_addr().unwrap().port());
        Self {
            parent: tempfile::tempdir().unwrap(),
            client,
            peer,
        }
    }

    fn data(&self) -> PathBuf {
        self.parent.path().join("data")
    }

    fn arguments(&self) -> Vec<String> {
        let (client, peer) = (self.client, self.peer);
        let data = self.data().display().to_string();
        ["start", "--name", "one", "--data-dir", &data]
            .map(str::to_owned)
            .into_iter()
            .chain([format!("--listen-client=127.0.0.1:{client}")])
            .chain([format!("--listen-peer=127.0.0.1:{peer}")])
            .collect()
    }

    /// Starts the node, with what it says in a file.
    fn start(&self) -> Node {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        command.args(self.arguments());
        self.spawn(command)
    }

    /// Starts the node on a file system of `mib` MiB that only it sees.
    fn start_on_small_disk(&self, mib: u32, more: &str) -> Node {
        self.start_mounted(
            &format!("size={mib}m"),
            &format!("exec \"$0\" \"$@\" {more}"),
        )
    }

    /// The same, and when it has ended and a file `again` is beside its data, starts it again.
    fn start_twice_on_small_disk(&self, mib: u32, more: &str) -> Node {
        let again = self.parent.path().join("again");
        self.start_mounted(
            &format!("size={mib}m"),
            &format!(
                "\"$0\" \"$@\" {more}; until [ -e '{}' ]; do sleep 0.05; done; exec \"$0\" \"$@\" {more}",
                again.display()
            ),
        )
    }

    /// Runs a script beside a file system in memory, of these options, where the node's directory is.
    fn start_mounted(&self, options: &str, script: &str) -> Node {
        let script = format!(
            "mount -t tmpfs -o {options} none '{}' && {script}",
            self.parent.path().display()
        );
        let mut command = Command::new("unshare");
        command
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
            .arg(env!("CARGO_BIN_EXE_quorate"))
            .args(self.arguments());
        self.spawn(command)
    }

    fn spawn(&self, mut command: Command) -> Node {
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("QUORATE_")) {
            command.env_remove(name);
        }
        let said = fs::File::create(self.log()).unwrap();
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(said)
            .spawn();
        Node(child.unwrap())
    }

    fn log(&self) -> PathBuf {
        self.parent.path().with_extension("log")
    }

    fn said(&self) -> String {
        fs::read_to_string(self.log()).unwrap()
    }

    /// A start that is expected to be refused, with these words.
    async fn refuses(&self, words: &[&str]) {
        self.is_refused(self.start(), words).await;
    }

    async fn is_refused(&self, mut node: Node, words: &[&str]) {
        eventually("the node refuses to start", async || !node.runs()).await;
        let code = node.0.wait().unwrap().code();
        assert_eq!(code, Some(DATA_DIRECTORY), "{}", self.said());
        for word in words {
            let said = self.said();
            assert!(said.contains(word), "{word:?} is not in: {said}");
        }
    }

    fn kv(&self) -> Kv {
        KvClient::new(self.channel())
    }

    fn channel(&self) -> Channel<TokioRuntime> {
        let options = ChannelOptions {
            connect_timeout: Duration::from_secs(5),
            call_timeout: Duration::from_secs(10),
            keepalive_interval: Duration::from_secs(60),
            keepalive_timeout: Duration::from_secs(10),
            rest_min: Duration::from_millis(1),
            rest_max: Duration::from_millis(10),
        };
        let dial = PlainDial::<TokioRuntime>::new(format!("127.0.0.1:{}", self.client));
        Channel::new(dial, options)
    }

    async fn alarms(&self) -> Vec<AlarmMember> {
        let mut maintenance = MaintenanceClient::new(self.channel());
        let list = AlarmRequest::default();
        maintenance.alarm(list).await.unwrap().into_inner().alarms
    }

    async fn serves(&self) {
        eventually("a write is taken", async || {
            put(&self.kv(), "ready", b"".to_vec()).await.is_ok()
        })
        .await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.log());
    }
}

async fn put(kv: &Kv, key: &str, value: Vec<u8>) -> Result<i64, Status> {
    let request = PutRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        value: value.into(),
        ..PutRequest::default()
    };
    let answer = kv.clone().put(request).await?.into_inner();
    Ok(answer.header.unwrap().revision)
}

async fn get(kv: &Kv, key: &str) -> Result<Option<Bytes>, Status> {
    let request = RangeRequest {
        key: Bytes::copy_from_slice(key.as_bytes()),
        serializable: true,
        ..RangeRequest::default()
    };
    let answer = kv.clone().range(request).await?.into_inner();
    Ok(answer.kvs.into_iter().next().map(|found| found.value))
}

async fn eventually(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let start = Instant::now();
    while !holds().await {
        assert!(start.elapsed() < BOUND, "not within {BOUND:?}: {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Whether a process may have a file system of its own here.
fn namespaces_are_allowed() -> bool {
    let tried = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c"])
        .arg("mount -t tmpfs none /mnt")
        .stderr(Stdio::null())
        .status();
    tried.is_ok_and(|status| status.success())
}

/// Takes space from the node's own disk until `left` bytes are free.
fn fill(disk: &Path, left: u64) -> PathBuf {
    let space = rustix::fs::statvfs(disk).unwrap();
    let free = space.f_bavail * space.f_frsize;
    let filler = disk.join("filler");
    let file = fs::File::create(&filler).unwrap();
    let bytes = free.saturating_sub(left);
    rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, bytes).unwrap();
    filler
}

/// The node's parent directory as the node itself sees it.
fn seen_by(node: &Node, place: &Place) -> PathBuf {
    let root = PathBuf::from(format!("/proc/{}/root", node.0.id()));
    root.join(place.parent.path().strip_prefix("/").unwrap())
}

async fn a_nearly_full_disk_stops_writes_and_only_until_there_is_room() {
    let place = Place::new();
    let mut node = place.start_on_small_disk(96, "--min-free-mib 8");
    place.serves().await;
    let kv = place.kv();
    put(&kv, "before", b"kept".to_vec()).await.unwrap();
    let filler = fill(&seen_by(&node, &place), 4 << 20);
    let mut refused = None;
    eventually("writes are refused", async || {
        refused = put(&kv, "while full", b"never".to_vec()).await.err();
        refused.is_some()
    })
    .await;
    assert_eq!(refused.unwrap().message(), NO_SPACE);
    assert_eq!(get(&kv, "before").await.unwrap().unwrap(), "kept");
    assert!(place.said().contains("nearly full"), "{}", place.said());
    fs::remove_file(filler).unwrap();
    eventually("writes are taken again", async || {
        put(&kv, "after", b"kept".to_vec()).await.is_ok()
    })
    .await;
    assert!(node.runs());
    assert_eq!(node.stop(), Some(0));
}

async fn a_disk_that_is_full_to_the_last_byte_loses_nothing_and_is_recovered_from() {
    let place = Place::new();
    // Nothing is kept free, so the log itself meets the end of the disk.
    let mut node = place.start_on_small_disk(96, "--min-free-mib 0");
    place.serves().await;
    let kv = place.kv();
    let filler = fill(&seen_by(&node, &place), 64 << 10);
    let mut acknowledged = 0;
    let mut failures = 0;
    for index in 0..400 {
        match put(&kv, &format!("key {index}"), vec![b'x'; 4096]).await {
            Ok(_) => acknowledged = index,
            Err(_) => failures += 1,
        }
        if failures == 3 {
            break;
        }
    }
    assert!(failures > 0, "the disk never was full");
    assert!(node.runs(), "{}", place.said());
    let last = format!("key {acknowledged}");
    eventually(
        "reads go on",
        async || matches!(get(&kv, &last).await, Ok(Some(value)) if value.len() == 4096),
    )
    .await;
    fs::remove_file(filler).unwrap();
    eventually("writes are taken again", async || {
        put(&kv, "after", b"kept".to_vec()).await.is_ok()
    })
    .await;
    for index in 0..=acknowledged {
        let value = get(&kv, &format!("key {index}")).await.unwrap();
        assert_eq!(value.map(|value| value.len()), Some(4096), "key {index}");
    }
    assert_eq!(node.stop(), Some(0));
}

/// What `quorate status` says of a node whose directory is seen there, and its exit code.
fn status(data: &Path) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_quorate"));
    let said = command.args(["status", "--data-dir"]).arg(data).output();
    let said = said.unwrap();
    let text = [said.stdout, said.stderr].concat();
    (
        said.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

/// The one process that this one waits for.
fn child_of(process: u32) -> Pid {
    let children = fs::read_to_string(format!("/proc/{process}/task/{process}/children")).unwrap();
    let child = children.split_whitespace().next().unwrap().parse().unwrap();
    Pid::from_raw(child).unwrap()
}

async fn a_node_starts_on_a_full_disk_and_takes_no_writes_before_there_is_room() {
    let place = Place::new();
    let mut node = place.start_twice_on_small_disk(96, "--min-free-mib 8");
    place.serves().await;
    put(&place.kv(), "before", b"kept".to_vec()).await.unwrap();
    let shell = node.0.id();
    kill_process(child_of(shell), Signal::TERM).unwrap();
    eventually("it has stopped", async || place.said().contains("stopped")).await;
    // To the last byte, but for what the node itself had set aside.
    let parent = seen_by(&node, &place);
    let filler = fill(&parent, 0);
    fs::File::create(parent.join("again")).unwrap();
    let kv = place.kv();
    eventually(
        "it reads again",
        async || matches!(get(&kv, "before").await, Ok(Some(value)) if value == "kept"),
    )
    .await;
    let refused = put(&kv, "while full", b"never".to_vec()).await;
    assert_eq!(refused.unwrap_err().message(), NO_SPACE);
    let data = parent.join("data");
    eventually("status says so", async || {
        let (code, said) = status(&data);
        code == Some(8) && said.contains("takes no writes") && said.contains("nearly full")
    })
    .await;
    fs::remove_file(filler).unwrap();
    eventually("writes are taken again", async || {
        put(&kv, "after", b"kept".to_vec()).await.is_ok()
    })
    .await;
    assert_eq!(get(&kv, "while full").await.unwrap(), None);
    assert!(node.runs());
    assert_eq!(node.stop(), Some(0));
}

async fn a_directory_on_a_file_system_that_cannot_be_written_is_named() {
    let place = Place::new();
    let node = place.start_mounted("ro", "exec \"$0\" \"$@\"");
    let data = place.data().display().to_string();
    place.is_refused(node, &[&data, "Read-only"]).await;
}

/// Turns over every bit of the file from `from` on.
fn spoil(file: &Path, from: u64) -> Vec<u8> {
    let mut handle = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(file)
        .unwrap();
    handle.seek(SeekFrom::Start(from)).unwrap();
    let mut bytes = Vec::new();
    handle.read_to_end(&mut bytes).unwrap();
    bytes.iter_mut().for_each(|byte| *byte = !*byte);
    handle.seek(SeekFrom::Start(from)).unwrap();
    handle.write_all(&bytes).unwrap();
    fs::read(file).unwrap()
}

/// Moves what is in the write-ahead log into the database file, so that nothing but the file is left.
fn settle(file: &Path) {
    let connection = rusqlite::Connection::open(file).unwrap();
    let moved = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| {
        row.get::<_, i64>(0)
    });
    assert_eq!(moved.unwrap(), 0);
}

/// A node that held something and was stopped.
async fn stopped_node() -> Place {
    let place = Place::new();
    let node = place.start();
    place.serves().await;
    for index in 0..50 {
        let put = put(&place.kv(), &format!("key {index}"), vec![b'x'; 1000]).await;
        put.unwrap();
    }
    assert_eq!(node.stop(), Some(0));
    place
}

async fn a_damaged_database_is_refused_by_name_and_left_as_it_is() {
    for file in ["log.db", "state.db"] {
        // The header, and everything behind the first page.
        for from in [0, 4096] {
            let place = stopped_node().await;
            let path = place.data().join(file);
            settle(&path);
            let damaged = spoil(&path, from);
            place.refuses(&[file, "damaged", "join"]).await;
            assert_eq!(fs::read(&path).unwrap(), damaged, "it is evidence");
        }
    }
}

async fn damage_met_while_running_is_said_and_nothing_is_made_anew() {
    let place = stopped_node().await;
    let state = place.data().join("state.db");
    settle(&state);
    let mut node = place.start();
    place.serves().await;
    let damaged = spoil(&state, 16 << 10);
    // Pages that were read before are still good, so it takes one that was not.
    let refused = get(&place.kv(), "key 25").await.unwrap_err();
    assert_eq!(refused.message(), "etcdserver: server stopped");
    let said = place.said();
    assert!(said.contains("state.db"), "{said}");
    assert!(said.contains("damaged"), "{said}");
    assert!(node.runs(), "{said}");
    let (_, told) = status(&place.data());
    eventually("status says so", async || {
        status(&place.data()).1.contains("damaged")
    })
    .await;
    assert!(told.contains("quorate is running"), "{told}");
    let alarms = place.alarms().await;
    assert!(
        alarms
            .iter()
            .any(|alarm| alarm.alarm() == AlarmType::Corrupt),
        "{alarms:?}"
    );
    let now = fs::read(&state).unwrap();
    assert_eq!(now[16 << 10..], damaged[16 << 10..], "it is evidence");
}

async fn a_missing_state_is_refused_and_not_made_anew() {
    let place = stopped_node().await;
    let state = place.data().join("state.db");
    fs::remove_file(&state).unwrap();
    place.refuses(&["state.db", "join anew"]).await;
    assert!(!state.exists());
}

async fn a_directory_that_cannot_be_written_is_named() {
    if rustix::process::geteuid().is_root() {
        // Permissions do not hold root back, but a file in the way does.
        let place = Place::new();
        fs::write(place.data(), b"a file").unwrap();
        place.refuses(&[&place.data().display().to_string()]).await;
        return;
    }
    let place = Place::new();
    let parent = place.parent.path();
    fs::set_permissions(parent, fs::Permissions::from_mode(0o500)).unwrap();
    place
        .refuses(&[&place.data().display().to_string(), "denied"])
        .await;
    fs::set_permissions(parent, fs::Permissions::from_mode(0o700)).unwrap();
}
