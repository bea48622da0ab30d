//! The life of one connection.
//!
//! Handshake and first bytes, in time; then requests, as many at a time as allowed, each for as long as its caller says
//! that it waits; then it ends by itself, goes quiet for too long, or the server stops. In the last two cases the other
//! side gets a GOAWAY, what has begun is finished, and the connection is cut only when that takes too long.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::time::Duration;

use http::Version;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::{Semaphore, oneshot};
use tonic::Status;

use super::activity::{Activity, Tracked};
use super::glue::{InlineExecutor, RuntimeTimer};
use super::preface::{self, Protocol, Replayed};
use super::server::Server;
use super::{Body, Connection, Handler, Http1, Request, Secure, ServerOptions, deadline};
use crate::etcd::EtcdError;
use crate::runtime::{Runtime, Stream, timeout};

/// hyper reads HTTP/1.1 headers into a buffer that must not be smaller.
const HTTP1_BUFFER_MIN: usize = 8192;

/// A connection that has just been accepted.
pub(super) struct Arrival<S> {
    /// By which the lobby knows it.
    pub(super) number: u64,
    pub(super) stream: S,
    /// The address of the other side.
    pub(super) remote: String,
    /// Completes when it should end.
    pub(super) stop: oneshot::Receiver<()>,
}

/// Looks after one connection until it ends.
pub(super) async fn run<R, S, H>(server: &Server<S, H>, arrival: Arrival<R::Stream>)
where
    R: Runtime,
    S: Secure<R::Stream>,
    H: Handler<S::Peer>,
{
    let Server {
        secure,
        handler,
        options,
        lobby,
        turns,
    } = server;
    let name = options.name;
    let Arrival {
        number,
        stream,
        remote,
        mut stop,
    } = arrival;
    let greeted = tokio::select! {
        biased;
        greeted = timeout::<R, _>(options.handshake_timeout, greet::<R, S>(secure, stream)) => greeted,
        _ = &mut stop => return,
    };
    let (protocol, stream, peer) = match greeted {
        Ok(Ok(greeted)) => greeted,
        Ok(Err(error)) => {
            if let Some(unsaid) = lobby.refused(R::now()) {
                tracing::info!(listener = name, remote, %error, unsaid, "somebody was not let in");
            }
            return;
        }
        Err(_elapsed) => {
            return tracing::debug!(listener = name, remote, "handshake took too long");
        }
    };
    lobby.greeted(number);
    let is_guest = secure.is_guest(&peer);
    let place = is_guest.then(|| lobby.guest());
    if let Some(None) = place {
        return tracing::debug!(listener = name, remote, "too many strangers at a time");
    }
    let connection = Arc::new(Connection::new(remote, peer));
    let session = Session {
        handler: Arc::clone(handler),
        connection: Arc::clone(&connection),
        activity: Arc::default(),
        turns: Arc::clone(turns),
        streams: if is_guest {
            options.guests.max_concurrent_streams
        } else {
            options.max_concurrent_streams
        },
        life: is_guest.then_some(options.guests.life),
        options,
    };
    let served = async {
        match (protocol, options.http1) {
            (Protocol::Http2, _) => session.http2::<R, _>(stream, stop).await,
            (Protocol::Http1, Http1::Served) => session.http1::<R, _>(stream, stop).await,
            (Protocol::Http1, Http1::Refused) => {
                tracing::debug!(listener = name, connection.remote, "not HTTP/2");
                None
            }
        }
    };
    let ended = tokio::select! {
        biased;
        ended = served => ended,
        () = connection.holding.is_cut() => {
            return tracing::info!(listener = name, connection.remote, "a connection that did not read its answers was cut: others needed the memory");
        }
        () = secure.unwelcome(&connection.peer) => {
            return tracing::info!(listener = name, connection.remote, "a connection of somebody who is not welcome any more was cut");
        }
    };
    if let Some(Err(error)) = ended {
        tracing::debug!(listener = name, connection.remote, %error, "connection failed");
    }
}

async fn greet<R, S>(
    secure: &S,
    stream: R::Stream,
) -> io::Result<(Protocol, Replayed<S::Stream>, S::Peer)>
where
    R: Runtime,
    S: Secure<R::Stream>,
{
    let (stream, peer) = secure.accept(stream).await?;
    let (protocol, stream) = preface::detect(stream).await?;
    Ok((protocol, stream, peer))
}

struct Session<'a, P, H> {
    handler: Arc<H>,
    connection: Arc<Connection<P>>,
    activity: Arc<Activity>,
    turns: Arc<Semaphore>,
    streams: u32,
    /// How long it may last at most; none for as long as it is used.
    life: Option<Duration>,
    options: &'a ServerOptions,
}

