//! The cluster about itself: members, tombstones, tokens, identity, trusted certificate authorities.
//!
//! Each row is one encoded message. Time comes only from the commands, and only forward: expiry is judged by the highest
//! time that any command ever carried, so a leader whose clock is an hour slow does not bring a token back to life.

use bytes::Bytes;
use prost::Message;
use rusqlite::{Connection, OptionalExtension, params};

use super::change::Failure;
use super::error::{Rejection, StateError};
use super::frozen::Records;
use super::mark::Mark;
use super::position::Position;
use super::response::SystemResponse;
use super::seal::{open_record, seal_record};
use crate::proto::store::command::Body;
use crate::proto::store::{
    Cluster, ClusterInit, LogId, Member, MemberAdmit, MemberRemove, MemberUpdate, Recovery, Role,
    RoleChange, Token, TokenAdd, TokenRevoke, Tombstone, TrustSet,
};

/// Carries out a command about the cluster; one that is rejected has changed nothing but the highest time.
pub(super) fn apply(
    connection: &Connection,
    mark: &mut Mark,
    log_id: LogId,
    body: &Body,
) -> Result<SystemResponse, Failure> {
    let mut system = System {
        connection,
        tables: Tables { connection },
        mark,
        index: log_id.index,
    };
    match body {
        Body::ClusterInit(command) => system.init(command),
        Body::MemberAdmit(command) => system.admit(command),
        Body::MemberUpdate(command) => system.update(command),
        Body::MemberRemove(command) => system.remove(command),
        Body::RoleChange(command) => system.change_roles(command),
        Body::TokenAdd(command) => system.add_token(command),
        Body::TokenRevoke(command) => system.revoke_token(command),
        Body::Recovery(command) => system.recover(command),
        Body::TrustSet(command) => system.trust(command),
        _ => Err(Rejection::Malformed("not a command about the cluster").into()),
    }
}

/// Puts the tables of a received snapshot in place of those that are there.
pub(super) fn replace(connection: &Connection, records: &Records) -> Result<(), StateError> {
    for table in ["cluster", "members", "tombstones", "tokens", "trusted"] {
        connection.execute(&format!("DELETE FROM {table}"), [])?;
    }
    let tables = Tables { connection };
    records
        .cluster
        .iter()
        .try_for_each(|row| tables.put_cluster(row))?;
    records
        .members
        .iter()
        .try_for_each(|row| tables.put_member(row))?;
    records
        .tombstones
        .iter()
        .try_for_each(|row| tables.put_tombstone(row))?;
    records
        .tokens
        .iter()
        .try_for_each(|row| tables.put_token(row))?;
    tables.put_trusted(&records.trusted)
}

struct System<'b> {
    connection: &'b Connection,
    tables: Tables<'b>,
    mark: &'b mut Mark,
    index: u64,
}

