//! What a stranger may send, and what he gets.

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Code;

use super::*;

#[tokio::test]
async fn malformed_messages_are_answered_and_the_connection_lives_on() {
    let server = TestServer::start(options()).await;
    let channel = channel(&server);
    let good = framed(&put(b"value"));
    let cut = good[..good.len() - 1].to_vec();
    let twice = [good.clone(), good.clone()].concat();
    let garbage = [&[0, 0, 0, 0, 3][..], &[0xff; 3]].concat();
    let compressed = [&[1, 0, 0, 0, 3][..], &[0; 3]].concat();
    let huge = vec![0, 0x7f, 0xff, 0xff, 0xff];
    let table: &[(&str, Vec<u8>, Code)] = &[
        ("nothing", vec![], Code::Internal),
        ("half a head", vec![0, 0, 0], Code::Internal),
        ("a message that ends early", cut, Code::Internal),
        ("two messages", twice, Code::Internal),
        ("no protobuf", garbage, Code::Internal),
        ("a compressed message", compressed, Code::Unimplemented),
        ("a length of 2 GiB", huge, Code::ResourceExhausted),
        (
            "one byte too many",
            vec![0, 0, 1, 0x86, 0xa1],
            Code::ResourceExhausted,
        ),
    ];
    for (what, body, code) in table {
        let status = send(&channel, request(ECHO, body.clone()))
            .await
            .unwrap_err();
        assert_eq!(status.code(), *code, "{what}: {status}");
        assert_eq!(
            echo(&channel, b"value").await.unwrap(),
            "value",
            "after {what}"
        );
    }
    let unknown = send(&channel, request("/test.Test/Nothing", good))
        .await
        .unwrap_err();
    assert_eq!(unknown.code(), Code::Unimplemented);
}

#[tokio::test]
async fn messages_of_every_size_up_to_the_limit_come_through() {
    let server = TestServer::start(options()).await;
    let channel = channel(&server);
    for size in [
        0, 1, 1000, 16_000, 16_384, 16_385, 65_000, 65_536, 70_000, 99_900,
    ] {
        let value: Vec<u8> = (0..size).map(|index| index as u8).collect();
        assert_eq!(echo(&channel, &value).await.unwrap(), value, "{size} bytes");
    }
}

#[tokio::test]
async fn large_messages_wait_for_one_another_and_all_are_answered() {
    let server = TestServer::start(options()).await;
    let channel = channel(&server);
    let value = vec![7; 99_000];
    // Two fit into the budget at a time, and what the others have sent meanwhile into the connection's window.
    let calls: Vec<_> = (0..30)
        .map(|_| (channel.clone(), value.clone()))
        .map(|(channel, value)| in_background(async move { echo(&channel, &value).await }))
        .collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), value);
    }
}

/// A call whose message arrives as the test says.
struct Slow {
    body: tokio::sync::mpsc::Sender<Result<http_body::Frame<Bytes>, Status>>,
    answer: <R as Runtime>::Task<Result<Bytes, Status>>,
}

impl Slow {
    fn start(channel: &Channel<R>) -> Self {
        let (body, frames) = tokio::sync::mpsc::channel(8);
        let frames = tokio_stream::wrappers::ReceiverStream::new(frames);
        let request = http::Request::post(ECHO)
            .body(tonic::body::Body::new(http_body_util::StreamBody::new(
                frames,
            )))
            .unwrap();
        let channel = channel.clone();
        let answer = in_background(async move { send(&channel, request).await });
        Self { body, answer }
    }

    async fn send(&self, bytes: &[u8]) {
        let frame = http_body::Frame::data(Bytes::copy_from_slice(bytes));
        self.body.send(Ok(frame)).await.unwrap();
    }

    async fn end(self) -> Result<Bytes, Status> {
        drop(self.body);
        in_time(self.answer).await.unwrap()
    }
}

/// Messages arrive as slowly as they like.
const UNHURRIED: Bounds = Bounds {
    receive: Duration::from_secs(600),
    ..BOUNDS
};

/// A wait in which nothing must happen.
async fn a_moment() {
    R::sleep(Duration::from_millis(100)).await;
}

