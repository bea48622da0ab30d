//! A cluster of child processes on loopback.

use super::node::{Node, Place};
use super::{Program, ports};
use crate::client::{Channel, Endpoint};
use crate::exit::{Exit, Failure};
use quorate::proto::etcdserverpb::cluster_client::ClusterClient;
use quorate::proto::etcdserverpb::{MemberListRequest, PutRequest, StatusRequest, StatusResponse};
use std::path::Path;
use std::time::{Duration, Instant};

/// How long a cluster may take to serve; a cold disk is slow.
const START_LIMIT: Duration = Duration::from_secs(30);
/// How long one question to a node may take; the next may find a leader.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(5);
/// Written to see that writes work. It is outside every prefix that a load uses.
const READY_KEY: &[u8] = b"/ready";

/// Nodes by position; a position without a process is a node that was killed or stopped.
pub(crate) struct Cluster {
    program: Program,
    places: Vec<Place>,
    nodes: Vec<Option<Node>>,
}

impl Cluster {
    /// Starts `size` nodes with fresh directories under `directory` and waits until every one serves writes.
    pub(crate) async fn start(
        program: Program,
        directory: &Path,
        size: usize,
    ) -> Result<Self, Failure> {
        let ports = ports::free(2 * size)?;
        let place = |index: usize| Place {
            name: format!("{}-{}", program.name(), index + 1),
            client_port: ports[2 * index],
            peer_port: ports[2 * index + 1],
            directory: directory.join(format!("{}-{}", program.name(), index + 1)),
        };
        let mut cluster = Self {
            places: (0..size).map(place).collect(),
            nodes: (0..size).map(|_| None).collect(),
            program,
        };
        for index in 0..size {
            cluster.spawn(index)?;
            if matches!(cluster.program, Program::Quorate(_)) {
                // A node joins through one that serves; etcd's nodes find one another only all together.
                cluster.serving(index).await?;
            }
        }
        cluster.ready().await?;
        cluster.all_vote().await?;
        Ok(cluster)
    }

    /// Waits until every node votes. Ours are promoted one after the other once they have been stable for a while; a
    /// leader that is killed before has nobody to follow it.
    async fn all_vote(&self) -> Result<(), Failure> {
        let start = Instant::now();
        while self.voters().await != Some(self.nodes.len()) {
            if start.elapsed() > START_LIMIT {
                let seconds = START_LIMIT.as_secs();
                let message = format!("not every node had a vote within {seconds} seconds");
                return Err(Failure::new(Exit::Failed, message));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// How many members vote, as the first node says.
    async fn voters(&self) -> Option<usize> {
        let channel = Channel::connect(&self.places[0].endpoint()).await.ok()?;
        let mut cluster = ClusterClient::with_origin(channel.clone(), channel.origin());
        let request = cluster.member_list(MemberListRequest { linearizable: true });
        let answer = tokio::time::timeout(ANSWER_LIMIT, request).await.ok()?;
        let members = answer.ok()?.into_inner().members;
        Some(members.iter().filter(|member| !member.is_learner).count())
    }

    pub(crate) fn endpoints(&self) -> Vec<Endpoint> {
        self.places.iter().map(Place::endpoint).collect()
    }

    /// The process of each running node.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.nodes.iter().flatten().map(Node::pid).collect()
    }

    /// The process of the node at `index`, if it runs.
    pub(crate) fn pid(&self, index: usize) -> Option<u32> {
        self.nodes[index].as_ref().map(Node::pid)
    }

    pub(crate) fn name(&self, index: usize) -> &str {
        &self.places[index].name
    }

    /// Ends a node with SIGKILL.
    pub(crate) fn kill(&mut self, index: usize) {
        if let Some(mut node) = self.nodes[index].take() {
            node.kill();
        }
    }

    /// Asks a node to stop and waits until it has.
    pub(crate) async fn stop(&mut self, index: usize) -> Result<(), Failure> {
        match self.nodes[index].take() {
            Some(mut node) => node.stop().await.map(drop),
            None => Ok(()),
        }
    }

    /// Asks all nodes to stop, one after the other.
    pub(crate) async fn stop_all(&mut self) -> Result<(), Failure> {
        for index in 0..self.nodes.len() {
            self.stop(index).await?;
        }
        Ok(())
    }

    /// Starts a node again on the directory that it had.
    pub(crate) fn spawn(&mut self, index: usize) -> Result<(), Failure> {
        let command = self.program.command(&self.places, index)?;
        self.nodes[index] = Some(Node::spawn(&self.places[index], command)?);
        Ok(())
    }

    /// Waits until every running node knows the same leader and serves a write.
    pub(crate) async fn ready(&mut self) -> Result<(), Failure> {
        for index in 0..self.nodes.len() {
            self.serving(index).await?;
        }
        Ok(())
    }

    /// Waits until the node at `index`, if it runs, knows a leader and serves a write.
    pub(crate) async fn serving(&mut self, index: usize) -> Result<(), Failure> {
        let start = Instant::now();
        while self.nodes[index].is_some() {
            if write(&self.places[index].endpoint()).await.is_some() {
                return Ok(());
            }
            self.refuse_dead(index)?;
            if start.elapsed() > START_LIMIT {
                let (name, seconds) = (self.name(index), START_LIMIT.as_secs());
                let message = format!("{name} did not serve within {seconds} seconds");
                return Err(Failure::new(Exit::Failed, message));
            }
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// The position of the leader, as soon as one of the running nodes says that it is.
    pub(crate) async fn leader(&self) -> Result<usize, Failure> {
        let start = Instant::now();
        loop {
            for (index, node) in self.nodes.iter().enumerate() {
                if node.is_some()
                    && self
                        .status(index)
                        .await
                        .is_some_and(|status| leads(&status))
                {
                    return Ok(index);
                }
            }
            if start.elapsed() > START_LIMIT {
                return Err(Failure::new(
                    Exit::Unreachable,
                    "no node says it is the leader",
                ));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// What the node at `index` says of itself, if it answers.
    pub(crate) async fn status(&self, index: usize) -> Option<StatusResponse> {
        let channel = Channel::connect(&self.places[index].endpoint())
            .await
            .ok()?;
        let mut maintenance = channel.maintenance();
        let answer = maintenance.status(StatusRequest {});
        let answer = tokio::time::timeout(ANSWER_LIMIT, answer).await;
        Some(answer.ok()?.ok()?.into_inner())
    }

    /// A node that ended by itself will never serve: say what it said.
    fn refuse_dead(&mut self, index: usize) -> Result<(), Failure> {
        let Some(node) = &mut self.nodes[index] else {
            return Ok(());
        };
        match node.ended()? {
            None => Ok(()),
            Some(status) => {
                let (name, words) = (&self.places[index].name, node.last_words());
                let message = format!("{name} ended with {status}:\n{words}");
                Err(Failure::new(Exit::Failed, message))
            }
        }
    }
}

fn leads(status: &StatusResponse) -> bool {
    let own = status.header.as_ref().map(|header| header.member_id);
    own == Some(status.leader) && status.leader != 0
}

/// Writes the key that shows that writes work; `None` if it was not acknowledged.
async fn write(endpoint: &Endpoint) -> Option<()> {
    let channel = Channel::connect(endpoint).await.ok()?;
    let put = PutRequest {
        key: READY_KEY.into(),
        ..PutRequest::default()
    };
    let answer = tokio::time::timeout(ANSWER_LIMIT, async { channel.kv().put(put).await });
    answer.await.ok()?.ok().map(drop)
}