impl System<'_> {
    fn init(&mut self, command: &ClusterInit) -> Result<SystemResponse, Failure> {
        self.mark.tick(command.at_ms);
        if let Some(cluster) = cluster(self.connection)? {
            let same = cluster.cluster_id == command.cluster_id;
            return if same {
                Ok(SystemResponse::Done)
            } else {
                Err(Rejection::ClusterExists.into())
            };
        }
        let first = command
            .first
            .as_ref()
            .ok_or(Rejection::Malformed("a cluster without a first member"))?;
        let identity = Cluster {
            cluster_id: command.cluster_id,
            epoch: command.epoch,
            created_at_ms: command.at_ms,
        };
        self.tables.put_cluster(&identity)?;
        self.tables.put_member(&Member {
            admitted_index: self.index,
            admitted_at_ms: command.at_ms,
            ..first.clone()
        })?;
        self.tables.put_trusted(&command.trusted_cas)?;
        Ok(SystemResponse::Done)
    }

    /// The token's use and the member's row, both or neither. A joiner that never heard the answer asks again with the
    /// same key: it is admitted already, and that is the answer.
    fn admit(&mut self, command: &MemberAdmit) -> Result<SystemResponse, Failure> {
        let now = self.mark.tick(command.at_ms);
        let asked = command
            .member
            .as_ref()
            .ok_or(Rejection::Malformed("an admission of nobody"))?;
        if let Some(known) = member(self.connection, asked.id)? {
            let same = known.key_hash == asked.key_hash;
            return if same {
                Ok(SystemResponse::Admitted(known))
            } else {
                Err(Rejection::MemberIdUsed.into())
            };
        }
        if asked.id == 0
            || self.has(
                "SELECT 1 FROM tombstones WHERE id = ?1",
                asked.id.cast_signed(),
            )?
        {
            return Err(Rejection::MemberIdUsed.into());
        }
        let mut token =
            token(self.connection, &command.token_id)?.ok_or(Rejection::TokenUnknown)?;
        judge_token(&token, asked, now)?;
        self.check_name(asked)?;
        token.uses_left -= 1;
        self.tables.put_token(&token)?;
        let role = if asked.role() == Role::Unspecified {
            Role::Spare
        } else {
            asked.role()
        };
        let admitted = Member {
            role: role.into(),
            admitted_index: self.index,
            admitted_at_ms: command.at_ms,
            spare_only: asked.spare_only || token.spare_only,
            ..asked.clone()
        };
        self.tables.put_member(&admitted)?;
        Ok(SystemResponse::Admitted(admitted))
    }

    /// How and when it was admitted, its key and its role stay; the rest is as the command says.
    fn update(&mut self, command: &MemberUpdate) -> Result<SystemResponse, Failure> {
        let asked = command
            .member
            .as_ref()
            .ok_or(Rejection::Malformed("an update of nobody"))?;
        let known = member(self.connection, asked.id)?.ok_or(Rejection::MemberNotFound)?;
        self.check_name(asked)?;
        self.tables.put_member(&Member {
            role: known.role,
            admitted_index: known.admitted_index,
            admitted_at_ms: known.admitted_at_ms,
            key_hash: known.key_hash,
            ..asked.clone()
        })?;
        Ok(SystemResponse::Done)
    }

    fn remove(&mut self, command: &MemberRemove) -> Result<SystemResponse, Failure> {
        let now = self.mark.tick(command.at_ms);
        let Some(known) = member(self.connection, command.id)? else {
            let removed = self.has(
                "SELECT 1 FROM tombstones WHERE id = ?1",
                command.id.cast_signed(),
            )?;
            return if removed {
                Ok(SystemResponse::Done)
            } else {
                Err(Rejection::MemberNotFound.into())
            };
        };
        self.forget_tombstones(now)?;
        self.bury(&known, command.keep_until_ms)?;
        Ok(SystemResponse::Done)
    }

    fn change_roles(&mut self, command: &RoleChange) -> Result<SystemResponse, Failure> {
        let mut changed = Vec::new();
        for change in &command.roles {
            if Role::try_from(change.role).is_ok_and(|role| role == Role::Unspecified)
                || Role::try_from(change.role).is_err()
            {
                return Err(Rejection::Malformed("a role that does not exist").into());
            }
            let known = member(self.connection, change.id)?.ok_or(Rejection::MemberNotFound)?;
            changed.push(Member {
                role: change.role,
                ..known
            });
        }
        changed
            .iter()
            .try_for_each(|member| self.tables.put_member(member))?;
        Ok(SystemResponse::Done)
    }

    /// A token whose answer was lost is added again by the same command; the uses it lost since stay lost.
    fn add_token(&mut self, command: &TokenAdd) -> Result<SystemResponse, Failure> {
        let now = self.mark.tick(command.at_ms);
        let new = command
            .token
            .as_ref()
            .ok_or(Rejection::Malformed("no token"))?;
        if let Some(known) = token(self.connection, &new.id)? {
            let same = known.public_key == new.public_key;
            return if same {
                Ok(SystemResponse::Done)
            } else {
                Err(Rejection::TokenExists.into())
            };
        }
        for old in tokens(self.connection)?
            .iter()
            .filter(|old| old.expires_at_ms <= now)
        {
            self.tables.forget_token(&old.id)?;
        }
        self.tables.put_token(new)?;
        Ok(SystemResponse::Done)
    }

    fn revoke_token(&mut self, command: &TokenRevoke) -> Result<SystemResponse, Failure> {
        token(self.connection, &command.id)?.ok_or(Rejection::TokenUnknown)?;
        self.tables.forget_token(&command.id)?;
        Ok(SystemResponse::Done)
    }

    /// A survivor goes on alone. Nobody knows what the lost majority acknowledged, so the revision jumps over it, and all
    /// that was before is compacted: a client that resumes a watch there is told to read anew.
    fn recover(&mut self, command: &Recovery) -> Result<SystemResponse, Failure> {
        self.mark.tick(command.at_ms);
        let known =
            cluster(self.connection)?.ok_or(Rejection::Malformed("recovery of no cluster"))?;
        let revision = self
            .mark
            .revision
            .checked_add(command.revision_bump)
            .filter(|&revision| {
                revision >= self.mark.revision && revision <= Position::LAST_REVISION / 2
            });
        let (true, Some(revision)) = (command.epoch > known.epoch, revision) else {
            return Err(Rejection::RecoveryOutdated.into());
        };
        self.tables.put_cluster(&Cluster {
            epoch: command.epoch,
            ..known
        })?;
        for &id in &command.lost_nodes {
            if let Some(lost) = member(self.connection, id)? {
                // What certificates it holds is not known any more: it is never forgotten.
                self.bury(&lost, u64::MAX)?;
            }
        }
        self.mark.revision = revision;
        self.mark.compacted = revision;
        Ok(SystemResponse::Done)
    }

    fn trust(&mut self, command: &TrustSet) -> Result<SystemResponse, Failure> {
        if command.cas.is_empty() {
            return Err(Rejection::Malformed("a cluster that trusts nobody").into());
        }
        self.connection.execute("DELETE FROM trusted", [])?;
        self.tables.put_trusted(&command.cas)?;
        Ok(SystemResponse::Done)
    }

    fn check_name(&self, asked: &Member) -> Result<(), Failure> {
        let taken = !asked.name.is_empty()
            && members(self.connection)?
                .iter()
                .any(|other| other.id != asked.id && other.name == asked.name);
        if taken {
            Err(Rejection::MemberNameTaken.into())
        } else {
            Ok(())
        }
    }

    fn bury(&self, member: &Member, keep_until_ms: u64) -> Result<(), StateError> {
        let tombstone = Tombstone {
            id: member.id,
            name: member.name.clone(),
            removed_index: self.index,
            keep_until_ms,
        };
        self.connection.execute(
            "DELETE FROM members WHERE id = ?1",
            [member.id.cast_signed()],
        )?;
        self.tables.put_tombstone(&tombstone)
    }

    /// Those whose last certificate has expired; ids are random, so theirs does not come again by chance.
    fn forget_tombstones(&self, now: u64) -> Result<(), StateError> {
        for old in tombstones(self.connection)?
            .iter()
            .filter(|old| old.keep_until_ms < now)
        {
            self.connection.execute(
                "DELETE FROM tombstones WHERE id = ?1",
                [old.id.cast_signed()],
            )?;
        }
        Ok(())
    }

    fn has(&self, sql: &str, id: i64) -> Result<bool, StateError> {
        Ok(self.connection.prepare_cached(sql)?.exists([id])?)
    }
}