#[tokio::test]
async fn message_that_never_arrives_is_given_up() {
    let server = TestServer::start(options()).await;
    let slow = Slow::start(&channel(&server));
    slow.send(&[0, 0]).await;
    let status = in_time(slow.answer).await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn length_that_is_only_claimed_keeps_nobody_waiting() {
    let server = TestServer::start_bounded(UNHURRIED).await;
    let large = put(&[7; 99_000]);
    let mut slow = Vec::new();
    for _ in 0..4 {
        let call = Slow::start(&channel(&server));
        call.send(&framed(&large)[..6]).await;
        slow.push(call);
    }
    server.calls_begun(slow.len()).await;
    a_moment().await;
    let channel = channel(&server);
    let answer = in_time(echo(&channel, &large.value)).await;
    assert_eq!(answer.unwrap(), large.value);
}

#[tokio::test]
async fn messages_that_together_fill_the_budget_go_on_one_after_another() {
    let server = TestServer::start_bounded(UNHURRIED).await;
    let large = put(&[7; 99_000]);
    let whole = framed(&large);
    let (first, rest) = whole.split_at(60_000);
    let mut slow = Vec::new();
    for number in 1..=4 {
        let call = Slow::start(&channel(&server));
        call.send(first).await;
        server.calls_begun(number).await;
        slow.push(call);
    }
    a_moment().await;
    let mut answers = Vec::new();
    for call in slow {
        call.send(rest).await;
        answers.push(call.answer);
    }
    for answer in answers {
        assert_eq!(in_time(answer).await.unwrap().unwrap(), large.value);
    }
}

#[tokio::test]
async fn message_without_room_is_refused_and_what_others_hold_comes_back() {
    let hasty = Bounds {
        patience: Duration::from_millis(200),
        ..UNHURRIED
    };
    let server = TestServer::start_bounded(hasty).await;
    let large = put(&[7; 99_000]);
    let whole = framed(&large);
    let mut slow = Vec::new();
    for number in 1..=4 {
        let call = Slow::start(&channel(&server));
        call.send(&whole[..60_000]).await;
        server.calls_begun(number).await;
        slow.push(call);
    }
    // Three hold most of the budget and the last goes beyond it for a while; then all that ask for more wait in vain.
    let last = slow.pop().unwrap();
    let status = in_time(last.answer).await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.message(), "etcdserver: too many requests");
    drop(slow);
    let other = channel(&server);
    let answer = in_time(echo(&other, &large.value)).await;
    assert_eq!(answer.unwrap(), large.value);
}

#[tokio::test]
async fn message_without_room_is_refused_while_others_are_answered() {
    let hasty = Bounds {
        patience: Duration::from_millis(200),
        ..UNHURRIED
    };
    let server = TestServer::start_bounded(hasty).await;
    let large = put(&[7; 99_000]);
    // Two are within the budget and one beyond it.
    let mut held = Vec::new();
    for number in 1..=3 {
        let (channel, request) = (channel(&server), request(HELD, framed(&large)));
        held.push(in_background(async move { send(&channel, request).await }));
        server.gated_calls_begun(number).await;
    }
    let channel = channel(&server);
    let status = in_time(echo(&channel, &large.value)).await.unwrap_err();
    assert_eq!(status.message(), "etcdserver: too many requests");
    assert_eq!(echo(&channel, &[7; 4_000]).await.unwrap(), vec![7; 4_000]);
    server.echo.gate.notify_waiters();
    for call in held {
        assert_eq!(in_time(call).await.unwrap().unwrap(), large.value);
    }
    let answer = in_time(echo(&channel, &large.value)).await;
    assert_eq!(answer.unwrap(), large.value);
}

#[tokio::test]
async fn one_connection_leaves_room_for_the_others() {
    let shared = Bounds {
        connection: 100_000,
        patience: Duration::from_millis(200),
        ..UNHURRIED
    };
    let server = TestServer::start_bounded(shared).await;
    let large = put(&[7; 99_000]);
    let greedy = channel(&server);
    let mut slow = Vec::new();
    for number in 1..=4 {
        let call = Slow::start(&greedy);
        call.send(&framed(&large)[..48_000]).await;
        server.calls_begun(number).await;
        slow.push(call);
    }
    // One is within its share, and of the others none stays.
    for call in slow.drain(1..) {
        let status = in_time(call.answer).await.unwrap().unwrap_err();
        assert_eq!(status.message(), "etcdserver: too many requests");
    }
    let other = channel(&server);
    let answer = in_time(echo(&other, &large.value)).await;
    assert_eq!(answer.unwrap(), large.value);
    for call in slow {
        call.send(&framed(&large)[48_000..]).await;
        assert_eq!(call.end().await.unwrap(), large.value);
    }
}

