//! Watch fan-out: every watcher sees every put. A latency is the time from the start of a put to its event at one
//! watcher.

use super::costed;
use super::put::put_request;
use crate::bench::connections::Connections;
use crate::bench::report::Report;
use crate::bench::settings::Settings;
use crate::bench::source::{Source, end_of, number_in};
use crate::bench::tally::{Answer, Tally};
use crate::exit::{Context, Exit, Failure};
use futures_util::stream::{self, Stream, StreamExt};
use quorate::proto::etcdserverpb::watch_request::RequestUnion;
use quorate::proto::etcdserverpb::{WatchCreateRequest, WatchRequest, WatchResponse};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tonic::Streaming;

const MAX_WATCHERS: usize = 100_000;
const MAX_PUTS: u64 = 10_000_000;
/// How long a watcher waits for events that do not come once the puts are over.
const PATIENCE: Duration = Duration::from_secs(5);
const NOT_YET: u64 = u64::MAX;

/// What the one who puts and those who watch share.
struct Board {
    origin: Instant,
    /// When put number n started, in nanoseconds after `origin`.
    started: Vec<AtomicU64>,
    /// How many puts were answered; `NOT_YET` while they go on.
    answered: AtomicU64,
}

impl Board {
    fn new(puts: u64) -> Self {
        Self {
            origin: Instant::now(),
            started: (0..puts).map(|_| AtomicU64::new(0)).collect(),
            answered: AtomicU64::new(NOT_YET),
        }
    }

    fn now(&self) -> u64 {
        u64::try_from(self.origin.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }

    fn begin(&self, number: u64) {
        self.started[number as usize].store(self.now(), Ordering::Relaxed);
    }

    fn since_begin(&self, number: usize) -> Option<Duration> {
        let started = self.started.get(number)?.load(Ordering::Relaxed);
        Some(Duration::from_nanos(self.now().saturating_sub(started)))
    }
}

/// Opens the watchers, puts until the budget is spent, and waits for the events.
pub(super) async fn watch(
    settings: &Settings,
    watchers: usize,
    rate: u32,
) -> Result<Report, Failure> {
    if !(1..=MAX_WATCHERS).contains(&watchers) {
        return Err(Failure::usage(&[format!(
            "--watchers is 1 to {MAX_WATCHERS}"
        )]));
    }
    let settings = Settings {
        clients: watchers,
        total: settings.total.min(MAX_PUTS),
        ..settings.clone()
    };
    let connections = Connections::open(&settings).await?;
    let board = Arc::new(Board::new(settings.total));
    let mut tasks = Vec::with_capacity(watchers);
    for watcher in 0..watchers {
        let request = create(&settings.prefix);
        let answer = connections
            .of(watcher)
            .watch()
            .watch(held_open(request))
            .await;
        let mut stream = answer
            .context(Exit::Failed, "opening a watch")?
            .into_inner();
        // The first message says that the watch stands: puts begun before it might be missed.
        stream
            .message()
            .await
            .context(Exit::Failed, "opening a watch")?;
        tasks.push(tokio::spawn(observe(
            stream,
            board.clone(),
            settings.prefix.clone(),
        )));
    }
    costed(&settings, async {
        let start = Instant::now();
        let (sent, failed) = put_all(&settings, &connections, &board, rate).await;
        let wall = start.elapsed();
        board.answered.store(sent, Ordering::Release);
        let mut sum = Tally::new(&["event"]);
        let mut missing = 0;
        for task in tasks {
            let (tally, seen) = task.await.context(Exit::Failed, "a watcher")?;
            sum.merge(tally);
            missing += sent.saturating_sub(seen);
        }
        let report = Report::new("watch", &settings, &sum, wall);
        Ok(report
            .with("puts", sent)
            .with("put_errors", failed)
            .with("missing_events", missing))
    })
    .await
}

/// A stream of requests that sends one and then stays open: closing it would end the watch.
pub(super) fn held_open<T: Send + 'static>(request: T) -> impl Stream<Item = T> + Send + 'static {
    stream::once(async move { request }).chain(stream::pending())
}

fn create(prefix: &str) -> WatchRequest {
    let create = WatchCreateRequest {
        key: prefix.to_owned().into(),
        range_end: end_of(prefix),
        ..WatchCreateRequest::default()
    };
    WatchRequest {
        request_union: Some(RequestUnion::CreateRequest(create)),
    }
}

async fn put_all(
    settings: &Settings,
    connections: &Connections,
    board: &Board,
    rate: u32,
) -> (u64, u64) {
    let mut kv = connections.of(0).kv();
    let mut source = Source::single(settings);
    let start = Instant::now();
    let (mut sent, mut failed) = (0, 0);
    for number in 0..settings.total {
        if rate > 0 {
            let due = start + Duration::from_secs_f64(number as f64 / f64::from(rate));
            tokio::time::sleep_until(due.into()).await;
        }
        if start.elapsed() >= settings.duration {
            break;
        }
        board.begin(number);
        let request = put_request(source.key(number), source.value());
        match kv.put(request).await {
            Ok(_) => sent += 1,
            Err(_) => failed += 1,
        }
    }
    (sent, failed)
}

/// Counts events until all that were put have come, or patience ends.
async fn observe(
    mut stream: Streaming<WatchResponse>,
    board: Arc<Board>,
    prefix: String,
) -> (Tally, u64) {
    let mut tally = Tally::new(&["event"]);
    let mut seen = 0;
    let mut waited = Duration::ZERO;
    let step = Duration::from_millis(100);
    while seen < board.answered.load(Ordering::Acquire) && waited < PATIENCE {
        let message = match tokio::time::timeout(step, stream.message()).await {
            Ok(Ok(Some(message))) => message,
            Ok(Ok(None)) => {
                tally.failed("the watch ended");
                break;
            }
            Ok(Err(status)) => {
                tally.failed(&status);
                break;
            }
            Err(_) if board.answered.load(Ordering::Acquire) == NOT_YET => continue,
            Err(_) => {
                waited += step;
                continue;
            }
        };
        waited = Duration::ZERO;
        for event in message.events {
            let number = event.kv.and_then(|kv| number_in(&kv.key, &prefix));
            if let Some(latency) = number.and_then(|number| board.since_begin(number)) {
                tally.answered(0, Answer::Done, latency);
                seen += 1;
            }
        }
    }
    (tally, seen)
}
