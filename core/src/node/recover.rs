//! A cluster that has lost its quorum for good goes on with one survivor (R17, T13).
//!
//! What the survivor's log holds is taken as committed: an entry may have been acknowledged by a majority of which this node is all
//! that is left, and applying one that was not acknowledged breaks no promise. Behind it come entries of our own making, in a term of their own: the
//! survivor is the only member and votes; the cluster is in its next epoch; a billion is added to the revision and everything before is
//! compacted, so that nobody takes a revision that was given out twice for the same; and there is a token for those who come back. They
//! are written to the log and applied to the state before the node starts, which then finds a cluster of one that works.
//!
//! Log, state, certificate, member view and identity are replaced one after the other, and a node that has some of the old and some of the
//! new would be worst of all: alone in its log, and still welcome to the old members. So a file says that a recovery has begun, from before the
//! first of them until after the last: no node starts in between, and the recovery is begun anew, from whatever is there, in a
//! further epoch.
//!
//! Frames and certificates of the old epoch are refused from then on, in both directions. What cannot be done from here is to stop
//! an old majority that still runs somewhere from serving its own clients: the operator has to know that it does not.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;

use super::NodeError;
use super::inner::view_of;
use super::origin::Origin;
use crate::config::Beginning;
use crate::database::{Missing, Place};
use crate::directory::{Directory, DirectoryError, Inhabitant};
use crate::ids::{Epoch, LogIndex, NodeId};
use crate::join::joiner::Membership;
use crate::join::keep::IdentityFiles;
use crate::join::{JoinLine, MemberView, SharedView, Token, addresses, founder};
use crate::membership::fleet::quorum;
use crate::proto::store::command::Body;
use crate::proto::store::{self, MemberRole, Recovery, Role, RoleChange, TokenAdd, TrustSet};
use crate::raft::convert;
use crate::raft::journal::{self, Aside, Journal, JournalReader, Step};
use crate::raft::peers::{Identity, Peers};
use crate::raft::types::{self, Entry, Payload, Vote};
use crate::runtime::{Disk as _, Runtime, WallTime};
use crate::state::{self, Durability, Reader, Response, State, StateError, command, decode};
use crate::tls::secure::NodeTls;
use crate::tls::{Authority, NodeSubject};

/// Added to the revision: more than any survivor can have missed.
const REVISION_BUMP: i64 = 1_000_000_000;
/// How long the others have to come back with the line.
const LINE_LIFE: Duration = Duration::from_secs(24 * 3600);
/// How long a member has to answer.
const PATIENCE: Duration = Duration::from_secs(1);

/// How far a copy of the data goes; compared in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Extent {
    /// The term of its last entry.
    pub term: u64,
    /// The index of that.
    pub index: u64,
}

/// What a survivor holds.
#[derive(Clone, Debug)]
pub struct Survivor {
    /// Who it is.
    pub inhabitant: Inhabitant,
    /// How far its log goes.
    pub extent: Extent,
    /// The revision of its applied state.
    pub revision: i64,
    /// Whether it holds the cluster's signing key.
    pub holds_signer: bool,
    /// The other members that it knows, by id and name.
    pub others: Vec<(NodeId, String)>,
    /// Who votes, as far as it knows.
    pub voters: BTreeSet<NodeId>,
}

/// What another member said when it was asked.
#[derive(Clone, Debug)]
pub struct Heard {
    /// Who it is.
    pub node: NodeId,
    /// How far its log goes; none for a member without data.
    pub extent: Option<Extent>,
}

/// What a recovery made.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The cluster's new life.
    pub epoch: Epoch,
    /// The revision that it begins with.
    pub revision: i64,
    /// With it the others come back, as new members.
    pub line: JoinLine,
    /// Whether the cluster has a new certificate authority: clients need new certificates too.
    pub new_authority: bool,
}

