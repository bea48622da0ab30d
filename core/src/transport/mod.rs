//! HTTP/2 over any runtime's streams, for clients and between nodes.
//!
//! tonic's own transport asks the real tokio for time, tasks and sockets, so it cannot run inside a simulation. This
//! folder is the little that is left when one drives hyper's connections by hand, and with it come the duties that
//! tonic's transport would have had: caps on connections, streams, headers and messages, a time limit on every
//! handshake, call and silence, and a goodbye (GOAWAY) at shutdown. *Nothing that a stranger sends is unbounded.*
//!
//! | file | what it holds |
//! |---|---|
//! | `server.rs` | [`serve`]: accepts connections and tells them when to end |
//! | `lobby.rs` | who is at a listener: unfinished handshakes, guests, everybody else |
//! | `session.rs` | the life of one connection |
//! | `activity.rs` | whether a connection is in use |
//! | `handler.rs` | [`Handler`]: what answers requests; [`Services`], the one for tonic's generated servers |
//! | `grpc.rs` | [`grpc::unary`]: one request message in, one answer out, without tonic's buffers |
//! | `limits.rs` | [`Limits`]: what messages may cost |
//! | `answers.rs` | memory of answers that nobody has read yet |
//! | `body.rs` | [`Body`]: what an answer carries |
//! | `deadline.rs` | the `grpc-timeout` header |
//! | `preface.rs` | HTTP/2 or HTTP/1.1, told by the first bytes |
//! | `secure.rs` | [`Secure`] and [`Dial`]: where TLS slots in |
//! | `authority.rs` | [`PlainLocal`]: clients on a socket, which name a path where a host belongs |
//! | `channel.rs` | [`Channel`]: the client half, dials by itself and never hangs |
//! | `glue.rs` | hyper's executor and timer, from the runtime |
//!
//! A request is answered where it was read: its future is polled once on the connection's own task and becomes a task
//! of its own only if it has to wait (`glue.rs` says why that pays).

mod activity;
mod answers;
mod authority;
mod body;
mod channel;
pub mod deadline;
mod glue;
pub mod grpc;
mod handler;
mod limits;
mod lobby;
mod preface;
mod secure;
mod server;
mod session;
#[cfg(test)]
mod tests;

pub use authority::PlainLocal;
pub use body::Body;
pub use channel::{AnswerWithin, Channel, ChannelBody, ChannelOptions, LongLived, was_not_sent};
pub(crate) use handler::unknown;
pub use handler::{Connection, Handler, Request, Services};
pub use limits::{Bounds, Holding, Limits, UNCOUNTED_BYTES};
pub use secure::{Dial, Plain, PlainDial, Secure};
pub use server::{Guests, Http1, ServerOptions, Windows, serve};

/// The largest message that a client may send: etcd's limit of 1.5 MiB for a request and 512 KiB for what surrounds it.
pub const CLIENT_MESSAGE_BYTES: usize = 2 * 1024 * 1024;

/// The largest message of a stranger: a certificate request, and 16 addresses of 255 bytes at most.
pub const JOIN_MESSAGE_BYTES: usize = 16 * 1024;

/// The largest message between nodes: appends are cut at 1 MiB but hold at least one entry, whatever its size.
pub const PEER_MESSAGE_BYTES: usize = 8 * 1024 * 1024;

/// What a leader's answer to commands has at most: the commands are small, but one may answer with all that it deleted. An
/// answer that could not be received would be an unknown outcome to everybody in its batch.
pub const ANSWER_BYTES: usize = 1 << 30;
