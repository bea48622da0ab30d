//! One request message in, one answer out.
//!
//! tonic's server code serves a unary call through a stream decoder and a stream encoder: two buffers of 8 KiB, five
//! allocations for erased types, and a decoded value that keeps the whole buffer alive for as long as it waits in the
//! log. Most calls here are unary and small, so they get this path, which copies the message once into an allocation
//! of its very size and encodes the answer into another. What a message may cost is bounded by [`Limits`].

use std::future::Future;
use std::sync::Arc;

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::stream::{self, Stream, StreamExt as _};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body as _, Frame};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::Incoming;
use prost::Message;
use tonic::Status;

use super::deadline::within;
use super::limits::{HEAD, Room, UNCOUNTED_BYTES};
use super::{Body, Holding, Limits, Request};
use crate::etcd::EtcdError;
use crate::runtime::Runtime;

const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const OK: HeaderValue = HeaderValue::from_static("0");

/// Serves a call with one request message and one answer.
pub async fn unary<R, Q, A, F>(
    request: Request,
    limits: &Limits,
    holding: &Arc<Holding>,
    call: impl FnOnce(Q) -> F + Send,
) -> http::Response<Body>
where
    R: Runtime,
    Q: Message + Default,
    A: Message,
    F: Future<Output = Result<A, Status>> + Send,
{
    let answered = async {
        let (message, room) = message::<R, Q>(request, limits, holding).await?;
        let answer = call(message).await?;
        // So long may the message live.
        drop(room);
        limits.answers().encode::<R>(&answer, holding).await
    };
    match answered.await {
        Ok(message) => respond(message),
        Err(status) => status.into_http(),
    }
}

/// Serves a call with one request message and a stream of answers.
pub async fn server_streaming<R, Q, A, S, F>(
    request: Request,
    limits: &Limits,
    holding: &Arc<Holding>,
    call: impl FnOnce(Q) -> F + Send,
) -> http::Response<Body>
where
    R: Runtime,
    Q: Message + Default,
    A: Message + 'static,
    S: Stream<Item = Result<A, Status>> + Send + 'static,
    F: Future<Output = Result<S, Status>> + Send,
{
    let answers = match message::<R, Q>(request, limits, holding).await {
        Ok((message, _room)) => call(message).await,
        Err(status) => Err(status),
    };
    match answers {
        Ok(answers) => respond_stream::<R, _>(answers, limits, holding),
        Err(status) => status.into_http(),
    }
}

/// The one message of a call, if it arrives in time.
async fn message<'a, R: Runtime, Q: Message + Default>(
    request: Request,
    limits: &'a Limits,
    holding: &'a Holding,
) -> Result<(Q, Room<'a>), Status> {
    let mut room = limits.room(holding);
    let receiving = receive::<R>(request.into_body(), limits, &mut room);
    let message = within::<R, _>(Some(limits.bounds().receive), receiving)
        .await
        .map_err(|_elapsed| {
            Status::deadline_exceeded("the request message did not arrive in time")
        })??;
    Ok((decode(message)?, room))
}

/// Receives the bytes of the one message of a call.
async fn receive<R: Runtime>(
    mut body: Incoming,
    limits: &Limits,
    room: &mut Room<'_>,
) -> Result<Bytes, Status> {
    let first = next(&mut body).await?.unwrap_or_default();
    if let Some(message) = whole(&first, limits)? {
        if body.is_end_stream() || next(&mut body).await?.is_none() {
            return Ok(message);
        }
        return Err(more_than_one());
    }
    let mut buffer = BytesMut::from(first);
    while buffer.len() < HEAD {
        buffer.extend_from_slice(&next(&mut body).await?.ok_or_else(cut_off)?);
    }
    let length = length(&buffer, limits)?;
    room.claim::<R>(length).await?;
    room.grow::<R>(buffer.len()).await?;
    let whole = HEAD + length;
    fill::<R>(&mut buffer, whole, &mut body, room, false).await?;
    if room.is_beyond() {
        // Twice as long as the others wait, who may be in its way on its own connection for as long.
        let hurried = fill::<R>(&mut buffer, whole, &mut body, room, true);
        within::<R, _>(Some(limits.bounds().patience * 2), hurried)
            .await
            .map_err(|_elapsed| EtcdError::TooManyRequests)??;
    }
    if buffer.len() > whole || next(&mut body).await?.is_some() {
        return Err(more_than_one());
    }
    buffer.advance(HEAD);
    Ok(buffer.freeze())
}

