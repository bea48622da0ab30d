//! What an answer carries.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Frame, SizeHint};
use tonic::Status;

/// The body of an answer.
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
            Kind::Page { content } => Some(Frame::data(content)),
            Kind::Empty | Kind::Tonic { .. } => None,
        };
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Empty => true,
            Kind::Tonic { body } => body.is_end_stream(),
            Kind::Message { .. } | Kind::Trailers { .. } | Kind::Page { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Empty => SizeHint::with_exact(0),
            Kind::Page { content } => SizeHint::with_exact(content.len() as u64),
            Kind::Tonic { body } => body.size_hint(),
            // gRPC answers state no length.
            Kind::Message { .. } | Kind::Trailers { .. } => SizeHint::default(),
        }
    }
}