/// Asks for the echo of a value and reads next to nothing of it.
async fn ask_and_not_read(
    server: &TestServer,
    value: &[u8],
) -> (
    http::Response<hyper::body::Incoming>,
    <R as Runtime>::Task<hyper::Result<()>>,
) {
    let stream = R::connect(&server.address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http2::Builder::new(glue::TaskExecutor::<R>::new())
            .initial_stream_window_size(1000)
            .handshake(hyper_util::rt::TokioIo::new(stream))
            .await
            .unwrap();
    let connection = R::spawn(connection);
    let request = http::Request::post(format!("http://test{ECHO}"))
        .body(Full::new(Bytes::from(framed(&put(value)))))
        .unwrap();
    (sender.send_request(request).await.unwrap(), connection)
}

#[tokio::test]
async fn answers_that_nobody_reads_have_a_budget() {
    let hasty = Bounds {
        patience: Duration::from_millis(200),
        ..UNHURRIED
    };
    let server = TestServer::start_bounded(hasty).await;
    let unread = [
        ask_and_not_read(&server, &[7; 99_000]).await,
        ask_and_not_read(&server, &[7; 99_000]).await,
    ];
    let channel = channel(&server);
    let status = echo(&channel, &[7; 9_000]).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.message(), "etcdserver: too many requests");
    assert_eq!(echo(&channel, &[7; 4_000]).await.unwrap(), vec![7; 4_000]);
    for (response, connection) in unread {
        drop(response);
        drop(connection);
    }
    for _ in 0..1_000 {
        if echo(&channel, &[7; 99_000]).await.is_ok() {
            return;
        }
    }
    panic!("no room although nothing is unread");
}

#[tokio::test]
async fn answer_takes_its_turn_until_it_is_read() {
    let server = TestServer::start(ServerOptions {
        max_requests: 2,
        ..options()
    })
    .await;
    // Too small to be counted by their bytes, and too large for the windows of whoever asked.
    let unread = [
        ask_and_not_read(&server, &[7; 3_000]).await,
        ask_and_not_read(&server, &[7; 3_000]).await,
    ];
    let channel = channel(&server);
    let status = in_time(echo(&channel, b"one more")).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert_eq!(status.message(), "etcdserver: too many requests");
    drop(unread);
    for _ in 0..1_000 {
        if echo(&channel, b"one more").await.is_ok() {
            return;
        }
    }
    panic!("no turn although nothing is unread");
}

#[tokio::test]
async fn connection_that_does_not_read_is_cut_when_others_need_the_room() {
    let strict = Bounds {
        patience: Duration::from_secs(2),
        unread: Duration::ZERO,
        ..UNHURRIED
    };
    let server = TestServer::start_bounded(strict).await;
    let (_first, cut) = ask_and_not_read(&server, &[7; 99_000]).await;
    let (second, _lives) = ask_and_not_read(&server, &[7; 99_000]).await;
    let channel = channel(&server);
    assert_eq!(echo(&channel, &[7; 50_000]).await.unwrap(), vec![7; 50_000]);
    let _ = in_time(cut).await.unwrap();
    let body = in_time(second.into_body().collect()).await.unwrap();
    assert!(body.to_bytes().len() > 99_000);
}

#[tokio::test]
async fn answer_larger_than_the_budget_passes_alone() {
    let small = Bounds {
        answers: 50_000,
        ..UNHURRIED
    };
    let server = TestServer::start_bounded(small).await;
    let channel = channel(&server);
    for _ in 0..3 {
        assert_eq!(echo(&channel, &[7; 99_000]).await.unwrap(), vec![7; 99_000]);
    }
}

#[tokio::test]
async fn header_list_beyond_the_limit_is_refused() {
    let server = TestServer::start(options()).await;
    let channel = channel(&server);
    let mut big = request(ECHO, framed(&put(b"value")));
    big.headers_mut()
        .insert("big", "x".repeat(20_000).parse().unwrap());
    let status = send(&channel, big).await.unwrap_err();
    assert_eq!(status.message(), "431 Request Header Fields Too Large");
    assert_eq!(echo(&channel, b"value").await.unwrap(), "value");
}

