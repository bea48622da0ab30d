//! Scripts: a sentence, commands behind `> `, and what the state machine answered.
//!
//! `UPDATE_SCRIPTS=1 cargo test -p quorate --test state scripts` records the answers anew; the difference is then reviewed
//! like code.

use std::fmt::Write;
use std::path::Path;

use bytes::Bytes;
use quorate::ids::{LeaseId, Revision};
use quorate::proto::etcdserverpb::compare::{CompareResult, CompareTarget, TargetUnion};
use quorate::proto::etcdserverpb::range_request::{SortOrder, SortTarget};
use quorate::proto::etcdserverpb::request_op::Request;
use quorate::proto::etcdserverpb::response_op::Response as OpResponse;
use quorate::proto::etcdserverpb::{
    CompactionRequest, Compare, DeleteRangeRequest, DeleteRangeResponse, PutRequest, PutResponse,
    RangeRequest, RangeResponse, RequestOp, ResponseHeader, TxnRequest,
};
use quorate::proto::mvccpb::KeyValue;
use quorate::proto::store::command::Body;
use quorate::proto::store::{
    ClusterInit, LeaseGrant, LeaseRevoke, Member, MemberAdmit, MemberRemove, MemberRole,
    MemberUpdate, Recovery, Role, RoleChange, Token, TokenAdd, TokenRevoke, TrustSet,
};
use quorate::state::{self, Listening, Response, RevisionEvents, SystemResponse};

use crate::driver::Driver;

/// A line's words: first the plain ones, then `name=value`.
struct Words<'l>(Vec<&'l str>);

impl<'l> Words<'l> {
    fn of(line: &'l str) -> Self {
        Self(line.split_whitespace().collect())
    }

    fn plain(&self, index: usize) -> &'l str {
        self.0.get(index).copied().unwrap_or_default()
    }

    fn has(&self, word: &str) -> bool {
        self.0.contains(&word)
    }

    fn text(&self, name: &str) -> &'l str {
        let found = self
            .0
            .iter()
            .find_map(|word| word.strip_prefix(name)?.strip_prefix('='));
        found.unwrap_or_default()
    }

    fn number<N: std::str::FromStr + Default>(&self, name: &str) -> N {
        self.text(name).parse().unwrap_or_default()
    }

    fn bytes(&self, name: &str) -> Bytes {
        Bytes::copy_from_slice(self.text(name).as_bytes())
    }
}

#[test]
fn scripts_answer_as_recorded() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/state");
    let mut scripts: Vec<_> = dir
        .read_dir()
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    scripts.sort();
    assert!(!scripts.is_empty());
    for path in scripts {
        #[expect(
            clippy::disallowed_methods,
            reason = "scripts are files of the repository"
        )]
        let recorded = std::fs::read(&path).unwrap();
        let recorded = String::from_utf8(recorded).unwrap();
        let answered = run(&recorded);
        if std::env::var_os("UPDATE_SCRIPTS").is_some() {
            #[expect(
                clippy::disallowed_methods,
                reason = "scripts are files of the repository"
            )]
            std::fs::write(&path, answered).unwrap();
        } else {
            assert_eq!(recorded, answered, "{}", path.display());
        }
    }
}

/// The script again, with the answers of now.
fn run(script: &str) -> String {
    let mut driver = Driver::new();
    let mut output = String::new();
    for line in script.lines() {
        if let Some(command) = line.strip_prefix("> ") {
            let answer;
            (driver, answer) = perform(driver, command);
            write!(output, "{line}\n{answer}").unwrap();
        } else if line.is_empty() || line.starts_with('#') {
            writeln!(output, "{line}").unwrap();
        }
    }
    output
}

