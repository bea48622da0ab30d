//! Where the other nodes are, and one channel to each.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::ids::{ClusterId, Epoch, NodeId};
use crate::proto::peer::Route;
use crate::proto::peer::peer_client::PeerClient;
use crate::runtime::Runtime;
use crate::transport::{Channel, ChannelOptions, Dial, PEER_MESSAGE_BYTES};

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

/// The nodes that this one talks to.
pub struct Peers<R: Runtime> {
    identity: Identity,
    options: ChannelOptions,
    book: Arc<Mutex<BTreeMap<NodeId, Vec<String>>>>,
    clients: Mutex<BTreeMap<NodeId, Client<R>>>,
}

impl<R: Runtime> Peers<R> {
    /// Nobody is known yet. `patience` bounds a dial and the silence on a connection.
    #[must_use]
    pub fn new(identity: Identity, patience: Duration) -> Self {
        Self {
            identity,
            options: Self::options(patience),
            book: Arc::default(),
            clients: Mutex::default(),
        }
    }

    /// How a channel between nodes treats its connection.
    #[must_use]
    pub fn options(patience: Duration) -> ChannelOptions {
        ChannelOptions {
            connect_timeout: patience,
            call_timeout: patience * 4,
            keepalive_interval: patience * 4,
            keepalive_timeout: patience * 2,
            rest_min: patience / 8,
            rest_max: patience,
        }
    }

    /// Who this node is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.identity
    }

    fn clients(&self) -> MutexGuard<'_, BTreeMap<NodeId, Client<R>>> {
        self.clients.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces what is known of the addresses: nodes that are not in `book` are forgotten, and their channels closed.
    pub fn learn(&self, book: BTreeMap<NodeId, Vec<String>>) {
        self.clients().retain(|node, _| book.contains_key(node));
        *self.book.lock().unwrap_or_else(PoisonError::into_inner) = book;
    }

    /// Every other node that is known.
    #[must_use]
    pub fn others(&self) -> Vec<NodeId> {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.keys()
            .copied()
            .filter(|node| *node != self.identity.node)
            .collect()
    }

    /// A client of `node`. It dials when it is used, whatever address is known then.
    #[must_use]
    pub fn client(&self, node: NodeId) -> Client<R> {
        let mut clients = self.clients();
        let client = clients.entry(node).or_insert_with(|| {
            let dial = BookDial {
                node,
                book: Arc::clone(&self.book),
                runtime: std::marker::PhantomData::<fn() -> R>,
            };
            PeerClient::new(Channel::new(dial, self.options.clone()))
                .max_decoding_message_size(PEER_MESSAGE_BYTES)
                .max_encoding_message_size(PEER_MESSAGE_BYTES)
        });
        client.clone()
    }
}

/// Dials the addresses of a node, one after the other.
struct BookDial<R> {
    node: NodeId,
    book: Arc<Mutex<BTreeMap<NodeId, Vec<String>>>>,
    runtime: std::marker::PhantomData<fn() -> R>,
}

impl<R: Runtime> Dial for BookDial<R> {
    type Stream = R::Stream;

    async fn dial(&self) -> io::Result<R::Stream> {
        let addresses = {
            let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
            book.get(&self.node).cloned().unwrap_or_default()
        };
        let mut error = io::Error::new(
            io::ErrorKind::NotFound,
            format!("no address is known of node {}", self.node),
        );
        for address in &addresses {
            match R::connect(address).await {
                Ok(stream) => return Ok(stream),
                Err(failed) => error = failed,
            }
        }
        Err(error)
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
