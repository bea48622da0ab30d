//! What is on disk and on the wire stays readable: the bytes of each message and the tables of each format are pinned.
//!
//! A line that differs means that this version no longer understands what older ones wrote. Fields are added, with numbers
//! of their own and to the end of a message here; nothing else is ever changed.

use std::fmt::Write;

use bytes::Bytes;
use prost::Message;
use quorate::database::{DatabaseError, Missing};
use quorate::proto::etcdserverpb::compare::TargetUnion;
use quorate::proto::etcdserverpb::request_op::Request;
use quorate::proto::etcdserverpb::{
    CompactionRequest, CompactionResponse, Compare, DeleteRangeRequest, DeleteRangeResponse,
    LeaseGrantResponse, LeaseRevokeResponse, PutRequest, PutResponse, RangeRequest, RequestOp,
    ResponseHeader, TxnRequest, TxnResponse,
};
use quorate::proto::peer::{
    self, Answer, AppendRequest, AppendResponse, Memory, Nothing, PartialSuccess, ProposeOutcome,
    ProposeRequest, ProposeResponse, ReadIndexRequest, ReadIndexResponse, RecallRequest,
    RecallResponse, Rejected, ReportRequest, ReportResponse, Route, SnapshotRequest,
    SnapshotResponse, TransferRequest, TransferResponse, VoteRequest, VoteResponse, answer,
    append_response, propose_outcome, read_index_response, snapshot_request,
};
use quorate::proto::store::command::Body;
use quorate::proto::store::snapshot_chunk::Content;
use quorate::proto::store::{
    Cluster, ClusterInit, Entry, LeaseGrant, LeaseRevoke, LogId, Member, MemberAdmit, MemberRemove,
    MemberRole, MemberUpdate, Membership, NodeSet, Recovery, Role, RoleChange, SnapshotChunk,
    SnapshotEnd, SnapshotHead, SnapshotLease, SnapshotRecords, SnapshotVersion, SnapshotVersions,
    Token, TokenAdd, TokenRevoke, Tombstone, TrustSet, Vote,
};
use quorate::state::{self, LAYOUT, State, StateError};

use crate::driver::Driver;

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn member() -> Member {
    Member {
        id: u64::MAX,
        name: "one".into(),
        role: Role::Standby.into(),
        peer_addresses: vec!["a:1".into(), "b:2".into()],
        client_addresses: vec!["c:3".into()],
        failure_domain: "rack".into(),
        admitted_index: 300,
        admitted_at_ms: 1_700_000_000_000,
        feature_level: 1,
        key_hash: bytes("hash"),
        spare_only: true,
        leaving: false,
    }
}

fn token() -> Token {
    Token {
        id: bytes("id"),
        public_key: bytes("key"),
        uses_left: 3,
        expires_at_ms: 9,
        spare_only: true,
        node_name: "one".into(),
        created_by: "me".into(),
    }
}

fn tombstone() -> Tombstone {
    Tombstone {
        id: 7,
        name: "gone".into(),
        removed_index: 8,
        keep_until_ms: u64::MAX,
    }
}

fn membership() -> Membership {
    Membership {
        voters: vec![
            NodeSet {
                nodes: vec![1, 300],
            },
            NodeSet { nodes: vec![2] },
        ],
        standbys: vec![4],
    }
}

fn txn() -> TxnRequest {
    let put = PutRequest {
        key: bytes("k"),
        value: bytes("v"),
        lease: -1,
        prev_kv: true,
        ignore_value: true,
        ignore_lease: true,
    };
    let delete = DeleteRangeRequest {
        key: bytes("k"),
        range_end: bytes("l"),
        prev_kv: true,
    };
    let range = RangeRequest {
        key: bytes("k"),
        limit: 5,
        revision: 6,
        ..RangeRequest::default()
    };
    let operation = |request| RequestOp {
        request: Some(request),
    };
    TxnRequest {
        compare: vec![Compare {
            result: 1,
            target: 3,
            key: bytes("k"),
            range_end: bytes("l"),
            target_union: Some(TargetUnion::Value(bytes("v"))),
        }],
        success: vec![
            operation(Request::RequestPut(put)),
            operation(Request::RequestDeleteRange(delete)),
        ],
        failure: vec![
            operation(Request::RequestRange(range)),
            operation(Request::RequestTxn(TxnRequest::default())),
        ],
    }
}

