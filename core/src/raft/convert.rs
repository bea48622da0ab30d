//! Between openraft's types and our protobuf: what is stored and what is sent is always ours.

use std::collections::BTreeSet;
use std::io;

use bytes::Bytes;

use super::journal::Mark;
use super::types::{self, Entry, LogId, Membership, Payload, StoredMembership, Vote};
use crate::ids::NodeId;
use crate::proto::store;

/// No index or term is greater: SQLite's numbers end there, and openraft counts one further.
pub const LAST_NUMBER: u64 = i64::MAX as u64 - 1;

/// A message that decodes but says nothing sensible.
fn malformed(what: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("malformed message: {what}"),
    )
}

/// To the wire.
#[must_use]
pub fn log_id_out(id: &LogId) -> store::LogId {
    store::LogId {
        term: types::term_of(id),
        index: id.index,
    }
}

/// From the wire.
#[must_use]
pub fn log_id_in(id: &store::LogId) -> LogId {
    types::log_id(id.term, id.index)
}

/// From the wire. Nothing to remember is the lowest mark that there is.
#[must_use]
pub fn mark_in(term: u64, last: Option<store::LogId>) -> Mark {
    let last = last.unwrap_or_default();
    let last = (last.term, last.index);
    Mark { term, last }
}

/// The part of a mark that is an entry, to the wire.
#[must_use]
pub fn last_of(mark: Mark) -> store::LogId {
    let (term, index) = mark.last;
    store::LogId { term, index }
}

/// To the wire.
#[must_use]
pub fn vote_out(vote: &Vote) -> store::Vote {
    store::Vote {
        term: vote.leader_id.term,
        node: vote.leader_id.voted_for.0,
        committed: vote.committed,
    }
}

/// From the wire.
#[must_use]
pub fn vote_in(vote: &store::Vote) -> Vote {
    let node = NodeId(vote.node);
    if vote.committed {
        Vote::new_committed(vote.term, node)
    } else {
        Vote::new(vote.term, node)
    }
}

/// From another node, where it must be present.
///
/// # Errors
/// When it is missing, or of a term that cannot be numbered.
pub fn required_vote(vote: Option<&store::Vote>) -> io::Result<Vote> {
    let vote = vote.ok_or_else(|| malformed("no vote"))?;
    if vote.term > LAST_NUMBER {
        return Err(malformed("a term that cannot be numbered"));
    }
    Ok(vote_in(vote))
}

/// The vote by which `leader` leads.
///
/// # Errors
/// When it is missing, cannot be numbered, or is not one that a quorum has granted to that node.
pub fn leaders_vote(vote: Option<&store::Vote>, leader: NodeId) -> io::Result<Vote> {
    let vote = required_vote(vote)?;
    if !vote.committed || vote.leader_id.voted_for != leader {
        return Err(malformed("not the vote of a leader that sends this"));
    }
    Ok(vote)
}

/// The id of something that will be written down here, from another node.
///
/// # Errors
/// When it cannot be numbered.
pub fn numbered(id: Option<&store::LogId>) -> io::Result<Option<LogId>> {
    match id {
        Some(id) if id.term.max(id.index) > LAST_NUMBER => {
            Err(malformed("a log id that cannot be numbered"))
        }
        id => Ok(id.map(log_id_in)),
    }
}

/// To the wire.
#[must_use]
pub fn membership_out(membership: &Membership) -> store::Membership {
    let voters = membership.get_joint_config().iter();
    store::Membership {
        voters: voters
            .map(|set| store::NodeSet {
                nodes: set.iter().map(|node| node.0).collect(),
            })
            .collect(),
        standbys: membership.learner_ids().map(|node| node.0).collect(),
    }
}

/// From the wire.
#[must_use]
pub fn membership_in(membership: &store::Membership) -> Membership {
    let set = |nodes: &[u64]| nodes.iter().copied().map(NodeId).collect::<BTreeSet<_>>();
    let voters = membership
        .voters
        .iter()
        .map(|voters| set(&voters.nodes))
        .collect();
    types::membership(voters, set(&membership.standbys))
}

