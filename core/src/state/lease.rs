//! Leases: an id, a time to live, and the keys that die with it. When one expires is the leader's matter; here it is
//! granted and revoked as the log says.

use rusqlite::params;

use super::change::{Change, Failure};
use super::error::Rejection;
use crate::proto::etcdserverpb::{LeaseGrantResponse, LeaseRevokeResponse};
use crate::proto::store::{LeaseGrant, LeaseRevoke, LogId};

impl Change<'_, '_> {
    pub(super) fn grant(&mut self, request: &LeaseGrant) -> Result<LeaseGrantResponse, Failure> {
        if request.id == 0 {
            return Err(Rejection::Malformed("a lease without an id").into());
        }
        if self.keyspace.lease_exists(request.id)? {
            return Err(Rejection::LeaseExists.into());
        }
        self.keyspace
            .connection()
            .prepare_cached("INSERT INTO leases (id, ttl) VALUES (?1, ?2)")?
            .execute(params![request.id, request.ttl_seconds])?;
        Ok(LeaseGrantResponse {
            header: self.header(),
            id: request.id,
            ttl: request.ttl_seconds,
            error: String::new(),
        })
    }

    /// Removes the lease and, in one revision, every key attached to it.
    pub(super) fn revoke(
        &mut self,
        log_id: LogId,
        request: &LeaseRevoke,
    ) -> Result<LeaseRevokeResponse, Failure> {
        // A leader that saw the lease expire may have lost its leadership before this was proposed or committed. Its
        // successor has given every lease its full time again, and the client may have been told so.
        if request.expired_in_term != 0 && request.expired_in_term != log_id.term {
            return Err(Rejection::ExpiryOutdated.into());
        }
        if !self.keyspace.lease_exists(request.id)? {
            return Err(Rejection::LeaseNotFound.into());
        }
        self.check_attached(request.id)?;
        self.delete_attached(request.id)?;
        self.keyspace
            .connection()
            .prepare_cached("DELETE FROM leases WHERE id = ?1")?
            .execute([request.id])?;
        Ok(LeaseRevokeResponse {
            header: self.header(),
        })
    }
}