/// One line for each message: its name and its bytes.
fn encoded() -> String {
    let mut lines = String::new();
    let mut line = |name: &str, bytes: Vec<u8>| {
        let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        writeln!(lines, "{name} {hex}").unwrap();
    };
    let log_id = LogId {
        term: 3,
        index: 400,
    };
    line("LogId", log_id.encode_to_vec());
    line(
        "Vote",
        Vote {
            term: 3,
            node: u64::MAX,
            committed: true,
        }
        .encode_to_vec(),
    );
    line("Membership", membership().encode_to_vec());
    line(
        "Entry",
        Entry {
            id: Some(log_id),
            command: Some(bytes("c")),
            membership: Some(membership()),
        }
        .encode_to_vec(),
    );
    line(
        "Entry.blank",
        Entry {
            id: Some(log_id),
            command: None,
            membership: None,
        }
        .encode_to_vec(),
    );
    line("Member", member().encode_to_vec());
    let leaving = Member {
        leaving: true,
        ..member()
    };
    line("Member.leaving", leaving.encode_to_vec());
    line("Token", token().encode_to_vec());
    line("Tombstone", tombstone().encode_to_vec());
    line(
        "Cluster",
        Cluster {
            cluster_id: 9,
            epoch: 2,
            created_at_ms: 5,
        }
        .encode_to_vec(),
    );
    let txn = txn();
    let bodies = [
        (
            "Put",
            Body::Put(PutRequest {
                key: bytes("k"),
                value: bytes("v"),
                ..PutRequest::default()
            }),
        ),
        (
            "DeleteRange",
            Body::DeleteRange(DeleteRangeRequest {
                key: bytes("k"),
                range_end: bytes("\0"),
                prev_kv: false,
            }),
        ),
        ("Txn", Body::Txn(txn)),
        (
            "Compact",
            Body::Compact(CompactionRequest {
                revision: 5,
                physical: true,
            }),
        ),
        (
            "LeaseGrant",
            Body::LeaseGrant(LeaseGrant {
                id: -2,
                ttl_seconds: 60,
            }),
        ),
        (
            "LeaseRevoke",
            Body::LeaseRevoke(LeaseRevoke {
                id: 1,
                expired_in_term: 3,
            }),
        ),
        (
            "ClusterInit",
            Body::ClusterInit(ClusterInit {
                cluster_id: 9,
                epoch: 1,
                first: Some(member()),
                trusted_cas: vec![bytes("ca")],
                at_ms: 5,
            }),
        ),
        (
            "MemberAdmit",
            Body::MemberAdmit(MemberAdmit {
                member: Some(member()),
                token_id: bytes("id"),
                at_ms: 6,
            }),
        ),
        (
            "MemberUpdate",
            Body::MemberUpdate(MemberUpdate {
                member: Some(member()),
            }),
        ),
        (
            "MemberRemove",
            Body::MemberRemove(MemberRemove {
                id: 1,
                at_ms: 2,
                keep_until_ms: 3,
            }),
        ),
        (
            "RoleChange",
            Body::RoleChange(RoleChange {
                roles: vec![MemberRole {
                    id: 1,
                    role: Role::Voter.into(),
                }],
            }),
        ),
        (
            "TokenAdd",
            Body::TokenAdd(TokenAdd {
                token: Some(token()),
                at_ms: 4,
            }),
        ),
        (
            "TokenRevoke",
            Body::TokenRevoke(TokenRevoke { id: bytes("id") }),
        ),
        (
            "Recovery",
            Body::Recovery(Recovery {
                epoch: 2,
                revision_bump: 1000,
                lost_nodes: vec![1, 2],
                at_ms: 5,
            }),
        ),
        (
            "TrustSet",
            Body::TrustSet(TrustSet {
                cas: vec![bytes("ca"), bytes("cb")],
            }),
        ),
    ];
    for (name, body) in bodies {
        line(
            &format!("Command.{name}"),
            state::command(body).encode_to_vec(),
        );
    }
    let version = SnapshotVersion {
        position: 1 << 23,
        created: 2,
        version: 1,
        lease: 5,
        key: bytes("k"),
        value: bytes("v"),
        continued: true,
    };
    let records = SnapshotRecords {
        cluster: vec![Cluster {
            cluster_id: 9,
            epoch: 2,
            created_at_ms: 5,
        }],
        members: vec![member()],
        tombstones: vec![tombstone()],
        tokens: vec![token()],
        trusted_cas: vec![bytes("ca")],
        leases: vec![SnapshotLease {
            id: 5,
            ttl_seconds: 60,
        }],
    };
    let head = SnapshotHead {
        format: 1,
        applied: Some(log_id),
        membership: Some(membership()),
        membership_id: Some(log_id),
        revision: 5,
        compacted: -1,
        swept: 0,
        clock_ms: 9,
    };
    let contents = [
        ("Head", Content::Head(head)),
        ("Records", Content::Records(records)),
        (
            "Versions",
            Content::Versions(SnapshotVersions {
                versions: vec![version],
            }),
        ),
        (
            "End",
            Content::End(SnapshotEnd {
                versions: 3,
                checksum: 77,
            }),
        ),
    ];
    for (name, content) in contents {
        line(
            &format!("SnapshotChunk.{name}"),
            SnapshotChunk {
                sequence: 1,
                content: Some(content),
            }
            .encode_to_vec(),
        );
    }
    for (name, bytes) in elections_and_log(log_id)
        .into_iter()
        .chain(proposals(log_id))
    {
        line(&format!("peer.{name}"), bytes);
    }
    lines
}

