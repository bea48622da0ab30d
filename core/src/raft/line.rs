//! A stream of appends to one peer that stays open.
//!
//! A leader makes the same call twenty times a second, or a thousand times. Opened once, each costs a message and an answer,
//! where a call of its own brought heads, a task and a deadline on both sides besides.

use futures_util::stream::unfold;
use tokio::sync::mpsc;
use tonic::{Request, Status, Streaming};

use super::peers::Client;
use crate::proto::peer::{AppendRequest, AppendResponse};
use crate::runtime::Runtime;
use crate::transport::LongLived;

/// An open stream on which nothing is on its way. Whoever asks on it gives it away until the answer is there: an answer that
/// nobody waited for would be taken for that of the next question.
pub struct Line {
    appends: mpsc::Sender<AppendRequest>,
    answers: Streaming<AppendResponse>,
}

impl Line {
    /// Opens a stream to the peer of `client` with its first question, which does not wait for the peer's consent: over a slow
    /// line that would take a second round trip, and a heartbeat has no time for it.
    ///
    /// # Errors
    /// When the peer is not reached or refuses.
    pub async fn open<R: Runtime>(
        client: &mut Client<R>,
        append: AppendRequest,
    ) -> Result<(AppendResponse, Self), Status> {
        let (appends, outgoing) = mpsc::channel(1);
        // There is room for one.
        let _ = appends.try_send(append);
        let outgoing = unfold(outgoing, |mut outgoing| async {
            let append = outgoing.recv().await?;
            Some((append, outgoing))
        });
        let mut request = Request::new(outgoing);
        request.extensions_mut().insert(LongLived);
        let answers = client.append(request).await?.into_inner();
        Self { appends, answers }.answer().await
    }

    /// Sends `append`, waits for the answer, and gives the line back with it.
    ///
    /// # Errors
    /// When the stream has ended, with the peer's reason if it gave one.
    pub async fn ask(self, append: AppendRequest) -> Result<(AppendResponse, Self), Status> {
        // A stream that has ended says why where its answers come from.
        let _ = self.appends.send(append).await;
        self.answer().await
    }

    async fn answer(mut self) -> Result<(AppendResponse, Self), Status> {
        let answer = self.answers.message().await?;
        let answer = answer.ok_or_else(|| Status::unavailable("the peer ended the stream"))?;
        Ok((answer, self))
    }
}
