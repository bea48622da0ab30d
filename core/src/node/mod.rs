//! A node: its directory, its identity, its replica, the services, and what runs beside them.
//!
//! | file | what it holds |
//! |---|---|
//! | `mod.rs` | [`Node`]: the order in which all of it starts and stops |
//! | `origin.rs` | who the node is: founded just now, or found in the directory |
//! | `inner.rs` | [`Inner`]: what services and helpers share |
//! | `front.rs` | what clients reach: the services here, or for a spare those of a member that holds data |
//! | `role.rs` | takes up the log when the node becomes a standby, and lays it down when it becomes a spare |
//! | `helpers.rs` | what runs beside the services for as long as the node does |
//! | `leader.rs` | who decides: this node while it leads, and else the leader |
//! | `leaving.rs` | how a member changes what is said of it, leaves, and is removed |
//! | `inviting.rs` | tokens and admissions, as the leader decides them |
//! | `membership_service.rs` | what members ask of one another beside Raft: relayed joins, the signing key, new certificates |
//! | `recover.rs` | a survivor of a lost quorum goes on alone |
//! | `join.rs` | [`join()`]: makes a directory the home of a new member |
//! | `ground.rs` | where a join keeps what it makes while a directory still holds another life's data |

mod front;
mod ground;
mod helpers;
mod inner;
mod inviting;
mod join;
mod leader;
mod leaving;
mod membership_service;
mod origin;
pub mod recover;
mod role;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

pub use inner::{CLIENT_SCANS, Inner};
pub use inviting::{Invitation, InviteError};
pub use join::{Wipe, join};

use crate::config::{Beginning, ClientAccess, NodeConfig};
use crate::database::Place;
use crate::directory::{Directory, DirectoryError};
use crate::etcd::{ClientApi, MAX_REQUESTS, MAX_STREAMS};
use crate::join::SharedView;
use crate::join::driver::JoinError;
use crate::join::service::JoinService;
use crate::membership::driver;
use crate::proto::join::join_server::JoinServer;
use crate::proto::join::membership_server::MembershipServer;
use crate::proto::peer::peer_server::PeerServer;
use crate::raft::peers::{Identity, Peers};
use crate::raft::replica::{Replica, StartError, Stores};
use crate::raft::server::PeerService;
use crate::runtime::{Disk, Event, Listener, Runtime, TaskHandle, Worker};
use crate::tls::TlsError;
use crate::tls::doors::Doors;
use crate::tls::secure::NodeTls;
use crate::transport::{
    ANSWER_BYTES, Guests, Http1, JOIN_MESSAGE_BYTES, PEER_MESSAGE_BYTES, Plain, PlainLocal,
    ServerOptions, Services, Windows, serve,
};
use front::Front;
use membership_service::MembershipService;
use origin::Origin;

/// Connections at the peers' port at a time: a cluster of a hundred nodes has a few hundred.
pub const MAX_PEER_CONNECTIONS: u32 = 1024;

/// Strangers that want to join. Whoever holds a line makes two calls, each within ten seconds (`join/driver.rs`).
const STRANGERS: Guests = Guests {
    max_connections: 32,
    max_concurrent_streams: 4,
    life: Duration::from_secs(20),
};