/// Why there was no recovery.
#[derive(Debug, thiserror::Error)]
pub enum RecoverError {
    /// The directory is not that of a node that could be recovered, or is in use.
    #[error(transparent)]
    Node(#[from] NodeError),
    /// It holds no data.
    #[error("{0} is a spare: it holds no copy of the data to go on with")]
    NoData(String),
    /// Another survivor has more.
    #[error("{node} has a newer copy (term {}, index {}; here term {}, index {}): recover there", .theirs.term, .theirs.index, .ours.term, .ours.index)]
    Older {
        /// Who.
        node: String,
        /// What it has.
        theirs: Extent,
        /// What is here.
        ours: Extent,
    },
    /// There is a quorum after all, with this node or without it.
    #[error(
        "{answering} other voters answer, and with this node that is a quorum of {voters}: start it instead, nothing is lost"
    )]
    Alive {
        /// Other voters that answer.
        answering: usize,
        /// All voters.
        voters: usize,
    },
    /// The state did not take a command that every state takes.
    #[error("the state refused: {0}")]
    State(String),
}

impl From<DirectoryError> for RecoverError {
    fn from(error: DirectoryError) -> Self {
        Self::Node(error.into())
    }
}

impl From<StateError> for RecoverError {
    fn from(error: StateError) -> Self {
        Self::Node(NodeError::Start(error.into()))
    }
}

impl From<crate::database::DatabaseError> for RecoverError {
    fn from(error: crate::database::DatabaseError) -> Self {
        Self::Node(NodeError::Start(error.into()))
    }
}

impl From<crate::tls::TlsError> for RecoverError {
    fn from(error: crate::tls::TlsError) -> Self {
        Self::Node(error.into())
    }
}

/// A stopped node's directory, locked, with all that a recovery has to know of it.
pub struct Patient<R: Runtime> {
    directory: Directory<R::Disk>,
    place: Place,
    origin: Origin,
    survivor: Survivor,
    _lock: <R::Disk as crate::runtime::Disk>::Lock,
}

impl<R: Runtime> Patient<R> {
    /// Looks at a stopped node. What it holds stays as it is; opening its databases may fold what their write-ahead logs hold into
    /// them.
    ///
    /// # Errors
    /// When the directory is in use, is not that of a node, or holds no data.
    pub fn examine(directory: Directory<R::Disk>) -> Result<Self, RecoverError> {
        let found = directory.look(Beginning::Existing)?;
        let inhabitant = found.ok_or_else(|| DirectoryError::Missing {
            directory: directory.path().display().to_string(),
        })?;
        let lock = directory.enter()?;
        if !inhabitant.holds_log {
            return Err(RecoverError::NoData(inhabitant.name));
        }
        let place = Place::new(directory.path(), directory.disk().vfs());
        for layout in [&journal::LAYOUT, &state::LAYOUT] {
            place.settle(directory.disk(), layout)?;
        }
        let (journal, contents) = Journal::open(&place, Missing::Refuse)?;
        let state = State::open(&place, Missing::Refuse)?;
        let reader = Reader::open(&place)?;
        let roster = reader.roster()?;
        let last = contents
            .last
            .map_or(Extent { term: 0, index: 0 }, |id| Extent {
                term: types::term_of(&id),
                index: id.index,
            });
        let origin = Origin::resume(&directory, inhabitant.clone())?;
        let others = roster.members.iter();
        let others = others
            .filter(|row| row.id != inhabitant.identity.node.0)
            .map(|row| (NodeId(row.id), row.name.clone()))
            .collect();
        let voters = roster.members.iter();
        let voters = voters
            .filter(|row| row.role == i32::from(Role::Voter))
            .map(|row| NodeId(row.id))
            .collect();
        let survivor = Survivor {
            voters,
            inhabitant,
            extent: last,
            revision: state.revision().0,
            holds_signer: origin.authority.is_some(),
            others,
        };
        drop(journal);
        Ok(Self {
            directory,
            place,
            origin,
            survivor,
            _lock: lock,
        })
    }

    /// What it holds.
    #[must_use]
    pub fn survivor(&self) -> &Survivor {
        &self.survivor
    }