fn route() -> Option<Route> {
    Some(Route {
        cluster: 9,
        epoch: 2,
        from: u64::MAX,
        to: 1,
    })
}

/// What members say to one another about votes, the log and snapshots. A pre-vote is a vote's message in another call.
fn elections_and_log(log_id: LogId) -> Vec<(&'static str, Vec<u8>)> {
    let (route, last) = (route(), Some(log_id));
    let higher = Vote {
        term: 3,
        node: u64::MAX,
        committed: true,
    };
    let vote = Some(higher);
    let append = AppendRequest {
        route,
        vote,
        previous: Some(LogId {
            term: 2,
            index: 399,
        }),
        entries: vec![Entry {
            id: last,
            command: Some(bytes("c")),
            membership: None,
        }],
        committed: Some(LogId { term: 2, index: 7 }),
        durable: Some(LogId { term: 2, index: 8 }),
    };
    let appended = |outcome| {
        AppendResponse {
            outcome: Some(outcome),
        }
        .encode_to_vec()
    };
    let voting = VoteRequest {
        route,
        vote,
        last,
        leadership_transfer: true,
    };
    let voted = VoteResponse {
        vote,
        granted: true,
        last,
    };
    let head = peer::SnapshotHead {
        route,
        vote,
        last,
        membership_id: Some(LogId { term: 1, index: 6 }),
        membership: Some(membership()),
    };
    let part = |part| SnapshotRequest { part: Some(part) }.encode_to_vec();
    let transfer = TransferRequest {
        route,
        from_leader: vote,
        to: 4,
        last,
    };
    let transferred = TransferResponse {
        accepted: true,
        vote,
    };
    let recall = |memory| RecallRequest { route, memory }.encode_to_vec();
    let recalled = RecallResponse {
        term: 3,
        last,
        acknowledged: Some(LogId { term: 2, index: 9 }),
    };
    vec![
        ("Append", append.encode_to_vec()),
        (
            "Appended.Success",
            appended(append_response::Outcome::Success(Nothing {})),
        ),
        (
            "Appended.Partial",
            appended(append_response::Outcome::Partial(PartialSuccess { last })),
        ),
        (
            "Appended.Conflict",
            appended(append_response::Outcome::Conflict(Nothing {})),
        ),
        (
            "Appended.HigherVote",
            appended(append_response::Outcome::HigherVote(higher)),
        ),
        ("Vote", voting.encode_to_vec()),
        ("Voted", voted.encode_to_vec()),
        ("Snapshot.Head", part(snapshot_request::Part::Head(head))),
        (
            "Snapshot.Chunk",
            part(snapshot_request::Part::Chunk(bytes("c"))),
        ),
        ("Snapshot.Done", SnapshotResponse { vote }.encode_to_vec()),
        ("Transfer", transfer.encode_to_vec()),
        ("Transferred", transferred.encode_to_vec()),
        ("Recall", recall(None)),
        ("Recall.Memory", recall(Some(Memory { term: 3, last }))),
        ("Recalled", recalled.encode_to_vec()),
    ]
}

