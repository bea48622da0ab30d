//! The same random requests to a real etcd and to ours: every field of every answer must be equal, but for ids and terms.
//! Ours is the API over a state alone, the shipped binary as a process of its own, and three of those, joined, that are asked
//! in turn.
//!
//! The etcd is the one that `QUORATE_ETCD` names, or `etcd` from the PATH. Without one nothing is compared, and the tests
//! are reported as ignored, not as passed: that is why this file has a harness of its own.
//!
//! And the real `etcdctl`, from the PATH or named by `QUORATE_ETCDCTL`, goes through the tour of the README, and says the same of
//! three nodes that were formed as the README forms them as of a real etcd.
//!
//! Requests come from fixed seeds. Keys are few, so that they meet; revisions are drawn relative to the present one, so
//! that old, compacted and future ones all occur.
//!
//! Keys that are equal by what a range is sorted by have no order that a client may rely on (etcd's depends on the version
//! of Go that it was built with), so they are put into that of their keys before they are compared.
//!
//! Left out, because it is nonsense that etcd itself answers differently from version to version: sort orders that do not
//! exist, and negative revisions inside of transactions (alone they mean the present one).
#![allow(
    clippy::disallowed_methods,
    reason = "these tests run real processes on real files"
)]
#![allow(
    clippy::unwrap_used,
    reason = "what is unwrapped outside of a test function is unwrapped for one"
)]

mod dialling;
#[path = "etcd/local.rs"]
#[allow(
    dead_code,
    reason = "shared with the tests of the API, which use more of it"
)]
mod local;
mod running;
mod typing;
#[path = "members/world.rs"]
#[allow(
    dead_code,
    reason = "shared with the tests of members, which use more of it"
)]
mod world;

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use bytes::Bytes;
use dialling::channel;
use libtest_mimic::{Arguments, Failed, Trial};
use local::{R, Served};
use proptest::prelude::*;
use proptest::sample::select;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use quorate::proto::etcdserverpb::compare::TargetUnion;
use quorate::proto::etcdserverpb::kv_client::KvClient;
use quorate::proto::etcdserverpb::range_request::SortTarget;
use quorate::proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, Compare, DeleteRangeRequest, DeleteRangeResponse,
    PutRequest, PutResponse, RangeRequest, RangeResponse, RequestOp, ResponseHeader, TxnRequest,
    TxnResponse, request_op, response_op,
};
use quorate::proto::mvccpb::KeyValue;
use quorate::runtime::Runtime as _;
use quorate::transport::Channel;
use tonic::Status;
use world::World;

const SEEDS: [u8; 4] = [1, 2, 3, 4];
const BINARY_SEED: u8 = 5;
const CLUSTER_SEED: u8 = 6;
const REQUESTS: usize = 1500;

