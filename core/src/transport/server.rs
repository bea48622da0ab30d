//! Accepts connections, no more than allowed, and ends them all when it is told to stop.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::lobby::Lobby;
use super::session::Arrival;
use super::{Handler, Secure, session};
use crate::runtime::{Listener as _, Runtime};

/// Whether a listener also speaks HTTP/1.1, which health probes do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Http1 {
    /// Yes, next to HTTP/2, told apart by the first bytes.
    Served,
    /// No: a connection that begins so is closed.
    Refused,
}

/// What those are allowed who come for one errand and have shown nothing ([`Secure::is_guest`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Guests {
    /// At a time; whoever comes when there are so many is sent away at once.
    pub max_connections: u32,
    /// Requests in progress on one connection.
    pub max_concurrent_streams: u32,
    /// How long a connection may last, whatever happens on it.
    pub life: Duration,
}

impl Guests {
    /// For a listener that has none.
    pub const NONE: Self = Self {
        max_connections: 0,
        max_concurrent_streams: 0,
        life: Duration::ZERO,
    };
}

/// Bytes that the other side may send ahead of what is taken. A request that waits keeps what it has sent in the window of its
/// connection, so that a few of them must not fill it: those that are read would wait for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Windows {
    /// By one request,
    pub stream: u32,
    /// and by all of a connection.
    pub connection: u32,
}

impl Windows {
    /// For clients, of whom there are many: thirty-two large requests of one may wait.
    pub const CLIENT: Self = Self {
        stream: 32 << 10,
        connection: 1 << 20,
    };
    /// For members, where a snapshot that is written slowly must not hold heartbeats up, and who may be further away.
    pub const PEER: Self = Self {
        stream: 256 << 10,
        connection: 4 << 20,
    };
}

/// What a listener allows.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Which listener this is, for the log.
    pub name: &'static str,
    /// Accepting stops here and goes on when a connection ends. Choose it well below the limit of file descriptors.
    pub max_connections: u32,
    /// Connections whose handshake is not over; when one more comes, the one that has been at it for longest is cut.
    pub max_handshakes: u32,
    /// What guests are allowed.
    pub guests: Guests,
    /// Requests in progress on one connection; a client that has more queues them.
    pub max_concurrent_streams: u32,
    /// Requests over HTTP/2 on all connections together, each until its answer is out; one more is refused. Thousands of
    /// connections with as many streams as each may have would have no bound to speak of.
    pub max_requests: u32,
    /// What may have been sent and not been taken yet.
    pub windows: Windows,
    /// Bytes of the headers of one request.
    pub max_header_bytes: u32,
    /// From the accepted connection to the first bytes of HTTP, TLS included.
    pub handshake_timeout: Duration,
    /// A connection without a request for this long is closed.
    pub idle_timeout: Duration,
    /// How often a silent connection is asked whether it is still there.
    pub keepalive_interval: Duration,
    /// How long the answer to that may take.
    pub keepalive_timeout: Duration,
    /// How long requests in progress may go on after the goodbye.
    pub drain_timeout: Duration,
    /// Whether HTTP/1.1 is served too.
    pub http1: Http1,
}

/// Accepting failed, most likely because no file descriptor is left: trying again at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves connections from `listener` until `stop` completes, and returns when the last of them has ended.
pub async fn serve<R, S, H>(
    listener: R::Listener,
    secure: S,
    handler: Arc<H>,
    options: ServerOptions,
    stop: impl Future<Output = ()> + Send,
) where
    R: Runtime,
    S: Secure<R::Stream>,
    H: Handler<S::Peer>,
{
    let server = Arc::new(Server {
        lobby: Lobby::new(options.max_handshakes, options.guests.max_connections),
        turns: Arc::new(Semaphore::new(options.max_requests as usize)),
        secure,
        handler,
        options,
    });
    let slots = Arc::new(Semaphore::new(server.options.max_connections as usize));
    tokio::select! {
        biased;
        () = stop => {}
        () = accept::<R, S, H>(&server, &listener, &slots) => {}
    }
    // Whoever comes now is refused by the operating system at once and can go elsewhere.
    drop(listener);
    server.lobby.say_goodbye();
    let all = slots.acquire_many(server.options.max_connections).await;
    drop(all.expect("the semaphore is never closed"));
}

/// Accepts for ever.
async fn accept<R, S, H>(server: &Arc<Server<S, H>>, listener: &R::Listener, slots: &Arc<Semaphore>)
where
    R: Runtime,
    S: Secure<R::Stream>,
    H: Handler<S::Peer>,
{
    let mut number = 0;
    loop {
        let slot = server.slot(slots).await;
        match listener.accept().await {
            Ok((stream, remote)) => {
                number += 1;
                let arrival = Arrival {
                    number,
                    stream,
                    remote,
                    stop: server.lobby.enter(number),
                };
                let server = Arc::clone(server);
                drop(R::spawn(async move {
                    session::run::<R, S, H>(&server, arrival).await;
                    server.lobby.leave(number);
                    drop(slot);
                }));
            }
            Err(error) => {
                tracing::warn!(listener = server.options.name, %error, "cannot accept a connection");
                R::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// What all connections of a listener share.
pub(super) struct Server<S, H> {
    pub(super) secure: S,
    pub(super) handler: Arc<H>,
    pub(super) options: ServerOptions,
    pub(super) lobby: Lobby,
    /// One for each request that is in progress.
    pub(super) turns: Arc<Semaphore>,
}

impl<S, H> Server<S, H> {
    /// A free slot; says so when there is none, because clients then only see that nobody answers.
    async fn slot(&self, slots: &Arc<Semaphore>) -> OwnedSemaphorePermit {
        if slots.available_permits() == 0 {
            let limit = self.options.max_connections;
            tracing::warn!(
                listener = self.options.name,
                limit,
                "no connection is accepted until another ends"
            );
        }
        let slot = Arc::clone(slots).acquire_owned().await;
        slot.expect("the semaphore is never closed")
    }
}
