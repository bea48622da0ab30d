//! A node without Raft: the real state machine behind the real services, served over the real transport on loopback.
//!
//! What it proposes it applies at once, unless a test says that proposals, barriers or the leader fail.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quorate::database::{Missing, Place};
use quorate::etcd::{
    Backend, BarrierError, ClientApi, EtcdError, Identity, NodeStatus, ProposeError,
};
use quorate::ids::{ClusterId, NodeId, Revision, Term};
use quorate::proto::etcdserverpb::{AlarmMember, Member, RangeRequest, RangeResponse};
use quorate::proto::store::LogId;
use quorate::proto::store::command::Body;
use quorate::runtime::tokio::TokioRuntime;
use quorate::runtime::{Listener as _, Runtime, TaskHandle as _};
use quorate::state::{self, Durability, KeyspaceHash, ReadError, Reader, Response, State, Sweep};
use quorate::transport::{Channel, Guests, Http1, Plain, ServerOptions, Windows, serve};
use tokio::sync::Semaphore;

use crate::dialling::channel;

pub(crate) type R = TokioRuntime;

pub(crate) const CLUSTER: ClusterId = ClusterId(0xc1);
pub(crate) const NODE: NodeId = NodeId(0xa1);
pub(crate) const OTHER: NodeId = NodeId(0xa2);
pub(crate) const TERM: Term = Term(7);

/// What goes wrong.
pub(crate) struct Weather {
    pub(crate) propose: Option<ProposeError>,
    pub(crate) barrier: Option<BarrierError>,
    /// Reads wait here, if it is set.
    pub(crate) gate: Option<Arc<Semaphore>>,
    pub(crate) leader: Option<NodeId>,
    pub(crate) alarms: Vec<AlarmMember>,
    pub(crate) learner: bool,
}

pub(crate) struct Local {
    state: Mutex<State>,
    reader: Mutex<Reader>,
    weather: Mutex<Weather>,
    pub(crate) proposals: AtomicUsize,
    pub(crate) barriers: AtomicUsize,
    /// Bytes of keys and values of the largest answer that a read of the state gave.
    pub(crate) largest_read: AtomicUsize,
    // The files last as long as the node.
    _directory: tempfile::TempDir,
}

impl Local {
    pub(crate) fn new() -> Arc<Self> {
        let directory = tempfile::tempdir().unwrap();
        let place = Place::new(directory.path(), None);
        let state = State::open(&place, Missing::Create).unwrap();
        let reader = Reader::open(&place).unwrap();
        Arc::new(Self {
            state: Mutex::new(state),
            reader: Mutex::new(reader),
            weather: Mutex::new(Weather {
                propose: None,
                barrier: None,
                gate: None,
                leader: Some(NODE),
                alarms: Vec::new(),
                learner: false,
            }),
            proposals: AtomicUsize::new(0),
            barriers: AtomicUsize::new(0),
            largest_read: AtomicUsize::new(0),
            _directory: directory,
        })
    }

    pub(crate) fn weather(&self) -> MutexGuard<'_, Weather> {
        self.weather.lock().unwrap()
    }
}

impl Backend for Local {
    async fn propose(&self, body: Body) -> Result<Response, ProposeError> {
        let mut state = self.state.lock().unwrap();
        let index = self.proposals.fetch_add(1, Ordering::SeqCst) as u64 + 1;
        if let Some(error) = self.weather().propose {
            return Err(error);
        }
        let mut batch = state.begin().unwrap();
        let log_id = LogId {
            term: TERM.0,
            index,
        };
        let response = batch
            .apply(log_id, Some(&state::command(body)), None)
            .unwrap();
        batch.commit(Durability::Lazy).unwrap();
        Ok(response)
    }

    async fn read_barrier(&self) -> Result<(), BarrierError> {
        self.barriers.fetch_add(1, Ordering::SeqCst);
        let gate = self.weather().gate.clone();
        if let Some(gate) = gate {
            drop(gate.acquire().await.unwrap());
        }
        self.weather().barrier.map_or(Ok(()), Err)
    }