fn perform(mut driver: Driver, line: &str) -> (Driver, String) {
    let words = Words::of(line);
    let answer = match words.plain(0) {
        "get" => match driver.range(&range(&words)) {
            Ok(response) => show_range(&response),
            Err(error) => format!("rejected: {error}\n"),
        },
        "sweep" => format!(
            "{:?}\n",
            driver
                .state
                .compact_step(words.plain(1).parse().unwrap())
                .unwrap()
        ),
        "restart" => {
            driver = driver.reopen();
            String::new()
        }
        "events" => {
            let listening = if words.has("prev") {
                Listening::EventsWithPrevious
            } else {
                Listening::Events
            };
            let first = Revision(words.plain(1).parse().unwrap());
            match driver
                .reader
                .events(first, words.text("limit").parse().unwrap_or(100), listening)
            {
                Ok(events) => show_events(&events),
                Err(error) => format!("rejected: {error}\n"),
            }
        }
        "leases" => show_leases(&driver),
        "members" => show_all(&state::members(driver.reader.connection()).unwrap()),
        "tombstones" => show_all(&state::tombstones(driver.reader.connection()).unwrap()),
        "tokens" => show_all(&state::tokens(driver.reader.connection()).unwrap()),
        "cluster" => show_all(
            state::cluster(driver.reader.connection())
                .unwrap()
                .as_slice(),
        ),
        "trusted" => show_all(&state::trusted(driver.reader.connection()).unwrap()),
        _ => {
            let (response, events) = driver.apply_with_events(body(line));
            show(&response) + &show_events(&events)
        }
    };
    (driver, answer)
}

fn body(line: &str) -> Body {
    let words = Words::of(line);
    let plain_number = |index| words.plain(index).parse().unwrap();
    match words.plain(0) {
        "put" => Body::Put(put(&words)),
        "delete" => Body::DeleteRange(delete(&words)),
        "if" => Body::Txn(txn(line)),
        "compact" => Body::Compact(CompactionRequest {
            revision: plain_number(1),
            physical: false,
        }),
        "grant" => Body::LeaseGrant(LeaseGrant {
            id: plain_number(1),
            ttl_seconds: plain_number(2),
        }),
        "revoke" => Body::LeaseRevoke(LeaseRevoke {
            id: plain_number(1),
            expired_in_term: words.number("expired-in-term"),
        }),
        "init" => Body::ClusterInit(ClusterInit {
            cluster_id: words.number("cluster"),
            epoch: 1,
            first: Some(member(&words)),
            trusted_cas: vec![words.bytes("ca")],
            at_ms: words.number("at"),
        }),
        "admit" => Body::MemberAdmit(MemberAdmit {
            member: Some(member(&words)),
            token_id: words.bytes("token"),
            at_ms: words.number("at"),
        }),
        "update" => Body::MemberUpdate(MemberUpdate {
            member: Some(member(&words)),
        }),
        "remove" => Body::MemberRemove(MemberRemove {
            id: words.number("id"),
            at_ms: words.number("at"),
            keep_until_ms: words.number("until"),
        }),
        "role" => Body::RoleChange(RoleChange {
            roles: vec![MemberRole {
                id: words.number("id"),
                role: role(words.text("to")).into(),
            }],
        }),
        "token" => Body::TokenAdd(TokenAdd {
            token: Some(Token {
                id: words.bytes("id"),
                public_key: words.bytes("key"),
                uses_left: words.number("uses"),
                expires_at_ms: words.number("until"),
                spare_only: words.has("spare-only"),
                node_name: words.text("name").to_owned(),
                created_by: String::new(),
            }),
            at_ms: words.number("at"),
        }),
        "revoke-token" => Body::TokenRevoke(TokenRevoke {
            id: words.bytes("id"),
        }),
        "recover" => Body::Recovery(Recovery {
            epoch: words.number("epoch"),
            revision_bump: words.number("bump"),
            lost_nodes: words
                .text("lost")
                .split(',')
                .filter_map(|id| id.parse().ok())
                .collect(),
            at_ms: words.number("at"),
        }),
        "trust" => Body::TrustSet(TrustSet {
            cas: words.0[1..]
                .iter()
                .map(|ca| Bytes::copy_from_slice(ca.as_bytes()))
                .collect(),
        }),
        other => panic!("no such command: {other}"),
    }
}

/// `a` is one key, `a..c` a range, `a..` all from `a` on.
fn bounds(word: &str) -> (Bytes, Bytes) {
    let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
    match word.split_once("..") {
        None => (bytes(word), Bytes::new()),
        Some((key, "")) => (bytes(key), Bytes::from_static(b"\0")),
        Some((key, end)) => (bytes(key), bytes(end)),
    }
}

