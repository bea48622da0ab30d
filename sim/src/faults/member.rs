//! Members that come and go, are stopped in order and have to lead, while other things fail.
//!
//! Nothing of it is a failure, and a world knows nothing of members: a [`Cluster`](crate::cluster::Cluster) carries it out, as
//! an operator would, and asks again until it is done.

use crate::host::HostId;

/// A change of who belongs to the cluster, is up or leads, by an operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberChange {
    /// A machine that has no part in the cluster joins it with a token of its own.
    Join,
    /// A member leaves in order.
    Leave(HostId),
    /// A member dies for good and is removed by force.
    Remove(HostId),
    /// A member is stopped in order and started again, as for a new version.
    Restart(HostId),
    /// A member is to lead from now on.
    Lead(HostId),
}
