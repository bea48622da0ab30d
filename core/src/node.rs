//! A node: its directory, its replica, the two services, and what runs beside them.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::config::{Beginning, NodeConfig};
use crate::database::Place;
use crate::directory::{Directory, DirectoryError, Inhabitant};
use crate::etcd::ClientApi;
use crate::ids::{ClusterId, Epoch, NodeId};
use crate::membership::{driver, policy::Policy};
use crate::proto::peer::{self, peer_client::PeerClient, peer_server::PeerServer};
use crate::proto::store::{self, command::Body};
use crate::raft::peers::{Identity, Peers};
use crate::raft::replica::{Replica, StartError, Stores};
use crate::raft::server::PeerService;
use crate::runtime::{Access, Disk, Listener, Runtime, TaskHandle, Worker};
use crate::state::Response;
use crate::transport::{
    Channel, Http1, PEER_MESSAGE_BYTES, Plain, PlainDial, ServerOptions, Services, serve,
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
    /// The cluster does not take this node.
    #[error("the cluster did not admit this node: {0}")]
    Refused(String),
}

/// Asks a member of a cluster to admit this node and makes its data directory. Afterwards the node is started like any
/// other, with [`Beginning::Existing`].
///
/// # Errors
/// When the directory is in use or inhabited, no member can be reached, or the cluster refuses. Nothing is left then.
pub async fn join<R: Runtime>(
    config: &NodeConfig,
    member_address: &str,
) -> Result<Identity, NodeError> {
    let directory = Directory::new(R::disk(), config.data_dir.clone());
    if let Some(inhabitant) = directory.inspect(Beginning::Usual)? {
        return Err(NodeError::Refused(format!(
            "node {} lives in {} already",
            inhabitant.name,
            config.data_dir.display()
        )));
    }
    let node = NodeId(new_id::<R>());
    let member = store::Member {
        id: node.0,
        role: store::Role::Spare.into(),
        ..as_member::<R>(config)
    };
    let unreachable = |why: String| NodeError::Refused(format!("{member_address}: {why}"));
    let channel = Channel::<R>::new(
        PlainDial::<R>::new(member_address),
        Peers::<R>::options(config.timing.election().1),
    );
    let mut request = tonic::Request::new(peer::AdmitRequest {
        member: Some(member),
    });
    request.set_timeout(config.timing.request_timeout());
    let answer = PeerClient::new(channel).admit(request).await;
    let answer = answer
        .map_err(|status| unreachable(status.message().to_owned()))?
        .into_inner();
    if !answer.refused.is_empty() {
        return Err(unreachable(answer.refused));
    }
    let identity = Identity {
        cluster: ClusterId(answer.cluster),
        epoch: Epoch(answer.epoch),
        node,
    };
    let _lock = directory.enter()?;
    let place = Place {
        dir: config.data_dir.clone(),
        vfs: directory.disk().vfs(),
    };
    let made = Replica::<R>::make_stores(&place);
    made.map_err(NodeError::Start)?;
    directory.settle(&Inhabitant {
        identity,
        name: config.name.clone(),
    })?;
    Ok(identity)
}

/// A running node.
pub struct Node<R: Runtime> {
    inner: Arc<Inner<R>>,
    client_address: String,
    peer_address: String,
    stops: Vec<oneshot::Sender<()>>,
    servers: Vec<R::Task<()>>,
    helpers: Vec<R::Task<()>>,
    _lock: <R::Disk as Disk>::Lock,
}