fn put(words: &Words<'_>) -> PutRequest {
    let value = if words.has("keep-value") {
        ""
    } else {
        words.plain(2)
    };
    PutRequest {
        key: bounds(words.plain(1)).0,
        value: Bytes::copy_from_slice(value.as_bytes()),
        lease: words.number("lease"),
        prev_kv: words.has("prev"),
        ignore_value: words.has("keep-value"),
        ignore_lease: words.has("keep-lease"),
    }
}

fn delete(words: &Words<'_>) -> DeleteRangeRequest {
    let (key, range_end) = bounds(words.plain(1));
    DeleteRangeRequest {
        key,
        range_end,
        prev_kv: words.has("prev"),
    }
}

fn range(words: &Words<'_>) -> RangeRequest {
    let (key, range_end) = bounds(words.plain(1));
    let by = match words.text("by") {
        "version" => SortTarget::Version,
        "created" => SortTarget::Create,
        "modified" => SortTarget::Mod,
        "value" => SortTarget::Value,
        _ => SortTarget::Key,
    };
    let order = match words.text("order") {
        "up" => SortOrder::Ascend,
        "down" => SortOrder::Descend,
        _ => SortOrder::None,
    };
    RangeRequest {
        key,
        range_end,
        limit: words.number("limit"),
        revision: words.number("rev"),
        sort_order: order.into(),
        sort_target: by.into(),
        serializable: false,
        keys_only: words.has("keys-only"),
        count_only: words.has("count-only"),
        min_mod_revision: words.number("min-modified"),
        max_mod_revision: words.number("max-modified"),
        min_create_revision: words.number("min-created"),
        max_create_revision: words.number("max-created"),
    }
}

/// `if COMPARE, COMPARE then OPERATION; OPERATION else OPERATION`.
fn txn(line: &str) -> TxnRequest {
    let (condition, rest) = line["if ".len()..].split_once(" then ").unwrap();
    let (success, failure) = rest.split_once(" else ").unwrap_or((rest, ""));
    let operations = |text: &str| {
        text.split(';')
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .map(operation)
            .collect()
    };
    TxnRequest {
        compare: condition
            .split(',')
            .map(str::trim)
            .filter(|text| *text != "always")
            .map(compare)
            .collect(),
        success: operations(success),
        failure: operations(failure),
    }
}

fn operation(text: &str) -> RequestOp {
    let words = Words::of(text);
    let request = match words.plain(0) {
        "put" => Request::RequestPut(put(&words)),
        "get" => Request::RequestRange(range(&words)),
        "delete" => Request::RequestDeleteRange(delete(&words)),
        other => panic!("no such operation: {other}"),
    };
    RequestOp {
        request: Some(request),
    }
}

/// `version(a)=1`, `value(a..c)!x`, `modified(a)>3`.
fn compare(text: &str) -> Compare {
    let (target, rest) = text.split_once('(').unwrap();
    let (range, wanted) = rest.split_once(')').unwrap();
    let result = match &wanted[..1] {
        "=" => CompareResult::Equal,
        "!" => CompareResult::NotEqual,
        ">" => CompareResult::Greater,
        _ => CompareResult::Less,
    };
    let number = || wanted[1..].parse().unwrap();
    let (target, wanted) = match target {
        "version" => (CompareTarget::Version, TargetUnion::Version(number())),
        "created" => (CompareTarget::Create, TargetUnion::CreateRevision(number())),
        "modified" => (CompareTarget::Mod, TargetUnion::ModRevision(number())),
        "lease" => (CompareTarget::Lease, TargetUnion::Lease(number())),
        _ => (
            CompareTarget::Value,
            TargetUnion::Value(Bytes::copy_from_slice(&wanted.as_bytes()[1..])),
        ),
    };
    let (key, range_end) = bounds(range);
    Compare {
        result: result.into(),
        target: target.into(),
        key,
        range_end,
        target_union: Some(wanted),
    }
}

fn member(words: &Words<'_>) -> Member {
    Member {
        id: words.number("id"),
        name: words.text("name").to_owned(),
        role: role(words.text("to")).into(),
        peer_addresses: vec![words.text("address").to_owned()],
        key_hash: words.bytes("key"),
        ..Member::default()
    }
}

