//! What a machine's process is: a node that is started again when it does not start or was stopped, and joins with the line
//! that the operator has laid out for it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::{Future as _, poll_fn};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::{Arc, Mutex, Weak};
use std::task::Poll;
use std::time::Duration;

use quorate::config::{Beginning, ClientAccess, NodeConfig};
use quorate::join::JoinLine;
use quorate::membership::Policy;
use quorate::node::{Inner, Invitation, Node, NodeError, Wipe, join};
use quorate::proto::join::RoleWanted;
use quorate::raft::config::Timing;
use quorate::runtime::{Disk, Found, Runtime};
use tokio::sync::Notify;

use super::requests::PATIENCE;
use super::{CLIENT_PORT, FIRST, RETRY};
use crate::host::HostId;
use crate::sync::guard;

/// What is shown of a node that has not come to a result yet, or stops and is about to be started again.
pub(super) const BEGINS: &str = "begins";

/// Longer than any run.
const LINE_LIFE: Duration = Duration::from_secs(365 * 24 * 3600);

/// What the nodes of a cluster show, by machine.
pub(super) type Registry<R> = Arc<Mutex<BTreeMap<HostId, Shown<R>>>>;

/// What the operator has laid out for the machines.
pub(super) type Desk = Arc<Mutex<Lines>>;

/// The lines to join with.
#[derive(Default)]
pub(super) struct Lines {
    /// The one that the first node made for those that the cluster is formed of.
    pub(super) general: Option<JoinLine>,
    /// Those that were made for one machine.
    pub(super) own: BTreeMap<HostId, JoinLine>,
    /// Machines that join later, and so wait for a line of their own.
    pub(super) later: BTreeSet<HostId>,
    /// Of the nodes that are up: who is told that they are to stop.
    stops: BTreeMap<HostId, Arc<Notify>>,
}

impl Lines {
    /// Tells a node to stop, if it is up.
    pub(super) fn stop(&self, host: HostId) -> bool {
        let stop = self.stops.get(&host);
        stop.inspect(|stop| stop.notify_one()).is_some()
    }
}

/// How far a node is.
pub(super) enum Shown<R: Runtime> {
    Starting(String),
    Up(Weak<Inner<R>>),
}

/// What a machine's process does: starts its node, and again when it does not start.
pub(super) async fn live<R: Runtime>(
    host: HostId,
    timing: Timing,
    standbys: usize,
    registry: Registry<R>,
    desk: Desk,
) {
    guard(&registry).insert(host, Shown::Starting(BEGINS.to_owned()));
    let show = |error: &NodeError| {
        guard(&registry).insert(host, Shown::Starting(error.to_string()));
    };
    loop {
        match begin::<R>(host, timing, standbys, &desk).await {
            Ok(mut node) => {
                guard(&registry).insert(host, Shown::Up(Arc::downgrade(&node.handle())));
                if host == FIRST {
                    invite::<R>(&node, &desk).await;
                }
                let stop = Arc::new(Notify::new());
                guard(&desk).stops.insert(host, Arc::clone(&stop));
                match failed_or_told(&mut node, &stop).await {
                    Some(error) => show(&error),
                    None => drop(guard(&registry).insert(host, Shown::Starting(BEGINS.to_owned()))),
                }
                guard(&desk).stops.remove(&host);
                node.stop().await;
            }
            Err(error) => show(&error),
        }
        R::sleep(RETRY).await;
    }
}

/// Waits until a node fails, and answers why, or until it is told to stop.
async fn failed_or_told<R: Runtime>(node: &mut Node<R>, stop: &Notify) -> Option<NodeError> {
    let (mut failed, mut told) = (pin!(node.failed()), pin!(stop.notified()));
    poll_fn(|context| match failed.as_mut().poll(context) {
        Poll::Ready(error) => Poll::Ready(Some(error)),
        Poll::Pending => told.as_mut().poll(context).map(|()| None),
    })
    .await
}

/// The first node makes the cluster, the others join it, and all of them go on with what they find.
async fn begin<R: Runtime>(
    host: HostId,
    timing: Timing,
    standbys: usize,
    desk: &Desk,
) -> Result<Node<R>, NodeError> {
    let config = config(host, timing, standbys);
    let (later, made) = {
        let desk = guard(desk);
        (desk.later.contains(&host), desk.general.is_some())
    };
    // Only while there is no cluster that it could join.
    if host == FIRST && !later && !made {
        return Node::start(config, Beginning::Usual).await;
    }
    let identity = R::disk().find(&config.data_dir.join("identity.json"));
    if !matches!(identity, Ok(Found::File)) {
        let line = loop {
            let found = {
                let desk = guard(desk);
                let general = desk.general.as_ref().filter(|_| !later);
                desk.own.get(&host).or(general).cloned()
            };
            if let Some(line) = found {
                break line;
            }
            R::sleep(RETRY).await;
        };
        join::<R>(&config, line, RoleWanted::Any, Wipe::Refuse, PATIENCE).await?;
    }
    Node::start(config, Beginning::Existing).await
}

/// The operator: has the first node make one line, which all the others join with.
async fn invite<R: Runtime>(node: &Node<R>, desk: &Desk) {
    while guard(desk).general.is_none() {
        match node.handle().invite(invitation(1_000, String::new())).await {
            Ok((made, _)) => guard(desk).general = Some(made),
            Err(_) => R::sleep(RETRY).await,
        }
    }
}

pub(super) fn invitation(uses: u32, name: String) -> Invitation {
    Invitation {
        ttl: LINE_LIFE,
        uses,
        role: RoleWanted::Any,
        name,
    }
}

fn peer_address(host: HostId) -> String {
    format!("{}:7001", host.ip())
}

fn config(host: HostId, timing: Timing, standbys: usize) -> NodeConfig {
    NodeConfig {
        data_dir: PathBuf::from("/data"),
        name: host.to_string(),
        listen_client: format!("{}:{CLIENT_PORT}", host.ip()),
        listen_peer: peer_address(host),
        advertise_peer: vec![peer_address(host)],
        advertise_client: vec![format!("http://{}:{CLIENT_PORT}", host.ip())],
        failure_domain: String::new(),
        timing,
        client_access: ClientAccess::Anyone,
        policy: Policy {
            standbys,
            ..Policy::production()
        },
        max_client_connections: 64,
        min_free_bytes: 64 * 1024,
        reserve_bytes: 16 * 1024,
        drain: Duration::from_secs(1),
    }
}
