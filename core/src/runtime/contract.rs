//! What every runtime must do. Each implementation runs the whole [`suite`], a fresh world a case.

#![allow(
    clippy::unwrap_used,
    reason = "a suite of tests, though not under cfg(test): whatever is not as it must be ends it"
)]

use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    Access, Disk, Elapsed, Found, Listener, Runtime, TaskEnd, TaskHandle, Worker, timeout,
};

/// A case: it is given a directory of its own, not made yet, and the address of its host; it panics on a breach.
pub type Case = fn(PathBuf, String) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! cases {
    ($runtime:ident: $($case:ident),* $(,)?) => {
        vec![$((stringify!($case), (|directory, host| Box::pin($case::<$runtime>(directory, host))) as Case)),*]
    };
}

/// All cases, by name.
#[must_use]
pub fn suite<R: Runtime>() -> Vec<(&'static str, Case)> {
    cases![R:
        sleep_moves_the_clock, timeout_cuts_and_lets_pass, tasks_return_and_abort, aborted_task_does_not_go_on,
        secrets_differ, worker_keeps_the_order, worker_finishes_what_nobody_waits_for, blocking_returns,
        stream_carries_bytes_both_ways, stream_ends_when_the_peer_closes, nobody_listens, port_is_taken,
        files_are_replaced_whole, directories_are_listed, lock_is_exclusive, wall_clock_goes_on,
    ]
}

async fn sleep_moves_the_clock<R: Runtime>(_: PathBuf, _: String) {
    let before = R::now();
    R::sleep(Duration::from_millis(30)).await;
    assert!(
        R::now() - before >= Duration::from_millis(30),
        "a sleep may not end early"
    );
}

async fn wall_clock_goes_on<R: Runtime>(_: PathBuf, _: String) {
    let before = R::wall();
    R::sleep(Duration::from_millis(30)).await;
    assert!(R::wall() > before);
}

async fn timeout_cuts_and_lets_pass<R: Runtime>(_: PathBuf, _: String) {
    let never = std::future::pending::<()>();
    assert_eq!(
        timeout::<R, _>(Duration::from_millis(10), never).await,
        Err(Elapsed)
    );
    assert_eq!(
        timeout::<R, _>(Duration::ZERO, std::future::ready(7)).await,
        Ok(7),
        "what is ready wins"
    );
}

async fn tasks_return_and_abort<R: Runtime>(_: PathBuf, _: String) {
    assert_eq!(R::spawn(async { 5 }).await, Ok(5));
    let endless = R::spawn(std::future::pending::<()>());
    endless.abort();
    assert_eq!(endless.await, Err(TaskEnd::Aborted));
}

async fn aborted_task_does_not_go_on<R: Runtime>(_: PathBuf, _: String) {
    let steps = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&steps);
    let task = R::spawn(async move {
        loop {
            counted.fetch_add(1, Ordering::SeqCst);
            R::sleep(Duration::from_millis(5)).await;
        }
    });
    R::sleep(Duration::from_millis(50)).await;
    task.abort();
    let _ = task.await;
    let after_abort = steps.load(Ordering::SeqCst);
    assert!(after_abort > 1, "it ran before");
    R::sleep(Duration::from_millis(50)).await;
    assert_eq!(steps.load(Ordering::SeqCst), after_abort);
}

async fn secrets_differ<R: Runtime>(_: PathBuf, _: String) {
    let (mut first, mut second) = ([0; 32], [0; 32]);
    R::secret(&mut first);
    R::secret(&mut second);
    assert_ne!(first, second);
    assert_ne!(R::random(), R::random());
}

async fn worker_keeps_the_order<R: Runtime>(_: PathBuf, _: String) {
    let worker = R::worker("contract");
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let jobs: Vec<_> = (0..20)
        .map(|number| {
            let (worker, order) = (worker.clone(), Arc::clone(&order));
            async move { worker.run(move || order.lock().unwrap().push(number)).await }
        })
        .collect();
    futures_util::future::join_all(jobs).await;
    assert_eq!(*order.lock().unwrap(), (0..20).collect::<Vec<_>>());
    assert_eq!(worker.run(|| "answer").await, "answer");
}

async fn worker_finishes_what_nobody_waits_for<R: Runtime>(_: PathBuf, _: String) {
    let worker = R::worker("contract");
    let done = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&done);
    // Polled once, so that the job is given, then dropped.
    let _ = timeout::<R, _>(
        Duration::ZERO,
        worker.run(move || counted.fetch_add(1, Ordering::SeqCst)),
    )
    .await;
    worker.run(|| ()).await;
    assert_eq!(done.load(Ordering::SeqCst), 1);
}

