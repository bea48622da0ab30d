//! The `grpc-timeout` header: how long the caller will wait.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use http::HeaderMap;
use pin_project_lite::pin_project;

use crate::runtime::{Elapsed, Runtime};

/// The header's name.
pub const HEADER: &str = "grpc-timeout";

/// How long the caller says that it waits. A value that breaks the protocol's grammar counts as none, as everywhere in
/// gRPC: the caller then gets an answer that it no longer waits for, and no harm is done.
pub fn from_headers(headers: &HeaderMap) -> Option<Duration> {
    parse(headers.get(HEADER)?.to_str().ok()?)
}

/// At most eight digits and a unit.
fn parse(value: &str) -> Option<Duration> {
    let (digits, unit) = value.split_at_checked(value.len().checked_sub(1)?)?;
    if digits.is_empty() || digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

pin_project! {
    /// A future that is given up when its time is over. The clock is asked only if the future has to wait.
    pub(super) struct Within<F, R: Runtime> {
        #[pin]
        future: F,
        limit: Option<Duration>,
        #[pin]
        sleep: Option<R::Sleep>,
    }
}

/// Runs `future` for at most `limit`, counted from the first time that it has to wait.
pub(super) const fn within<R: Runtime, F: Future>(
    limit: Option<Duration>,
    future: F,
) -> Within<F, R> {
    Within {
        future,
        limit,
        sleep: None,
    }
}

impl<F: Future, R: Runtime> Future for Within<F, R> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        if let Poll::Ready(output) = this.future.poll(context) {
            return Poll::Ready(Ok(output));
        }
        if let Some(limit) = this.limit.take() {
            this.sleep.set(Some(R::sleep(limit)));
        }
        match this.sleep.as_pin_mut() {
            Some(sleep) => sleep.poll(context).map(|()| Err(Elapsed)),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timeout_grammar_is_the_protocol_s() {
        let table = [
            ("1H", Some(Duration::from_secs(3600))),
            ("3M", Some(Duration::from_secs(180))),
            ("42S", Some(Duration::from_secs(42))),
            ("99999999m", Some(Duration::from_millis(99_999_999))),
            ("13u", Some(Duration::from_micros(13))),
            ("7n", Some(Duration::from_nanos(7))),
            ("99999999H", Some(Duration::from_secs(99_999_999 * 3600))),
            ("123456789m", None),
            ("m", None),
            ("", None),
            ("5", None),
            ("-5S", None),
            ("+5S", None),
            ("5 S", None),
            ("5s", None),
            ("5ü", None),
        ];
        for (value, expected) in table {
            assert_eq!(parse(value), expected, "{value}");
        }
    }
}
