//! What clients reach. A node with data answers itself; a spare passes every request on, serializable reads included (T1).

use std::sync::Arc;

use http::HeaderValue;
use tonic::Status;
use tower_service::Service as _;

use super::inner::Inner;
use crate::etcd::ClientApi;
use crate::ids::NodeId;
use crate::membership::Role;
use crate::runtime::Runtime;
use crate::transport::{Body, Connection, Handler, LongLived, Request};

/// Headers of HTTP/1.1 connections, which have no place in HTTP/2.
const HOP_BY_HOP: [&str; 5] = [
    "connection",
    "keep-alive",
    "transfer-encoding",
    "upgrade",
    "host",
];

/// The services here, or those of a member that holds data.
pub(super) struct Front<R: Runtime> {
    node: Arc<Inner<R>>,
    api: Arc<ClientApi<R, Inner<R>>>,
}

impl<R: Runtime> Front<R> {
    pub(super) fn new(node: Arc<Inner<R>>) -> Self {
        let api = Arc::new(ClientApi::new(Arc::clone(&node)));
        Self { node, api }
    }

    /// Passes a request on to the first member with data that can be reached. Once it is sent it is never sent again.
    async fn forward(&self, request: Request) -> Result<http::Response<Body>, Status> {
        let peers = self.node.replica().peers();
        let mut reason = Status::unavailable("etcdserver: no leader");
        for node in self.node.holders() {
            let mut channel = peers.channel(node);
            match channel.reach().await {
                Ok(()) => {
                    let answer = channel.call(prepared(request)).await?;
                    return Ok(answer.map(|body| Body::from(tonic::body::Body::new(body))));
                }
                Err(status) => reason = status,
            }
        }
        Err(reason)
    }
}

fn prepared(request: Request) -> http::Request<tonic::body::Body> {
    let mut request = request.map(tonic::body::Body::new);
    *request.version_mut() = http::Version::HTTP_2;
    if !request.headers().contains_key("grpc-timeout") {
        // Its caller waits for as long as it takes; a connection that is dead ends it.
        request.extensions_mut().insert(LongLived);
    }
    for name in HOP_BY_HOP {
        request.headers_mut().remove(name);
    }
    let trailers = HeaderValue::from_static("trailers");
    request.headers_mut().entry("te").or_insert(trailers);
    // The member's own scheme and name are put before the path.
    let path = request.uri().path_and_query().cloned();
    *request.uri_mut() = path.map_or_else(http::Uri::default, http::Uri::from);
    request
}

impl<R: Runtime, P: Send + Sync + 'static> Handler<P> for Front<R> {
    async fn handle(
        self: Arc<Self>,
        connection: Arc<Connection<P>>,
        request: Request,
    ) -> http::Response<Body> {
        if self.node.holds_log() {
            return Arc::clone(&self.api).handle(connection, request).await;
        }
        let answered = self.forward(request);
        answered.await.unwrap_or_else(Status::into_http)
    }
}

impl<R: Runtime> Inner<R> {
    /// The other members that hold data: the leader first, then voters, then standbys.
    pub(super) fn holders(&self) -> Vec<NodeId> {
        let view = self.view().get();
        let me = self.who().node;
        let mut holders: Vec<(bool, Role, NodeId)> = view
            .members
            .values()
            .map(|row| (NodeId(row.id), Role::from_stored(row.role)))
            .filter(|(node, _)| *node != me)
            .filter_map(|(node, role)| Some((view.leader != Some(node), role?, node)))
            .filter(|(_, role, _)| role.holds_data())
            .collect();
        holders.sort_unstable();
        holders.into_iter().map(|(_, _, node)| node).collect()
    }
}
