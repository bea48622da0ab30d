//! What a TLS record costs: sealed by one end and opened by the other, over the configurations that nodes use.

use std::fmt;
use std::time::Duration;

use quorate::ids::{ClusterId, Epoch, LogIndex, NodeId};
use quorate::runtime::Runtime;
use quorate::runtime::tokio::TokioRuntime;
use quorate::tls::config::{Credentials, joiner_client, stranger_server};
use quorate::tls::name::{cluster_dns, server_name};
use quorate::tls::{Authority, NodeSubject, PrivateKey, Serial};
use quorate_sim::cpu::thread_cpu_time;
use rustls::{ClientConnection, ConnectionCommon, ServerConnection};

/// Lengths between which the cost is taken for a straight line.
const SHORT: usize = 64;
const LONG: usize = 8 * 1024;
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
        let (mut client, mut server) = connected();
        let (short, long) = (
            cost(&mut client, &mut server, SHORT),
            cost(&mut client, &mut server, LONG),
        );
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
fn connected() -> (ClientConnection, ServerConnection) {
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
    let mut client = ClientConnection::new(client, name).expect("a client");
    let mut server = ServerConnection::new(server).expect("a server");
    while carry(&mut client, &mut server) | carry(&mut server, &mut client) {}
    (client, server)
}

/// Brings over what one end has to say; whether that was anything.
fn carry<A, B>(from: &mut ConnectionCommon<A>, to: &mut ConnectionCommon<B>) -> bool {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes)
            .expect("a vector takes everything");
    }
    let mut rest = &bytes[..];
    while !rest.is_empty() {
        to.read_tls(&mut rest).expect("a slice gives everything");
        to.process_new_packets().expect("both are honest");
    }
    !bytes.is_empty()
}

/// Seconds that a record of this length costs.
fn cost(client: &mut ClientConnection, server: &mut ServerConnection, length: usize) -> f64 {
    use std::io::{Read as _, Write as _};
    let (sent, mut received) = (vec![7; length], vec![0; length]);
    let before = thread_cpu_time();
    for _ in 0..RECORDS {
        client.writer().write_all(&sent).expect("there is room");
        carry(client, server);
        server.reader().read_exact(&mut received).expect("it came");
    }
    let spent: Duration = thread_cpu_time() - before;
    spent.as_secs_f64() / f64::from(RECORDS)
}