const FORCED: &str = "an ignored test was forced to run without what it compares with";

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let etcd = find("QUORATE_ETCD", "etcd");
    match &etcd {
        Some(path) => eprintln!("comparing with {}", path.display()),
        None => eprintln!(
            "NOT COMPARED WITH A REAL ETCD: none is in the PATH. Install one (Debian: etcd-server) or name it in QUORATE_ETCD."
        ),
    }
    let trial = |name: String, run: fn(&Path, u8) -> Result<(), Failed>, seed| {
        let binary = etcd.clone();
        let run = move || {
            let binary = binary.expect(FORCED);
            run(&binary, seed)
        };
        Trial::test(name, run).with_ignored_flag(etcd.is_none())
    };
    let mut trials: Vec<Trial> = SEEDS
        .map(|seed| {
            let name = format!("random_requests_are_answered_as_by_etcd_{seed}");
            trial(name, against_the_api, seed)
        })
        .into();
    trials.push(trial(
        "the_binary_answers_random_requests_as_etcd_does".to_owned(),
        against_the_binary,
        BINARY_SEED,
    ));
    trials.push(trial(
        "three_joined_nodes_answer_random_requests_as_etcd_does".to_owned(),
        against_a_cluster,
        CLUSTER_SEED,
    ));
    let runs = |program: &PathBuf| {
        let version = Command::new(program).arg("version").output();
        version.is_ok_and(|version| version.status.success())
    };
    let etcdctl = find("QUORATE_ETCDCTL", "etcdctl").filter(runs);
    if etcdctl.is_none() {
        eprintln!(
            "THE README'S TOUR IS NOT TAKEN: no etcdctl is in the PATH (Debian: etcd-client)."
        );
    }
    let (lacks_ctl, lacks_one) = (etcdctl.is_none(), etcdctl.is_none() || etcd.is_none());
    let (for_the_tour, for_three) = (etcdctl.clone(), etcdctl.zip(etcd));
    let tour = move || typing::the_tour(&for_the_tour.expect(FORCED));
    let three = move || {
        let (etcdctl, etcd) = for_three.expect(FORCED);
        typing::the_three_nodes(&etcdctl, &etcd)
    };
    trials.push(
        Trial::test("etcdctl_takes_the_tour_of_the_readme", tour).with_ignored_flag(lacks_ctl),
    );
    trials.push(
        Trial::test(
            "etcdctl_sees_no_difference_at_three_nodes_of_the_readme",
            three,
        )
        .with_ignored_flag(lacks_one),
    );
    libtest_mimic::run(&arguments, trials).exit_code()
}

/// A program that a variable names, or the one in the PATH.
fn find(variable: &str, program: &str) -> Option<PathBuf> {
    if let Some(named) = std::env::var_os(variable) {
        return Some(PathBuf::from(named));
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|directory| directory.join(program))
        .find(|candidate| candidate.is_file())
}

/// A server of one node as a process of its own, on a directory of its own.
struct Server {
    process: Child,
    address: String,
    _directory: tempfile::TempDir,
}

impl Server {
    /// A real etcd.
    fn etcd(binary: &Path) -> Self {
        Self::start(Command::new(binary), |command, data, client, peer| {
            let [client, peer] = [client, peer].map(|address| format!("http://{address}"));
            command
                .args(["--name", "one", "--data-dir"])
                .arg(data)
                .args(["--listen-client-urls", &client])
                .args(["--advertise-client-urls", &client])
                .args(["--listen-peer-urls", &peer])
                .args(["--initial-advertise-peer-urls", &peer])
                .args(["--initial-cluster", &format!("one={peer}")]);
        })
    }

    /// The shipped binary.
    fn quorate() -> Self {
        let command = Command::new(env!("CARGO_BIN_EXE_quorate"));
        Self::start(command, |command, data, client, peer| {
            command
                .args(["start", "--name", "one", "--data-dir"])
                .arg(data)
                .args(["--listen-client", client, "--listen-peer", peer]);
        })
    }

    /// `configure` is given where its data are, and where it serves clients and peers.
    fn start(
        mut command: Command,
        configure: impl FnOnce(&mut Command, &Path, &str, &str),
    ) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let [address, peer] = [free_address(), free_address()];
        configure(
            &mut command,
            &directory.path().join("data"),
            &address,
            &peer,
        );
        let process = command
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self {
            process,
            address,
            _directory: directory,
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().expect("it is our child");
        self.process.wait().expect("it is our child");
    }
}

/// An address that was free a moment ago: etcd cannot be told to choose one.
fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

fn runtime() -> std::io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
}

fn against_the_api(etcd: &Path, seed: u8) -> Result<(), Failed> {
    runtime()?.block_on(async {
        let theirs = Server::etcd(etcd);
        let ours = Served::start().await;
        compare(&theirs.address, &[&ours.address], seed).await
    })
}

fn against_the_binary(etcd: &Path, seed: u8) -> Result<(), Failed> {
    runtime()?.block_on(async {
        let theirs = Server::etcd(etcd);
        let ours = Server::quorate();
        compare(&theirs.address, &[&ours.address], seed).await
    })
}