    /// Asks the other members, as far as they run and can be reached.
    ///
    /// # Errors
    /// When this node's certificate cannot be used.
    pub async fn ask_others(&self) -> Result<Vec<Heard>, RecoverError> {
        let view = SharedView::new(self.origin.view.clone());
        let tls = NodeTls::<R>::new(self.origin.credentials.clone(), view)?;
        let peers = Peers::new(self.survivor.inhabitant.identity, tls, PATIENCE);
        let peers = &peers;
        let asked = peers.others().into_iter().map(|node| async move {
            let report = peers.report(node, PATIENCE).await?;
            Some(Heard {
                node,
                extent: report.last.map(|id| Extent {
                    term: id.term,
                    index: id.index,
                }),
            })
        });
        Ok(join_all(asked).await.into_iter().flatten().collect())
    }

    /// Makes this node the only member of the cluster's next life.
    ///
    /// # Errors
    /// When a store or a file cannot be written; then the node does not start, and the recovery is to be repeated.
    pub fn recover(&mut self) -> Result<Recovered, RecoverError> {
        let now = R::wall();
        let me = self.survivor.inhabitant.identity;
        let (authority, new_authority) = match self.origin.authority.clone() {
            Some(authority) => (authority, false),
            None => {
                let (key, serial) = (founder::key::<R>(), founder::serial::<R>());
                (Authority::create(me.cluster, key, serial, now)?, true)
            }
        };
        let lost = self.directory.begin_recovery(self.others()?)?;
        let mut state = self.catch_up()?;
        // Read anew: a recovery that was cut off may have been in the log alone.
        let known = Reader::open(&self.place)?.roster()?.cluster;
        let known = known.map_or(0, |cluster| cluster.epoch);
        let epoch = Epoch(me.epoch.0.max(known) + 1);
        let token = Token::from_secret(*founder::key::<R>().seed());
        let uses = lost.max(1);
        let commands = self.commands(epoch, &authority, new_authority, (&token, uses), now)?;
        self.write(&mut state, commands)?;
        let revision = state.revision().0;
        let view = self.keep_identity(epoch, &authority, new_authority, now)?;
        self.directory.end_recovery()?;
        let own = view.members.get(&me.node);
        Ok(Recovered {
            epoch,
            revision,
            line: JoinLine {
                addresses: own.map_or_else(Vec::new, |row| addresses(&row.peer_addresses)),
                token,
                cluster: me.cluster,
                pins: vec![authority.key().public().hash()],
            },
            new_authority,
        })
    }

    /// How many members there are besides this one.
    fn others(&self) -> Result<u32, RecoverError> {
        let members = Reader::open(&self.place)?.roster()?.members;
        Ok(u32::try_from(members.len().saturating_sub(1)).unwrap_or(u32::MAX))
    }

    /// Applies everything that the log holds.
    fn catch_up(&self) -> Result<State, RecoverError> {
        let mut state = State::open(&self.place, Missing::Refuse)?;
        // Held open, as readers need a writer beside them.
        let (_journal, contents) = Journal::open(&self.place, Missing::Refuse)?;
        let reader = JournalReader::open(&self.place)?;
        let applied = state.applied().log_id.map_or(0, |id| id.index);
        let end = contents.last.map_or(0, |id| id.index + 1);
        for entry in reader.read(applied + 1..end, usize::MAX)? {
            let id = convert::log_id_out(&entry.log_id);
            let command = entry.payload.command.map(|bytes| decode(id, bytes));
            let command = command.transpose()?;
            let membership = entry
                .payload
                .membership
                .as_ref()
                .map(convert::membership_out);
            let mut batch = state.begin()?;
            batch.apply(id, command.as_ref(), membership.as_ref())?;
            batch.commit(Durability::Lazy)?;
        }
        Ok(state)
    }

