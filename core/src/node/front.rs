//! What clients reach. A node with data answers itself; a spare passes every request on, serializable reads included (T1).

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderValue;
use http_body::{Frame, SizeHint};
use tonic::{Code, Status};
use tower_service::Service as _;

use super::inner::Inner;
use crate::etcd::{ClientApi, EtcdError};
use crate::ids::NodeId;
use crate::membership::Role;
use crate::runtime::Runtime;
use crate::transport::grpc::ended;
use crate::transport::{
    AnswerWithin, Body, Channel, ChannelBody, Connection, Handler, LongLived, Request, deadline,
    was_not_sent,
};

/// How long the head of an answer may take when the caller states no deadline. A unary answer's head comes with the answer,
/// which is late in a fail-over and very late after a physical compaction, and the member bounds whatever else it does. A
/// connection that is dead ends a call long before.
const ANSWER_WITHIN: Duration = Duration::from_secs(600);

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
    pub(super) fn new(node: Arc<Inner<R>>, api: Arc<ClientApi<R, Inner<R>>>) -> Self {
        Self { node, api }
    }

    async fn forward(&self, request: Request) -> Result<http::Response<Body>, Status> {
        let peers = self.node.replica().peers();
        let holders = self.node.holders();
        pass_on(holders.into_iter().map(|node| peers.channel(node)), request).await
    }
}

/// Passes a request on to the first of the members with data that can be reached. Once it is sent it is never sent again.
async fn pass_on<R: Runtime>(
    members: impl Iterator<Item = Channel<R>>,
    request: Request,
) -> Result<http::Response<Body>, Status> {
    for mut member in members {
        match member.reach().await {
            Ok(()) => {
                let request = prepared(request);
                let has_deadline = request.headers().contains_key(deadline::HEADER);
                let answer = member.call(request).await;
                let answer = answer.map_err(|status| in_etcd_s_words(status, has_deadline))?;
                return Ok(answer.map(|body| {
                    let passed = Passed {
                        body: Some(body),
                        has_deadline,
                    };
                    Body::from(tonic::body::Body::new(passed))
                }));
            }
            Err(error) => tracing::debug!(%error, "a member with data cannot be reached"),
        }
    }
    Err(EtcdError::NoLeader.into())
}

/// What the client hears when a call to a member failed on the way. After it may have been sent nobody knows whether it
/// was carried out.
fn in_etcd_s_words(status: Status, has_deadline: bool) -> Status {
    match status.code() {
        _ if was_not_sent(&status) => EtcdError::NoLeader.into(),
        Code::DeadlineExceeded if has_deadline => EtcdError::DeadlineExceeded.into(),
        Code::DeadlineExceeded | Code::Unavailable => EtcdError::TimeoutDueToConnectionLost.into(),
        // The client's own doing.
        _ => status,
    }
}

/// An answer that is passed on. Where it breaks off, trailers say why, instead of a reset that says nothing.
struct Passed<R: Runtime> {
    body: Option<ChannelBody<R>>,
    has_deadline: bool,
}

impl<R: Runtime> http_body::Body for Passed<R> {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let frame = ready!(Pin::new(body).poll_frame(context));
        Poll::Ready(frame.map(|frame| {
            frame.or_else(|status| {
                self.body = None;
                ended(&in_etcd_s_words(status, self.has_deadline))
            })
        }))
    }

    fn is_end_stream(&self) -> bool {
        self.body
            .as_ref()
            .is_none_or(http_body::Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let body = self.body.as_ref();
        body.map_or_else(|| SizeHint::with_exact(0), http_body::Body::size_hint)
    }
}

