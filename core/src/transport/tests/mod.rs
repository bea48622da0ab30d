//! The transport over the production runtime on loopback: what it serves, and what it refuses.
//!
//! A waiting time in here is either one that the server has to end by itself, or one in which nothing must happen; no
//! test depends on how fast the machine is.

mod channel;
mod hostile;
mod lifetime;

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use tokio::sync::{Notify, oneshot};
use tonic::Status;

use super::*;
use crate::proto::etcdserverpb::{PutRequest, PutResponse};
use crate::proto::mvccpb::KeyValue;
use crate::runtime::tokio::TokioRuntime;
use crate::runtime::{Listener as _, Runtime, TaskHandle as _};

type R = TokioRuntime;

const ECHO: &str = "/test.Test/Echo";
const PANICS: &str = "/test.Test/Panics";
const GATED: &str = "/test.Test/Gated";
const HELD: &str = "/test.Test/Held";

const BOUNDS: Bounds = Bounds {
    message: 100_000,
    requests: 200_000,
    connection: 200_000,
    receive: Duration::from_millis(200),
    answers: 200_000,
    patience: Duration::from_secs(20),
    unread: Duration::from_secs(600),
};

/// Echoes the value of a put; a gated call first waits until the gate is opened, and a held one when its message is here.
struct Echo {
    limits: Limits,
    gate: Notify,
    /// Calls that are not gated.
    echoing: AtomicUsize,
    /// Gated calls that began, and those that were dropped or done.
    begun: AtomicUsize,
    ended: Arc<AtomicUsize>,
}

impl Echo {
    fn new(bounds: Bounds) -> Arc<Self> {
        Arc::new(Self {
            limits: Limits::new(bounds),
            gate: Notify::new(),
            echoing: AtomicUsize::new(0),
            begun: AtomicUsize::new(0),
            ended: Arc::default(),
        })
    }
}

struct CountDrop(Arc<AtomicUsize>);

impl Drop for CountDrop {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl<P: Send + Sync + 'static> Handler<P> for Echo {
    async fn handle(
        self: Arc<Self>,
        connection: Arc<Connection<P>>,
        request: Request,
    ) -> http::Response<Body> {
        let (limits, holding) = (&self.limits, &connection.holding);
        let echo = |put: PutRequest| PutResponse {
            prev_kv: Some(KeyValue {
                value: put.value,
                ..KeyValue::default()
            }),
            ..PutResponse::default()
        };
        match request.uri().path() {
            ECHO => {
                self.echoing.fetch_add(1, Ordering::SeqCst);
                grpc::unary::<R, _, _, _>(request, limits, holding, async |put| Ok(echo(put))).await
            }
            GATED => {
                let _count = CountDrop(Arc::clone(&self.ended));
                self.begun.fetch_add(1, Ordering::SeqCst);
                self.gate.notified().await;
                grpc::unary::<R, _, _, _>(request, limits, holding, async |put| Ok(echo(put))).await
            }
            HELD => {
                let put = async |put| {
                    self.begun.fetch_add(1, Ordering::SeqCst);
                    self.gate.notified().await;
                    Ok(echo(put))
                };
                grpc::unary::<R, _, _, _>(request, limits, holding, put).await
            }
            PANICS => panic!("a bug in a handler"),
            "/page" => http::Response::new(Body::page("a page")),
            path => unknown(path),
        }
    }
}

/// What a test's listener allows; a test tightens what it is about.
fn options() -> ServerOptions {
    ServerOptions {
        name: "test",
        max_connections: 100,
        max_handshakes: 100,
        guests: Guests::NONE,
        max_concurrent_streams: 100,
        max_requests: 1_000,
        windows: Windows::CLIENT,
        max_header_bytes: 16 * 1024,
        handshake_timeout: Duration::from_secs(10),
        idle_timeout: Duration::from_secs(600),
        keepalive_interval: Duration::from_secs(60),
        keepalive_timeout: Duration::from_secs(10),
        drain_timeout: Duration::from_secs(10),
        http1: Http1::Served,
    }
}

struct TestServer {
    address: String,
    echo: Arc<Echo>,
    stop: Option<oneshot::Sender<()>>,
    task: <R as Runtime>::Task<()>,
}

impl TestServer {
    async fn start(options: ServerOptions) -> Self {
        Self::start_at("127.0.0.1:0", options).await
    }

