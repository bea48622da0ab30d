//! The client half: a channel to one peer for tonic's generated clients.
//!
//! A [`Channel`] dials when it is first used, shares one connection among all its calls, and dials again when that is
//! gone. Three rules keep a silent network from hanging anyone:
//!
//! 1. every call has a deadline, its caller's (`grpc-timeout`) or the channel's, and it covers dialing, waiting and the
//!    whole answer, but for a stream that is meant to last ([`LongLived`]);
//! 2. a connection is asked whether it is still there while it is silent, and dropped when it does not answer: after a
//!    partition TCP itself may take minutes to speak again;
//! 3. after a failed dial calls fail at once for a short while instead of queueing up behind the next attempt.
//!
//! A call that failed before its first byte left is marked ([`was_not_sent`]): only then may a write be sent elsewhere.
//! In every other case it may have been carried out.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::uri::{Authority, Scheme, Uri};
use http_body::{Frame, SizeHint};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;
use tonic::Status;

use super::glue::{RuntimeTimer, TaskExecutor};
use super::{Body, Dial, deadline};
use crate::runtime::{Instant, Runtime, timeout};

/// How a channel treats its connection.
#[derive(Clone, Debug)]
pub struct ChannelOptions {
    /// From the first packet to the end of the handshake.
    pub connect_timeout: Duration,
    /// The deadline of a call that states none.
    pub call_timeout: Duration,
    /// How often a silent connection is asked whether it is still there.
    pub keepalive_interval: Duration,
    /// How long the answer to that may take before the connection is given up.
    pub keepalive_timeout: Duration,
    /// How long calls fail at once after a first failed dial; doubled by each further one.
    pub rest_min: Duration,
    /// The longest such rest.
    pub rest_max: Duration,
}

/// h2 forgets a reset stream after a second of *its own* clock, which is the process's even in a simulation. An hour
/// keeps that clock out of what a run does; the number of streams remembered is bounded anyway.
const RESET_STREAM_DURATION: Duration = Duration::from_secs(3600);

/// Put into a request's extensions: the deadline covers the head of the answer, and its body may go on for ever. Who reads
/// such a stream has to notice himself when it stalls; a connection that is dead ends it by keepalive.
#[derive(Clone, Copy, Debug)]
pub struct LongLived;

/// Put into a request's extensions: the deadline of a call that states none, instead of its channel's.
#[derive(Clone, Copy, Debug)]
pub struct AnswerWithin(pub Duration);

type Sender = SendRequest<Body>;
type Connect = Box<dyn Fn() -> BoxFuture<'static, Result<Sender, String>> + Send + Sync>;

/// Calls to one peer. A clone is another handle on the same connection.
pub struct Channel<R: Runtime>(Arc<Shared<R>>);

struct Shared<R> {
    connect: Connect,
    options: ChannelOptions,
    authority: Authority,
    state: Mutex<State>,
    runtime: std::marker::PhantomData<fn() -> R>,
}

struct State {
    link: Link,
    /// Dials that failed since the last that did not.
    failures: u32,
}

enum Link {
    /// Not dialed yet, or the connection ended.
    Idle,
    /// Calls wait here for the connection that is being made.
    Dialing(Vec<oneshot::Sender<Result<Sender, NotSent>>>),
    Open(Sender),
    /// The last dial failed for this reason; the next is not before then.
    Resting {
        until: Instant,
        reason: String,
    },
}

impl<R: Runtime> Channel<R> {
    /// A channel to whoever `dial` reaches. Nothing is dialed yet.
    pub fn new<D: Dial>(dial: D, options: ChannelOptions) -> Self {
        let dial = Arc::new(dial);
        let with = options.clone();
        let connect: Connect =
            Box::new(move || Box::pin(connect::<R, D>(Arc::clone(&dial), with.clone())));
        Self(Arc::new(Shared {
            connect,
            options,
            authority: Authority::from_static("quorate"),
            state: Mutex::new(State {
                link: Link::Idle,
                failures: 0,
            }),
            runtime: std::marker::PhantomData,
        }))
    }

