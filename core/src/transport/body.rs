//! What requests and answers carry.

use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body as _, Frame, SizeHint};
use tonic::Status;

/// The body of a request or an answer.
#[derive(Debug, Default)]
pub struct Body(Kind);

#[derive(Debug, Default)]
enum Kind {
    /// Nothing: an error, whose status is in the head.
    #[default]
    Empty,
    /// One message, then the trailers that say that it is all.
    Message { message: Bytes, trailers: HeaderMap },
    /// The trailers of a message that is already out.
    Trailers { trailers: HeaderMap },
    /// A page for people and probes, of a known length.
    Page { content: Bytes },
    /// The one message of a request.
    Request { message: Bytes },
    /// What was read of a stream of requests already, and the rest.
    Begun {
        message: Bytes,
        next: Option<Frame<Bytes>>,
        rest: tonic::body::Body,
    },
    /// What one of tonic's generated servers answered, or a stream of messages.
    Tonic { body: tonic::body::Body },
}

impl Body {
    /// One framed gRPC message and its trailers.
    pub(super) const fn message(message: Bytes, trailers: HeaderMap) -> Self {
        Self(Kind::Message { message, trailers })
    }

    /// A page with a known length.
    pub fn page(content: impl Into<Bytes>) -> Self {
        let content = content.into();
        if content.is_empty() {
            return Self::default();
        }
        Self(Kind::Page { content })
    }
}

impl Body {
    /// A request's body, as tonic's clients make it. They tell a message and that it was the only one in two steps, which
    /// would become two frames of HTTP/2 and two packets; here they become one.
    pub(super) fn request(mut body: tonic::body::Body) -> Result<Self, Status> {
        // Who sends the body polls it again, and with a waker that wakes.
        let mut context = Context::from_waker(Waker::noop());
        let mut poll = || Pin::new(&mut body).poll_frame(&mut context);
        let message = match poll() {
            Poll::Pending => return Ok(body.into()),
            Poll::Ready(None) => return Ok(Self::default()),
            Poll::Ready(Some(frame)) => frame?.into_data(),
        };
        let message = message.map_err(|_trailers| Status::internal("a request has no trailers"))?;
        let next = match poll() {
            Poll::Pending => None,
            Poll::Ready(None) => return Ok(Self(Kind::Request { message })),
            Poll::Ready(Some(frame)) => Some(frame?),
        };
        Ok(Self(Kind::Begun {
            message,
            next,
            rest: body,
        }))
    }
}

impl From<tonic::body::Body> for Body {
    fn from(body: tonic::body::Body) -> Self {
        Self(Kind::Tonic { body })
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Kind::Tonic { body } = &mut self.0 {
            return Pin::new(body).poll_frame(context);
        }
        let frame = match std::mem::take(&mut self.0) {
            Kind::Message { message, trailers } => {
                self.0 = Kind::Trailers { trailers };
                Some(Frame::data(message))
            }
            Kind::Trailers { trailers } => Some(Frame::trailers(trailers)),
            Kind::Page { content: bytes } | Kind::Request { message: bytes } => {
                Some(Frame::data(bytes))
            }
            Kind::Begun {
                message,
                next,
                rest,
            } => {
                self.0 = match next.map(Frame::into_data) {
                    None => Kind::Tonic { body: rest },
                    Some(Ok(message)) => Kind::Begun {
                        message,
                        next: None,
                        rest,
                    },
                    Some(Err(frame)) => Kind::Trailers {
                        trailers: frame.into_trailers().unwrap_or_default(),
                    },
                };
                Some(Frame::data(message))
            }
            Kind::Empty | Kind::Tonic { .. } => None,
        };
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Tonic { body } => body.is_end_stream(),
            Kind::Message { .. }
            | Kind::Trailers { .. }
            | Kind::Page { .. }
            | Kind::Request { .. }
            | Kind::Begun { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Page { content } => SizeHint::with_exact(content.len() as u64),
            Kind::Tonic { body } => body.size_hint(),
            // gRPC states no length.
            Kind::Message { .. }
            | Kind::Trailers { .. }
            | Kind::Request { .. }
            | Kind::Begun { .. } => SizeHint::default(),
        }
    }
}