fn against_a_cluster(etcd: &Path, seed: u8) -> Result<(), Failed> {
    let theirs = Server::etcd(etcd);
    let names = ["one", "two", "three"];
    let ours = World::cluster(&names);
    let addresses = names.map(|name| format!("127.0.0.1:{}", ours.client_port(name)));
    let addresses = addresses.each_ref().map(String::as_str);
    runtime()?.block_on(compare(&theirs.address, &addresses, seed))
}

/// Waits until a server answers.
async fn ready(kv: &mut Kv) -> Result<(), Failed> {
    let question = RangeRequest {
        key: "ready".into(),
        ..RangeRequest::default()
    };
    for _ in 0..600 {
        if kv.range(question.clone()).await.is_ok() {
            return Ok(());
        }
        R::sleep(Duration::from_millis(50)).await;
    }
    Err("a server did not come up".into())
}

/// Asks the one and, in turn, each of the others.
async fn compare(theirs: &str, ours: &[&str], seed: u8) -> Result<(), Failed> {
    let mut theirs = client(theirs);
    let mut ours: Vec<Kv> = ours.iter().map(|address| client(address)).collect();
    let nodes = ours.len();
    ready(&mut theirs).await?;
    for node in &mut ours {
        ready(node).await?;
    }
    let mut seen = BTreeMap::<String, usize>::new();
    let mut present = 1;
    for (number, mut request) in requests(seed).into_iter().enumerate() {
        request.resolve(present);
        let expected = request
            .send(&mut theirs)
            .await
            .map(|answer| request.settle(answer));
        let asked = &mut ours[number % nodes];
        // Serializable reads may be of an earlier state than what another node has answered.
        ready(asked).await?;
        let answer = request
            .send(asked)
            .await
            .map(|answer| request.settle(answer));
        if expected != answer {
            return Err(format!(
                "seed {seed}, request {number}, at revision {present}: {request:#?}\netcd: {expected:#?}\nours: {answer:#?}"
            )
            .into());
        }
        let outcome = match &answer {
            Ok(answer) => {
                present = present.max(answer.revision());
                "answered"
            }
            Err((_, message)) => message.as_str(),
        };
        *seen
            .entry(format!("{}: {outcome}", request.kind()))
            .or_default() += 1;
    }
    // A comparison of nothing but errors, or of none, would prove little.
    for kind in ["range", "put", "delete", "txn", "compact"] {
        let key = format!("{kind}: answered");
        assert!(
            seen.get(&key).is_some_and(|count| *count > 10),
            "too few: {key} in {seen:#?}"
        );
    }
    eprintln!("seed {seed}: {REQUESTS} requests, {seen:#?}");
    Ok(())
}

type Kv = KvClient<Channel<R>>;

fn client(address: &str) -> Kv {
    KvClient::new(channel(address))
}

#[derive(Clone, Debug)]
enum Request {
    Range(RangeRequest),
    Put(PutRequest),
    Delete(DeleteRangeRequest),
    Txn(TxnRequest),
    Compact(CompactionRequest),
}

/// An answer without what differs from node to node.
#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Range(RangeResponse),
    Put(PutResponse),
    Delete(DeleteRangeResponse),
    Txn(TxnResponse),
    Compact(CompactionResponse),
}

impl Answer {
    fn header(&mut self) -> &mut Option<ResponseHeader> {
        match self {
            Self::Range(answer) => &mut answer.header,
            Self::Put(answer) => &mut answer.header,
            Self::Delete(answer) => &mut answer.header,
            Self::Txn(answer) => &mut answer.header,
            Self::Compact(answer) => &mut answer.header,
        }
    }

    fn revision(&self) -> i64 {
        self.clone()
            .header()
            .as_ref()
            .map_or(0, |header| header.revision)
    }