/// Why a node did not start.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The data directory does not allow it.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// An address cannot be listened on.
    #[error("cannot listen on {address}: {error}")]
    Listen {
        /// The address.
        address: String,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// The replica cannot be started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// Keys and certificates cannot be made or used.
    #[error("keys and certificates: {0}")]
    Tls(#[from] TlsError),
    /// The leader has to be asked first whether it counts on what this node holds.
    #[error("no leader answers whether this node may begin with an empty log")]
    Unasked,
    /// The cluster does not take this node.
    #[error(transparent)]
    Join(#[from] JoinError),
}

/// A running node.
pub struct Node<R: Runtime> {
    inner: Arc<Inner<R>>,
    /// The same for its own clients and for those that spares pass on, with one budget.
    api: Arc<ClientApi<R, Inner<R>>>,
    client_address: String,
    peer_address: String,
    stops: Vec<oneshot::Sender<()>>,
    servers: Vec<R::Task<()>>,
    helpers: Vec<R::Task<()>>,
    /// Keeps Raft running; ends with why it cannot.
    keeper: Option<R::Task<StartError>>,
    _lock: <R::Disk as Disk>::Lock,
}

impl<R: Runtime> Node<R> {
    /// Starts a node and returns when it listens and its stores are open; a leader may take a moment longer.
    ///
    /// # Errors
    /// When the directory, an address or a store does not allow it. Nothing is made then that was not there.
    pub async fn start(config: NodeConfig, beginning: Beginning) -> Result<Self, NodeError> {
        let directory = Directory::new(R::disk(), config.data_dir.clone());
        let found = directory.inspect(beginning)?;
        let peer_listener = listen::<R>(&config.listen_peer).await?;
        let client_listener = listen::<R>(&config.listen_client).await?;
        let lock = directory.enter()?;
        let founded = found.is_none();
        let origin = match found {
            Some(inhabitant) => Origin::resume(&directory, inhabitant)?,
            None => Origin::found::<R>(&directory, &config)?,
        };
        let identity = origin.inhabitant.identity;
        let tls = NodeTls::new(origin.credentials, SharedView::new(origin.view))?;
        let timing = config.timing.fit_for(measure_sync::<R>(&directory).await);
        let peers = Arc::new(Peers::new(identity, tls, timing.election().1));
        let place = Place::new(config.data_dir.clone(), directory.disk().vfs());
        let replica = Replica::new(place, peers, timing);
        replica.elects_from(origin.inhabitant.elects_from);
        // Opening the stores may take the last of the room, and no write is to be taken that would.
        if directory
            .free_bytes()
            .is_ok_and(|free| free < config.min_free_bytes)
        {
            tracing::error!("the disk is nearly full: no writes are taken until there is room");
            // None was set aside by a node that found its disk so.
            let _ = directory.release_reserve();
            replica.set_full(true);
        }
        if founded {
            replica.start(Stores::New).await?;
            replica.initialize().await?;
            directory.settle(&origin.inhabitant)?;
        } else if origin.inhabitant.holds_log {
            replica.start(Stores::Existing).await?;
        } else {
            // Ended between writing down that it keeps no log and deleting it.
            R::observe(|| Event::LogGivenUp);
            directory.remove_stores()?;
        }
        let inner = Arc::new(Inner::new(
            config,
            directory,
            replica,
            origin.inhabitant,
            origin.authority,
        ));
        inner.tell_shunned(None);
        inner.learn_members();
        let mut node = Self {
            client_address: client_listener.local_address(),
            peer_address: peer_listener.local_address(),
            api: Arc::new(ClientApi::new(Arc::clone(&inner))),
            inner,
            stops: Vec::new(),
            servers: Vec::new(),
            helpers: Vec::new(),
            keeper: None,
            _lock: lock,
        };
        node.serve_peers(peer_listener);
        // Mostly all of them answer at once, and the node is ready when this returns.
        let replica = node.inner.replica();
        let deadline = R::now() + replica.memory_patience();
        node.inner.compare_memory(deadline).await?;
        if !replica.may_vote() {
            tracing::warn!(
                "too few of the other voters answer: this node votes when they have said what they remember of it"
            );
        }
        node.serve_clients(client_listener);
        node.help();
        Ok(node)
    }

    /// Where clients are served.
    #[must_use]
    pub fn client_address(&self) -> &str {
        &self.client_address
    }

    /// Where the other nodes are served.
    #[must_use]
    pub fn peer_address(&self) -> &str {
        &self.peer_address
    }

    /// The node's part in Raft.
    #[must_use]
    pub fn replica(&self) -> &Arc<Replica<R>> {
        self.inner.replica()
    }

    /// Who this node is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.inner.who()
    }

    /// What services and helpers share.
    #[must_use]
    pub fn handle(&self) -> Arc<Inner<R>> {
        Arc::clone(&self.inner)
    }

    /// Waits until the node cannot go on, and says why: a peer that could not be asked before remembers that this node
    /// acknowledged more than it holds, or the log holds what this version does not know. What it would say at its next start
    /// too, unless a newer version makes that.
    pub async fn failed(&mut self) -> NodeError {
        match &mut self.keeper {
            Some(keeper) => match keeper.await {
                Ok(error) => error.into(),
                // Only a world that ends aborts it.
                Err(_) => std::future::pending().await,
            },
            None => std::future::pending().await,
        }
    }

    /// Hands leadership over, says goodbye to clients and peers, and closes the stores.
    pub async fn stop(mut self) {
        let replica = Arc::clone(self.inner.replica());
        if let Some(heir) = replica.hand_over(replica.timing().election().1).await {
            tracing::info!(%heir, "leadership handed over");
        }
        for helper in &self.helpers {
            helper.abort();
        }
        if let Some(keeper) = &self.keeper {
            keeper.abort();
        }
        for stop in self.stops.drain(..) {
            // A server that ended by itself does not listen any more.
            let _ = stop.send(());
        }
        for server in self.servers.drain(..) {
            let _ = server.await;
        }
        replica.stop().await;
    }

    fn serve_peers(&mut self, listener: R::Listener) {
        let replica = self.inner.replica();
        let tls = replica.peers().tls().clone();
        let raft = PeerServer::new(PeerService::new(Arc::clone(&self.inner)))
            .max_decoding_message_size(PEER_MESSAGE_BYTES)
            .max_encoding_message_size(ANSWER_BYTES);
        let membership = MembershipServer::new(MembershipService::new(Arc::clone(&self.inner)));
        let join = JoinServer::new(JoinService::new(Arc::clone(&self.inner)))
            .max_decoding_message_size(JOIN_MESSAGE_BYTES);
        let doors = Arc::new(Doors::new(
            tls.view().clone(),
            Services::new().and(raft).and(membership),
            Services::new().and(join),
            Arc::clone(&self.api),
            |node| R::observe(|| Event::LetIn { node: node.0 }),
            {
                let inner = self.handle();
                move |node| inner.follows(node)
            },
        ));
        let timing = replica.timing();
        let options = ServerOptions {
            name: "peer",
            max_connections: MAX_PEER_CONNECTIONS,
            max_handshakes: 256,
            guests: STRANGERS,
            max_concurrent_streams: 1024,
            max_requests: MAX_REQUESTS,
            windows: Windows::PEER,
            max_header_bytes: 16 * 1024,
            handshake_timeout: timing.election().1 * 4,
            idle_timeout: Duration::from_secs(60),
            keepalive_interval: timing.election().1 * 4,
            keepalive_timeout: timing.election().1 * 4,
            drain_timeout: timing.election().1,
            http1: Http1::Refused,
        };
        let (stop, stopped) = oneshot::channel();
        self.stops.push(stop);
        self.servers.push(R::spawn(async move {
            serve::<R, _, _>(listener, tls, doors, options, async {
                drop(stopped.await);
            })
            .await;
        }));
    }

    fn serve_clients(&mut self, listener: R::Listener) {
        let front = Arc::new(Front::new(Arc::clone(&self.inner), Arc::clone(&self.api)));
        let config = self.inner.config();
        let options = ServerOptions {
            name: "client",
            max_connections: config.max_client_connections,
            max_handshakes: config.max_client_connections,
            guests: Guests::NONE,
            max_concurrent_streams: MAX_STREAMS,
            max_requests: MAX_REQUESTS,
            windows: Windows::CLIENT,
            max_header_bytes: 16 * 1024,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(3600),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
            drain_timeout: config.drain,
            http1: Http1::Served,
        };
        let access = config.client_access;
        let (stop, stopped) = oneshot::channel();
        self.stops.push(stop);
        let stopped = async { drop(stopped.await) };
        self.servers.push(match access {
            ClientAccess::Anyone => {
                R::spawn(serve::<R, _, _>(listener, Plain, front, options, stopped))
            }
            ClientAccess::SameUser => R::spawn(serve::<R, _, _>(
                listener, PlainLocal, front, options, stopped,
            )),
            ClientAccess::Certificate => {
                let tls = self.inner.replica().peers().tls().api();
                R::spawn(serve::<R, _, _>(listener, tls, front, options, stopped))
            }
        });
    }

    /// Starts what runs beside the services.
    fn help(&mut self) {
        let policy = self.inner.config().policy.clone();
        self.helpers = helpers::start(&self.inner);
        let inner = self.handle();
        self.keeper = Some(R::spawn(async move { inner.keep_running().await }));
        self.helpers
            .push(R::spawn(driver::run(self.handle(), policy)));
    }
}

async fn listen<R: Runtime>(address: &str) -> Result<R::Listener, NodeError> {
    R::listen(address).await.map_err(|error| NodeError::Listen {
        address: address.to_owned(),
        error,
    })
}

/// About how long a sync takes here: the best of three small durable writes, each of which syncs a file and its directory.
async fn measure_sync<R: Runtime>(directory: &Directory<R::Disk>) -> Duration {
    let worker = R::worker("sync-probe");
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let directory = directory.clone();
        let began = R::now();
        let written = worker.run(move || directory.probe()).await;
        if written.is_ok() {
            best = best.min((R::now() - began) / 3);
        }
    }
    if best == Duration::MAX {
        Duration::ZERO
    } else {
        best
    }
}
