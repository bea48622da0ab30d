//! What a message costs behind TLS beyond what it costs without, over the configurations and with the layers that nodes use:
//! sealing and opening are only a part of it.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;

use quorate::ids::{ClusterId, Epoch, LogIndex, NodeId};
use quorate::runtime::Runtime;
use quorate::runtime::tokio::TokioRuntime;
use quorate::tls::config::{Credentials, joiner_client, stranger_server};
use quorate::tls::name::{cluster_dns, server_name};
use quorate::tls::{Authority, NodeSubject, PrivateKey, Serial};
use quorate_sim::cpu::thread_cpu_time;
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream, ReadBuf,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, client, server};

/// Lengths between which the cost is taken for a straight line.
const SHORT: usize = 64;
const LONG: usize = 8 * 1024;
/// Bytes between two ends.
const PIPE: usize = 64 * 1024;
/// So many records are measured of each length.
const RECORDS: u32 = 20_000;

/// Of one record, both ends together.
pub(crate) struct RecordCost {
    /// Seconds for one of no length.
    base: f64,
    /// Seconds for each byte.
    byte: f64,
}

impl RecordCost {
    pub(crate) fn measured() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        let (short, long) = runtime.expect("a runtime").block_on(async {
            let (mut plain, mut tls) = (tokio::io::duplex(PIPE), connected().await);
            let mut beyond_plain = async |length| {
                let tls = cost(&mut tls.0, &mut tls.1, length).await;
                tls - cost(&mut plain.0, &mut plain.1, length).await
            };
            (beyond_plain(SHORT).await, beyond_plain(LONG).await)
        });
        let byte = (long - short) / (LONG - SHORT) as f64;
        Self {
            base: short - byte * SHORT as f64,
            byte,
        }
    }

    /// Seconds for so many records with so many bytes in all of them.
    pub(crate) fn of(&self, records: u64, bytes: u64) -> f64 {
        self.base * records as f64 + self.byte * bytes as f64
    }
}

impl fmt::Display for RecordCost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (base, byte) = (self.base * 1e9, self.byte * 1e9);
        write!(
            f,
            "a TLS record costs {base:.0} ns and {byte:.2} ns a byte, both ends"
        )
    }
}

/// A member and a stranger who has come to join it: who is who makes no difference to records.
async fn connected() -> (
    client::TlsStream<DuplexStream>,
    server::TlsStream<DuplexStream>,
) {
    let cluster = ClusterId(1);
    let key = |seed| PrivateKey::from_seed([seed; 32]);
    let now = TokioRuntime::wall();
    let serial = || Serial::from_secret([3; 16]);
    let authority = Authority::create(cluster, key(1), serial(), now).expect("a CA is made");
    let subject = NodeSubject {
        epoch: Epoch(1),
        node: NodeId(2),
        admitted: LogIndex(1),
        client_hosts: Vec::new(),
    };
    let certificate = authority.issue_node(&subject, key(2).public(), serial(), now);
    let certificate = certificate.expect("a certificate is made");
    let credentials = Credentials::new(key(2), certificate, authority.certificate().clone());
    let credentials = credentials.expect("the key is that of the certificate");
    let server = stranger_server::<TokioRuntime>(&credentials).expect("a configuration");
    let pins = vec![key(1).public().hash()];
    let client = joiner_client::<TokioRuntime>(pins).expect("a configuration");
    let name = server_name(&cluster_dns(cluster));
    let (near, far) = tokio::io::duplex(PIPE);
    let connected = tokio::join!(
        TlsConnector::from(client).connect(name, near),
        TlsAcceptor::from(server).accept(far)
    );
    (
        connected.0.expect("a client"),
        connected.1.expect("a server"),
    )
}

/// Seconds that a message of this length costs: it is written, and read by somebody who then looks for more, as HTTP/2 does.
async fn cost(
    from: &mut (impl AsyncWrite + Unpin),
    to: &mut (impl AsyncRead + Unpin),
    length: usize,
) -> f64 {
    let (sent, mut received) = (vec![7; length], vec![0; length + 1]);
    let before = thread_cpu_time();
    for _ in 0..RECORDS {
        from.write_all(&sent).await.expect("there is room");
        from.flush().await.expect("there is room");
        to.read_exact(&mut received[..length])
            .await
            .expect("it came");
        let mut context = Context::from_waker(Waker::noop());
        let mut more = ReadBuf::new(&mut received);
        let looked = Pin::new(&mut *to).poll_read(&mut context, &mut more);
        assert!(looked.is_pending(), "there was no more");
    }
    let spent: Duration = thread_cpu_time() - before;
    spent.as_secs_f64() / f64::from(RECORDS)
}