    async fn range(&self, request: RangeRequest) -> Result<RangeResponse, ReadError> {
        let answer = self.reader.lock().unwrap().range(&request)?;
        let bytes = answer.kvs.iter().map(|kv| kv.key.len() + kv.value.len());
        self.largest_read.fetch_max(bytes.sum(), Ordering::SeqCst);
        Ok(answer)
    }

    fn identity(&self) -> Identity {
        Identity {
            cluster: CLUSTER,
            member: NODE,
        }
    }

    fn term(&self) -> Term {
        TERM
    }

    fn revision(&self) -> Revision {
        self.state.lock().unwrap().revision()
    }

    fn leader(&self) -> Option<NodeId> {
        self.weather().leader
    }

    async fn members(&self) -> Result<Vec<Member>, EtcdError> {
        let member = |id: NodeId, name: &str| Member {
            id: id.0,
            name: name.to_owned(),
            peer_ur_ls: vec!["https://127.0.0.1:2380".to_owned()],
            client_ur_ls: vec!["http://127.0.0.1:2379".to_owned()],
            is_learner: false,
        };
        Ok(vec![member(NODE, "one"), member(OTHER, "two")])
    }

    async fn status(&self) -> Result<NodeStatus, EtcdError> {
        let (bytes, in_use) = self.reader.lock().unwrap().size().unwrap();
        Ok(NodeStatus {
            database_bytes: bytes,
            database_bytes_in_use: in_use,
            last_index: 9,
            applied_index: 8,
            learner: self.weather().learner,
            troubles: vec![],
            ..NodeStatus::default()
        })
    }

    fn alarms(&self) -> Vec<AlarmMember> {
        self.weather().alarms.clone()
    }

    async fn swept(&self, _: Revision) -> Result<(), EtcdError> {
        while self.state.lock().unwrap().compact_step(100).unwrap() == Sweep::More {}
        Ok(())
    }

    async fn hash(&self, revision: Revision) -> Result<KeyspaceHash, ReadError> {
        let snapshots = self.state.lock().unwrap().snapshots();
        snapshots.hash_kv(revision)
    }

    async fn move_leader(&self, to: NodeId) -> Result<(), EtcdError> {
        if to != OTHER {
            return Err(EtcdError::BadLeaderTransferee);
        }
        self.weather().leader = Some(to);
        Ok(())
    }
}

/// A node that is being served.
pub(crate) struct Served {
    pub(crate) node: Arc<Local>,
    pub(crate) address: String,
    task: <R as Runtime>::Task<()>,
}

impl Served {
    pub(crate) async fn start() -> Self {
        Self::at_most(1_000).await
    }

    /// Serves so many requests at a time.
    pub(crate) async fn at_most(requests: u32) -> Self {
        let node = Local::new();
        let listener = R::listen("127.0.0.1:0").await.unwrap();
        let address = listener.local_address();
        let api = Arc::new(ClientApi::<R, _>::new(Arc::clone(&node)));
        let options = ServerOptions {
            name: "client",
            max_connections: 1000,
            max_handshakes: 1000,
            guests: Guests::NONE,
            max_concurrent_streams: 1000,
            max_requests: requests,
            windows: Windows::CLIENT,
            max_header_bytes: 16 * 1024,
            handshake_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(3600),
            keepalive_interval: Duration::from_secs(60),
            keepalive_timeout: Duration::from_secs(10),
            drain_timeout: Duration::from_secs(1),
            http1: Http1::Served,
        };
        let serving = serve::<R, _, _>(listener, Plain, api, options, std::future::pending());
        Self {
            node,
            address,
            task: R::spawn(serving),
        }
    }

    pub(crate) fn channel(&self) -> Channel<R> {
        channel(&self.address)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}