impl<P, H> Session<'_, P, H>
where
    P: Send + Sync + 'static,
    H: Handler<P>,
{
    async fn http2<R: Runtime, IO: Stream>(
        &self,
        stream: IO,
        stop: oneshot::Receiver<()>,
    ) -> Option<hyper::Result<()>> {
        let mut builder = hyper::server::conn::http2::Builder::new(InlineExecutor::<R>::new());
        builder
            .timer(RuntimeTimer::<R>::new())
            .auto_date_header(false)
            .max_concurrent_streams(self.streams)
            .initial_connection_window_size(self.options.windows.connection)
            .initial_stream_window_size(self.options.windows.stream)
            .max_header_list_size(self.options.max_header_bytes)
            .keep_alive_interval(self.options.keepalive_interval)
            .keep_alive_timeout(self.options.keepalive_timeout);
        let service = service_fn(|request| self.answer::<R>(request));
        let http = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let goodbye =
            |http: Pin<&mut _>| hyper::server::conn::http2::Connection::graceful_shutdown(http);
        self.drive::<R, _>(http, goodbye, stop).await
    }

    async fn http1<R: Runtime, IO: Stream>(
        &self,
        stream: IO,
        stop: oneshot::Receiver<()>,
    ) -> Option<hyper::Result<()>> {
        let mut builder = hyper::server::conn::http1::Builder::new();
        builder
            .timer(RuntimeTimer::<R>::new())
            .auto_date_header(false)
            .header_read_timeout(self.options.handshake_timeout)
            .max_buf_size((self.options.max_header_bytes as usize).max(HTTP1_BUFFER_MIN));
        let service = service_fn(|request| self.answer::<R>(request));
        let http = pin!(builder.serve_connection(TokioIo::new(stream), service));
        let goodbye =
            |http: Pin<&mut _>| hyper::server::conn::http1::Connection::graceful_shutdown(http);
        self.drive::<R, _>(http, goodbye, stop).await
    }

    /// Answers one request, for as long as its caller says that it waits. Over HTTP/2 it takes a turn until its answer is out; over
    /// HTTP/1.1 a connection has but one request at a time, and health probes must not depend on what others ask.
    fn answer<R: Runtime>(
        &self,
        request: Request,
    ) -> impl Future<Output = Result<http::Response<Tracked>, Infallible>> + Send + use<R, P, H>
    {
        let limit = deadline::from_headers(request.headers());
        let in_use = self.activity.begin();
        let turn = match request.version() {
            Version::HTTP_2 => Arc::clone(&self.turns).try_acquire_owned().map(Some),
            _ => Ok(None),
        };
        let handled = turn.is_ok().then(|| {
            let handler = Arc::clone(&self.handler);
            deadline::within::<R, _>(limit, handler.handle(Arc::clone(&self.connection), request))
        });
        async move {
            let response = match handled {
                Some(handled) => handled.await.unwrap_or_else(|_elapsed| out_of_time()),
                None => Status::from(EtcdError::TooManyRequests).into_http(),
            };
            let turn = turn.ok().flatten().map(Arc::new);
            Ok(response.map(|body| Tracked { body, in_use, turn }))
        }
    }

    /// Polls a connection to its end, and says goodbye when the server stops or nobody asked anything for long.
    async fn drive<R: Runtime, F: Future>(
        &self,
        mut http: Pin<&mut F>,
        say_goodbye: impl FnOnce(Pin<&mut F>),
        stop: oneshot::Receiver<()>,
    ) -> Option<F::Output> {
        tokio::select! {
            biased;
            ended = http.as_mut() => return Some(ended),
            // An error means that the server is gone altogether.
            _ = stop => {}
            () = self.long_silence::<R>() => {}
            () = self.end_of_life::<R>() => {}
        }
        say_goodbye(http.as_mut());
        timeout::<R, _>(self.options.drain_timeout, http).await.ok()
    }

    async fn end_of_life<R: Runtime>(&self) {
        match self.life {
            Some(life) => R::sleep(life).await,
            None => std::future::pending().await,
        }
    }

    /// Completes when no request was in progress for the whole of the idle timeout.
    async fn long_silence<R: Runtime>(&self) {
        let mut before = None;
        loop {
            R::sleep(self.options.idle_timeout).await;
            let now = self.activity.quiet_after();
            if now.is_some() && now == before {
                return;
            }
            before = now;
        }
    }
}

/// What etcd's server says when the context of a call ends.
fn out_of_time() -> http::Response<Body> {
    Status::from(EtcdError::DeadlineExceeded).into_http()
}
