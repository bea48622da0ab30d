//! Ranges from the start of the prefix.

use super::{Consistency, costed};
use crate::bench::connections::Connections;
use crate::bench::report::Report;
use crate::bench::settings::Settings;
use crate::bench::source::end_of;
use crate::bench::tally::Answer;
use crate::bench::worker::{Worker, drive};
use crate::client::Channel;
use crate::exit::Failure;
use quorate::proto::etcdserverpb::RangeRequest;
use quorate::proto::etcdserverpb::kv_client::KvClient;
use tonic::Status;

struct Range {
    kv: KvClient<Channel>,
    request: RangeRequest,
}

impl Worker for Range {
    async fn step(&mut self, _number: u64) -> Result<(usize, Answer), Status> {
        self.kv.range(self.request.clone()).await?;
        Ok((0, Answer::Done))
    }
}

/// Reads ranges of `limit` keys until the budget is spent.
pub(super) async fn range(
    settings: &Settings,
    consistency: Consistency,
    limit: u32,
) -> Result<Report, Failure> {
    let connections = Connections::open(settings).await?;
    let request = RangeRequest {
        key: settings.prefix.clone().into(),
        range_end: end_of(&settings.prefix),
        limit: i64::from(limit),
        serializable: consistency == Consistency::Serializable,
        ..RangeRequest::default()
    };
    let worker = |client| Range {
        kv: connections.of(client).kv(),
        request: request.clone(),
    };
    let workers = (0..settings.clients).map(worker).collect();
    costed(settings, async {
        let (tally, wall) = drive(settings, &["range"], workers).await?;
        let report = Report::new("range", settings, &tally, wall);
        let report = report.with("serializable", consistency == Consistency::Serializable);
        Ok(report.with("limit", limit))
    })
    .await
}