/// Receives until there are `whole` bytes, or until the message goes beyond the budget unless it may (`beyond`). The
/// buffer grows as bytes arrive: a length that was only claimed takes no memory.
async fn fill<R: Runtime>(
    buffer: &mut BytesMut,
    whole: usize,
    body: &mut Incoming,
    room: &mut Room<'_>,
    beyond: bool,
) -> Result<(), Status> {
    while buffer.len() < whole && room.is_beyond() == beyond {
        let chunk = next(body).await?.ok_or_else(cut_off)?;
        room.grow::<R>(buffer.len() + chunk.len()).await?;
        buffer.extend_from_slice(&chunk);
    }
    Ok(())
}

/// The message, when `chunk` is exactly one: the usual case. It is copied out, because the chunk is a piece of the
/// connection's read buffer and would keep all of it alive for as long as a value waits in the log.
fn whole(chunk: &Bytes, limits: &Limits) -> Result<Option<Bytes>, Status> {
    if chunk.len() < HEAD {
        return Ok(None);
    }
    let length = length(chunk, limits)?;
    Ok((chunk.len() == HEAD + length && length <= UNCOUNTED_BYTES)
        .then(|| Bytes::copy_from_slice(&chunk[HEAD..])))
}

/// The length that the five bytes before a message state.
fn length(bytes: &[u8], limits: &Limits) -> Result<usize, Status> {
    let mut head = &bytes[..HEAD];
    if head.get_u8() != 0 {
        return Err(Status::unimplemented(
            "grpc: compressed messages are not supported",
        ));
    }
    let length = head.get_u32() as usize;
    let limit = limits.bounds().message;
    if length > limit {
        return Err(Status::resource_exhausted(format!(
            "grpc: received message larger than max ({length} vs. {limit})"
        )));
    }
    Ok(length)
}

/// The next bytes of a body; trailers end it.
async fn next(body: &mut Incoming) -> Result<Option<Bytes>, Status> {
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => match frame.into_data() {
                Ok(data) if data.is_empty() => {}
                Ok(data) => return Ok(Some(data)),
                Err(_trailers) => return Ok(None),
            },
            Err(error) => return Err(Status::cancelled(error.to_string())),
        }
    }
    Ok(None)
}

fn cut_off() -> Status {
    Status::internal("grpc: the request ended inside a message")
}

fn more_than_one() -> Status {
    Status::internal("grpc: more than one request message for a unary call")
}

fn decode<Q: Message + Default>(message: Bytes) -> Result<Q, Status> {
    Q::decode(message)
        .map_err(|error| Status::internal(format!("grpc: error unmarshalling request: {error}")))
}

fn respond(message: Bytes) -> http::Response<Body> {
    let mut response = http::Response::new(Body::message(message, all_is_well()));
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

/// Each answer is encoded when the client has taken the one before.
fn respond_stream<R: Runtime, A: Message + 'static>(
    answers: impl Stream<Item = Result<A, Status>> + Send + 'static,
    limits: &Limits,
    holding: &Arc<Holding>,
) -> http::Response<Body> {
    let (room, connection) = (Arc::clone(limits.answers()), Arc::clone(holding));
    let encoded = answers.then(move |answer| {
        let (room, connection) = (Arc::clone(&room), Arc::clone(&connection));
        async move { room.encode::<R>(&answer?, &connection).await }
    });
    let frames = stream::unfold(Some(Box::pin(encoded)), async |encoded| {
        let mut encoded = encoded?;
        Some(match encoded.next().await {
            Some(Ok(message)) => (Ok(Frame::data(message)), Some(encoded)),
            Some(Err(status)) => (ended(&status), None),
            None => (Ok(Frame::trailers(all_is_well())), None),
        })
    });
    let body = tonic::body::Body::new(StreamBody::new(frames));
    let mut response = http::Response::new(Body::from(body));
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

fn all_is_well() -> HeaderMap {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS, OK);
    trailers
}

/// The end of an answer that failed on the way.
pub fn ended(status: &Status) -> Result<Frame<Bytes>, Status> {
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers)?;
    Ok(Frame::trailers(trailers))
}