/// What they say about commands and reads.
fn proposals(log_id: LogId) -> Vec<(&'static str, Vec<u8>)> {
    use propose_outcome::Outcome;

    let route = route();
    let propose = ProposeRequest {
        route,
        commands: vec![bytes("one"), bytes("two")],
    };
    let header = Some(ResponseHeader {
        revision: 5,
        ..ResponseHeader::default()
    });
    let rejected = Rejected {
        reason: 23,
        detail: "why".into(),
    };
    let answers = [
        answer::Answer::Blank(Nothing {}),
        answer::Answer::Put(PutResponse {
            header,
            prev_kv: None,
        }),
        answer::Answer::DeleteRange(DeleteRangeResponse::default()),
        answer::Answer::Txn(TxnResponse::default()),
        answer::Answer::Compact(CompactionResponse::default()),
        answer::Answer::LeaseGrant(LeaseGrantResponse::default()),
        answer::Answer::LeaseRevoke(LeaseRevokeResponse::default()),
        answer::Answer::Done(Nothing {}),
        answer::Answer::Admitted(member()),
        answer::Answer::Rejected(rejected),
    ];
    let answers = answers.map(|answer| {
        Outcome::Answer(Answer {
            answer: Some(answer),
        })
    });
    let others = [
        Outcome::NotLeader(7),
        Outcome::Overloaded(Nothing {}),
        Outcome::Unknown(Nothing {}),
        Outcome::NoSpace(Nothing {}),
        Outcome::Refused("why".into()),
    ];
    let outcomes = answers.into_iter().chain(others);
    let proposed = ProposeResponse {
        outcomes: outcomes
            .map(|outcome| ProposeOutcome {
                outcome: Some(outcome),
            })
            .collect(),
    };
    let index = |outcome| {
        ReadIndexResponse {
            outcome: Some(outcome),
        }
        .encode_to_vec()
    };
    let report = ReportResponse {
        node: 1,
        version: "v".into(),
        term: 3,
        leader: 2,
        last: Some(log_id),
        applied: Some(log_id),
        revision: 5,
        compacted: 6,
        trouble: "t".into(),
        database_bytes: 7,
        database_bytes_in_use: 8,
        digest: "d".into(),
        wall_ms: 9,
        last_sync_micros: 10,
        holds_signer: true,
        certificate_expires_ms: 11,
        view_index: 12,
        aims: "a".into(),
        disk_full: true,
        holds_log: true,
        compares_memory: true,
    };
    vec![
        ("Propose", propose.encode_to_vec()),
        ("Proposed", proposed.encode_to_vec()),
        ("ReadIndex", ReadIndexRequest { route }.encode_to_vec()),
        (
            "ReadIndex.Index",
            index(read_index_response::Outcome::Index(300)),
        ),
        (
            "ReadIndex.NotLeader",
            index(read_index_response::Outcome::NotLeader(7)),
        ),
        (
            "ReadIndex.NoQuorum",
            index(read_index_response::Outcome::NoQuorum(Nothing {})),
        ),
        ("Report", ReportRequest { route }.encode_to_vec()),
        ("Reported", report.encode_to_vec()),
    ]
}

#[test]
fn messages_are_encoded_as_they_always_were() {
    assert_eq!(encoded(), include_str!("../golden/messages.txt"));
}

#[test]
fn the_tables_of_a_format_never_change() {
    let pinned = include_str!("../golden/state-format-1.sql");
    assert_eq!(LAYOUT.formats[0].trim(), pinned.trim());
}

#[test]
fn a_state_written_by_a_newer_version_is_left_alone() {
    let driver = Driver::new();
    let place = driver.place();
    let newer = rusqlite::Connection::open(place.path(LAYOUT.file)).unwrap();
    newer
        .pragma_update(None, "user_version", LAYOUT.formats.len() + 1)
        .unwrap();
    drop((newer, driver.state, driver.reader));
    let refused = State::open(&place, Missing::Refuse).err().unwrap();
    assert!(
        matches!(refused, StateError::Database(DatabaseError::Future { .. })),
        "{refused}"
    );
    let untouched = rusqlite::Connection::open(place.path(LAYOUT.file)).unwrap();
    let version: usize = untouched
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .unwrap();
    assert_eq!(version, LAYOUT.formats.len() + 1);
}
