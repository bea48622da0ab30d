//! A client that speaks etcd's API to one node, and what its answers mean.
//!
//! It records what [the model of etcd](quorate_jepsen_style::model::etcd) judges: revisions, values, versions, which branch a
//! transaction took. It never asks again by itself. A write that was not answered is *unknown* for ever, whatever the error says, unless not
//! one byte of it left: an error of the node is no proof that the command is not in its log.

use std::collections::BTreeSet;
use std::time::Duration;

use quorate::proto::etcdserverpb::cluster_client::ClusterClient;
use quorate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate::proto::etcdserverpb::kv_client::KvClient;
use quorate::proto::etcdserverpb::request_op::Request;
use quorate::proto::etcdserverpb::response_op::Response;
use quorate::proto::etcdserverpb::{
    CompactionRequest, Compare, MemberListRequest, PutRequest, RangeRequest, RangeResponse,
    RequestOp, ResponseHeader, TxnRequest,
};
use quorate::proto::mvccpb::KeyValue;
use quorate::runtime::{Instant, Runtime};
use quorate::transport::{Channel, was_not_sent};
use quorate_jepsen_style::client::{Answer, Client, Pending};
use quorate_jepsen_style::generator::Ask;
use quorate_jepsen_style::history::{Outcome, Value};
use quorate_sim::cluster::client_channel;
use quorate_sim::host::HostId;
use tonic::Status;

/// How long a client waits: several elections, and shorter than the faults that are to be seen through.
const PATIENCE: Duration = Duration::from_secs(3);

/// How often history is compacted.
const COMPACTED: Duration = Duration::from_secs(2);
/// How many revisions are left then.
const KEPT: i64 = 20;

/// A client of one node, as long as it has that patience.
pub struct EtcdClient<R: Runtime> {
    kv: KvClient<Channel<R>>,
    nodes: Vec<HostId>,
    at: usize,
    moves_from: Instant,
}

impl<R: Runtime> EtcdClient<R> {
    /// A client of the one of `nodes` at this place. It dials when it is first used. From `moves_from` on it turns to the next node
    /// after a request that failed, as clients with several endpoints do: its node may be one that never comes.
    #[must_use]
    pub fn of(nodes: Vec<HostId>, place: usize, moves_from: Instant) -> Self {
        let at = place % nodes.len();
        Self {
            kv: KvClient::new(channel(nodes[at])),
            nodes,
            at,
            moves_from,
        }
    }

    fn move_on(&mut self) {
        self.at = (self.at + 1) % self.nodes.len();
        self.kv = KvClient::new(channel(self.nodes[self.at]));
    }

    async fn put(&mut self, ask: &Ask) -> Answer {
        match self.kv.put(put(&ask.key, &ask.input)).await {
            Ok(answer) => Answer::ok(fields([revision(answer.into_inner().header)])),
            Err(status) => failure(&status),
        }
    }

    /// Reads are linearizable unless one asks for less.
    async fn get(&mut self, ask: &Ask) -> Answer {
        match self.kv.range(get(&ask.key, &ask.input)).await {
            Ok(answer) => {
                let mut answer = answer.into_inner();
                let revision = revision(answer.header.take());
                Answer::ok(fields([revision, kvs(&answer)]))
            }
            Err(status) => failure(&status).of_read(),
        }
    }

    async fn txn(&mut self, ask: &Ask) -> Answer {
        let list = |name| ask.input.get(name).and_then(Value::as_list);
        let branch = |name| list(name).unwrap_or_default().iter().map(inner).collect();
        let request = TxnRequest {
            compare: list("compare")
                .unwrap_or_default()
                .iter()
                .map(compare)
                .collect(),
            success: branch("then"),
            failure: branch("else"),
        };
        match self.kv.txn(request).await {
            Ok(answer) => {
                let answer = answer.into_inner();
                let responses = answer
                    .responses
                    .iter()
                    .map(|response| match &response.response {
                        Some(Response::ResponseRange(range)) => fields([kvs(range)]),
                        _ => fields([]),
                    });
                Answer::ok(fields([
                    revision(answer.header),
                    ("succeeded", answer.succeeded.into()),
                    ("responses", Value::list(responses)),
                ]))
            }
            Err(status) => failure(&status),
        }
    }
}

impl<R: Runtime> Client for EtcdClient<R> {
    fn invoke<'a>(&'a mut self, ask: &'a Ask) -> Pending<'a, Answer> {
        Box::pin(async move {
            let answer = match ask.function.as_str() {
                "put" => self.put(ask).await,
                "get" => self.get(ask).await,
                "txn" => self.txn(ask).await,
                other => Answer::failed(format!("this client knows put, get and txn, not {other}")),
            };
            let answer = answer.from_node(self.nodes[self.at].to_string());
            if answer.outcome == Outcome::Failed && R::now() >= self.moves_from {
                self.move_on();
            }
            answer
        })
    }
}