    async fn start_at(address: &str, options: ServerOptions) -> Self {
        Self::start_with(address, Plain, options).await
    }

    async fn start_bounded(bounds: Bounds) -> Self {
        Self::start_all("127.0.0.1:0", Plain, options(), bounds).await
    }

    async fn start_with(
        address: &str,
        secure: impl Secure<<R as Runtime>::Stream, Peer = ()>,
        options: ServerOptions,
    ) -> Self {
        Self::start_all(address, secure, options, BOUNDS).await
    }

    async fn start_all(
        address: &str,
        secure: impl Secure<<R as Runtime>::Stream, Peer = ()>,
        options: ServerOptions,
        bounds: Bounds,
    ) -> Self {
        let listener = R::listen(address).await.unwrap();
        let address = listener.local_address();
        let echo = Echo::new(bounds);
        let (stop, stopped) = oneshot::channel::<()>();
        let serving = serve::<R, _, _>(listener, secure, Arc::clone(&echo), options, async move {
            stopped.await.unwrap_or(());
        });
        Self {
            address,
            echo,
            stop: Some(stop),
            task: R::spawn(serving),
        }
    }

    fn say_stop(&mut self) {
        self.stop.take().expect("stopped once").send(()).unwrap();
    }

    async fn calls_begun(&self, count: usize) {
        until(|| self.echo.echoing.load(Ordering::SeqCst) == count).await;
    }

    async fn gated_calls_begun(&self, count: usize) {
        until(|| self.echo.begun.load(Ordering::SeqCst) == count).await;
    }

    async fn gated_calls_ended(&self, count: usize) {
        until(|| self.echo.ended.load(Ordering::SeqCst) == count).await;
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Waits until `condition` holds; the test runner's own limit ends a wait for ever.
async fn until(condition: impl Fn() -> bool) {
    while !condition() {
        R::sleep(Duration::from_millis(1)).await;
    }
}

fn channel_options() -> ChannelOptions {
    ChannelOptions {
        connect_timeout: Duration::from_secs(10),
        call_timeout: Duration::from_secs(30),
        keepalive_interval: Duration::from_secs(60),
        keepalive_timeout: Duration::from_secs(10),
        rest_min: Duration::from_millis(1),
        rest_max: Duration::from_millis(10),
    }
}

fn channel(server: &TestServer) -> Channel<R> {
    Channel::new(PlainDial::<R>::new(&server.address), channel_options())
}

/// A framed message.
fn framed(message: &impl prost::Message) -> Vec<u8> {
    let message = message.encode_to_vec();
    let mut bytes = vec![0];
    bytes.extend((message.len() as u32).to_be_bytes());
    bytes.extend(message);
    bytes
}

fn put(value: &[u8]) -> PutRequest {
    PutRequest {
        key: Bytes::from_static(b"key"),
        value: Bytes::copy_from_slice(value),
        ..PutRequest::default()
    }
}

fn request(path: &str, body: impl Into<Bytes>) -> http::Request<tonic::body::Body> {
    http::Request::post(path)
        .header("content-type", "application/grpc")
        .body(tonic::body::Body::new(Full::new(body.into())))
        .unwrap()
}

/// Sends a request with these very bytes as its body; the value that came back, or the status.
async fn send(
    channel: &Channel<R>,
    request: http::Request<tonic::body::Body>,
) -> Result<Bytes, Status> {
    let mut channel = channel.clone();
    let response = tower_service::Service::call(&mut channel, request).await?;
    if response.status() != http::StatusCode::OK {
        return Err(Status::unknown(response.status().to_string()));
    }
    if let Some(status) = Status::from_header_map(response.headers()) {
        return Err(status);
    }
    let body = response.into_body().collect().await?;
    let trailers = body.trailers().expect("a status in the trailers").clone();
    assert_eq!(
        Status::from_header_map(&trailers).unwrap().code(),
        tonic::Code::Ok
    );
    let answer: PutResponse = prost::Message::decode(body.to_bytes().slice(5..)).unwrap();
    Ok(answer.prev_kv.unwrap_or_default().value)
}

async fn echo(channel: &Channel<R>, value: &[u8]) -> Result<Bytes, Status> {
    send(channel, request(ECHO, framed(&put(value)))).await
}

/// Runs `future` in a task and waits for its end.
fn in_background<T: Send + 'static>(
    future: impl Future<Output = T> + Send + 'static,
) -> <R as Runtime>::Task<T> {
    R::spawn(future)
}