#[tokio::test]
async fn handshake_that_dawdles_is_cut_off() {
    let tight = ServerOptions {
        handshake_timeout: Duration::from_millis(50),
        ..options()
    };
    let server = TestServer::start(tight).await;
    for beginning in [&b""[..], b"PRI * HT", b"GET /page HTTP/1.1\r\nHost: x\r\n"] {
        let mut stream = R::connect(&server.address).await.unwrap();
        stream.write_all(beginning).await.unwrap();
        let mut rest = Vec::new();
        // Returns only because the server closes.
        let _ = stream.read_to_end(&mut rest).await;
        assert!(!rest.starts_with(b"HTTP/1.1 200"), "{rest:?}");
    }
}

#[tokio::test]
async fn whoever_dawdles_longest_makes_room_for_a_handshake() {
    let tight = ServerOptions {
        max_handshakes: 4,
        handshake_timeout: Duration::from_secs(600),
        ..options()
    };
    let server = TestServer::start(tight).await;
    let served = channel(&server);
    echo(&served, b"value").await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(R::connect(&server.address).await.unwrap());
    }
    let other = channel(&server);
    echo(&other, b"value").await.unwrap();
    let mut byte = [0];
    let cut = in_time(silent[0].read(&mut byte)).await;
    assert_eq!(cut.unwrap_or(0), 0);
    echo(&served, b"value").await.unwrap();
}

/// What must happen long before anything else would make it happen.
async fn in_time<T>(waited_for: impl Future<Output = T>) -> T {
    let bound = Duration::from_secs(20);
    let waited = crate::runtime::timeout::<R, _>(bound, waited_for).await;
    waited.expect("it has to happen in time")
}

/// No protection, and everybody is a guest.
struct ForGuests;

impl Secure<<R as Runtime>::Stream> for ForGuests {
    type Stream = <R as Runtime>::Stream;
    type Peer = ();

    async fn accept(&self, stream: Self::Stream) -> std::io::Result<(Self::Stream, ())> {
        Ok((stream, ()))
    }

    fn is_guest(&self, (): &()) -> bool {
        true
    }
}

#[tokio::test]
async fn guests_are_few_and_do_not_stay() {
    let tight = ServerOptions {
        guests: Guests {
            max_connections: 1,
            max_concurrent_streams: 1,
            life: Duration::from_millis(300),
        },
        ..options()
    };
    let server = TestServer::start_with("127.0.0.1:0", ForGuests, tight).await;
    let mut first = R::connect(&server.address).await.unwrap();
    first
        .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")
        .await
        .unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();
    assert!(echo(&channel(&server), b"value").await.is_err());
    // Its life ends although it says nothing, and then there is room.
    let mut rest = Vec::new();
    let _ = in_time(first.read_to_end(&mut rest)).await;
    for _ in 0..1_000 {
        if echo(&channel(&server), b"value").await.is_ok() {
            return;
        }
        R::sleep(Duration::from_millis(1)).await;
    }
    panic!("no room although the guest has gone");
}

#[tokio::test]
async fn connections_beyond_the_cap_wait_for_a_slot() {
    let tight = ServerOptions {
        max_connections: 1,
        ..options()
    };
    let server = TestServer::start(tight).await;
    let mut first = R::connect(&server.address).await.unwrap();
    first
        .write_all(b"GET /page HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let mut byte = [0];
    first.read_exact(&mut byte).await.unwrap();

    let second = channel(&server);
    let call = echo(&second, b"value");
    tokio::pin!(call);
    let early = crate::runtime::timeout::<R, _>(Duration::from_millis(50), &mut call).await;
    assert!(early.is_err(), "served beyond the cap: {early:?}");
    drop(first);
    assert_eq!(call.await.unwrap(), "value");
}

#[tokio::test]
async fn requests_beyond_the_cap_on_streams_wait_for_one_another() {
    let tight = ServerOptions {
        max_concurrent_streams: 1,
        ..options()
    };
    let server = TestServer::start(tight).await;
    let channel = channel(&server);
    // The first call learns the server's settings.
    echo(&channel, b"value").await.unwrap();
    let gated = request(GATED, framed(&put(b"first")));
    let first = in_background({
        let channel = channel.clone();
        async move { send(&channel, gated).await }
    });
    server.gated_calls_begun(1).await;
    let second = echo(&channel, b"second");
    tokio::pin!(second);
    let early = crate::runtime::timeout::<R, _>(Duration::from_millis(50), &mut second).await;
    assert!(early.is_err(), "served beyond the cap: {early:?}");
    server.echo.gate.notify_one();
    assert_eq!(first.await.unwrap().unwrap(), "first");
    assert_eq!(second.await.unwrap(), "second");
}
