//! What is asked of a single node: writes, reads, and who leads.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use quorate::proto::etcdserverpb::kv_client::KvClient;
use quorate::proto::etcdserverpb::{PutRequest, RangeRequest};
use quorate::proto::store::command::Body;
use quorate::raft::replica::Replica;
use quorate::runtime::Runtime;
use quorate::state::Response;
use quorate::transport::{Channel, ChannelOptions, PlainDial};

use super::{CLIENT_PORT, Cluster, NodeRuntime};
use crate::host::HostId;
use crate::simulator::Simulator;
use crate::world::SimulatedTime;

/// How long a single request may take before the handle gives up on it; longer than a node's own patience.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

/// A request that was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// It was not taken, for this reason.
    Refused(String),
    /// It may or may not take effect.
    Unknown,
}

/// A client's way to a node's etcd API, over the network of the world. It dials when it is first used; a call without a deadline
/// of its own is given up after `patience`.
#[must_use]
pub fn client_channel<R: Runtime>(node: HostId, patience: Duration) -> Channel<R> {
    let options = ChannelOptions {
        connect_timeout: Duration::from_secs(1),
        call_timeout: patience,
        keepalive_interval: Duration::from_secs(1),
        keepalive_timeout: Duration::from_secs(2),
        rest_min: Duration::from_millis(50),
        rest_max: Duration::from_millis(500),
    };
    let dial = PlainDial::<R>::new(format!("{}:{CLIENT_PORT}", node.ip()));
    Channel::new(dial, options)
}

impl<M: Simulator> Cluster<'_, M> {
    /// Hands leadership from one node to another.
    ///
    /// # Errors
    /// When the first does not lead, or the other may not.
    pub fn hand_over(&mut self, from: u16, to: u16) -> Result<(), Failure> {
        let heir = self.inner(HostId::new(to)).map(|inner| inner.who().node);
        let heir = heir.ok_or_else(|| Failure::Refused(format!("n{to} is not up")))?;
        let moved = self.on(
            from,
            |replica| async move { replica.move_leader(heir).await },
        )?;
        moved.map_err(|error| Failure::Refused(format!("{error:?}")))
    }

    /// Runs something on a node's replica to its end.
    pub(super) fn on<T: Send + 'static, F: Future<Output = T> + Send + 'static>(
        &mut self,
        number: u16,
        ask: impl FnOnce(Arc<Replica<NodeRuntime<M>>>) -> F,
    ) -> Result<T, Failure> {
        let host = HostId::new(number);
        let replica = self
            .replica(host)
            .ok_or_else(|| Failure::Refused(format!("{host} is not up")))?;
        self.world
            .run(host, PATIENCE, ask(replica))
            .ok_or(Failure::Unknown)
    }

    /// Brings a command into the log through a node.
    ///
    /// # Errors
    /// When it was not acknowledged.
    pub fn command(&mut self, number: u16, body: Body) -> Result<Response, Failure> {
        let answer = self.on(number, |replica| async move { replica.command(body).await })?;
        answer.map_err(|error| match error {
            quorate::raft::proposer::ProposeError::Unknown => Failure::Unknown,
            refused => Failure::Refused(refused.to_string()),
        })
    }

    /// Writes through a node.
    ///
    /// # Errors
    /// When it was not acknowledged.
    pub fn put(&mut self, number: u16, key: &str, value: &str) -> Result<Response, Failure> {
        let (key, value) = (key.to_owned().into(), value.to_owned().into());
        self.command(
            number,
            Body::Put(PutRequest {
                key,
                value,
                ..PutRequest::default()
            }),
        )
    }

    /// Writes through a node as a client of its etcd API does: the only way that a spare has.
    ///
    /// # Errors
    /// When it was not acknowledged; what was refused may have taken effect.
    pub fn put_as_client(&mut self, number: u16, key: &str, value: &str) -> Result<(), Failure> {
        let host = HostId::new(number);
        let request = PutRequest {
            key: key.to_owned().into(),
            value: value.to_owned().into(),
            ..PutRequest::default()
        };
        let asked = async move {
            let channel = client_channel::<NodeRuntime<M>>(host, PATIENCE / 2);
            KvClient::new(channel).put(request).await
        };
        match self.world.run(host, PATIENCE, asked) {
            Some(Ok(_)) => Ok(()),
            Some(Err(status)) => Err(Failure::Refused(status.message().to_owned())),
            None => Err(Failure::Unknown),
        }
    }

    /// Writes so many values through a node at once, each under a key of its own; answers how many were acknowledged.
    pub fn put_many(&mut self, number: u16, count: u32) -> u32 {
        let answered = self.on(number, |replica| async move {
            let put = |index: u32| {
                let key = format!("many{index}").into();
                let body = Body::Put(PutRequest {
                    key,
                    value: "value".into(),
                    ..PutRequest::default()
                });
                let replica = Arc::clone(&replica);
                NodeRuntime::<M>::spawn(async move { replica.command(body).await.is_ok() })
            };
            let mut acknowledged = 0;
            for task in (0..count).map(put).collect::<Vec<_>>() {
                acknowledged += u32::from(task.await == Ok(true));
            }
            acknowledged
        });
        answered.unwrap_or(0)
    }

    /// Writes through whichever node but `avoided` acknowledges it first. An attempt whose outcome is unknown is repeated: that
    /// a value may be put twice is this caller's business, as it would never be the node's.
    ///
    /// # Errors
    /// When none does within a minute.
    pub fn put_through(
        &mut self,
        avoided: u16,
        key: &str,
        value: &str,
    ) -> Result<Response, Failure> {
        let numbers: Vec<u16> = self
            .nodes
            .iter()
            .map(|host| host.number())
            .filter(|number| *number != avoided)
            .collect();
        let deadline = self.world.now() + Duration::from_secs(60);
        loop {
            for number in &numbers {
                match self.put(*number, key, value) {
                    Ok(answer) => return Ok(answer),
                    Err(failure) if self.world.now() >= deadline => return Err(failure),
                    Err(_) => self.world.advance(self.timing.heartbeat()),
                }
            }
        }
    }

    /// A linearizable read through a node; nothing when the key is not there or the read was not answered.
    pub fn get(&mut self, number: u16, key: &str) -> Option<String> {
        let request = RangeRequest {
            key: key.to_owned().into(),
            ..RangeRequest::default()
        };
        let read = self.on(number, |replica| async move {
            replica.barrier()?.pass().await.ok()?;
            let response = replica
                .serving_readers()
                .await
                .ok()??
                .with(|reader| reader.range(&request))
                .ok()?;
            response
                .kvs
                .first()
                .map(|kv| String::from_utf8_lossy(&kv.value).into_owned())
        });
        read.ok().flatten()
    }
}
