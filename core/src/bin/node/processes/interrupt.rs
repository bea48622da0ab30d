//! What happens when the user has seen enough.

use crate::exit::{Context, Exit, Failure};
use tokio::signal::unix::{SignalKind, signal};

/// Runs `work` unless SIGINT or SIGTERM comes first. Either way the work's own clean-up happens: the nodes that it started
/// are killed and their directories removed, which a process that dies of the signal could not do.
pub(crate) async fn or_interrupted(
    work: impl Future<Output = Result<(), Failure>>,
) -> Result<(), Failure> {
    let listen = |kind| signal(kind).context(Exit::Failed, "listening for signals");
    let mut terminate = listen(SignalKind::terminate())?;
    let mut interrupt = listen(SignalKind::interrupt())?;
    tokio::select! {
        biased;
        done = work => done,
        _ = terminate.recv() => Err(Failure::new(Exit::Failed, "terminated")),
        _ = interrupt.recv() => Err(Failure::new(Exit::Failed, "interrupted")),
    }
}
