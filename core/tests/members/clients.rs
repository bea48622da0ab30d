//! Clients of the etcd API, with and without certificates, and a member of a cluster that is not this one.

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quorate::ids::{ClusterId, Epoch};
use quorate::join::{SharedView, founder};
use quorate::proto::etcdserverpb::kv_client::KvClient;
use quorate::proto::etcdserverpb::{PutRequest, RangeRequest};
use quorate::proto::store::Member;
use quorate::runtime::Runtime as _;
use quorate::runtime::tokio::{TokioRuntime, TokioStream};
use quorate::tls::config::{Credentials, api_client, peer_client};
use quorate::tls::name::server_name;
use quorate::tls::pem::{certificates_from_pem, key_from_pem};
use quorate::transport::{Channel, Dial};
use rustls::ClientConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::world::{World, block_on, options, rest};

fn put_request(key: &str, value: &str) -> PutRequest {
    PutRequest {
        key: key.to_owned().into(),
        value: value.to_owned().into(),
        ..PutRequest::default()
    }
}

/// Puts until it is acknowledged: a leader may just have died.
pub(crate) fn put(world: &World, name: &str, key: &str, value: &str) {
    let mut client = KvClient::new(world.channel(name));
    block_on(async {
        let start = Instant::now();
        while client.put(put_request(key, value)).await.is_err() {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "no put was acknowledged"
            );
            rest().await;
        }
    });
}

pub(crate) fn get(world: &World, name: &str, key: &str) -> Option<String> {
    let mut client = KvClient::new(world.channel(name));
    block_on(async {
        let start = Instant::now();
        loop {
            let request = RangeRequest {
                key: key.to_owned().into(),
                ..RangeRequest::default()
            };
            match client.range(request).await {
                Ok(answer) => {
                    let kvs = answer.into_inner().kvs;
                    let value = kvs.first().map(|kv| kv.value.to_vec());
                    return value.map(|value| String::from_utf8(value).unwrap());
                }
                Err(status) => {
                    assert!(
                        start.elapsed() < Duration::from_secs(60),
                        "no read was answered: {status}"
                    );
                    rest().await;
                }
            }
        }
    })
}

pub(crate) fn plain_put(channel: Channel<TokioRuntime>) -> Result<(), String> {
    let mut client = KvClient::new(channel);
    let answer = block_on(async { client.put(put_request("key", "value")).await });
    answer.map(drop).map_err(|status| status.to_string())
}

struct TlsDial {
    address: String,
    config: Arc<ClientConfig>,
}

impl Dial for TlsDial {
    type Stream = TlsStream<TokioStream>;

    async fn dial(&self) -> io::Result<Self::Stream> {
        let stream = TokioRuntime::connect(&self.address).await?;
        let connector = TlsConnector::from(Arc::clone(&self.config));
        connector.connect(server_name("localhost"), stream).await
    }
}

/// With the files that `client-cert` wrote.
fn certified(world: &World, node: &str, client: &str) -> TlsDial {
    let file = |name: String| fs::read_to_string(world.path("certificates").join(name)).unwrap();
    let trusted = certificates_from_pem(&file("ca.crt".to_owned())).unwrap();
    let chain = certificates_from_pem(&file(format!("{client}.crt"))).unwrap();
    let key = key_from_pem(&file(format!("{client}.key"))).unwrap();
    TlsDial {
        address: format!("127.0.0.1:{}", world.client_port(node)),
        config: api_client::<TokioRuntime>(&trusted, chain, &key).unwrap(),
    }
}

pub(crate) fn put_with_certificate(world: &World, node: &str, client: &str) -> Result<(), String> {
    let dial = certified(world, node, client);
    plain_put(Channel::new(dial, options()))
}

/// What a client with this certificate is told when it is not let in.
pub(crate) fn refusal(world: &World, node: &str, client: &str) -> String {
    let dial = certified(world, node, client);
    block_on(async {
        // In TLS 1.3 the client is done before the server has judged its certificate.
        let mut stream = dial.dial().await.unwrap();
        let mut answer = [0; 64];
        stream.read(&mut answer).await.unwrap_err().to_string()
    })
}

/// Asks for a key as etcdctl does on a socket, with its path for the authority, and gives the kind of the first frame of the answer.
pub(crate) fn range_with_a_path_for_a_host(socket: &Path) -> u8 {
    const HEADERS: u8 = 1;
    let path = socket.to_str().unwrap().as_bytes();
    // :method POST, :scheme http, then :path, :authority, content-type and te.
    let mut block = vec![0x83, 0x86];
    for (name, value) in [
        (4, &b"/etcdserverpb.KV/Range"[..]),
        (1, path),
        (31, b"application/grpc"),
    ] {
        block.extend([0x40 | name, u8::try_from(value.len()).unwrap()]);
        block.extend(value);
    }
    block.extend(b"\x40\x02te\x08trailers");
    let frame = |kind: u8, flags: u8, stream: u8, payload: &[u8]| {
        let length = u8::try_from(payload.len()).unwrap();
        let mut frame = vec![0, 0, length, kind, flags, 0, 0, 0, stream];
        frame.extend(payload);
        frame
    };
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    bytes.extend(frame(HEADERS, 4, 1, &block));
    // A message of two bytes: key "k" would need three, this one asks for the empty key.
    bytes.extend(frame(0, 1, 1, &[0, 0, 0, 0, 2, 0x0a, 0]));
    let mut stream = UnixStream::connect(socket).unwrap();
    stream
        .set_read_timeout(Some(Duration::from_secs(30)))
        .unwrap();
    stream.write_all(&bytes).unwrap();
    loop {
        let mut header = [0; 9];
        stream.read_exact(&mut header).unwrap();
        let mut payload = vec![0; usize::from(header[1]) << 8 | usize::from(header[2])];
        stream.read_exact(&mut payload).unwrap();
        if header[8] == 1 && header[3] != 8 {
            return header[3];
        }
    }
}

/// Shows the certificate of another cluster's CA to the peers' port, and waits whether anything but an alert comes.
pub(crate) fn as_foreign_member(address: &str) -> io::Result<Vec<u8>> {
    let member = Member {
        id: 7,
        ..Member::default()
    };
    let founded = founder::found::<TokioRuntime>(ClusterId(7), Epoch(1), member);
    let founded = founded.unwrap();
    let membership = founded.membership;
    let authority = founded.authority.certificate().clone();
    let credentials = Credentials::new(membership.key, membership.certificate, authority).unwrap();
    let config = peer_client::<TokioRuntime>(&credentials, SharedView::new(membership.view));
    let connector = TlsConnector::from(config.unwrap());
    block_on(async {
        let stream = TokioRuntime::connect(address).await?;
        let mut stream = connector.connect(server_name("localhost"), stream).await?;
        stream
            .write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            .await?;
        let mut answer = vec![0; 64];
        let read = stream.read(&mut answer).await?;
        answer.truncate(read);
        Ok(answer)
    })
}
