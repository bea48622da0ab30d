//! How a member changes what is said of it, leaves, and is removed. The leader decides; any node may be asked.

use std::time::Duration;

use tonic::{Code, Status};

use super::inner::Inner;
use super::inviting::InviteError;
use super::leader::Decider;
use crate::ids::NodeId;
use crate::join::{MOST_ADDRESSES, may_be_claimed};
use crate::proto::admin::{Done, RemoveNodeRequest};
use crate::proto::join::Description;
use crate::proto::store::command::Body;
use crate::proto::store::{Member, MemberUpdate};
use crate::runtime::{Runtime, timeout};

/// How long a removal may take: a standby that votes instead has to be stable for ten seconds first.
const REMOVAL: Duration = Duration::from_secs(40);
const LOOK_AGAIN: Duration = Duration::from_millis(50);
/// A failure domain or an address that is longer is a mistake.
const LONGEST: usize = 255;

impl<R: Runtime> Inner<R> {
    /// Sees to it that the member table says of this node what its configuration says: addresses may have changed since it
    /// last ran (R5).
    pub(super) async fn announce(&self) {
        // It names the hosts under which clients reach this node.
        let mut certificate_is_old = false;
        loop {
            let view = self.view().get();
            let Some(row) = view.members.get(&self.who().node) else {
                R::sleep(self.replica().timing().request_timeout()).await;
                continue;
            };
            let wanted = self.description(self.failure_domain(), row.leaving);
            let is_said = is_said(&wanted, row);
            if is_said && !certificate_is_old {
                return;
            }
            if !is_said {
                let moved = wanted.client_addresses != row.client_addresses;
                match self.describe(wanted).await {
                    Ok(()) => certificate_is_old |= moved,
                    // It stays as it is until this node is configured otherwise.
                    Err(status) if status.code() == Code::InvalidArgument => {
                        return tracing::warn!(
                            status = status.message(),
                            "the cluster does not take what this node says of itself"
                        );
                    }
                    Err(status) => tracing::debug!(
                        status = status.message(),
                        "the member table could not be brought up to date; it is tried again"
                    ),
                }
            }
            if certificate_is_old {
                match self.renew().await {
                    Ok(()) => certificate_is_old = false,
                    Err(error) => {
                        tracing::warn!(error, "the certificate still names the old addresses");
                    }
                }
            }
            R::sleep(self.replica().timing().heartbeat() * 10).await;
        }
    }

    fn description(&self, failure_domain: String, leaving: bool) -> Description {
        let config = self.config();
        Description {
            peer_addresses: config.advertise_peer.clone(),
            client_addresses: config.advertise_client.clone(),
            failure_domain,
            feature_level: crate::state::FEATURE_LEVEL,
            leaving,
        }
    }

    /// Says anew with what this node fails together. It holds until the node is configured otherwise.
    ///
    /// # Errors
    /// When the cluster does not take it.
    pub async fn set_failure_domain(&self, failure_domain: String) -> Result<(), Status> {
        self.describe(self.description(failure_domain.clone(), false))
            .await?;
        self.note_failure_domain(failure_domain);
        Ok(())
    }

    /// Takes this node out of the cluster and returns when it is out. Leadership and role go to others first.
    ///
    /// # Errors
    /// When it is the only member, or the cluster is not done in time; asked again, it goes on.
    pub async fn leave(&self) -> Result<Done, Status> {
        let name = self.config().name.clone();
        if self.view().get().members.len() == 1 {
            return Err(Status::failed_precondition(
                "this node is the only member: it holds the only copy of the data. Let another join first, or stop this one and keep its directory",
            ));
        }
        self.describe(self.description(self.failure_domain(), true))
            .await?;
        match timeout::<R, _>(REMOVAL, self.wait_gone()).await {
            Ok(()) => Ok(Done {
                text: format!("{name} has left the cluster"),
            }),
            Err(_) => Err(Status::unavailable(format!(
                "{name} is leaving, and the cluster is not done yet: `quorate status` says what it waits for"
            ))),
        }
    }