    fn anonymous(mut self) -> Self {
        if let Some(header) = self.header() {
            assert_ne!(header.cluster_id, 0);
            assert_ne!(header.member_id, 0);
            assert_ne!(header.raft_term, 0);
            *header = ResponseHeader {
                revision: header.revision,
                ..ResponseHeader::default()
            };
        }
        self
    }
}

impl Request {
    const fn kind(&self) -> &'static str {
        match self {
            Self::Range(_) => "range",
            Self::Put(_) => "put",
            Self::Delete(_) => "delete",
            Self::Txn(_) => "txn",
            Self::Compact(_) => "compact",
        }
    }

    async fn send(&self, kv: &mut Kv) -> Result<Answer, (i32, String)> {
        let answer = match self.clone() {
            Self::Range(request) => kv
                .range(request)
                .await
                .map(|answer| Answer::Range(answer.into_inner())),
            Self::Put(request) => kv
                .put(request)
                .await
                .map(|answer| Answer::Put(answer.into_inner())),
            Self::Delete(request) => kv
                .delete_range(request)
                .await
                .map(|answer| Answer::Delete(answer.into_inner())),
            Self::Txn(request) => kv
                .txn(request)
                .await
                .map(|answer| Answer::Txn(answer.into_inner())),
            Self::Compact(request) => kv
                .compact(request)
                .await
                .map(|answer| Answer::Compact(answer.into_inner())),
        };
        let told = |status: Status| (i32::from(status.code()), status.message().to_owned());
        answer.map(Answer::anonymous).map_err(told)
    }

    fn settle(&self, mut answer: Answer) -> Answer {
        match (self, &mut answer) {
            (Self::Range(request), Answer::Range(answer)) => settle_range(request, answer),
            (Self::Txn(request), Answer::Txn(answer)) => settle_txn(request, answer),
            _ => {}
        }
        answer
    }

    /// Turns revisions that were drawn relative to the present one into real ones.
    fn resolve(&mut self, present: i64) {
        match self {
            Self::Range(request) => resolve_range(request, present),
            Self::Txn(request) => resolve_txn(request, present),
            Self::Compact(request) => resolve(&mut request.revision, present),
            Self::Put(_) | Self::Delete(_) => {}
        }
    }
}

/// Puts what has no order of its own into one.
fn settle_range(request: &RangeRequest, answer: &mut RangeResponse) {
    if request.sort_target() == SortTarget::Key {
        return;
    }
    let by = |kv: &KeyValue| match request.sort_target() {
        SortTarget::Version => (kv.version, Bytes::new()),
        SortTarget::Create => (kv.create_revision, Bytes::new()),
        SortTarget::Mod => (kv.mod_revision, Bytes::new()),
        SortTarget::Value => (0, kv.value.clone()),
        SortTarget::Key => unreachable!("has an order"),
    };
    for equals in answer.kvs.chunk_by_mut(|a, b| by(a) == by(b)) {
        equals.sort_by(|a, b| a.key.cmp(&b.key));
    }
    // Which of the last equals a limit has cut off is not said either.
    if let (true, Some(last)) = (answer.more, answer.kvs.last().map(by)) {
        let anonymous = KeyValue::default;
        let equals = answer.kvs.iter_mut().filter(|kv| by(kv) == last);
        equals.for_each(|kv| *kv = anonymous());
    }
}

fn settle_txn(request: &TxnRequest, answer: &mut TxnResponse) {
    let branch = if answer.succeeded {
        &request.success
    } else {
        &request.failure
    };
    for (operation, answer) in branch.iter().zip(&mut answer.responses) {
        match (&operation.request, &mut answer.response) {
            (
                Some(request_op::Request::RequestRange(range)),
                Some(response_op::Response::ResponseRange(answer)),
            ) => {
                settle_range(range, answer);
            }
            (
                Some(request_op::Request::RequestTxn(txn)),
                Some(response_op::Response::ResponseTxn(answer)),
            ) => {
                settle_txn(txn, answer);
            }
            _ => {}
        }
    }
}

