//! The etcd v3 API: what clients see of a node.
//!
//! Every node serves every request. The services are plain functions over a [`Backend`], which is all that they know of
//! the node; [`ClientApi`] finds the function for a path. What a path is not found for is answered `Unimplemented`, which is
//! how clients ask whether something is offered.
//!
//! | file | what it holds |
//! |---|---|
//! | `backend.rs` | [`Backend`]: what the services need of a node |
//! | `kv.rs` | range, put, delete, transactions, compaction |
//! | `read_txn.rs` | transactions that only read |
//! | `range_stream.rs` | a range in pieces |
//! | `cluster.rs`, `maintenance.rs` | the members; this node's state |
//! | `pages.rs` | `/health`, `/livez`, `/readyz`, `/version` |
//! | `convert.rs` | headers and errors between the node's words and the wire's |
//! | `error.rs` | [`EtcdError`]: every error with its code and text |

mod backend;
mod cluster;
mod convert;
mod error;
mod kv;
mod maintenance;
mod pages;
mod range_stream;
mod read_txn;

use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use http::Version;

pub use backend::{Backend, BarrierError, Identity, NodeStatus, ProposeError};
pub use error::EtcdError;
pub use kv::MAX_REQUEST_BYTES;

use crate::runtime::Runtime;
use crate::transport::{
    Body, Bounds, CLIENT_MESSAGE_BYTES, Connection, Handler, Holding, Limits, Request,
    UNCOUNTED_BYTES, grpc, unknown,
};

/// The version of etcd whose API this is. Clients decide by it what they may ask for: Kubernetes wants at least 3.5.13
/// before it trusts progress notifications.
pub const ETCD_VERSION: &str = "3.6.6";
/// The version that a cluster of such servers agrees on.
pub const ETCD_CLUSTER_VERSION: &str = "3.6.0";
/// The version of etcd's storage format that goes with it; ours is our own.
pub const ETCD_STORAGE_VERSION: &str = "3.6.0";

/// What the messages of clients may cost.
const BOUNDS: Bounds = Bounds {
    message: CLIENT_MESSAGE_BYTES,
    // Less than what may be on its way into the log (see the proposer), so that large writes wait for one another instead
    // of being refused.
    requests: 8 * 1024 * 1024,
    // Half of it: one connection never keeps the others from writing.
    connection: 4 * 1024 * 1024,
    receive: Duration::from_secs(30),
    answers: 64 * 1024 * 1024,
    patience: Duration::from_secs(3),
    unread: Duration::from_secs(10),
};

/// Requests in progress on one connection; a client that has more queues them. Clients seldom have more than a few hundred.
/// Small requests are not counted one by one, and so many of them take no more than the large ones of a connection may.
pub(crate) const MAX_STREAMS: u32 = 1_000;
const _: () = assert!(MAX_STREAMS as usize * UNCOUNTED_BYTES <= BOUNDS.connection);

/// Requests in progress on all connections together. That many small ones take some hundred megabytes, with their tasks, heads
/// and answers.
pub(crate) const MAX_REQUESTS: u32 = 16_384;

/// The services that clients reach, over one node.
pub struct ClientApi<R, B> {
    backend: Arc<B>,
    limits: Limits,
    runtime: PhantomData<fn() -> R>,
}

impl<R: Runtime, B: Backend> ClientApi<R, B> {
    /// The services over `backend`.
    pub fn new(backend: Arc<B>) -> Self {
        Self {
            backend,
            limits: Limits::new(BOUNDS),
            runtime: PhantomData,
        }
    }

    /// The answer to a gRPC call.
    async fn call(&self, holding: &Arc<Holding>, request: Request) -> http::Response<Body> {
        if requires_leader(&request) && self.backend.leader().is_none() {
            return tonic::Status::from(EtcdError::NoLeader).into_http();
        }
        let (backend, limits) = (&*self.backend, &self.limits);
        match request.uri().path() {
            "/etcdserverpb.KV/Range" => {
                grpc::unary::<R, _, _, _>(request, limits, holding, |message| {
                    kv::range(backend, message)
                })
                .await
            }
            "/etcdserverpb.KV/Put" => {
                grpc::unary::<R, _, _, _>(request, limits, holding, |message| {
                    kv::put(backend, message)
                })
                .await
            }
            "/etcdserverpb.KV/Txn" => {
                grpc::unary::<R, _, _, _>(request, limits, holding, |message| {
                    kv::txn(backend, message)
                })
                .await
            }
            "/etcdserverpb.KV/DeleteRange" => {
                grpc::unary::<R, _, _, _>(request, limits, holding, |message| {
                    kv::delete_range(backend, message)
                })
                .await
            }
            "/etcdserverpb.KV/Compact" => {
                grpc::unary::<R, _, _, _>(request, limits, holding, |message| {
                    kv::compact(backend, message)
                })
                .await
            }
            "/etcdserverpb.KV/RangeStream" => {
                let backend = Arc::clone(&self.backend);
                let call = |message| range_stream::range_stream(backend, message);
                grpc::server_streaming::<R, _, _, _, _>(request, limits, holding, call).await
            }
            "/etcdserverpb.Maintenance/Status" => {
                grpc::unary::<R, _, _, _>(request, limits, holding, |message| {
                    maintenance::status(backend, message)
                })
                .await
            }
            "/etcdserverpb.Maintenance/Alarm" => {
                grpc::unary::<R, _, _, _>(request, limits, holding, |message| {
                    maintenance::alarm(backend, message)
                })
                .await
            }
            "/etcdserverpb.Maintenance/MoveLeader" => {
                grpc::unary::<R, _, _, _>(request, limits, holding, |message| {
                    maintenance::move_leader(backend, message)
                })
                .await
            }
            "/etcdserverpb.Maintenance/HashKV" => {
                grpc::unary::<R, _, _, _>(request, limits, holding, |message| {
                    maintenance::hash_kv(backend, message)
                })
                .await
            }
            "/etcdserverpb.Maintenance/Hash" => {
                grpc::unary::<R, _, _, _>(request, limits, holding, |message| {
                    maintenance::hash(backend, message)
                })
                .await
            }
            "/etcdserverpb.Cluster/MemberList" => {
                grpc::unary::<R, _, _, _>(request, limits, holding, |message| {
                    cluster::member_list(backend, message)
                })
                .await
            }
            path => unknown(path),
        }
    }
}

/// Whether the caller would rather have an error than an answer of a node that has lost its cluster.
fn requires_leader(request: &Request) -> bool {
    request
        .headers()
        .get("hasleader")
        .is_some_and(|value| value == "true")
}

impl<R: Runtime, B: Backend, P: Send + Sync + 'static> Handler<P> for ClientApi<R, B> {
    async fn handle(
        self: Arc<Self>,
        connection: Arc<Connection<P>>,
        request: Request,
    ) -> http::Response<Body> {
        // gRPC calls are POSTs over HTTP/2; whatever else comes is after a page.
        if request.version() == Version::HTTP_2 && request.method() == http::Method::POST {
            return self.call(&connection.holding, request).await;
        }
        let (path, query) = (
            request.uri().path(),
            request.uri().query().unwrap_or_default(),
        );
        pages::serve::<R, B>(&self.backend, request.method(), path, query).await
    }
}
