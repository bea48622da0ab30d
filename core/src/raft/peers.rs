//! Where the other nodes are, and one channel to each.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tonic::Request;

use crate::ids::{ClusterId, Epoch, NodeId};
use crate::proto::join::membership_client::MembershipClient;
use crate::proto::peer::peer_client::PeerClient;
use crate::proto::peer::{ReportRequest, ReportResponse, Route};
use crate::runtime::Runtime;
use crate::tls::secure::NodeTls;
use crate::transport::{Channel, ChannelOptions, PEER_MESSAGE_BYTES};

/// A client of a peer's service.
pub type Client<R> = PeerClient<Channel<R>>;

/// Who this node is, as each frame says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The cluster.
    pub cluster: ClusterId,
    /// Which life of it.
    pub epoch: Epoch,
    /// This node.
    pub node: NodeId,
}

impl Identity {
    /// The head of a frame to `to`.
    #[must_use]
    pub fn route(&self, to: NodeId) -> Route {
        Route {
            cluster: self.cluster.0,
            epoch: self.epoch.0,
            from: self.node.0,
            to: to.0,
        }
    }

    /// Checks the head of a frame that arrived here.
    ///
    /// # Errors
    /// Says what differs: a frame of another cluster, another life of this one, or for another node is never acted upon.
    pub fn check(&self, route: Option<&Route>) -> Result<NodeId, String> {
        let route = route.ok_or("a frame without a route")?;
        if route.cluster != self.cluster.0 {
            return Err(format!(
                "a frame of cluster {:x}; this is {}",
                route.cluster, self.cluster
            ));
        }
        if route.epoch != self.epoch.0 {
            return Err(format!(
                "a frame of epoch {}; this cluster is in epoch {}",
                route.epoch, self.epoch
            ));
        }
        if route.to != self.node.0 {
            return Err(format!(
                "a frame for node {:x}; this is {}",
                route.to, self.node
            ));
        }
        Ok(NodeId(route.from))
    }
}

/// The nodes that this one talks to. Who they are and where is what the member view says at that moment.
pub struct Peers<R: Runtime> {
    identity: Identity,
    options: ChannelOptions,
    tls: NodeTls<R>,
    channels: Mutex<BTreeMap<NodeId, Channel<R>>>,
}

impl<R: Runtime> Peers<R> {
    /// Talks as `tls` says who this node is. `patience` bounds a dial and the silence on a connection.
    #[must_use]
    pub fn new(identity: Identity, tls: NodeTls<R>, patience: Duration) -> Self {
        Self {
            identity,
            options: ChannelOptions {
                connect_timeout: patience,
                call_timeout: patience * 4,
                keepalive_interval: patience * 4,
                keepalive_timeout: patience * 2,
                rest_min: patience / 8,
                rest_max: patience,
            },
            tls,
            channels: Mutex::default(),
        }
    }

    /// Who this node is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    /// How this node shows who it is, and judges others.
    #[must_use]
    pub fn tls(&self) -> &NodeTls<R> {
        &self.tls
    }

    fn channels(&self) -> MutexGuard<'_, BTreeMap<NodeId, Channel<R>>> {
        self.channels.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Closes the channels to nodes that are no members any more.
    pub fn forget_removed(&self) {
        let view = self.tls.view().get();
        self.channels()
            .retain(|node, _| view.members.contains_key(node));
    }

    /// Every other node that is known.
    #[must_use]
    pub fn others(&self) -> Vec<NodeId> {
        let view = self.tls.view().get();
        let members = view.members.keys().copied();
        members.filter(|node| *node != self.identity.node).collect()
    }

    /// A client of `node`. It dials when it is used, whatever address is known then.
    #[must_use]
    pub fn client(&self, node: NodeId) -> Client<R> {
        PeerClient::new(self.channel(node))
            .max_decoding_message_size(PEER_MESSAGE_BYTES)
            .max_encoding_message_size(PEER_MESSAGE_BYTES)
    }

    /// How a node is, if it says so in time.
    pub async fn report(&self, node: NodeId, limit: Duration) -> Option<ReportResponse> {
        let route = Some(self.identity.route(node));
        let mut request = Request::new(ReportRequest { route });
        request.set_timeout(limit);
        let report = self.client(node).report(request).await;
        Some(report.ok()?.into_inner())
    }

    /// A client of the service at `node` that looks after members and their certificates.
    #[must_use]
    pub fn membership(&self, node: NodeId) -> MembershipClient<Channel<R>> {
        MembershipClient::new(self.channel(node))
    }

    /// The channel to `node` itself, for whoever passes requests on as they are.
    #[must_use]
    pub fn channel(&self, node: NodeId) -> Channel<R> {
        let mut channels = self.channels();
        let channel = channels
            .entry(node)
            .or_insert_with(|| Channel::new(self.tls.dial(node), self.options.clone()));
        channel.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_from_elsewhere_is_refused_with_the_reason() {
        let here = Identity {
            cluster: ClusterId(7),
            epoch: Epoch(1),
            node: NodeId(1),
        };
        let there = Identity {
            node: NodeId(2),
            ..here
        };
        assert_eq!(here.check(Some(&there.route(NodeId(1)))), Ok(NodeId(2)));
        let refused =
            |identity: Identity, to| here.check(Some(&identity.route(NodeId(to)))).unwrap_err();
        assert!(
            refused(
                Identity {
                    cluster: ClusterId(8),
                    ..there
                },
                1
            )
            .contains("cluster 8")
        );
        assert!(
            refused(
                Identity {
                    epoch: Epoch(0),
                    ..there
                },
                1
            )
            .contains("epoch 0")
        );
        assert!(refused(there, 3).contains("node 3"));
        assert!(here.check(None).is_err());
    }
}
