//! A run of log entries applied in one SQLite transaction.
//!
//! The counters live in memory while the batch runs and are written once, with the id of the last entry, just before the
//! commit. A batch that is dropped without one leaves neither a row nor a counter behind.
//!
//! A batch may also be *held*: its transaction stays open and the next batch goes on in it. What a page takes to write is
//! then paid once for all of them. Until [`State::commit_held`] no reader sees anything of a held batch, so whoever tells
//! its responses has to have it committed before anybody reads.

use super::change::{Change, Failure, Hearing, Listening};
use super::command;
use super::compact;
use super::error::{Rejection, StateError};
use super::keyspace::Keyspace;
use super::mark::{self, Mark};
use super::response::Response;
use super::{State, system, validate};
use crate::database::Opened;
use crate::ids::Revision;
use crate::proto::etcdserverpb::{CompactionResponse, ResponseHeader};
use crate::proto::mvccpb::Event;
use crate::proto::store::{Command, LogId, Membership, command::Body};

/// What a commit must survive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The death of the process. A loss of power may roll the state back; the log then brings it forward again.
    Lazy,
    /// A loss of power: a durable point. It makes all commits before it durable too.
    Durable,
}

/// What one revision changed, in the order in which it did.
pub type RevisionEvents = (Revision, Vec<Event>);

/// A transaction that is open between batches.
#[derive(Clone, Copy, Debug)]
pub(super) struct Held {
    /// The counters as they were when it began.
    pub(super) mark_before: Mark,
    /// How much is in it, as its holder counts.
    pub(super) weight: usize,
}

/// An open transaction on the state.
pub struct Batch<'s> {
    connection: &'s Opened,
    keyspace: Keyspace<'s>,
    mark: &'s mut Mark,
    membership: &'s mut Option<(LogId, Membership)>,
    durable: &'s mut Option<LogId>,
    listening: Listening,
    /// The counters as they were when the transaction began, to go back to if the batch is dropped.
    mark_before: Mark,
    held: &'s mut Option<Held>,
    lost: &'s mut bool,
    /// The membership to commit, and to take over when that is done.
    new_membership: Option<(LogId, Membership)>,
    events: Vec<RevisionEvents>,
    system_changed: bool,
    open: bool,
}

impl<'s> Batch<'s> {
    pub(super) fn begin(state: &'s mut State) -> Result<Self, StateError> {
        state.check_not_lost()?;
        let connection = &state.connection;
        connection.sound()?;
        let mark_before = match &state.held {
            Some(held) => held.mark_before,
            None => {
                connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
                state.mark
            }
        };
        Ok(Self {
            connection,
            keyspace: Keyspace::new(connection),
            mark_before,
            held: &mut state.held,
            lost: &mut state.lost,
            mark: &mut state.mark,
            membership: &mut state.membership,
            durable: &mut state.durable,
            listening: state.listening,
            new_membership: None,
            events: Vec::new(),
            system_changed: false,
            open: true,
        })
    }

    /// Applies the next entry: a command, a membership, both or neither. After an error the batch can only be dropped.
    pub fn apply(
        &mut self,
        log_id: LogId,
        command: Option<&Command>,
        membership: Option<&Membership>,
    ) -> Result<Response, StateError> {
        self.entry(log_id, command, membership, Hearing::Somebody)
    }

    /// Like [`Batch::apply`], where nobody waits for the answer: what would be read for it alone is not read. A transaction
    /// that reads the keyspace in each of its operations takes no more memory than its puts.
    pub fn apply_unheard(
        &mut self,
        log_id: LogId,
        command: Option<&Command>,
        membership: Option<&Membership>,
    ) -> Result<Response, StateError> {
        self.entry(log_id, command, membership, Hearing::Nobody)
    }

    fn entry(
        &mut self,
        log_id: LogId,
        command: Option<&Command>,
        membership: Option<&Membership>,
        hearing: Hearing,
    ) -> Result<Response, StateError> {
        assert!(
            self.mark
                .log_id
                .is_none_or(|last| last.index < log_id.index && last.term <= log_id.term),
            "entries are applied in order: {log_id:?} after {:?}",
            self.mark.log_id
        );
        let response = match command {
            Some(command) => match self.command(log_id, command::open(log_id, command)?, hearing) {
                Ok(response) => response,
                Err(Failure::Rejected(rejection)) => Response::Rejected(rejection),
                Err(Failure::State(error)) => return Err(error),
            },
            None => Response::Blank,
        };
        if let Some(membership) = membership {
            self.new_membership = Some((log_id, membership.clone()));
        }
        self.mark.log_id = Some(log_id);
        Ok(response)
    }