fn prepared(request: Request) -> http::Request<tonic::body::Body> {
    let mut request = request.map(tonic::body::Body::new);
    *request.version_mut() = http::Version::HTTP_2;
    if !request.headers().contains_key(deadline::HEADER) {
        // An answer that has begun may go on for as long as its caller listens; a connection that is dead ends it.
        request.extensions_mut().insert(LongLived);
        request.extensions_mut().insert(AnswerWithin(ANSWER_WITHIN));
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

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::HeaderMap;
    use http_body_util::{BodyExt as _, Full};
    use tokio::sync::{Notify, oneshot};

    use super::*;
    use crate::runtime::Listener as _;
    use crate::runtime::tokio::TokioRuntime;
    use crate::transport::{
        ChannelOptions, Guests, Http1, Plain, PlainDial, ServerOptions, Windows, serve,
    };

    type R = TokioRuntime;

    /// Answers when it may, with a head at once for a path that asks for it.
    #[derive(Default)]
    struct Member {
        calls: AtomicUsize,
        gate: Arc<Notify>,
    }

    impl Handler<()> for Member {
        async fn handle(
            self: Arc<Self>,
            _: Arc<Connection<()>>,
            request: Request,
        ) -> http::Response<Body> {
            self.calls.fetch_add(1, Ordering::SeqCst);
            if request.uri().path() == "/head" {
                let gate = Arc::clone(&self.gate);
                let never = futures_util::stream::once(async move {
                    gate.notified().await;
                    Ok::<_, Status>(Frame::data(Bytes::from_static(b"late")))
                });
                let body = http_body_util::StreamBody::new(never);
                return http::Response::new(tonic::body::Body::new(body).into());
            }
            self.gate.notified().await;
            http::Response::new(Body::page("an answer"))
        }
    }

    /// Has no data.
    struct Spare(Vec<Channel<R>>);

    impl Handler<()> for Spare {
        async fn handle(
            self: Arc<Self>,
            _: Arc<Connection<()>>,
            request: Request,
        ) -> http::Response<Body> {
            let answered = pass_on(self.0.iter().cloned(), request);
            answered.await.unwrap_or_else(Status::into_http)
        }
    }

    struct Served {
        address: String,
        task: <R as Runtime>::Task<()>,
        stop: oneshot::Sender<()>,
    }

    async fn served<H: Handler<()>>(handler: Arc<H>) -> Served {
        let listener = R::listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_address();
        let options = ServerOptions {
            name: "test",
            max_connections: 10,
            max_handshakes: 10,
            guests: Guests::NONE,
            max_concurrent_streams: 10,
            max_requests: 1_000,
            windows: Windows::CLIENT,
            max_header_bytes: 16 * 1024,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(600),
            keepalive_interval: Duration::from_secs(60),
            keepalive_timeout: Duration::from_secs(10),
            drain_timeout: Duration::ZERO,
            http1: Http1::Refused,
        };
        let (stop, stopped) = oneshot::channel::<()>();
        let stopped = async { drop(stopped.await) };
        Served {
            address,
            task: R::spawn(serve::<R, _, _>(listener, Plain, handler, options, stopped)),
            stop,
        }
    }

    /// Stops a server, which cuts its connections.
    async fn cut(served: Served) {
        served.stop.send(()).unwrap();
        served.task.await.unwrap();
    }

    fn channel(address: &str, call_timeout: Duration) -> Channel<R> {
        let options = ChannelOptions {
            connect_timeout: Duration::from_secs(10),
            call_timeout,
            keepalive_interval: Duration::from_secs(60),
            keepalive_timeout: Duration::from_secs(10),
            rest_min: Duration::from_millis(1),
            rest_max: Duration::from_millis(10),
        };
        Channel::new(PlainDial::<R>::new(address), options)
    }

    /// A member, a spare that passes on to it and gives calls among members a very short time, and a client of the spare.
    async fn chain() -> (Arc<Member>, Served, Served, Channel<R>) {
        let member = Arc::new(Member::default());
        let data = served(Arc::clone(&member)).await;
        let gone = served(Arc::new(Member::default())).await;
        let nobody = gone.address.clone();
        cut(gone).await;
        let short = Duration::from_millis(20);
        let others = vec![channel(&nobody, short), channel(&data.address, short)];
        let spare = served(Arc::new(Spare(others))).await;
        let client = channel(&spare.address, Duration::from_secs(60));
        (member, data, spare, client)
    }

    fn call(
        client: &Channel<R>,
        path: &str,
        deadline: Option<&str>,
    ) -> impl Future<Output = Result<http::Response<ChannelBody<R>>, Status>> + Send + 'static {
        let mut request = http::Request::post(path)
            .body(tonic::body::Body::new(Full::new(Bytes::new())))
            .unwrap();
        if let Some(deadline) = deadline {
            let deadline = HeaderValue::from_str(deadline).unwrap();
            request.headers_mut().insert(deadline::HEADER, deadline);
        }
        let mut client = client.clone();
        async move { client.call(request).await }
    }

    /// Waits until `condition` holds.
    async fn until(condition: impl Fn() -> bool) {
        while !condition() {
            R::sleep(Duration::from_millis(1)).await;
        }
    }

    fn said(headers: &HeaderMap) -> (Code, String) {
        let status = Status::from_header_map(headers).unwrap();
        (status.code(), status.message().to_owned())
    }

    #[tokio::test]
    async fn answer_may_take_longer_than_calls_among_members() {
        let (member, _data, _spare, client) = chain().await;
        let answer = R::spawn(call(&client, "/late", None));
        until(|| member.calls.load(Ordering::SeqCst) == 1).await;
        R::sleep(Duration::from_millis(200)).await;
        member.gate.notify_one();
        let answer = answer.await.unwrap().unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "an answer");
    }

    #[tokio::test]
    async fn lost_connection_is_an_unknown_outcome_and_the_call_is_not_repeated() {
        let (member, data, _spare, client) = chain().await;
        let answer = R::spawn(call(&client, "/late", None));
        until(|| member.calls.load(Ordering::SeqCst) == 1).await;
        cut(data).await;
        let answer = answer.await.unwrap().unwrap();
        let text = "etcdserver: request timed out, possibly due to connection lost";
        assert_eq!(said(answer.headers()), (Code::Unavailable, text.to_owned()));
        assert_eq!(member.calls.load(Ordering::SeqCst), 1);
        // Now nobody can be reached at all.
        let answer = call(&client, "/late", None).await.unwrap();
        let text = "etcdserver: no leader";
        assert_eq!(said(answer.headers()), (Code::Unavailable, text.to_owned()));
        assert_eq!(member.calls.load(Ordering::SeqCst), 1);
    }

    #[tokio::test]
    async fn answer_that_breaks_off_says_why() {
        let (member, data, _spare, client) = chain().await;
        let answer = call(&client, "/head", None).await.unwrap();
        assert_eq!(member.calls.load(Ordering::SeqCst), 1);
        cut(data).await;
        let body = answer.into_body().collect().await.unwrap();
        let text = "etcdserver: request timed out, possibly due to connection lost";
        assert_eq!(
            said(body.trailers().unwrap()),
            (Code::Unavailable, text.to_owned())
        );
    }

    #[test]
    fn deadline_of_the_caller_is_told_as_such() {
        let late = || Status::deadline_exceeded("no answer in time");
        let own = in_etcd_s_words(late(), true);
        assert_eq!(own.message(), "etcdserver: context deadline exceeded");
        let ours = in_etcd_s_words(late(), false);
        assert_eq!(ours.code(), Code::Unavailable);
    }
}
