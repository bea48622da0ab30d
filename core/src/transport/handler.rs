//! What answers requests.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use hyper::body::Incoming;
use tonic::Status;
use tonic::codegen::BoxFuture;
use tonic::server::NamedService;

use super::{Body, Holding};

/// A request as it comes from a connection.
pub type Request = http::Request<Incoming>;

/// What is known of the connection that a request came by.
#[derive(Clone, Debug)]
pub struct Connection<P> {
    /// The address of the other side.
    pub remote: String,
    /// What the handshake learnt about the other side.
    pub peer: P,
    /// What its messages cost just now.
    pub holding: Arc<Holding>,
}

impl<P> Connection<P> {
    /// A new connection.
    #[must_use]
    pub fn new(remote: String, peer: P) -> Self {
        Self {
            remote,
            peer,
            holding: Arc::default(),
        }
    }
}

/// Answers requests. `P` is what a handshake learns about the other side.
pub trait Handler<P>: Send + Sync + 'static {
    /// Answers one. The future is dropped when the caller goes away or its time is over.
    fn handle(
        self: Arc<Self>,
        connection: Arc<Connection<P>>,
        request: Request,
    ) -> impl Future<Output = http::Response<Body>> + Send + 'static;
}

/// Several of tonic's generated servers on one port. Each finds the [`Connection`] in its request's extensions.
#[derive(Default)]
pub struct Services(Vec<(&'static str, Arc<dyn TonicService>)>);

impl Services {
    /// No service yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// These services and `service`.
    #[must_use]
    pub fn and<S>(mut self, service: S) -> Self
    where
        S: TonicServer + NamedService,
    {
        self.0.push((S::NAME, Arc::new(service)));
        self
    }

    fn find(&self, path: &str) -> Option<&Arc<dyn TonicService>> {
        let (service, _method) = path.strip_prefix('/')?.split_once('/')?;
        let found = self.0.iter().find(|(name, _)| *name == service);
        found.map(|(_, service)| service)
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_list()
            .entries(self.0.iter().map(|(name, _)| name))
            .finish()
    }
}

impl<P: Clone + Send + Sync + 'static> Handler<P> for Services {
    async fn handle(
        self: Arc<Self>,
        connection: Arc<Connection<P>>,
        mut request: Request,
    ) -> http::Response<Body> {
        let Some(service) = self.find(request.uri().path()) else {
            return unknown(request.uri().path());
        };
        request.extensions_mut().insert(connection);
        let Ok(response) = service.call(request).await;
        response.map(Body::from)
    }
}

/// The answer to a call of something that is not there.
pub(crate) fn unknown(path: &str) -> http::Response<Body> {
    Status::unimplemented(format!("unknown service or method {path}")).into_http()
}

/// What tonic generates for a service.
pub trait TonicServer:
    tower_service::Service<
        Request,
        Response = http::Response<tonic::body::Body>,
        Error = Infallible,
        Future = BoxFuture<http::Response<tonic::body::Body>, Infallible>,
    > + Clone
    + Send
    + Sync
    + 'static
{
}

impl<S> TonicServer for S where
    S: tower_service::Service<
            Request,
            Response = http::Response<tonic::body::Body>,
            Error = Infallible,
            Future = BoxFuture<http::Response<tonic::body::Body>, Infallible>,
        > + Clone
        + Send
        + Sync
        + 'static
{
}

/// The same without its type. A generated server is a handle: cloning it for a call is cheap, and it is always ready.
trait TonicService: Send + Sync {
    fn call(&self, request: Request) -> BoxFuture<http::Response<tonic::body::Body>, Infallible>;
}

impl<S: TonicServer> TonicService for S {
    fn call(&self, request: Request) -> BoxFuture<http::Response<tonic::body::Body>, Infallible> {
        tower_service::Service::call(&mut self.clone(), request)
    }
}