    /// What the entries changed, one element for each new revision; empty when nobody listens. They may be shown once the
    /// batch is committed.
    pub fn take_events(&mut self) -> Vec<RevisionEvents> {
        std::mem::take(&mut self.events)
    }

    /// Whether members, tokens, trust or the epoch may differ from what they were before the batch.
    #[must_use]
    pub fn changed_system(&self) -> bool {
        self.system_changed
    }

    /// Ends the batch and leaves its transaction open for the next one, see the module's first lines; `weight` is added to
    /// what [`State::held_weight`] answers. A batch that changes what the cluster knows of itself is committed instead:
    /// that is read in many places, at any time.
    ///
    /// # Errors
    /// Those of such a commit.
    pub fn hold(mut self, weight: usize) -> Result<(), StateError> {
        if self.system_changed || self.new_membership.is_some() {
            return self.commit(Durability::Lazy);
        }
        self.open = false;
        let held = self.held.get_or_insert(Held {
            mark_before: self.mark_before,
            weight: 0,
        });
        held.weight += weight;
        Ok(())
    }

    /// Ends the batch, and all that were held before it. Only now may anyone hear of its responses: until here a reader of
    /// this node would not find what a client was told is written.
    pub fn commit(mut self, durability: Durability) -> Result<(), StateError> {
        self.mark.write(self.connection)?;
        if let Some((log_id, membership)) = &self.new_membership {
            mark::write_membership(self.connection, *log_id, membership)?;
        }
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        self.open = false;
        *self.held = None;
        if let Some(membership) = self.new_membership.take() {
            *self.membership = Some(membership);
        }
        if durability == Durability::Durable {
            *self.durable = super::durable_point(self.connection, self.mark)?;
        }
        Ok(())
    }

    fn command(
        &mut self,
        log_id: LogId,
        body: &Body,
        hearing: Hearing,
    ) -> Result<Response, Failure> {
        if !matches!(
            body,
            Body::Put(_)
                | Body::DeleteRange(_)
                | Body::Txn(_)
                | Body::LeaseGrant(_)
                | Body::LeaseRevoke(_)
        ) {
            return match body {
                Body::Compact(request) => {
                    compact::compact(self.mark, request.revision)?;
                    let header = Some(ResponseHeader {
                        revision: self.mark.revision,
                        ..ResponseHeader::default()
                    });
                    Ok(Response::Compact(CompactionResponse { header }))
                }
                body => {
                    let response = system::apply(self.connection, self.mark, log_id, body)?;
                    self.system_changed = true;
                    Ok(Response::System(response))
                }
            };
        }
        let mut change = Change::new(&mut self.keyspace, self.mark, self.listening, hearing);
        let response = change.apply(log_id, body)?;
        let events = change.finish();
        if !events.is_empty() {
            self.events.push((Revision(self.mark.revision), events));
        }
        Ok(response)
    }
}

impl Change<'_, '_> {
    /// A command of the keyspace. What it rejects it rejects before it has written anything.
    fn apply(&mut self, log_id: LogId, body: &Body) -> Result<Response, Failure> {
        match body {
            Body::Put(request) => {
                validate::put(request)?;
                // The other way round than within a transaction, as in etcd.
                self.check_lease(request)?;
                self.check_kept(request)?;
                Ok(Response::Put(self.put(request)?))
            }
            Body::DeleteRange(request) => {
                validate::delete_range(request)?;
                self.check_room(&[request])?;
                Ok(Response::DeleteRange(self.delete_range(request)?))
            }
            Body::Txn(request) => {
                validate::txn(request)?;
                let response = self.txn(request)?;
                Ok(if self.is_untold() {
                    Response::Untold
                } else {
                    Response::Txn(response)
                })
            }
            Body::LeaseGrant(request) => Ok(Response::LeaseGrant(self.grant(request)?)),
            Body::LeaseRevoke(request) => Ok(Response::LeaseRevoke(self.revoke(log_id, request)?)),
            _ => Err(Rejection::Malformed("not a command of the keyspace").into()),
        }
    }
}

impl Drop for Batch<'_> {
    fn drop(&mut self) {
        if self.open {
            // What was held before this batch goes with it, and somebody was told of that.
            *self.lost |= self.held.take().is_some();
            *self.mark = self.mark_before;
            // If even this fails the connection is broken, and so will the next BEGIN say.
            let _ = self.connection.execute_batch("ROLLBACK");
        }
    }
}