    /// Whether the peer can be reached now: dials if there is no connection.
    ///
    /// # Errors
    /// When it cannot; nothing was sent then.
    pub async fn reach(&self) -> Result<(), Status> {
        self.0.sender().await.map(drop).map_err(Status::from)
    }

    async fn call(
        self,
        request: http::Request<tonic::body::Body>,
    ) -> Result<http::Response<ChannelBody<R>>, Status> {
        let own = request.extensions().get::<AnswerWithin>();
        let without = own.map_or(self.0.options.call_timeout, |AnswerWithin(limit)| *limit);
        let limit = deadline::from_headers(request.headers()).unwrap_or(without);
        let mut sleep = Box::pin(R::sleep(limit));
        let long_lived = request.extensions().get::<LongLived>().is_some();
        let (head, body) = request.into_parts();
        let mut request = http::Request::from_parts(head, Body::request(body)?);
        self.0.complete(request.uri_mut());
        let mut sender = tokio::select! {
            biased;
            sender = self.0.sender() => sender.map_err(Status::from)?,
            () = &mut sleep => return Err(NotSent("no connection in time".to_owned()).into()),
        };
        let response = tokio::select! {
            biased;
            response = sender.try_send_request(request) => response,
            () = &mut sleep => return Err(Status::deadline_exceeded("no answer in time")),
        };
        match response {
            Ok(response) => {
                let sleep = (!long_lived).then_some(sleep);
                Ok(response.map(|body| ChannelBody { body, sleep }))
            }
            Err(failure) if failure.message().is_some() => {
                Err(NotSent(in_words(failure.error())).into())
            }
            Err(failure) => Err(Status::unavailable(format!(
                "connection lost: {}",
                in_words(failure.error())
            ))),
        }
    }
}

impl<R: Runtime> Shared<R> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// tonic's clients give a path; HTTP/2 wants the scheme and a name before it.
    fn complete(&self, uri: &mut Uri) {
        let mut parts = std::mem::take(uri).into_parts();
        parts.scheme.get_or_insert(Scheme::HTTP);
        parts
            .authority
            .get_or_insert_with(|| self.authority.clone());
        *uri = Uri::from_parts(parts).expect("scheme, authority and path are there");
    }

    /// The connection, dialed if there is none.
    async fn sender(self: &Arc<Self>) -> Result<Sender, NotSent> {
        let waiting = {
            let mut state = self.state();
            match &mut state.link {
                Link::Open(sender) if !sender.is_closed() => return Ok(sender.clone()),
                Link::Resting { until, reason } if R::now() < *until => {
                    return Err(NotSent(reason.clone()));
                }
                Link::Dialing(waiting) => {
                    let (answer, waits) = oneshot::channel();
                    waiting.push(answer);
                    waits
                }
                Link::Idle | Link::Open(_) | Link::Resting { .. } => {
                    let (answer, waits) = oneshot::channel();
                    state.link = Link::Dialing(vec![answer]);
                    // A task of its own: a call that is given up must not stop the dial that others wait for.
                    drop(R::spawn(Arc::clone(self).dial()));
                    waits
                }
            }
        };
        waiting
            .await
            .unwrap_or_else(|_| Err(NotSent("the dial was abandoned".to_owned())))
    }

    async fn dial(self: Arc<Self>) {
        let connected = (self.connect)().await;
        let mut state = self.state();
        let (next, answer) = match connected {
            Ok(sender) => {
                state.failures = 0;
                (Link::Open(sender.clone()), Ok(sender))
            }
            Err(reason) => {
                let until = R::now() + self.rest(state.failures);
                state.failures = state.failures.saturating_add(1);
                (
                    Link::Resting {
                        until,
                        reason: reason.clone(),
                    },
                    Err(NotSent(reason)),
                )
            }
        };
        let before = std::mem::replace(&mut state.link, next);
        drop(state);
        if let Link::Dialing(waiting) = before {
            for waits in waiting {
                // Who has given up does not listen any more.
                let _ = waits.send(answer.clone());
            }
        }
    }

    /// How long to leave the peer alone, with jitter, so that many who lost it do not come back in step.
    fn rest(&self, failures: u32) -> Duration {
        let ceiling = self.options.rest_max;
        let rest = self
            .options
            .rest_min
            .saturating_mul(1 << failures.min(16))
            .min(ceiling);
        let per_mille = u32::try_from(R::random() % 501).expect("a number below 501");
        rest / 1000 * (500 + per_mille)
    }
}