    fn commands(
        &self,
        epoch: Epoch,
        authority: &Authority,
        new_authority: bool,
        (token, uses): (&Token, u32),
        now: WallTime,
    ) -> Result<Vec<Body>, RecoverError> {
        let me = self.survivor.inhabitant.identity.node;
        // Read anew: what was only in the log may have changed the members.
        let members = Reader::open(&self.place)?.roster()?.members;
        let lost = members.iter().map(|row| row.id).filter(|id| *id != me.0);
        let lost_nodes: Vec<u64> = lost.collect();
        let mut commands = vec![
            Body::Recovery(Recovery {
                epoch: epoch.0,
                revision_bump: REVISION_BUMP,
                lost_nodes,
                at_ms: now.millis(),
            }),
            Body::RoleChange(RoleChange {
                roles: vec![MemberRole {
                    id: me.0,
                    role: Role::Voter.into(),
                }],
            }),
            Body::TokenAdd(TokenAdd {
                token: Some(store::Token {
                    id: token.id().0.to_vec().into(),
                    public_key: token.public_key().0.to_vec().into(),
                    uses_left: uses,
                    expires_at_ms: (now + LINE_LIFE).millis(),
                    created_by: "recover".to_owned(),
                    ..store::Token::default()
                }),
                at_ms: now.millis(),
            }),
        ];
        if new_authority {
            commands.push(Body::TrustSet(TrustSet {
                cas: vec![authority.certificate().to_vec().into()],
            }));
        }
        Ok(commands)
    }

    /// Writes the commands behind the log, in a term of their own, and applies them.
    fn write(&self, state: &mut State, commands: Vec<Body>) -> Result<(), RecoverError> {
        let me = self.survivor.inhabitant.identity.node;
        let (mut journal, contents) = Journal::open(&self.place, Missing::Refuse)?;
        let voted = contents.vote.map_or(0, |vote| vote.leader_id.term);
        let last = contents
            .last
            .map_or((0, 0), |id| (types::term_of(&id), id.index));
        let term = voted.max(last.0) + 1;
        let membership = types::membership(vec![BTreeSet::from([me])], BTreeSet::new());
        let mut entries = Vec::new();
        let mut batch = state.begin()?;
        for (index, body) in (last.1 + 1..).zip(commands) {
            let command = command(body);
            let membership = entries.is_empty().then(|| membership.clone());
            let id = store::LogId { term, index };
            let stored = membership.as_ref().map(convert::membership_out);
            match batch.apply(id, Some(&command), stored.as_ref())? {
                Response::Rejected(rejection) => {
                    return Err(RecoverError::State(rejection.to_string()));
                }
                _ => entries.push(Entry {
                    log_id: types::log_id(term, index),
                    payload: Payload {
                        command: Some(prost::Message::encode_to_vec(&command).into()),
                        membership,
                    },
                }),
            }
        }
        let steps = [
            Step::Vote(Vote::new_committed(term, me)),
            Step::Append(entries),
        ];
        // The log first: a state that is ahead of its log is one that no node starts on.
        journal.write(&steps, &Aside::default())?;
        batch.commit(Durability::Lazy)?;
        state.make_durable()?;
        Ok(())
    }

    /// A certificate of the new epoch, the view that goes with it, and last of all the identity.
    fn keep_identity(
        &self,
        epoch: Epoch,
        authority: &Authority,
        new_authority: bool,
        now: WallTime,
    ) -> Result<MemberView, RecoverError> {
        let me = self.survivor.inhabitant.identity;
        let roster = Reader::open(&self.place)?.roster()?;
        let view = view_of(roster, &self.origin.view, None);
        let view = view.ok_or_else(|| RecoverError::State("it names no cluster".to_owned()))?;
        let row = view.members.get(&me.node);
        let row =
            row.ok_or_else(|| RecoverError::State("it does not know this node".to_owned()))?;
        let subject = NodeSubject::of_member(row, epoch);
        let key = self.origin.credentials.key().clone();
        let certificate =
            authority.issue_node(&subject, key.public(), founder::serial::<R>(), now)?;
        let files = IdentityFiles::new(self.directory.disk().clone(), self.directory.path());
        let keep = || {
            if new_authority {
                files.keep_signer(authority)?;
            }
            files.store(&Membership {
                node: me.node,
                key,
                certificate,
                view: view.clone(),
            })
        };
        keep().map_err(|error| RecoverError::from(self.directory.io(error)))?;
        self.directory.settle(&Inhabitant {
            identity: Identity { epoch, ..me },
            // Whatever its log lacks is given up.
            elects_from: LogIndex(0),
            outdated: false,
            ..self.survivor.inhabitant.clone()
        })?;
        Ok(view)
    }
}

