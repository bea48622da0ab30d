//! How calls and connections end.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Code;

use super::*;

/// A client that has no deadlines of its own, so that only the server can end a call.
async fn patient_call(address: &str, request: http::Request<tonic::body::Body>) -> http::HeaderMap {
    let stream = R::connect(address).await.unwrap();
    let (mut sender, connection) = hyper::client::conn::http2::handshake(
        glue::TaskExecutor::<R>::new(),
        hyper_util::rt::TokioIo::new(stream),
    )
    .await
    .unwrap();
    drop(R::spawn(connection));
    let (mut parts, body) = request.into_parts();
    parts.uri = format!("http://test{}", parts.uri).parse().unwrap();
    let response = sender
        .send_request(http::Request::from_parts(parts, body))
        .await
        .unwrap();
    response.headers().clone()
}

#[tokio::test]
async fn call_ends_when_its_caller_s_time_is_over() {
    let server = TestServer::start(options()).await;
    let mut gated = request(GATED, framed(&put(b"value")));
    gated
        .headers_mut()
        .insert("grpc-timeout", "20m".parse().unwrap());
    let headers = patient_call(&server.address, gated).await;
    let status = Status::from_header_map(&headers).unwrap();
    assert_eq!(status.code(), Code::DeadlineExceeded);
    assert_eq!(status.message(), "etcdserver: context deadline exceeded");
    server.gated_calls_ended(1).await;
}

#[tokio::test]
async fn call_ends_when_its_caller_goes_away() {
    let server = TestServer::start(options()).await;
    let channel = channel(&server);
    let call =
        in_background(async move { send(&channel, request(GATED, framed(&put(b"value")))).await });
    server.gated_calls_begun(1).await;
    call.abort();
    server.gated_calls_ended(1).await;
}

#[tokio::test]
async fn panic_ends_its_own_call_and_no_other() {
    let server = TestServer::start(options()).await;
    let channel = channel(&server);
    let call = in_background({
        let channel = channel.clone();
        async move { send(&channel, request(GATED, framed(&put(b"value")))).await }
    });
    server.gated_calls_begun(1).await;
    let status = send(&channel, request(PANICS, framed(&put(b"value"))))
        .await
        .unwrap_err();
    assert!(!was_not_sent(&status), "{status:?}");
    server.echo.gate.notify_one();
    assert_eq!(call.await.unwrap().unwrap(), "value");
}

#[tokio::test]
async fn stop_lets_calls_in_progress_finish_and_takes_no_new_ones() {
    let mut server = TestServer::start(options()).await;
    let channel = channel(&server);
    let call = in_background({
        let channel = channel.clone();
        async move { send(&channel, request(GATED, framed(&put(b"value")))).await }
    });
    server.gated_calls_begun(1).await;
    server.say_stop();
    // The listener is gone as soon as the server has heard.
    while R::connect(&server.address).await.is_ok() {
        R::sleep(Duration::from_millis(1)).await;
    }
    server.echo.gate.notify_one();
    assert_eq!(call.await.unwrap().unwrap(), "value");
    (&mut server.task).await.unwrap();
    let late = echo(&channel, b"late").await.unwrap_err();
    assert!(was_not_sent(&late), "{late:?}");
}

#[tokio::test]
async fn stop_cuts_off_what_takes_too_long() {
    let tight = ServerOptions {
        drain_timeout: Duration::from_millis(20),
        ..options()
    };
    let mut server = TestServer::start(tight).await;
    let channel = channel(&server);
    let call =
        in_background(async move { send(&channel, request(GATED, framed(&put(b"value")))).await });
    server.gated_calls_begun(1).await;
    server.say_stop();
    (&mut server.task).await.unwrap();
    let status = call.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status:?}");
    assert!(!was_not_sent(&status), "it reached the handler");
}

#[tokio::test]
async fn idle_connection_is_closed_and_a_busy_one_is_not() {
    let tight = ServerOptions {
        idle_timeout: Duration::from_millis(20),
        // This client does not answer the goodbye.
        drain_timeout: Duration::from_millis(20),
        ..options()
    };
    let server = TestServer::start(tight).await;
    let mut idle = R::connect(&server.address).await.unwrap();
    idle.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    let mut said = Vec::new();
    idle.read_to_end(&mut said).await.unwrap();
    // Frame type 7 is GOAWAY.
    assert!(
        said.windows(6)
            .any(|frame| frame[..2] == [0, 0] && frame[3] == 7),
        "{said:?}"
    );

    let channel = channel(&server);
    let call =
        in_background(async move { send(&channel, request(GATED, framed(&put(b"value")))).await });
    server.gated_calls_begun(1).await;
    R::sleep(Duration::from_millis(100)).await;
    server.echo.gate.notify_one();
    assert_eq!(call.await.unwrap().unwrap(), "value");
}

#[tokio::test]
async fn http1_gets_pages_where_it_is_served() {
    let server = TestServer::start(options()).await;
    let mut stream = R::connect(&server.address).await.unwrap();
    // One byte at a time: the protocol is told apart all the same.
    for byte in b"GET /page HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n" {
        stream.write_all(&[*byte]).await.unwrap();
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
    assert!(answer.ends_with("\r\n\r\na page"), "{answer}");

    let refusing = ServerOptions {
        http1: Http1::Refused,
        ..options()
    };
    let server = TestServer::start(refusing).await;
    let mut stream = R::connect(&server.address).await.unwrap();
    stream
        .write_all(b"GET /page HTTP/1.1\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    assert_eq!(answer, b"");
}
