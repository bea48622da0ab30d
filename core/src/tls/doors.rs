//! Which services answer whom. One port, three doors: a member may call everything that members offer; a node that was admitted
//! later than this one has applied may make Raft's own calls, which bring the missing index; a stranger may ask to join.

use std::fmt;
use std::sync::Arc;

use tonic::Status;

use super::peer::{Standing, judge};
use super::secure::Peer;
use crate::ids::NodeId;
use crate::join::SharedView;
use crate::proto::store::Role;
use crate::transport::{Body, Connection, Handler, Request, Services};

/// The calls that a node from the future may make.
const RAFT_CALLS: [&str; 6] = [
    "/quorate.peer.v1.Peer/Append",
    "/quorate.peer.v1.Peer/Vote",
    "/quorate.peer.v1.Peer/PreVote",
    "/quorate.peer.v1.Peer/InstallSnapshot",
    "/quorate.peer.v1.Peer/TransferLeader",
    "/quorate.peer.v1.Peer/Recall",
];

/// The calls besides by which a leader finds a node that is outside Raft, and shows it the members.
const LEADER_CALLS: [&str; 2] = [
    "/quorate.peer.v1.Peer/Report",
    "/quorate.join.v1.Membership/Show",
];

/// The calls of ours that a spare may make: nothing that it could change the cluster with but its own row (R7).
const SPARE_CALLS: [&str; 6] = [
    "/quorate.join.v1.Membership/Relay",
    "/quorate.join.v1.Membership/Renew",
    "/quorate.join.v1.Membership/Status",
    "/quorate.join.v1.Membership/Describe",
    "/quorate.peer.v1.Peer/Recall",
    "/quorate.peer.v1.Peer/Report",
];

/// Our own services begin so; whatever else members call is the etcd API, which spares forward.
const OURS: &str = "/quorate.";

/// Says whether a node leads.
struct Leads(Box<dyn Fn(NodeId) -> bool + Send + Sync>);

impl fmt::Debug for Leads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Leads")
    }
}

/// The services behind the peers' port.
#[derive(Debug)]
pub struct Doors<E> {
    view: SharedView,
    members: Arc<Services>,
    strangers: Arc<Services>,
    etcd: Arc<E>,
    /// Told of each call of a member that goes in, at the moment when that is decided.
    let_in: fn(NodeId),
    /// Whether this node leads, as Raft says here, whatever the view says of its role.
    leads: Leads,
}

impl<E> Doors<E> {
    /// What members may call, what strangers may, and the etcd API, for members that forward their clients' requests.
    /// `let_in` is told of whom it was that was let in; `leads` says who leads, as Raft says here.
    #[must_use]
    pub fn new(
        view: SharedView,
        members: Services,
        strangers: Services,
        etcd: Arc<E>,
        let_in: fn(NodeId),
        leads: impl Fn(NodeId) -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            view,
            etcd,
            let_in,
            leads: Leads(Box::new(leads)),
            members: Arc::new(members),
            strangers: Arc::new(strangers),
        }
    }

    /// The services that this peer may use for a call of `path`; none are offered to one that goes too far.
    fn open_to(&self, peer: &Peer, path: &str) -> Option<&Arc<Services>> {
        match peer {
            Peer::Stranger { .. } => Some(&self.strangers),
            Peer::Node { identity, .. } => {
                // Judged anew: its admission may have been applied since the handshake, and its role changes.
                let view = self.view.get();
                // A view that is old may take the leader for a spare, or not know it: then nobody but the leader could tell.
                let of_leader = || {
                    (RAFT_CALLS.contains(&path) || LEADER_CALLS.contains(&path))
                        && (self.leads.0)(identity.node)
                };
                let allowed = match judge(&view, identity) {
                    Ok(Standing::Member) => {
                        let role = view.members.get(&identity.node).map(|row| row.role);
                        role != Some(i32::from(Role::Spare))
                            || !path.starts_with(OURS)
                            || SPARE_CALLS.contains(&path)
                            || of_leader()
                    }
                    Ok(Standing::AheadOfUs) => RAFT_CALLS.contains(&path) || of_leader(),
                    Err(_) => false,
                };
                if allowed {
                    (self.let_in)(identity.node);
                }
                allowed.then_some(&self.members)
            }
        }
    }
}