/// The bytes of a key or value; a number stands for its digits.
fn bytes(said: Option<&Value>) -> Vec<u8> {
    match said {
        None | Some(Value::Nil) => Vec::new(),
        Some(Value::Text(text)) => text.as_str().as_bytes().to_vec(),
        Some(other) => other.to_string().into_bytes(),
    }
}

fn put(key: &Value, value: &Value) -> PutRequest {
    PutRequest {
        key: bytes(Some(key)).into(),
        value: bytes(Some(value)).into(),
        ..PutRequest::default()
    }
}

/// One key, or the range that the argument says.
fn get(key: &Value, range: &Value) -> RangeRequest {
    RangeRequest {
        key: bytes(range.get("key").or(Some(key))).into(),
        range_end: bytes(range.get("end")).into(),
        ..RangeRequest::default()
    }
}

/// A request inside of a transaction.
fn inner(said: &Value) -> RequestOp {
    let key = said.get("key").unwrap_or(&Value::Nil);
    let request = if said.get("f").and_then(Value::as_text) == Some("put") {
        Request::RequestPut(put(key, said.get("value").unwrap_or(&Value::Nil)))
    } else {
        Request::RequestRange(get(key, &Value::Nil))
    };
    RequestOp {
        request: Some(request),
    }
}

/// The one comparison that the workload makes: a value that must be there.
fn compare(said: &Value) -> Compare {
    Compare {
        result: CompareResult::Equal.into(),
        target: CompareTarget::Value.into(),
        key: bytes(said.get("key")).into(),
        target_union: Some(TargetUnion::Value(bytes(said.get("operand")).into())),
        ..Compare::default()
    }
}

fn fields<const N: usize>(fields: [(&str, Value); N]) -> Value {
    Value::map(fields.map(|(name, value)| (name.into(), value)))
}

fn revision(header: Option<ResponseHeader>) -> (&'static str, Value) {
    let revision = header.map_or(Value::Nil, |header| header.revision.into());
    ("revision", revision)
}

fn kvs(answer: &RangeResponse) -> (&'static str, Value) {
    ("kvs", Value::list(answer.kvs.iter().map(key_value)))
}

/// Everything about a key that is judged.
fn key_value(kv: &KeyValue) -> Value {
    let text = |bytes: &[u8]| Value::from(String::from_utf8_lossy(bytes).into_owned());
    fields([
        ("key", text(&kv.key)),
        ("value", text(&kv.value)),
        ("create", kv.create_revision.into()),
        ("mod", kv.mod_revision.into()),
        ("version", kv.version.into()),
    ])
}

fn channel<R: Runtime>(node: HostId) -> Channel<R> {
    client_channel(node, PATIENCE)
}

/// The ids of the members that vote, as a node says; nothing when it says nothing.
pub async fn voters<R: Runtime>(node: HostId) -> Option<BTreeSet<u64>> {
    let mut cluster = ClusterClient::new(channel::<R>(node));
    let request = MemberListRequest { linearizable: true };
    let answer = cluster.member_list(request).await.ok()?.into_inner();
    let voting = answer.members.iter().filter(|member| !member.is_learner);
    Some(voting.map(|member| member.id).collect())
}

/// Has history compacted now and then, through one node after the other, as an API server does. Nobody reads what is gone:
/// it makes work for nodes and changes no answer.
pub async fn compact<R: Runtime>(nodes: Vec<HostId>) {
    for node in nodes.iter().cycle() {
        R::sleep(COMPACTED).await;
        let mut kv = KvClient::new(channel::<R>(*node));
        let Ok(answer) = kv.range(get(&"any".into(), &Value::Nil)).await else {
            continue;
        };
        let revision = answer
            .into_inner()
            .header
            .map_or(0, |header| header.revision);
        let request = CompactionRequest {
            revision: revision - KEPT,
            physical: false,
        };
        // Refused when it is done already, or nobody leads; the next one will do.
        let _ = kv.compact(request).await;
    }
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
    fn numbers_are_written_as_their_digits_and_ranges_have_their_end() {
        let written = put(&"k".into(), &17.into());
        assert_eq!(
            (&written.key[..], &written.value[..]),
            (&b"k"[..], &b"17"[..])
        );
        let one = get(&"k".into(), &Value::Nil);
        assert_eq!((&one.key[..], &one.range_end[..]), (&b"k"[..], &b""[..]));
        let range = fields([("key", "a".into()), ("end", "c".into())]);
        let all = get(&Value::Nil, &range);
        assert_eq!((&all.key[..], &all.range_end[..]), (&b"a"[..], &b"c"[..]));
    }
}