/// Whether this survivor may go on alone, for all that is known of the others.
///
/// # Errors
/// When another has more, or there is a quorum.
pub fn judge(
    survivor: &Survivor,
    heard: &[Heard],
    given: &[(String, Extent)],
) -> Result<(), RecoverError> {
    let votes = |node: NodeId| survivor.voters.contains(&node);
    let answering = heard.iter().filter(|heard| votes(heard.node)).count();
    let with_this = answering + usize::from(votes(survivor.inhabitant.identity.node));
    if with_this >= quorum(survivor.voters.len()) && survivor.voters.len() > 1 {
        return Err(RecoverError::Alive {
            answering,
            voters: survivor.voters.len(),
        });
    }
    let name = |node: NodeId| {
        let mut others = survivor.others.iter();
        others
            .find(|(id, _)| *id == node)
            .map_or_else(|| node.to_string(), |(_, name)| name.clone())
    };
    let told = heard
        .iter()
        .filter_map(|heard| Some((name(heard.node), heard.extent?)));
    let newest = told
        .chain(given.iter().cloned())
        .max_by_key(|(_, extent)| *extent);
    match newest {
        Some((node, theirs)) if theirs > survivor.extent => Err(RecoverError::Older {
            node,
            theirs,
            ours: survivor.extent,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ClusterId;

    fn survivor(term: u64, index: u64) -> Survivor {
        let identity = Identity {
            cluster: ClusterId(1),
            epoch: Epoch(1),
            node: NodeId(1),
        };
        Survivor {
            inhabitant: Inhabitant {
                identity,
                name: "a".to_owned(),
                holds_log: true,
                elects_from: LogIndex(0),
                outdated: false,
            },
            extent: Extent { term, index },
            revision: 1,
            holds_signer: true,
            others: vec![(NodeId(2), "b".to_owned())],
            voters: (1..=5).map(NodeId).collect(),
        }
    }

    fn heard(term: u64, index: u64) -> Heard {
        Heard {
            node: NodeId(2),
            extent: Some(Extent { term, index }),
        }
    }

    #[test]
    fn only_the_newest_copy_goes_on() {
        let ours = survivor(4, 90);
        assert!(judge(&ours, &[heard(4, 90)], &[]).is_ok());
        assert!(
            judge(&ours, &[heard(3, 200)], &[]).is_ok(),
            "terms come first"
        );
        for newer in [heard(4, 91), heard(5, 1)] {
            let refused = judge(&ours, &[newer], &[]).unwrap_err();
            assert!(matches!(&refused, RecoverError::Older { node, .. } if node == "b"));
        }
        let given = [("c".to_owned(), Extent { term: 5, index: 1 })];
        assert!(matches!(
            judge(&ours, &[], &given),
            Err(RecoverError::Older { .. })
        ));
    }

    #[test]
    fn a_cluster_that_still_has_a_quorum_is_not_recovered() {
        let heard = |nodes: &[u64]| {
            let one = |node: &u64| Heard {
                node: NodeId(*node),
                extent: Some(Extent { term: 1, index: 1 }),
            };
            nodes.iter().map(one).collect::<Vec<_>>()
        };
        assert!(judge(&survivor(4, 90), &heard(&[2]), &[]).is_ok());
        assert!(
            judge(&survivor(4, 90), &heard(&[2, 9]), &[]).is_ok(),
            "a spare has no vote"
        );
        assert!(matches!(
            judge(&survivor(4, 90), &heard(&[2, 3]), &[]),
            Err(RecoverError::Alive {
                answering: 2,
                voters: 5
            })
        ));
    }
}