/// From where the state keeps it.
#[must_use]
pub fn stored_membership_in(
    stored: Option<&(store::LogId, store::Membership)>,
) -> StoredMembership {
    match stored {
        Some((id, membership)) => {
            StoredMembership::new(Some(log_id_in(id)), membership_in(membership))
        }
        None => StoredMembership::default(),
    }
}

/// To the wire.
#[must_use]
pub fn entry_out(entry: &Entry) -> store::Entry {
    store::Entry {
        id: Some(log_id_out(&entry.log_id)),
        command: entry.payload.command.clone(),
        membership: entry.payload.membership.as_ref().map(membership_out),
    }
}

/// A command in memory of its own. What prost decodes is a slice of the whole message that it came in, so an entry of a few
/// hundred bytes that stays in the log's tail would keep a buffer of eight thousand with it.
#[must_use]
pub fn command_in(slice: &Bytes) -> Bytes {
    Bytes::copy_from_slice(slice)
}

/// From the wire.
///
/// # Errors
/// When it has no id.
pub fn entry_in(entry: &store::Entry) -> io::Result<Entry> {
    let id = entry
        .id
        .ok_or_else(|| malformed("an entry without an id"))?;
    let payload = Payload {
        command: entry.command.as_ref().map(command_in),
        membership: entry.membership.as_ref().map(membership_in),
    };
    Ok(Entry {
        log_id: log_id_in(&id),
        payload,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message as _;

    #[test]
    fn an_entry_does_not_keep_the_message_that_it_came_in() {
        let entry = store::Entry {
            id: Some(store::LogId { term: 1, index: 7 }),
            command: Some(Bytes::from_static(b"a command")),
            membership: None,
        };
        let message = Bytes::from(entry.encode_to_vec());
        let decoded = store::Entry::decode(message.clone()).unwrap();
        let kept = entry_in(&decoded).unwrap();
        drop(decoded);
        assert_eq!(kept.payload.command.as_deref(), Some(&b"a command"[..]));
        assert!(message.is_unique(), "the entry still points into it");
    }

    fn sample() -> Entry {
        let voters = vec![
            BTreeSet::from([NodeId(1), NodeId(2)]),
            BTreeSet::from([NodeId(2), NodeId(0xdead_beef)]),
        ];
        Entry {
            log_id: types::log_id(3, 70_000),
            payload: Payload {
                command: Some(Bytes::from_static(b"command")),
                membership: Some(types::membership(voters, BTreeSet::from([NodeId(9)]))),
            },
        }
    }

    #[test]
    fn entry_survives_the_wire() {
        for payload in [
            sample().payload,
            Payload::default(),
            Payload {
                command: Some(Bytes::new()),
                membership: None,
            },
        ] {
            let entry = Entry {
                payload,
                ..sample()
            };
            let bytes = entry_out(&entry).encode_to_vec();
            assert_eq!(
                entry_in(&store::Entry::decode(&bytes[..]).unwrap()).unwrap(),
                entry
            );
        }
    }

    /// What is on disks must stay readable for ever: a change of these bytes is a change of the format.
    #[test]
    fn stored_bytes_are_golden() {
        let hex = |bytes: Vec<u8>| {
            bytes
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect::<String>()
        };
        insta::assert_snapshot!(hex(entry_out(&sample()).encode_to_vec()), @"0a06080310f0a2041207636f6d6d616e641a130a040a0201020a080a0602effdb6f50d120109");
        insta::assert_snapshot!(hex(vote_out(&Vote::new_committed(7, NodeId(5))).encode_to_vec()), @"080710051801");
        insta::assert_snapshot!(hex(log_id_out(&types::log_id(2, 300)).encode_to_vec()), @"080210ac02");
    }

    #[test]
    fn entry_without_id_is_refused() {
        assert!(entry_in(&store::Entry::default()).is_err());
    }
}