/// Opens a connection and starts the task that drives it.
async fn connect<R: Runtime, D: Dial>(
    dial: Arc<D>,
    options: ChannelOptions,
) -> Result<Sender, String> {
    let connected = timeout::<R, _>(options.connect_timeout, async {
        let stream = dial.dial().await.map_err(|error| error.to_string())?;
        let handshake = Builder::new(TaskExecutor::<R>::new())
            .timer(RuntimeTimer::<R>::new())
            .keep_alive_interval(options.keepalive_interval)
            .keep_alive_timeout(options.keepalive_timeout)
            .keep_alive_while_idle(true)
            .reset_stream_duration(RESET_STREAM_DURATION)
            .handshake(TokioIo::new(stream));
        handshake.await.map_err(|error| error.to_string())
    });
    let (sender, connection) = connected
        .await
        .map_err(|_elapsed| "no connection in time".to_owned())??;
    drop(R::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "connection to a peer ended");
        }
    }));
    Ok(sender)
}

impl<R: Runtime> Clone for Channel<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: Runtime> fmt::Debug for Channel<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Channel").finish_non_exhaustive()
    }
}

impl<R: Runtime> tower_service::Service<http::Request<tonic::body::Body>> for Channel<R> {
    type Response = http::Response<ChannelBody<R>>;
    type Error = Status;
    type Future = BoxFuture<'static, Result<Self::Response, Status>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<tonic::body::Body>) -> Self::Future {
        Box::pin(self.clone().call(request))
    }
}

/// The body of an answer.
pub struct ChannelBody<R: Runtime> {
    body: Incoming,
    /// Until the deadline; none for a stream that is meant to last.
    sleep: Option<Pin<Box<R::Sleep>>>,
}

impl<R: Runtime> http_body::Body for ChannelBody<R> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(context) {
            let lost = |error: hyper::Error| {
                Status::unavailable(format!("connection lost: {}", in_words(&error)))
            };
            return Poll::Ready(frame.map(|frame| frame.map_err(lost)));
        }
        let Some(sleep) = &mut self.sleep else {
            return Poll::Pending;
        };
        let late = || {
            Some(Err(Status::deadline_exceeded(
                "the answer did not end in time",
            )))
        };
        sleep.as_mut().poll(context).map(|()| late())
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<R: Runtime> fmt::Debug for ChannelBody<R> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("ChannelBody")
            .field(&self.body)
            .finish()
    }
}

/// An error with what is behind it: hyper says "connection error", and only the cause says that a certificate has expired.
fn in_words(error: &hyper::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words.push_str(&format!(": {error}"));
        cause = error.source();
    }
    words
}

/// Why a call never left this node.
#[derive(Clone, Debug, thiserror::Error)]
#[error("not sent: {0}")]
struct NotSent(String);

impl From<NotSent> for Status {
    fn from(failure: NotSent) -> Self {
        let mut status = Self::unavailable(failure.to_string());
        status.set_source(Arc::new(failure));
        status
    }
}

/// Whether the call that failed with `status` certainly never reached the peer. Otherwise it may have been carried out.
pub fn was_not_sent(status: &Status) -> bool {
    status.source().is_some_and(<dyn Error>::is::<NotSent>)
}