/// What stands for the present revision in a drawn request.
const NOW: i64 = 1 << 40;

fn resolve(revision: &mut i64, present: i64) {
    if *revision > NOW / 2 {
        *revision = (*revision - NOW + present).max(0);
    }
}

fn resolve_range(request: &mut RangeRequest, present: i64) {
    for revision in [
        &mut request.revision,
        &mut request.min_mod_revision,
        &mut request.max_mod_revision,
        &mut request.min_create_revision,
        &mut request.max_create_revision,
    ] {
        resolve(revision, present);
    }
}

fn resolve_txn(request: &mut TxnRequest, present: i64) {
    for compare in &mut request.compare {
        if let Some(TargetUnion::ModRevision(revision) | TargetUnion::CreateRevision(revision)) =
            &mut compare.target_union
        {
            resolve(revision, present);
        }
    }
    for operation in request.success.iter_mut().chain(&mut request.failure) {
        match &mut operation.request {
            Some(request_op::Request::RequestRange(range)) => resolve_range(range, present),
            Some(request_op::Request::RequestTxn(txn)) => resolve_txn(txn, present),
            _ => {}
        }
    }
}

/// The requests of a seed.
fn requests(seed: u8) -> Vec<Request> {
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let request = request();
    (0..REQUESTS)
        .map(|_| {
            request
                .new_tree(&mut runner)
                .expect("nothing is filtered out")
                .current()
        })
        .collect()
}

fn request() -> impl Strategy<Value = Request> {
    prop_oneof![
        30 => range().prop_map(Request::Range),
        1 => range().prop_map(|range| Request::Range(RangeRequest { revision: -1, ..range })),
        30 => put().prop_map(Request::Put),
        12 => delete().prop_map(Request::Delete),
        25 => txn(2).prop_map(Request::Txn),
        3 => compact().prop_map(Request::Compact),
    ]
}

/// Few keys, some of them prefixes of others, some at the edges.
fn key() -> impl Strategy<Value = Bytes> {
    let keys: [&'static [u8]; 12] = [
        b"a",
        b"a\0",
        b"aa",
        b"ab",
        b"b",
        b"ba",
        b"c",
        b"d",
        b"e",
        b"\0",
        b"\xff",
        b"\xff\xff",
    ];
    prop_oneof![
        40 => select(keys.to_vec()).prop_map(Bytes::from_static),
        1 => Just(Bytes::new()),
    ]
}

fn range_end() -> impl Strategy<Value = Bytes> {
    prop_oneof![
        5 => Just(Bytes::new()),
        1 => Just(Bytes::from_static(b"\0")),
        4 => key(),
    ]
}

fn value() -> impl Strategy<Value = Bytes> {
    select(vec!["", "x", "y", "yy", "z"]).prop_map(Bytes::from)
}

/// A revision near the present one, if any.
fn revision() -> impl Strategy<Value = i64> {
    prop_oneof![
        12 => Just(0),
        8 => (-40_i64..=1).prop_map(|offset| NOW + offset),
        1 => 1_i64..20,
    ]
}

/// A bound of a filter: none as a rule, because four of them together leave nothing.
fn bound() -> impl Strategy<Value = i64> {
    prop_oneof![
        12 => Just(0),
        1 => (-20_i64..=1).prop_map(|offset| NOW + offset),
    ]
}

fn flag(percent: u32) -> impl Strategy<Value = bool> {
    prop::bool::weighted(f64::from(percent) / 100.0)
}

