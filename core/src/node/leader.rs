//! Who decides: this node while it leads, and else the leader, which is asked over the members' own service.

use tonic::{Request, Status};

use super::inner::Inner;
use crate::proto::join::membership_client::MembershipClient;
use crate::runtime::Runtime;
use crate::transport::Channel;

/// Where something is decided that only a leader decides.
pub(super) enum Decider<R: Runtime> {
    /// Here.
    Here,
    /// There.
    There(MembershipClient<Channel<R>>),
}

impl<R: Runtime> Inner<R> {
    /// Who leads, as far as this node knows.
    ///
    /// # Errors
    /// When that is nobody.
    pub(super) fn decider(&self) -> Result<Decider<R>, Status> {
        match self.leader() {
            Some(leader) if leader == self.who().node => Ok(Decider::Here),
            Some(leader) => Ok(Decider::There(self.replica().peers().membership(leader))),
            None => Err(Status::unavailable(
                "nobody leads the cluster at the moment; without a quorum nothing can be changed, see `quorate recover`",
            )),
        }
    }

    /// A request that a leader has the usual time for.
    pub(super) fn in_time<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.replica().timing().request_timeout());
        request
    }

    /// Nothing on a node with data; on a spare the reason why a command is not for it. A spare may change nothing but its own row
    /// (R7), whoever types there.
    ///
    /// # Errors
    /// On a spare, with the members on which the command works.
    pub fn refuse_as_spare(&self) -> Result<(), Status> {
        if self.holds_log() {
            return Ok(());
        }
        let view = self.view().get();
        let holders = self.holders();
        let names = holders
            .iter()
            .filter_map(|node| Some(view.members.get(node)?.name.as_str()));
        let names = names.collect::<Vec<_>>().join(", ");
        Err(Status::failed_precondition(format!(
            "this node is a spare: it holds no data and may change nothing but what is said of itself. Run the command on one of: {names}"
        )))
    }
}
