//! One HTTP/2 connection to an endpoint, and etcd's clients on it.

use super::endpoint::Endpoint;
use crate::exit::{Context, Exit, Failure};
use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::http2::{self, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use quorate::proto::etcdserverpb::kv_client::KvClient;
use quorate::proto::etcdserverpb::lease_client::LeaseClient;
use quorate::proto::etcdserverpb::maintenance_client::MaintenanceClient;
use quorate::proto::etcdserverpb::watch_client::WatchClient;
use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tonic::body::Body;
use tower_service::Service;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A connection that tonic's generated clients can send on. Clones share it. It does not connect again when it breaks:
/// a load that reconnects in silence hides the very thing that it is there to show.
#[derive(Clone)]
pub(crate) struct Channel {
    sender: SendRequest<Body>,
    origin: Uri,
}

impl Channel {
    pub(crate) async fn connect(endpoint: &Endpoint) -> Result<Self, Failure> {
        let what = format!("connecting to {endpoint}");
        let stream = timeout(CONNECT_TIMEOUT, TcpStream::connect(endpoint.address()))
            .await
            .context(Exit::Unreachable, &what)?
            .context(Exit::Unreachable, &what)?;
        // Requests are small and answered one by one: waiting to fill a packet would be measured as latency.
        stream.set_nodelay(true).context(Exit::Failed, &what)?;
        let (sender, connection) = http2::Builder::new(TokioExecutor::new())
            .handshake(TokioIo::new(stream))
            .await
            .context(Exit::Unreachable, &what)?;
        // The connection's own error reaches every request on it, so there is nothing to do with it here.
        tokio::spawn(async { drop(connection.await) });
        let origin = format!("http://{endpoint}")
            .parse()
            .context(Exit::Usage, &what)?;
        Ok(Self { sender, origin })
    }

    /// Where requests go, for the generated clients that have no method here.
    pub(crate) fn origin(&self) -> Uri {
        self.origin.clone()
    }

    pub(crate) fn kv(&self) -> KvClient<Channel> {
        KvClient::with_origin(self.clone(), self.origin.clone())
    }

    pub(crate) fn watch(&self) -> WatchClient<Channel> {
        WatchClient::with_origin(self.clone(), self.origin.clone())
    }

    pub(crate) fn lease(&self) -> LeaseClient<Channel> {
        LeaseClient::with_origin(self.clone(), self.origin.clone())
    }

    pub(crate) fn maintenance(&self) -> MaintenanceClient<Channel> {
        MaintenanceClient::with_origin(self.clone(), self.origin.clone())
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut task::Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.sender.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.sender.send_request(request))
    }
}