/// Writing rows, without a thought of what they mean.
struct Tables<'b> {
    connection: &'b Connection,
}

impl Tables<'_> {
    fn forget_token(&self, id: &[u8]) -> Result<(), StateError> {
        self.connection
            .execute("DELETE FROM tokens WHERE id = ?1", [id])?;
        Ok(())
    }

    fn put_cluster(&self, cluster: &Cluster) -> Result<(), StateError> {
        self.connection.execute(
            "REPLACE INTO cluster (id, body) VALUES (1, ?1)",
            [seal_record("cluster", cluster)],
        )?;
        Ok(())
    }

    fn put_member(&self, member: &Member) -> Result<(), StateError> {
        self.connection.execute(
            "REPLACE INTO members (id, body) VALUES (?1, ?2)",
            params![member.id.cast_signed(), seal_record("members", member)],
        )?;
        Ok(())
    }

    fn put_token(&self, token: &Token) -> Result<(), StateError> {
        self.connection.execute(
            "REPLACE INTO tokens (id, body) VALUES (?1, ?2)",
            params![&*token.id, seal_record("tokens", token)],
        )?;
        Ok(())
    }

    fn put_trusted(&self, cas: &[Bytes]) -> Result<(), StateError> {
        for ca in cas {
            self.connection
                .execute("REPLACE INTO trusted (ca) VALUES (?1)", [&**ca])?;
        }
        Ok(())
    }

    fn put_tombstone(&self, tombstone: &Tombstone) -> Result<(), StateError> {
        self.connection.execute(
            "REPLACE INTO tombstones (id, body) VALUES (?1, ?2)",
            params![
                tombstone.id.cast_signed(),
                seal_record("tombstones", tombstone)
            ],
        )?;
        Ok(())
    }
}

