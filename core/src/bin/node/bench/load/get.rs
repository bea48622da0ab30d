//! Single gets of random keys.

use super::{Consistency, costed};
use crate::bench::connections::Connections;
use crate::bench::report::Report;
use crate::bench::settings::Settings;
use crate::bench::source::Source;
use crate::bench::tally::Answer;
use crate::bench::worker::{Worker, drive};
use crate::client::Channel;
use crate::exit::Failure;
use quorate::proto::etcdserverpb::RangeRequest;
use quorate::proto::etcdserverpb::kv_client::KvClient;
use tonic::Status;

struct Get {
    kv: KvClient<Channel>,
    source: Source,
    consistency: Consistency,
}

impl Worker for Get {
    async fn step(&mut self, _number: u64) -> Result<(usize, Answer), Status> {
        let request = RangeRequest {
            key: self.source.random_key(),
            serializable: self.consistency == Consistency::Serializable,
            ..RangeRequest::default()
        };
        self.kv.range(request).await?;
        Ok((0, Answer::Done))
    }
}

/// Gets keys until the budget is spent.
pub(in crate::bench) async fn get(
    settings: &Settings,
    consistency: Consistency,
) -> Result<Report, Failure> {
    let connections = Connections::open(settings).await?;
    let sources = Source::many(settings, settings.clients);
    let workers = sources.into_iter().enumerate().map(|(client, source)| Get {
        kv: connections.of(client).kv(),
        source,
        consistency,
    });
    let workers = workers.collect();
    costed(settings, async {
        let (tally, wall) = drive(settings, &["get"], workers).await?;
        let report = Report::new("get", settings, &tally, wall);
        Ok(report.with("serializable", consistency == Consistency::Serializable))
    })
    .await
}