fn role(word: &str) -> Role {
    match word {
        "voter" => Role::Voter,
        "standby" => Role::Standby,
        "spare" => Role::Spare,
        _ => Role::Unspecified,
    }
}

fn show(response: &Response) -> String {
    match response {
        Response::Blank | Response::Untold => String::new(),
        Response::Put(response) => show_put(response),
        Response::DeleteRange(response) => show_delete(response),
        Response::Txn(response) => {
            let branch = if response.succeeded { "then" } else { "else" };
            let mut text = format!("{}{branch}\n", show_header(response.header));
            for response in &response.responses {
                let inner = match response.response.as_ref().unwrap() {
                    OpResponse::ResponsePut(response) => show_put(response),
                    OpResponse::ResponseDeleteRange(response) => show_delete(response),
                    OpResponse::ResponseRange(response) => show_range(response),
                    OpResponse::ResponseTxn(_) => unreachable!("scripts do not nest"),
                };
                inner
                    .lines()
                    .for_each(|line| writeln!(text, "  {line}").unwrap());
            }
            text
        }
        Response::Compact(response) => show_header(response.header),
        Response::LeaseGrant(response) => {
            format!("{}lease {}\n", show_header(response.header), response.id)
        }
        Response::LeaseRevoke(response) => show_header(response.header),
        Response::System(SystemResponse::Done) => "done\n".to_owned(),
        Response::System(SystemResponse::Admitted(member)) => {
            format!("admitted at {}\n", member.admitted_index)
        }
        Response::Rejected(rejection) => format!("rejected: {rejection}\n"),
    }
}

fn show_header(header: Option<ResponseHeader>) -> String {
    format!("revision {}\n", header.unwrap().revision)
}

fn show_put(response: &PutResponse) -> String {
    show_header(response.header) + &show_previous(response.prev_kv.as_slice())
}

fn show_delete(response: &DeleteRangeResponse) -> String {
    format!(
        "{}deleted {}\n{}",
        show_header(response.header),
        response.deleted,
        show_previous(&response.prev_kvs)
    )
}

fn show_previous(kvs: &[KeyValue]) -> String {
    kvs.iter()
        .map(|kv| format!("was {}", show_kv(kv)))
        .collect()
}

fn show_range(response: &RangeResponse) -> String {
    let more = if response.more { ", more" } else { "" };
    let kvs: String = response.kvs.iter().map(show_kv).collect();
    format!(
        "{}{kvs}count {}{more}\n",
        show_header(response.header),
        response.count
    )
}

fn show_kv(kv: &KeyValue) -> String {
    let text = |bytes: &Bytes| String::from_utf8(bytes.to_vec()).unwrap();
    let lease = if kv.lease == 0 {
        String::new()
    } else {
        format!(" lease {}", kv.lease)
    };
    format!(
        "{} = {:?} created {} modified {} version {}{lease}\n",
        text(&kv.key),
        text(&kv.value),
        kv.create_revision,
        kv.mod_revision,
        kv.version
    )
}

fn show_events(events: &[RevisionEvents]) -> String {
    let mut text = String::new();
    for (revision, events) in events {
        for event in events {
            write!(
                text,
                "event {revision} {:?} {}",
                event.r#type(),
                show_kv(event.kv.as_ref().unwrap())
            )
            .unwrap();
            event
                .prev_kv
                .iter()
                .for_each(|kv| write!(text, "  was {}", show_kv(kv)).unwrap());
        }
    }
    text
}

fn show_leases(driver: &Driver) -> String {
    let mut text = String::new();
    for lease in driver.reader.leases().unwrap() {
        let keys = driver.reader.lease_keys(LeaseId(lease.id.0)).unwrap();
        writeln!(
            text,
            "lease {} for {} s: {keys:?}",
            lease.id.0, lease.ttl_seconds
        )
        .unwrap();
    }
    text
}

fn show_all<T: std::fmt::Debug>(items: &[T]) -> String {
    items.iter().map(|item| format!("{item:?}\n")).collect()
}