impl<E: Handler<Peer>> Handler<Peer> for Doors<E> {
    async fn handle(
        self: Arc<Self>,
        connection: Arc<Connection<Peer>>,
        request: Request,
    ) -> http::Response<Body> {
        let path = request.uri().path();
        match self.open_to(&connection.peer, path) {
            Some(services) if path.starts_with(OURS) || Arc::ptr_eq(services, &self.strangers) => {
                Arc::clone(services).handle(connection, request).await
            }
            Some(_) => Arc::clone(&self.etcd).handle(connection, request).await,
            None => Status::permission_denied(
                "this call is not open to a spare, nor to a node whose admission is not applied here yet",
            )
            .into_http(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ClusterId, Epoch, LogIndex};
    use crate::join::MemberView;
    use crate::proto::store::Member;
    use crate::tls::peer::stored_hash;
    use crate::tls::{PeerIdentity, PrivateKey};

    fn node(standing: Standing) -> Peer {
        let identity = PeerIdentity {
            cluster: ClusterId(1),
            epoch: Epoch(1),
            node: NodeId(2),
            admitted: LogIndex(3),
            key: PrivateKey::from_seed([1; 32]).public(),
        };
        Peer::Node { identity, standing }
    }

    fn doors() -> Doors<Services> {
        let view = MemberView::empty(ClusterId(1), Epoch(1), Vec::new());
        Doors::new(
            SharedView::new(view),
            Services::new(),
            Services::new(),
            Arc::default(),
            |_| (),
            |_| false,
        )
    }

    #[test]
    fn the_leader_may_tell_a_node_that_takes_it_for_a_spare_or_does_not_know_it() {
        let mut doors = doors();
        let open = |doors: &Doors<Services>, standing, path: &str| {
            doors.open_to(&node(standing), path).is_some()
        };
        let show = "/quorate.join.v1.Membership/Show";
        assert!(!open(&doors, Standing::AheadOfUs, show));
        doors.leads = Leads(Box::new(|node| node == NodeId(2)));
        assert!(open(&doors, Standing::AheadOfUs, show));
        admit(&doors, &node(Standing::Member), Role::Spare, 3);
        let told = RAFT_CALLS.iter().chain(&LEADER_CALLS);
        assert!(
            told.clone()
                .all(|path| open(&doors, Standing::Member, path))
        );
        assert!(!open(
            &doors,
            Standing::Member,
            "/quorate.join.v1.Membership/Remove"
        ));
        doors.leads = Leads(Box::new(|_| false));
        assert!(!open(&doors, Standing::Member, show));
    }

    /// Writes the node into the view that the doors judge by.
    fn admit(doors: &Doors<Services>, peer: &Peer, role: Role, index: u64) {
        let Peer::Node { identity, .. } = peer else {
            unreachable!("strangers are not admitted")
        };
        let mut view = (*doors.view.get()).clone();
        view.index = LogIndex(index);
        let member = Member {
            id: identity.node.0,
            role: role.into(),
            key_hash: stored_hash(identity.key.hash()),
            ..Member::default()
        };
        view.members.insert(identity.node, member);
        assert!(doors.view.offer(view));
    }

    #[test]
    fn a_spare_may_change_nothing_but_its_own_row() {
        let doors = doors();
        let peer = node(Standing::Member);
        admit(&doors, &peer, Role::Spare, 3);
        let open = |path: &str| doors.open_to(&peer, path).is_some();
        assert!(open("/etcdserverpb.KV/Put"));
        assert!(SPARE_CALLS.iter().all(|path| open(path)));
        for closed in [
            "/quorate.peer.v1.Peer/Propose",
            "/quorate.peer.v1.Peer/Append",
            "/quorate.join.v1.Membership/Remove",
            "/quorate.join.v1.Membership/IssueClientCertificate",
            "/quorate.join.v1.Membership/HandOverSigner",
        ] {
            assert!(!open(closed), "{closed}");
        }
        admit(&doors, &peer, Role::Voter, 4);
        assert!(
            doors
                .open_to(&peer, "/quorate.peer.v1.Peer/Propose")
                .is_some()
        );
    }

    #[test]
    fn a_node_from_the_future_may_make_rafts_calls_and_no_other() {
        let doors = doors();
        let open = |path: &str| doors.open_to(&node(Standing::AheadOfUs), path).is_some();
        assert!(RAFT_CALLS.iter().all(|path| open(path)));
        assert!(!open("/quorate.peer.v1.Peer/Propose"));
        assert!(!open("/quorate.join.v1.Membership/Relay"));
    }

    #[test]
    fn a_node_from_the_future_may_do_more_once_its_admission_is_applied() {
        let doors = doors();
        let peer = node(Standing::AheadOfUs);
        admit(&doors, &peer, Role::Standby, 3);
        assert!(
            doors
                .open_to(&peer, "/quorate.peer.v1.Peer/Propose")
                .is_some()
        );
    }

    #[test]
    fn strangers_and_members_do_not_share_services() {
        let doors = doors();
        let stranger = Peer::Stranger { exporter: [0; 32] };
        let offered = doors
            .open_to(&stranger, "/quorate.peer.v1.Peer/Propose")
            .unwrap();
        assert!(Arc::ptr_eq(offered, &doors.strangers));
        let member = node(Standing::Member);
        admit(&doors, &member, Role::Voter, 3);
        let offered = doors
            .open_to(&member, "/quorate.peer.v1.Peer/Propose")
            .unwrap();
        assert!(Arc::ptr_eq(offered, &doors.members));
    }
}