/// What the services and helpers share.
pub struct Inner<R: Runtime> {
    config: NodeConfig,
    directory: Directory<R::Disk>,
    identity: Identity,
    replica: Arc<Replica<R>>,
    /// What the planner waits for.
    waiting: Arc<Mutex<String>>,
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
        let (stores, inhabitant) = match found {
            Some(inhabitant) => (Stores::Existing, inhabitant),
            None => (Stores::New, new_cluster::<R>(&config.name)),
        };
        let identity = inhabitant.identity;
        let timing = config.timing.fit_for(measure_sync::<R>(&directory).await);
        let peers = Arc::new(Peers::new(identity, timing.election().1));
        let place = Place {
            dir: config.data_dir.clone(),
            vfs: directory.disk().vfs(),
        };
        let replica = Replica::new(place, peers, timing);
        replica.start(stores).await?;
        if stores == Stores::New {
            replica.initialize().await?;
            directory.settle(&inhabitant)?;
        }
        let inner = Arc::new(Inner {
            config,
            directory,
            identity,
            replica,
            waiting: Arc::default(),
        });
        inner.learn_addresses().await;
        let mut node = Self {
            client_address: client_listener.local_address(),
            peer_address: peer_listener.local_address(),
            inner,
            stops: Vec::new(),
            servers: Vec::new(),
            helpers: Vec::new(),
            _lock: lock,
        };
        node.serve_peers(peer_listener);
        node.inner.replica.compare_memory().await?;
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
        &self.inner.replica
    }

    /// Who this node is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        self.inner.identity
    }

    /// What services and helpers share.
    #[must_use]
    pub fn handle(&self) -> Arc<Inner<R>> {
        Arc::clone(&self.inner)
    }

    /// Hands leadership over, says goodbye to clients and peers, and closes the stores.
    pub async fn stop(mut self) {
        if let Some(heir) = self
            .inner
            .replica
            .hand_over(self.inner.replica.timing().election().1)
            .await
        {
            tracing::info!(%heir, "leadership handed over");
        }
        for helper in &self.helpers {
            helper.abort();
        }
        for stop in self.stops.drain(..) {
            // A server that ended by itself does not listen any more.
            let _ = stop.send(());
        }
        for server in self.servers.drain(..) {
            let _ = server.await;
        }
        self.inner.replica.stop().await;
    }

    fn serve_peers(&mut self, listener: R::Listener) {
        let service = PeerServer::new(PeerService::new(Arc::clone(&self.inner)))
            .max_decoding_message_size(PEER_MESSAGE_BYTES)
            .max_encoding_message_size(PEER_MESSAGE_BYTES);
        let services = Arc::new(Services::default().and(service));
        let timing = self.inner.replica.timing();
        let options = ServerOptions {
            name: "peer",
            max_connections: 1024,
            max_concurrent_streams: 1024,
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
            serve::<R, _, _>(listener, Plain, services, options, async {
                drop(stopped.await);
            })
            .await;
        }));
    }

    fn serve_clients(&mut self, listener: R::Listener) {
        let api = Arc::new(ClientApi::<R, _>::new(Arc::clone(&self.inner)));
        let options = ServerOptions {
            name: "client",
            max_connections: self.inner.config.max_client_connections,
            max_concurrent_streams: 10_000,
            max_header_bytes: 16 * 1024,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(3600),
            keepalive_interval: Duration::from_secs(30),
            keepalive_timeout: Duration::from_secs(20),
            drain_timeout: self.inner.config.drain,
            http1: Http1::Served,
        };
        let (stop, stopped) = oneshot::channel();
        self.stops.push(stop);
        self.servers.push(R::spawn(async move {
            serve::<R, _, _>(listener, Plain, api, options, async { drop(stopped.await) }).await;
        }));
    }

    /// Starts what runs beside the services.
    fn help(&mut self) {
        let inner = Arc::clone(&self.inner);
        self.helpers
            .push(R::spawn(async move { inner.follow_members().await }));
        let inner = Arc::clone(&self.inner);
        self.helpers
            .push(R::spawn(async move { inner.keep_running().await }));
        let inner = Arc::clone(&self.inner);
        self.helpers
            .push(R::spawn(async move { inner.guard_space().await }));
        let inner = Arc::clone(&self.inner);
        self.helpers
            .push(R::spawn(async move { inner.write_down_cluster().await }));
        let inner = Arc::clone(&self.inner);
        self.helpers
            .push(R::spawn(async move { inner.sweep_compacted().await }));
        let (replica, waiting) = (
            Arc::clone(&self.inner.replica),
            Arc::clone(&self.inner.waiting),
        );
        self.helpers.push(R::spawn(driver::run(
            replica,
            Policy::production(),
            waiting,
        )));
    }
}

async fn listen<R: Runtime>(address: &str) -> Result<R::Listener, NodeError> {
    R::listen(address).await.map_err(|error| NodeError::Listen {
        address: address.to_owned(),
        error,
    })
}

/// A random id that is not zero.
fn new_id<R: Runtime>() -> u64 {
    let mut bytes = [0; 8];
    loop {
        R::secret(&mut bytes);
        match u64::from_le_bytes(bytes) {
            0 => {}
            id => return id,
        }
    }
}

