//! The closed loop: each client has one request in flight and starts the next when it is answered.

use super::budget::Budget;
use super::settings::Settings;
use super::tally::{Answer, Tally};
use crate::exit::{Context, Exit, Failure};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tonic::Status;

/// After a failed request a client waits this long: a server that refuses everything is not hammered.
const PAUSE_AFTER_ERROR: Duration = Duration::from_millis(1);

/// One client of a load.
pub(super) trait Worker: Send + 'static {
    /// Sends operation number `number` and waits for its answer. Says of which kind it was.
    fn step(&mut self, number: u64)
    -> impl Future<Output = Result<(usize, Answer), Status>> + Send;
}

/// Runs the workers until the budget is spent; returns their sum and the time it took.
pub(super) async fn drive<W: Worker>(
    settings: &Settings,
    kinds: &'static [&'static str],
    workers: Vec<W>,
) -> Result<(Tally, Duration), Failure> {
    let budget = Arc::new(Budget::of(settings));
    let limit = settings.timeout;
    let start = Instant::now();
    let mut tasks = Vec::with_capacity(workers.len());
    for worker in workers {
        tasks.push(tokio::spawn(client(worker, kinds, budget.clone(), limit)));
    }
    let mut sum = Tally::new(kinds);
    for task in tasks {
        sum.merge(task.await.context(Exit::Failed, "a client of the load")?);
    }
    Ok((sum, start.elapsed()))
}

async fn client<W: Worker>(
    mut worker: W,
    kinds: &'static [&'static str],
    budget: Arc<Budget>,
    limit: Duration,
) -> Tally {
    let mut tally = Tally::new(kinds);
    while let Some(number) = budget.take() {
        let begun = Instant::now();
        match tokio::time::timeout(limit, worker.step(number)).await {
            Ok(Ok((kind, answer))) => tally.answered(kind, answer, begun.elapsed()),
            Ok(Err(status)) => {
                tally.failed(&status);
                tokio::time::sleep(PAUSE_AFTER_ERROR).await;
            }
            Err(_) => tally.failed("timed out"),
        }
    }
    tally
}