    /// Completes when this node has been removed from its cluster.
    pub async fn wait_gone(&self) {
        let me = self.who().node;
        let gone =
            |view: &std::sync::Arc<crate::join::MemberView>| view.tombstones.contains_key(&me);
        // An error would mean that the view is gone, which this node holds itself.
        let _ = self.view().subscribe().wait_for(gone).await;
    }

    /// Changes this node's row of the member table, through the leader.
    async fn describe(&self, description: Description) -> Result<(), Status> {
        match self.decider()? {
            Decider::Here => self.describe_here(self.who().node, description).await,
            Decider::There(mut leader) => {
                leader.describe(self.in_time(description)).await.map(drop)
            }
        }
    }

    /// As the leader: changes the row of `node` as it says.
    pub(super) async fn describe_here(
        &self,
        node: NodeId,
        description: Description,
    ) -> Result<(), Status> {
        check(&description).map_err(Status::invalid_argument)?;
        self.change_row(node, |row| Member {
            peer_addresses: description.peer_addresses,
            client_addresses: description.client_addresses,
            failure_domain: description.failure_domain,
            feature_level: description.feature_level,
            leaving: row.leaving || description.leaving,
            ..row
        })
        .await
    }

    /// Reads a row of the member table, changes it and writes it back, with no other change of this leader's in between.
    async fn change_row(
        &self,
        node: NodeId,
        change: impl FnOnce(Member) -> Member,
    ) -> Result<(), Status> {
        let _one_at_a_time = self.row_changes().await;
        let view = self.newest_view();
        let row = view.members.get(&node).cloned();
        let row = row.ok_or_else(|| Status::failed_precondition("not a member"))?;
        let member = change(row);
        let update = MemberUpdate {
            member: Some(member),
        };
        let accepted = self.accepted(Body::MemberUpdate(update)).await;
        accepted.map(drop).map_err(|error| match error {
            InviteError::Rejected(_) => Status::failed_precondition(error.to_string()),
            _ => Status::unavailable(error.to_string()),
        })
    }

    /// Removes a member, through the leader.
    ///
    /// # Errors
    /// When there is no such member, it does not answer and is not to be forced out, or the cluster would lose its quorum.
    pub async fn remove(&self, request: RemoveNodeRequest) -> Result<Done, Status> {
        self.refuse_as_spare()?;
        match self.decider()? {
            Decider::Here => self.remove_here(request).await,
            Decider::There(mut leader) => {
                let mut request = self.in_time(request);
                request.set_timeout(REMOVAL + self.replica().timing().request_timeout());
                Ok(leader.remove(request).await?.into_inner())
            }
        }
    }

    /// As the leader: marks the member as leaving, so that the planner takes its roles from it one safe step at a time, and waits
    /// until it is out.
    pub(super) async fn remove_here(&self, request: RemoveNodeRequest) -> Result<Done, Status> {
        let view = self.newest_view();
        let typed = request.node.as_str();
        let Some(row) = find(typed, view.members.values()) else {
            let id = u64::from_str_radix(typed, 16).unwrap_or(0);
            let mut removed = view.tombstones.values();
            return if removed.any(|old| old.name == typed || old.id == id) {
                Ok(Done {
                    text: format!("{typed} was removed before"),
                })
            } else {
                Err(Status::not_found(format!("no member is called {typed:?}")))
            };
        };
        if view.members.len() == 1 {
            return Err(Status::failed_precondition(
                "it is the only member: it holds the only copy of the data",
            ));
        }
        let node = NodeId(row.id);
        let status = self.own_status();
        let status = status
            .ok_or_else(|| Status::unavailable("this node has just begun to lead: try again"))?;
        let responds = status
            .nodes
            .iter()
            .any(|seen| seen.id == node.to_string() && seen.contact == "responding");
        if !responds && !request.force {
            return Err(Status::failed_precondition(format!(
                "{} does not answer. If it will never come back, remove it with --force; its data directory is of no use then",
                row.name
            )));
        }
        if !row.leaving {
            self.change_row(node, |row| Member {
                leaving: true,
                ..row
            })
            .await?;
        }
        self.wait_removed(node, &row.name).await
    }