fn judge_token(token: &Token, asked: &Member, now: u64) -> Result<(), Rejection> {
    if token.expires_at_ms <= now {
        return Err(Rejection::TokenExpired);
    }
    if token.uses_left == 0 {
        return Err(Rejection::TokenUsedUp);
    }
    if !token.node_name.is_empty() && token.node_name != asked.name {
        return Err(Rejection::TokenForAnother);
    }
    Ok(())
}

/// The cluster's identity; `None` until its first command is applied.
pub fn cluster(connection: &Connection) -> Result<Option<Cluster>, StateError> {
    one(connection, "cluster", "SELECT body FROM cluster", [])
}

/// Every member, by id.
pub fn members(connection: &Connection) -> Result<Vec<Member>, StateError> {
    let mut members: Vec<Member> = all(connection, "members", "SELECT body FROM members")?;
    members.sort_by_key(|member| member.id);
    Ok(members)
}

/// One member.
pub fn member(connection: &Connection, id: u64) -> Result<Option<Member>, StateError> {
    one(
        connection,
        "members",
        "SELECT body FROM members WHERE id = ?1",
        [id.cast_signed()],
    )
}

/// The removed nodes whose certificates may still be valid, by id.
pub fn tombstones(connection: &Connection) -> Result<Vec<Tombstone>, StateError> {
    let mut tombstones: Vec<Tombstone> =
        all(connection, "tombstones", "SELECT body FROM tombstones")?;
    tombstones.sort_by_key(|tombstone| tombstone.id);
    Ok(tombstones)
}

/// Every token that is not revoked, used up and expired ones included, by id.
pub fn tokens(connection: &Connection) -> Result<Vec<Token>, StateError> {
    all(connection, "tokens", "SELECT body FROM tokens ORDER BY id")
}

/// One token.
pub fn token(connection: &Connection, id: &[u8]) -> Result<Option<Token>, StateError> {
    one(
        connection,
        "tokens",
        "SELECT body FROM tokens WHERE id = ?1",
        [id],
    )
}

/// The certificate authorities whose certificates are accepted.
pub fn trusted(connection: &Connection) -> Result<Vec<Bytes>, StateError> {
    let mut statement = connection.prepare_cached("SELECT ca FROM trusted ORDER BY ca")?;
    let rows = statement.query_map([], |row| super::range::blob(row, 0))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn one<M: Message + Default>(
    connection: &Connection,
    table: &str,
    sql: &str,
    parameters: impl rusqlite::Params,
) -> Result<Option<M>, StateError> {
    let body = connection
        .prepare_cached(sql)?
        .query_row(parameters, |row| super::range::blob(row, 0))
        .optional()?;
    body.map(|sealed| open_record(table, &sealed)).transpose()
}

fn all<M: Message + Default>(
    connection: &Connection,
    table: &str,
    sql: &str,
) -> Result<Vec<M>, StateError> {
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut messages = Vec::new();
    while let Some(row) = rows.next()? {
        messages.push(open_record(table, &super::range::blob(row, 0)?)?);
    }
    Ok(messages)
}
