//! One request message in, one answer out.
//!
//! tonic's server code serves a unary call through a stream decoder and a stream encoder: two buffers of 8 KiB, five
//! allocations for erased types, and a decoded value that keeps the whole buffer alive for as long as it waits in the
//! log. Most calls here are unary and small, so they get this path, which copies the message once into an allocation
//! of its very size and encodes the answer into another. What a message may cost is bounded by [`Limits`].

use std::future::Future;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures_util::Stream;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use prost::Message;
use tonic::Status;
use tonic::codec::{Codec as _, EncodeBody, SingleMessageCompressionOverride};
use tonic_prost::ProstCodec;

use super::deadline::within;
use super::limits::{Room, SMALL};
use super::{Body, Holding, Limits, Request};
use crate::etcd::EtcdError;
use crate::runtime::Runtime;

/// A flag for compression and a length of four bytes stand before each message.
const HEAD: usize = 5;
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const OK: HeaderValue = HeaderValue::from_static("0");

/// Serves a call with one request message and one answer.
pub async fn unary<R, Q, A, F>(
    request: Request,
    limits: &Limits,
    holding: &Holding,
    call: impl FnOnce(Q) -> F + Send,
) -> http::Response<Body>
where
    R: Runtime,
    Q: Message + Default,
    A: Message,
    F: Future<Output = Result<A, Status>> + Send,
{
    let answer = match message::<R, Q>(request, limits, holding).await {
        // There is room until the answer is encoded: so long may the message live.
        Ok((message, _room)) => call(message).await.and_then(|answer| encode(&answer)),
        Err(status) => Err(status),
    };
    match answer {
        Ok(message) => respond(message),
        Err(status) => status.into_http(),
    }
}

/// Serves a call with one request message and a stream of answers.
pub async fn server_streaming<R, Q, A, S, F>(
    request: Request,
    limits: &Limits,
    holding: &Holding,
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
        Ok(answers) => respond_stream(answers),
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
    Ok((chunk.len() == HEAD + length && length <= SMALL)
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

fn encode<A: Message>(answer: &A) -> Result<Bytes, Status> {
    let length = answer.encoded_len();
    let Ok(stated) = u32::try_from(length) else {
        return Err(Status::resource_exhausted(format!(
            "grpc: an answer of {length} bytes cannot be sent"
        )));
    };
    let mut buffer = BytesMut::with_capacity(HEAD + length);
    buffer.put_u8(0);
    buffer.put_u32(stated);
    answer
        .encode(&mut buffer)
        .expect("the buffer has the encoded length");
    Ok(buffer.freeze())
}

fn respond(message: Bytes) -> http::Response<Body> {
    let mut trailers = HeaderMap::with_capacity(1);
    trailers.insert(GRPC_STATUS, OK);
    let mut response = http::Response::new(Body::message(message, trailers));
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}

fn respond_stream<A: Message + 'static>(
    answers: impl Stream<Item = Result<A, Status>> + Send + 'static,
) -> http::Response<Body> {
    // Only the encoder is used, so the decoder's type does not matter.
    let encoder = ProstCodec::<A, ()>::default().encoder();
    let body = EncodeBody::new_server(
        encoder,
        answers,
        None,
        SingleMessageCompressionOverride::default(),
        None,
    );
    let mut response = http::Response::new(Body::from(tonic::body::Body::new(body)));
    response.headers_mut().insert(CONTENT_TYPE, GRPC);
    response
}