async fn blocking_returns<R: Runtime>(_: PathBuf, _: String) {
    assert_eq!(R::blocking(|| 6 * 7).await, 42);
}

async fn pair<R: Runtime>(host: &str) -> (R::Stream, R::Stream) {
    let listener = R::listen(&format!("{host}:0")).await.expect("a free port");
    let address = listener.local_address();
    let accepted = R::spawn(async move { listener.accept().await.expect("a connection").0 });
    let dialled = R::connect(&address).await.expect("someone listens");
    (dialled, accepted.await.expect("accepted"))
}

async fn stream_carries_bytes_both_ways<R: Runtime>(_: PathBuf, host: String) {
    let (mut near, mut far) = pair::<R>(&host).await;
    near.write_all(b"ping").await.unwrap();
    near.flush().await.unwrap();
    let mut buffer = [0; 4];
    far.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"ping");
    far.write_all(b"pong").await.unwrap();
    far.flush().await.unwrap();
    near.read_exact(&mut buffer).await.unwrap();
    assert_eq!(&buffer, b"pong");
}

async fn stream_ends_when_the_peer_closes<R: Runtime>(_: PathBuf, host: String) {
    let (near, mut far) = pair::<R>(&host).await;
    drop(near);
    let mut buffer = [0; 1];
    let read = timeout::<R, _>(Duration::from_secs(5), far.read(&mut buffer))
        .await
        .expect("the end is seen");
    assert!(
        matches!(read, Ok(0) | Err(_)),
        "no bytes come from nowhere: {read:?}"
    );
}

async fn nobody_listens<R: Runtime>(_: PathBuf, host: String) {
    let listener = R::listen(&format!("{host}:0")).await.expect("a free port");
    let address = listener.local_address();
    drop(listener);
    let refused = timeout::<R, _>(Duration::from_secs(5), R::connect(&address))
        .await
        .expect("an answer");
    assert!(refused.is_err());
}

async fn port_is_taken<R: Runtime>(_: PathBuf, host: String) {
    let listener = R::listen(&format!("{host}:0")).await.expect("a free port");
    let error = R::listen(&listener.local_address())
        .await
        .err()
        .expect("taken");
    assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
}

async fn files_are_replaced_whole<R: Runtime>(directory: PathBuf, _: String) {
    let disk = R::disk();
    disk.create_directory(&directory).unwrap();
    let file = directory.join("identity");
    assert_eq!(disk.read(&file).unwrap(), None);
    disk.write(&file, b"first and longer", Access::Private)
        .unwrap();
    disk.write(&file, b"second", Access::Private).unwrap();
    assert_eq!(disk.read(&file).unwrap().as_deref(), Some(&b"second"[..]));
    assert_eq!(
        disk.list(&directory).unwrap(),
        ["identity"],
        "nothing temporary is left"
    );
    disk.rename(&file, &directory.join("moved")).unwrap();
    assert_eq!(disk.read(&file).unwrap(), None);
    disk.remove(&directory.join("moved")).unwrap();
    disk.remove(&directory.join("moved")).unwrap();
    assert!(
        disk.write(&directory.join("no/such/directory"), b"", Access::Public)
            .is_err()
    );
}

async fn directories_are_listed<R: Runtime>(directory: PathBuf, _: String) {
    let disk = R::disk();
    assert_eq!(disk.find(&directory).unwrap(), Found::Nothing);
    disk.create_directory(&directory).unwrap();
    assert_eq!(disk.find(&directory).unwrap(), Found::EmptyDirectory);
    disk.write(&directory.join("b"), b"", Access::Public)
        .unwrap();
    disk.write(&directory.join("a"), b"", Access::Public)
        .unwrap();
    assert_eq!(disk.find(&directory).unwrap(), Found::Directory);
    assert_eq!(disk.find(&directory.join("a")).unwrap(), Found::File);
    assert_eq!(disk.list(&directory).unwrap(), ["a", "b"]);
    disk.reserve(&directory.join("reserve"), 64 * 1024).unwrap();
    assert_eq!(
        disk.read(&directory.join("reserve"))
            .unwrap()
            .expect("reserved")
            .len(),
        64 * 1024
    );
    assert!(disk.free_bytes(&directory).unwrap() > 0);
}

async fn lock_is_exclusive<R: Runtime>(directory: PathBuf, _: String) {
    let disk = R::disk();
    disk.create_directory(&directory).unwrap();
    let path = directory.join("lock");
    let held = disk.lock(&path).unwrap();
    let error = disk.lock(&path).err().expect("held");
    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    drop(held);
    drop(disk.lock(&path).unwrap());
}
