//! The envelope of a replicated command: what this version writes and what it can read.

use bytes::Bytes;
use prost::Message;

use super::error::StateError;
use crate::proto::store::{Command, LogId, Target, command::Body};

/// Layout of the envelope.
pub const FORMAT: u32 = 1;

/// The newest kind of command that this version understands.
pub const FEATURE_LEVEL: u32 = 1;

/// Puts a body into its envelope.
#[must_use]
pub fn command(body: Body) -> Command {
    // Every kind of body that there is today belongs to the first level.
    Command {
        format: FORMAT,
        feature_level: 1,
        target: target(&body).into(),
        body: Some(body),
    }
}

/// Reads a command from a log entry. Bytes that are no command stop the node as an unknown one does.
pub fn decode(log_id: LogId, bytes: Bytes) -> Result<Command, StateError> {
    Command::decode(bytes).map_err(|error| unknown(log_id, &format!("not a command: {error}")))
}

/// Whether this version could apply the command in `bytes`, of the entry `log_id` if it has a place in the log already: what
/// is in the log stops every node that cannot.
///
/// # Errors
/// When it could not, with what it does not know.
pub fn check(log_id: LogId, bytes: &Bytes) -> Result<(), StateError> {
    open(log_id, &decode(log_id, bytes.clone())?).map(drop)
}

/// The body, if this version knows what it means. Never skipped: a node that left out what the others did would be
/// another state under the same index.
pub(super) fn open(log_id: LogId, command: &Command) -> Result<&Body, StateError> {
    if command.format != FORMAT {
        return Err(unknown(
            log_id,
            &format!("format {}, known is {FORMAT}", command.format),
        ));
    }
    if command.feature_level > FEATURE_LEVEL {
        return Err(unknown(
            log_id,
            &format!(
                "feature level {}, known is {FEATURE_LEVEL}",
                command.feature_level
            ),
        ));
    }
    let body = command
        .body
        .as_ref()
        .ok_or_else(|| unknown(log_id, "a kind of command without a name here"))?;
    if command.target != i32::from(target(body)) {
        return Err(unknown(log_id, &format!("target {}", command.target)));
    }
    Ok(body)
}

/// Whether applying a command takes microseconds whatever the state holds: it writes single keys and reads single keys.
#[must_use]
pub fn is_brief(command: &Command) -> bool {
    use crate::proto::etcdserverpb::request_op::Request;
    match &command.body {
        Some(Body::Put(_)) => true,
        Some(Body::Txn(txn)) => {
            let mut operations = txn.success.iter().chain(&txn.failure);
            txn.compare
                .iter()
                .all(|compare| compare.range_end.is_empty())
                && operations.all(|operation| match &operation.request {
                    Some(Request::RequestPut(_)) => true,
                    Some(Request::RequestRange(range)) => range.range_end.is_empty(),
                    Some(Request::RequestDeleteRange(range)) => range.range_end.is_empty(),
                    Some(Request::RequestTxn(_)) | None => false,
                })
        }
        _ => false,
    }
}

fn target(body: &Body) -> Target {
    match body {
        Body::Put(_)
        | Body::DeleteRange(_)
        | Body::Txn(_)
        | Body::Compact(_)
        | Body::LeaseGrant(_)
        | Body::LeaseRevoke(_) => Target::Keyspace,
        Body::ClusterInit(_)
        | Body::MemberAdmit(_)
        | Body::MemberUpdate(_)
        | Body::MemberRemove(_)
        | Body::RoleChange(_)
        | Body::TokenAdd(_)
        | Body::TokenRevoke(_)
        | Body::Recovery(_)
        | Body::TrustSet(_) => Target::System,
    }
}

fn unknown(log_id: LogId, detail: &str) -> StateError {
    StateError::UnknownCommand {
        index: log_id.index,
        detail: detail.to_owned(),
    }
}
