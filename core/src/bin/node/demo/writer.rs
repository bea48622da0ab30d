//! Clients that write each key once and note what they were told.

use super::ledger::{Ledger, Outcome, value_of};
use crate::client::{Channel, Endpoint};
use crate::exit::{Context, Exit, Failure};
use quorate::proto::etcdserverpb::PutRequest;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;

/// What every key starts with.
pub(super) const PREFIX: &str = "/demo/";
/// A client that waited this long asks another node; what it had sent stays unknown.
const ANSWER_LIMIT: Duration = Duration::from_secs(3);
/// Before the next node is tried: the others may be electing.
const PAUSE: Duration = Duration::from_millis(5);

/// The running clients.
pub(super) struct Writers {
    stop: Arc<AtomicBool>,
    tasks: Vec<JoinHandle<()>>,
}

impl Writers {
    /// Starts `clients`; the first node that each one asks is another one in turn.
    pub(super) fn start(endpoints: &[Endpoint], clients: usize, ledger: &Arc<Ledger>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let task = |client| {
            let writer = Writer {
                client,
                endpoints: endpoints.to_vec(),
                ledger: ledger.clone(),
                stop: stop.clone(),
            };
            tokio::spawn(writer.run())
        };
        let tasks = (0..clients).map(task).collect();
        Self { stop, tasks }
    }

    /// Lets every client finish what it has in flight.
    pub(super) async fn stop(self) -> Result<(), Failure> {
        self.stop.store(true, Ordering::Relaxed);
        for task in self.tasks {
            task.await.context(Exit::Failed, "a client")?;
        }
        Ok(())
    }
}

struct Writer {
    client: usize,
    endpoints: Vec<Endpoint>,
    ledger: Arc<Ledger>,
    stop: Arc<AtomicBool>,
}

impl Writer {
    async fn run(self) {
        let mut number = 0_u64;
        let nodes = self.endpoints.iter().cycle().skip(self.client);
        for endpoint in nodes {
            if let Ok(channel) = Channel::connect(endpoint).await {
                self.write_to(&channel, &mut number).await;
            }
            if self.stop.load(Ordering::Relaxed) {
                return;
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Writes until the first write without a good answer. A write is never tried again: it may have taken effect.
    async fn write_to(&self, channel: &Channel, number: &mut u64) {
        let mut kv = channel.kv();
        while !self.stop.load(Ordering::Relaxed) {
            let key = format!("{PREFIX}{:03}/{number:09}", self.client);
            *number += 1;
            let put = PutRequest {
                value: value_of(&key).into(),
                key: key.clone().into(),
                ..PutRequest::default()
            };
            let begun = Instant::now();
            let answer = tokio::time::timeout(ANSWER_LIMIT, kv.put(put)).await;
            let outcome = match answer {
                Ok(Ok(_)) => Outcome::Acknowledged,
                Ok(Err(_)) | Err(_) => Outcome::Unknown,
            };
            self.ledger.record(key, outcome, begun);
            if outcome == Outcome::Unknown {
                return;
            }
        }
    }
}
