//! Lease keep-alives: each client holds a lease and a stream.

use super::costed;
use crate::bench::connections::Connections;
use crate::bench::report::Report;
use crate::bench::settings::Settings;
use crate::bench::tally::Answer;
use crate::bench::worker::{Worker, drive};
use crate::exit::{Context, Exit, Failure};
use futures_util::stream;
use quorate::proto::etcdserverpb::{
    LeaseGrantRequest, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseRevokeRequest,
};
use tokio::sync::mpsc;
use tonic::{Status, Streaming};

struct Keep {
    id: i64,
    requests: mpsc::Sender<LeaseKeepAliveRequest>,
    answers: Streaming<LeaseKeepAliveResponse>,
}

impl Worker for Keep {
    async fn step(&mut self, _number: u64) -> Result<(usize, Answer), Status> {
        let request = LeaseKeepAliveRequest { id: self.id };
        let gone = || Status::unavailable("the keep-alive stream ended");
        self.requests.send(request).await.map_err(|_| gone())?;
        match self.answers.message().await?.ok_or_else(gone)? {
            answer if answer.ttl > 0 => Ok((0, Answer::Done)),
            _ => Err(Status::not_found("the lease is gone")),
        }
    }
}

impl Keep {
    async fn open(connections: &Connections, client: usize, ttl: u32) -> Result<Self, Status> {
        let mut lease = connections.of(client).lease();
        let grant = LeaseGrantRequest {
            ttl: i64::from(ttl),
            id: 0,
        };
        let id = lease.lease_grant(grant).await?.into_inner().id;
        let (requests, receiver) = mpsc::channel(1);
        // A server may answer the call only once it has read a request, so one is there from the start.
        let first = LeaseKeepAliveRequest { id };
        requests
            .try_send(first)
            .map_err(|_| Status::internal("a new channel is empty"))?;
        let stream = stream::unfold(receiver, |mut receiver| async move {
            receiver.recv().await.map(|request| (request, receiver))
        });
        let mut answers = lease.lease_keep_alive(stream).await?.into_inner();
        answers.message().await?;
        Ok(Self {
            id,
            requests,
            answers,
        })
    }
}

/// Keeps the leases alive until the budget is spent.
pub(super) async fn lease(settings: &Settings, ttl: u32) -> Result<Report, Failure> {
    let connections = Connections::open(settings).await?;
    let mut workers = Vec::with_capacity(settings.clients);
    let mut leases = Vec::with_capacity(settings.clients);
    for client in 0..settings.clients {
        let keep = Keep::open(&connections, client, ttl).await;
        let keep = keep.context(Exit::Failed, "granting a lease")?;
        leases.push(keep.id);
        workers.push(keep);
    }
    let report = costed(settings, async {
        let (tally, wall) = drive(settings, &["keep_alive"], workers).await?;
        Ok(Report::new("lease", settings, &tally, wall))
    })
    .await?;
    for id in leases {
        // Best effort: a lease that is not revoked here expires by itself.
        let _ = connections
            .of(0)
            .lease()
            .lease_revoke(LeaseRevokeRequest { id })
            .await;
    }
    Ok(report)
}