fn new_cluster<R: Runtime>(name: &str) -> Inhabitant {
    let identity = Identity {
        cluster: ClusterId(new_id::<R>()),
        epoch: Epoch(1),
        node: NodeId(new_id::<R>()),
    };
    Inhabitant {
        identity,
        name: name.to_owned(),
    }
}

/// A node as a row of the member table, by what its configuration says.
fn as_member<R: Runtime>(config: &NodeConfig) -> store::Member {
    store::Member {
        name: config.name.clone(),
        peer_addresses: config.advertise_peer.clone(),
        client_addresses: config.advertise_client.clone(),
        failure_domain: config.failure_domain.clone(),
        feature_level: crate::state::FEATURE_LEVEL,
        admitted_at_ms: R::wall().millis(),
        ..store::Member::default()
    }
}

/// About how long a sync takes here: the best of three small durable writes, each of which syncs a file and its directory.
async fn measure_sync<R: Runtime>(directory: &Directory<R::Disk>) -> Duration {
    let worker = R::worker("sync-probe");
    let mut best = Duration::MAX;
    for _ in 0..3 {
        let (disk, path) = (directory.disk().clone(), directory.path().join("probe"));
        let began = R::now();
        let written = worker
            .run(move || {
                disk.write(&path, b"probe", Access::Private)
                    .and_then(|()| disk.remove(&path))
            })
            .await;
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

impl<R: Runtime> Inner<R> {
    /// The node's part in Raft.
    #[must_use]
    pub fn replica(&self) -> &Arc<Replica<R>> {
        &self.replica
    }

    /// How it was configured.
    #[must_use]
    pub fn config(&self) -> &NodeConfig {
        &self.config
    }

    /// Who it is.
    #[must_use]
    pub fn who(&self) -> Identity {
        self.identity
    }

    /// What the planner waits for, in words; for people.
    #[must_use]
    pub fn waiting_for(&self) -> String {
        self.waiting
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Admits a newcomer as a spare, if this node leads; else takes the request to the leader.
    pub async fn admit(&self, member: store::Member) -> peer::AdmitResponse {
        let refused = |why: String| peer::AdmitResponse {
            refused: why,
            ..peer::AdmitResponse::default()
        };
        match self.replica.leader() {
            Some(leader) if leader != self.identity.node => {
                let mut request = tonic::Request::new(peer::AdmitRequest {
                    member: Some(member),
                });
                request.set_timeout(self.replica.timing().request_timeout());
                let answer = self.replica.peers().client(leader).admit(request).await;
                answer.map_or_else(
                    |status| refused(status.message().to_owned()),
                    tonic::Response::into_inner,
                )
            }
            Some(_) => match self.admit_here(member).await {
                Ok(members) => peer::AdmitResponse {
                    cluster: self.identity.cluster.0,
                    epoch: self.identity.epoch.0,
                    members,
                    refused: String::new(),
                },
                Err(why) => refused(why),
            },
            None => refused("the cluster has no leader at the moment".to_owned()),
        }
    }

    /// A token that lives for this one admission: the command that admits a member consumes one.
    async fn admit_here(&self, member: store::Member) -> Result<Vec<store::Member>, String> {
        self.written_down().await?;
        let mut id = [0; 8];
        R::secret(&mut id);
        let at_ms = R::wall().millis();
        let token = store::Token {
            id: id.to_vec().into(),
            uses_left: 1,
            expires_at_ms: at_ms + 60_000,
            created_by: self.config.name.clone(),
            ..store::Token::default()
        };
        let add = Body::TokenAdd(store::TokenAdd {
            token: Some(token),
            at_ms,
        });
        self.accepted(add).await?;
        let admit = store::MemberAdmit {
            member: Some(member),
            token_id: id.to_vec().into(),
            at_ms,
        };
        self.accepted(Body::MemberAdmit(admit)).await?;
        self.replica
            .members()
            .await
            .map_err(|error| error.to_string())
    }

    /// Waits until the cluster's first command is applied. A newcomer admitted before it would be the only member in the
    /// table; the first node would find the table filled, never write itself down, and nobody would ever vote but it.
    async fn written_down(&self) -> Result<(), String> {
        let deadline = R::now() + self.replica.timing().request_timeout();
        loop {
            let members = self.replica.members().await;
            if !members.map_err(|error| error.to_string())?.is_empty() {
                return Ok(());
            }
            if R::now() > deadline {
                return Err("the cluster is still being made; try again".to_owned());
            }
            R::sleep(self.replica.timing().heartbeat()).await;
        }
    }

    async fn accepted(&self, body: Body) -> Result<(), String> {
        match self.replica.command(body).await {
            Ok(Response::Rejected(rejection)) => Err(rejection.to_string()),
            Ok(_) => Ok(()),
            Err(error) => Err(error.to_string()),
        }
    }

    /// Takes the addresses of the others from the member table.
    async fn learn_addresses(&self) {
        match self.replica.members().await {
            Ok(members) => {
                let book: BTreeMap<_, _> = members
                    .into_iter()
                    .map(|m| (NodeId(m.id), m.peer_addresses))
                    .collect();
                if !book.is_empty() {
                    self.replica.peers().learn(book);
                }
            }
            Err(error) => tracing::warn!(%error, "the member table cannot be read"),
        }
    }

    async fn follow_members(&self) {
        loop {
            // Each instance of Raft has a channel of its own, which closes with it.
            if let Some(mut progress) = self.replica.progress() {
                while progress.cluster_changes.changed().await.is_ok() {
                    self.learn_addresses().await;
                }
            }
            R::sleep(self.replica.timing().heartbeat()).await;
        }
    }

    /// Starts Raft again after an error of the disk, once the disk can be written.
    async fn keep_running(&self) {
        loop {
            R::sleep(self.replica.timing().heartbeat() * 4).await;
            let Some(reason) = self.replica.ended() else {
                continue;
            };
            tracing::error!(%reason, "raft ended; reads go on from what is there, and it is started again when the disk works");
            self.replica.set_trouble(Some(reason));
            self.replica.stop().await;
            while let Err(error) = self.restart().await {
                self.replica.set_trouble(Some(error.to_string()));
                R::sleep(Duration::from_secs(1)).await;
            }
            tracing::info!("raft runs again");
        }
    }

    async fn restart(&self) -> Result<(), StartError> {
        self.replica.start(Stores::Existing).await?;
        self.replica.compare_memory().await
    }

    /// Stops taking writes before the disk is full, and takes them again when there is room.
    async fn guard_space(&self) {
        let mut reserved = self.directory.reserve(self.config.reserve_bytes).is_ok();
        loop {
            R::sleep(Duration::from_secs(1)).await;
            let Ok(free) = self.directory.free_bytes() else {
                continue;
            };
            let full = self.replica.is_full();
            if !full && free < self.config.min_free_bytes {
                tracing::error!(
                    free,
                    "the disk is nearly full: no writes are taken until there is room"
                );
                self.replica.set_full(true);
                if reserved && self.directory.release_reserve().is_ok() {
                    reserved = false;
                }
                let _ = self
                    .replica
                    .hand_over(self.replica.timing().election().1)
                    .await;
            } else if full && free >= self.config.min_free_bytes + self.config.reserve_bytes {
                tracing::info!(free, "there is room again: writes are taken");
                reserved = self.directory.reserve(self.config.reserve_bytes).is_ok();
                self.replica.set_full(false);
            }
        }
    }

    /// Deletes what compaction left, a moment after it was compacted. Costs nothing while there is none.
    async fn sweep_compacted(&self) {
        loop {
            R::sleep(Duration::from_secs(1)).await;
            if let Err(error) = self.replica.sweep().await {
                tracing::debug!(%error, "compacted history was not swept");
            }
        }
    }

    /// The first command of a cluster says who it is. Proposed by its first node until it is there: a crash between
    /// Raft's own first entry and this one leaves nothing undone.
    async fn write_down_cluster(&self) {
        while self
            .replica
            .members()
            .await
            .is_ok_and(|members| members.is_empty())
        {
            let voters = self
                .replica
                .membership()
                .map(|stored| stored.membership().voter_ids().collect::<Vec<_>>());
            if voters == Some(vec![self.identity.node])
                && self.replica.leader() == Some(self.identity.node)
            {
                let init = store::ClusterInit {
                    cluster_id: self.identity.cluster.0,
                    epoch: self.identity.epoch.0,
                    first: Some(store::Member {
                        id: self.identity.node.0,
                        role: store::Role::Voter.into(),
                        ..as_member::<R>(&self.config)
                    }),
                    trusted_cas: Vec::new(),
                    at_ms: R::wall().millis(),
                };
                if let Err(error) = self.replica.command(Body::ClusterInit(init)).await {
                    tracing::warn!(%error, "the cluster's first command was not answered; it is tried again");
                }
            }
            R::sleep(self.replica.timing().heartbeat()).await;
        }
    }
}