    async fn wait_removed(&self, node: NodeId, name: &str) -> Result<Done, Status> {
        let removed = async {
            while !self.view().get().tombstones.contains_key(&node) {
                R::sleep(LOOK_AGAIN).await;
            }
        };
        match timeout::<R, _>(REMOVAL, removed).await {
            Ok(()) => Ok(Done {
                text: format!("{name} is removed: its certificate is worthless from now on"),
            }),
            Err(_) => {
                let status = self.own_status();
                let waits = status.map_or_else(
                    || "a new leader".to_owned(),
                    |status| status.planner_says.clone(),
                );
                Err(Status::unavailable(format!(
                    "{name} is leaving; the cluster waits for: {waits}. Ask again to go on waiting"
                )))
            }
        }
    }
}

fn find<'a>(
    typed: &str,
    mut members: impl Iterator<Item = &'a Member> + Clone,
) -> Option<&'a Member> {
    let id = u64::from_str_radix(typed, 16).ok();
    let by_name = members.clone().find(|row| row.name == typed);
    by_name.or_else(|| members.find(|row| Some(row.id) == id))
}

fn is_said(wanted: &Description, row: &Member) -> bool {
    row.peer_addresses == wanted.peer_addresses
        && row.client_addresses == wanted.client_addresses
        && row.failure_domain == wanted.failure_domain
        && row.feature_level == wanted.feature_level
}

fn check(description: &Description) -> Result<(), &'static str> {
    let texts = || {
        description
            .peer_addresses
            .iter()
            .chain(&description.client_addresses)
    };
    if texts().count() > MOST_ADDRESSES {
        return Err("a node has 16 addresses at most");
    }
    if !texts().all(|address| may_be_claimed(address)) {
        return Err("an address cannot be used");
    }
    let mut all = texts().chain([&description.failure_domain]);
    if all.any(|text| text.len() > LONGEST || text.chars().any(char::is_control)) {
        return Err("an address or a failure domain is too long, or cannot be printed");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::ClusterId;
    use crate::tls::name::node_dns;

    #[test]
    fn a_member_is_found_by_name_before_it_is_found_by_id() {
        let member = |id, name: &str| Member {
            id,
            name: name.to_owned(),
            ..Member::default()
        };
        let members = [member(0xa, "b"), member(0xb, "c")];
        let found = |typed| find(typed, members.iter()).map(|row| row.id);
        assert_eq!(found("b"), Some(0xa));
        assert_eq!(found("c"), Some(0xb));
        assert_eq!(found("a"), Some(0xa));
        assert_eq!(found("d"), None);
    }

    #[test]
    fn senseless_descriptions_are_refused() {
        let fine = Description::default();
        assert_eq!(check(&fine), Ok(()));
        let long = Description {
            failure_domain: "x".repeat(LONGEST + 1),
            ..Description::default()
        };
        let many = Description {
            peer_addresses: vec!["a:1".to_owned(); MOST_ADDRESSES + 1],
            ..Description::default()
        };
        assert!(check(&long).is_err() && check(&many).is_err());
        let with = |address: &str| Description {
            client_addresses: vec![address.to_owned()],
            ..Description::default()
        };
        assert_eq!(check(&with("https://node-2.lan:2379")), Ok(()));
        // Its certificate would be good for the name of another node.
        let victim = node_dns(ClusterId(1), NodeId(1));
        assert!(check(&with(&format!("{victim}:1"))).is_err());
        assert!(check(&with("nowhere")).is_err());
    }
}
