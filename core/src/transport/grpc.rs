//! One request message in, one answer out.
//!
//! tonic's server code serves a unary call through a stream decoder and a stream encoder: two buffers of 8 KiB, five
//! allocations for erased types, and a decoded value that keeps the whole buffer alive for as long as it waits in the
//! log. Most calls here are unary and small, so they get this path, which copies the message once into an allocation
//! of its very size and encodes the answer into another. What a message may cost is bounded by [`Limits`].

use std::future::Future;
use std::time::Duration;

use bytes::{Buf as _, BufMut as _, Bytes, BytesMut};
use futures_util::Stream;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use prost::Message;
use tokio::sync::{Semaphore, SemaphorePermit};
use tonic::Status;
use tonic::codec::{Codec as _, EncodeBody, SingleMessageCompressionOverride};
use tonic_prost::ProstCodec;

use super::deadline::within;
use super::{Body, Request};
use crate::runtime::Runtime;

/// A flag for compression and a length of four bytes stand before each message.
const HEAD: usize = 5;
/// A message up to this size is not counted: as many of them as streams are allowed take no harmful amount.
const SMALL: usize = 4 * 1024;
const GRPC: HeaderValue = HeaderValue::from_static("application/grpc");
const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const OK: HeaderValue = HeaderValue::from_static("0");

/// What receiving messages may cost, over all connections that share it.
#[derive(Debug)]
pub struct Limits {
    message_bytes: usize,
    /// Bytes that large messages may take together; who finds none left waits, and flow control stops its client.
    large_bytes: Semaphore,
    receive_timeout: Duration,
}

impl Limits {
    /// A message has at most `message_bytes` and arrives within `receive_timeout`; all large ones that are being
    /// received or answered have at most `large_bytes` together.
    ///
    /// # Panics
    /// When not even one message fits into `large_bytes`.
    pub const fn new(message_bytes: usize, large_bytes: usize, receive_timeout: Duration) -> Self {
        assert!(
            message_bytes <= large_bytes,
            "a message must fit into the budget of all"
        );
        Self {
            message_bytes,
            large_bytes: Semaphore::const_new(large_bytes),
            receive_timeout,
        }
    }
}

/// Serves a call with one request message and one answer.
pub async fn unary<R, Q, A, F>(
    request: Request,
    limits: &Limits,
    call: impl FnOnce(Q) -> F + Send,
) -> http::Response<Body>
where
    R: Runtime,
    Q: Message + Default,
    A: Message,
    F: Future<Output = Result<A, Status>> + Send,
{
    let answer = match message::<R, Q>(request, limits).await {
        // The permit lives until the answer is encoded: so long does the message.
        Ok((message, _permit)) => call(message).await.and_then(|answer| encode(&answer)),
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
    call: impl FnOnce(Q) -> F + Send,
) -> http::Response<Body>
where
    R: Runtime,
    Q: Message + Default,
    A: Message + 'static,
    S: Stream<Item = Result<A, Status>> + Send + 'static,
    F: Future<Output = Result<S, Status>> + Send,
{
    let answers = match message::<R, Q>(request, limits).await {
        Ok((message, _permit)) => call(message).await,
        Err(status) => Err(status),
    };
    match answers {
        Ok(answers) => respond_stream(answers),
        Err(status) => status.into_http(),
    }
}

/// The one message of a call, if it arrives in time.
async fn message<R: Runtime, Q: Message + Default>(
    request: Request,
    limits: &Limits,
) -> Result<(Q, Option<SemaphorePermit<'_>>), Status> {
    let receiving = receive(request.into_body(), limits);
    let (message, permit) = within::<R, _>(Some(limits.receive_timeout), receiving)
        .await
        .map_err(|_elapsed| {
            Status::deadline_exceeded("the request message did not arrive in time")
        })??;
    Ok((decode(message)?, permit))
}

/// Receives the bytes of the one message of a call.
async fn receive(
    mut body: Incoming,
    limits: &Limits,
) -> Result<(Bytes, Option<SemaphorePermit<'_>>), Status> {
    let first = next(&mut body).await?.unwrap_or_default();
    if let Some(message) = whole(&first, limits)? {
        if body.is_end_stream() || next(&mut body).await?.is_none() {
            return Ok((message, None));
        }
        return Err(more_than_one());
    }
    let mut buffer = BytesMut::from(first);
    while buffer.len() < HEAD {
        let Some(chunk) = next(&mut body).await? else {
            return Err(cut_off());
        };
        buffer.extend_from_slice(&chunk);
    }
    let length = length(&buffer, limits)?;
    let permit = reserve(length, limits).await?;
    // Grows as bytes arrive: a length that was only claimed takes no memory.
    while buffer.len() < HEAD + length {
        let Some(chunk) = next(&mut body).await? else {
            return Err(cut_off());
        };
        buffer.extend_from_slice(&chunk);
    }
    if buffer.len() > HEAD + length || next(&mut body).await?.is_some() {
        return Err(more_than_one());
    }
    buffer.advance(HEAD);
    Ok((buffer.freeze(), permit))
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
    if length > limits.message_bytes {
        let limit = limits.message_bytes;
        return Err(Status::resource_exhausted(format!(
            "grpc: received message larger than max ({length} vs. {limit})"
        )));
    }
    Ok(length)
}

async fn reserve(length: usize, limits: &Limits) -> Result<Option<SemaphorePermit<'_>>, Status> {
    if length <= SMALL {
        return Ok(None);
    }
    let permits =
        u32::try_from(length).expect("a message is shorter than its limit, which is megabytes");
    let permit = limits.large_bytes.acquire_many(permits).await;
    Ok(Some(permit.expect("the semaphore is never closed")))
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
