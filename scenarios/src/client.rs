//! A client that speaks etcd's API to one node, and what its answers mean.
//!
//! It never asks again by itself. A write that was not answered is *unknown* for ever, whatever the error says, unless not
//! one byte of it left: an error of the node is no proof that the command is not in its log.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate::proto::etcdserverpb::cluster_client::ClusterClient;
use quorate::proto::etcdserverpb::kv_client::KvClient;
use quorate::proto::etcdserverpb::{MemberListRequest, PutRequest, RangeRequest};
use quorate::runtime::Runtime;
use quorate::transport::{Channel, ChannelOptions, PlainDial, was_not_sent};
use quorate_jepsen_style::client::{Answer, Client, Pending};
use quorate_jepsen_style::generator::Ask;
use quorate_jepsen_style::history::Value;
use quorate_sim::host::HostId;
use tonic::Status;

/// Where nodes serve clients.
const CLIENT_PORT: u16 = 7000;

/// How long a client waits: several elections, and shorter than the faults that are to be seen through.
const PATIENCE: Duration = Duration::from_secs(3);

/// A client of one node.
pub struct EtcdClient<R: Runtime> {
    kv: KvClient<Channel<R>>,
    node: HostId,
}

impl<R: Runtime> EtcdClient<R> {
    /// A client of `node`. It dials when it is first used.
    #[must_use]
    pub fn of(node: HostId) -> Self {
        Self {
            kv: KvClient::new(channel(node)),
            node,
        }
    }

    async fn write(&mut self, ask: &Ask) -> Answer {
        let request = PutRequest {
            key: key(&ask.key).into(),
            value: ask.input.to_string().into(),
            ..PutRequest::default()
        };
        match self.kv.put(request).await {
            Ok(_) => Answer::ok(ask.input.clone()),
            Err(status) => failure(&status),
        }
    }

    /// Reads are linearizable unless one asks for less.
    async fn read(&mut self, ask: &Ask) -> Answer {
        let request = RangeRequest {
            key: key(&ask.key).into(),
            ..RangeRequest::default()
        };
        match self.kv.range(request).await {
            Ok(response) => match response.into_inner().kvs.first() {
                None => Answer::ok(Value::Nil),
                Some(kv) => Answer::ok(value(&kv.value)),
            },
            Err(status) => failure(&status).of_read(),
        }
    }
}

impl<R: Runtime> Client for EtcdClient<R> {
    fn invoke<'a>(&'a mut self, ask: &'a Ask) -> Pending<'a, Answer> {
        Box::pin(async move {
            let answer = match ask.function.as_str() {
                "write" => self.write(ask).await,
                "read" => self.read(ask).await,
                other => Answer::failed(format!("this client knows read and write, not {other}")),
            };
            answer.from_node(self.node.to_string())
        })
    }
}

fn channel<R: Runtime>(node: HostId) -> Channel<R> {
    let options = ChannelOptions {
        connect_timeout: Duration::from_secs(1),
        call_timeout: PATIENCE,
        keepalive_interval: Duration::from_secs(1),
        keepalive_timeout: Duration::from_secs(2),
        rest_min: Duration::from_millis(50),
        rest_max: Duration::from_millis(500),
    };
    let dial = PlainDial::<R>::new(format!("{}:{CLIENT_PORT}", node.ip()));
    Channel::new(dial, options)
}

/// The ids of the members that vote, as a node says; nothing when it says nothing.
pub async fn voters<R: Runtime>(node: HostId) -> Option<BTreeSet<u64>> {
    let mut cluster = ClusterClient::new(channel::<R>(node));
    let request = MemberListRequest { linearizable: true };
    let answer = cluster.member_list(request).await.ok()?.into_inner();
    let voting = answer.members.iter().filter(|member| !member.is_learner);
    Some(voting.map(|member| member.id).collect())
}

fn key(register: &Value) -> String {
    format!("register/{register}")
}

/// What was written are numbers. Anything else is kept as it is, and the checker will say that nobody wrote it.
fn value(bytes: &[u8]) -> Value {
    let text = String::from_utf8_lossy(bytes);
    text.parse::<i64>()
        .map_or_else(|_| Value::from(text.as_ref()), Value::Integer)
}

fn failure(status: &Status) -> Answer {
    let said = format!("{:?}: {}", status.code(), status.message());
    if was_not_sent(status) {
        Answer::failed(said)
    } else {
        Answer::unknown(said)
    }
}

#[cfg(test)]
mod tests {
    use quorate_jepsen_style::history::Outcome;

    use super::*;

    #[test]
    fn error_of_a_node_leaves_a_write_unknown_and_a_read_undone() {
        let refused = failure(&Status::unavailable("no leader"));
        assert_eq!(refused.outcome, Outcome::Unknown);
        assert_eq!(refused.of_read().outcome, Outcome::Failed);
    }

    #[test]
    fn what_nobody_writes_is_not_taken_for_a_number() {
        assert_eq!(value(b"17"), Value::Integer(17));
        assert_eq!(value(b"17x"), Value::from("17x"));
        assert_eq!(value(b""), Value::from(""));
    }
}