fn range() -> impl Strategy<Value = RangeRequest> {
    let keys = (
        key(),
        range_end(),
        revision(),
        select(vec![0, 0, 0, 0, 1, 2, 3, 100, -1]),
    );
    let order = (0..3_i32, 0..5_i32, flag(50));
    let kind = (flag(20), flag(10), flag(10));
    let bounds = (bound(), bound(), bound(), bound());
    (keys, order, kind, bounds).prop_map(|(keys, order, kind, bounds)| {
        let (key, range_end, revision, limit) = keys;
        let (sort_order, sort_target, sorted) = order;
        let (serializable, keys_only, count_only) = kind;
        let (min_mod_revision, max_mod_revision, min_create_revision, max_create_revision) = bounds;
        RangeRequest {
            key,
            range_end,
            limit,
            revision,
            sort_order: if sorted { sort_order } else { 0 },
            sort_target: if sorted { sort_target } else { 0 },
            serializable,
            keys_only,
            count_only,
            min_mod_revision,
            max_mod_revision,
            min_create_revision,
            max_create_revision,
        }
    })
}

fn put() -> impl Strategy<Value = PutRequest> {
    let lease = prop_oneof![30 => Just(0_i64), 1 => Just(12345)];
    (key(), value(), lease, flag(40), flag(10), flag(10)).prop_map(
        |(key, value, lease, prev_kv, ignore_value, ignore_lease)| PutRequest {
            key,
            // Mostly as such a request must be, so that it does something.
            value: if ignore_value && value.len() < 2 {
                Bytes::new()
            } else {
                value
            },
            lease,
            prev_kv,
            ignore_value,
            ignore_lease,
        },
    )
}

fn delete() -> impl Strategy<Value = DeleteRangeRequest> {
    (key(), range_end(), flag(50)).prop_map(|(key, range_end, prev_kv)| DeleteRangeRequest {
        key,
        range_end,
        prev_kv,
    })
}

fn compact() -> impl Strategy<Value = CompactionRequest> {
    (-30_i64..=1, flag(50)).prop_map(|(offset, physical)| CompactionRequest {
        revision: NOW + offset,
        physical,
    })
}

fn comparison() -> impl Strategy<Value = Compare> {
    let operand = prop_oneof![
        (0_i64..4).prop_map(TargetUnion::Version),
        revision().prop_map(TargetUnion::CreateRevision),
        revision().prop_map(TargetUnion::ModRevision),
        value().prop_map(TargetUnion::Value),
        (0_i64..2).prop_map(TargetUnion::Lease),
    ];
    let range_end = prop_oneof![3 => Just(Bytes::new()), 1 => range_end()];
    (0..4_i32, key(), operand, range_end).prop_map(|(result, key, operand, range_end)| Compare {
        result,
        target: match operand {
            TargetUnion::Version(_) => 0,
            TargetUnion::CreateRevision(_) => 1,
            TargetUnion::ModRevision(_) => 2,
            TargetUnion::Value(_) => 3,
            TargetUnion::Lease(_) => 4,
        },
        key,
        target_union: Some(operand),
        range_end,
    })
}

/// A transaction with others nested up to `depth` deep.
fn txn(depth: u32) -> BoxedStrategy<TxnRequest> {
    let branch = || prop::collection::vec(operation(depth), 0..4);
    (
        prop::collection::vec(comparison(), 0..3),
        branch(),
        branch(),
    )
        .prop_map(|(compare, success, failure)| TxnRequest {
            compare,
            success,
            failure,
        })
        .boxed()
}

fn operation(depth: u32) -> BoxedStrategy<RequestOp> {
    let some = |request| RequestOp {
        request: Some(request),
    };
    let plain = prop_oneof![
        8 => range().prop_map(move |range| some(request_op::Request::RequestRange(range))),
        8 => put().prop_map(move |put| some(request_op::Request::RequestPut(put))),
        4 => delete().prop_map(move |delete| some(request_op::Request::RequestDeleteRange(delete))),
    ];
    if depth == 0 {
        return plain.boxed();
    }
    let nested = txn(depth - 1).prop_map(move |txn| some(request_op::Request::RequestTxn(txn)));
    prop_oneof![6 => plain, 1 => nested].boxed()
}
