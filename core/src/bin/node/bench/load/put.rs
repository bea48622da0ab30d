//! Single puts.

use super::costed;
use crate::bench::args::Keys;
use crate::bench::connections::Connections;
use crate::bench::report::Report;
use crate::bench::settings::Settings;
use crate::bench::source::Source;
use crate::bench::tally::Answer;
use crate::bench::worker::{Worker, drive};
use crate::client::Channel;
use crate::exit::{Exit, Failure};
use quorate::proto::etcdserverpb::PutRequest;
use quorate::proto::etcdserverpb::kv_client::KvClient;
use std::time::Duration;
use tonic::Status;

/// Clients that write what other loads need beforehand.
const PRELOAD_CLIENTS: usize = 64;

struct Put {
    kv: KvClient<Channel>,
    source: Source,
    keys: Keys,
}

impl Worker for Put {
    async fn step(&mut self, number: u64) -> Result<(usize, Answer), Status> {
        let key = match self.keys {
            Keys::Sequential => self.source.key(number),
            Keys::Random => self.source.random_key(),
        };
        let value = self.source.value();
        self.kv.put(put_request(key, value)).await?;
        Ok((0, Answer::Done))
    }
}

/// Puts keys until the budget is spent.
pub(in crate::bench) async fn put(settings: &Settings, keys: Keys) -> Result<Report, Failure> {
    let connections = Connections::open(settings).await?;
    let sources = Source::many(settings, settings.clients);
    let workers = sources.into_iter().enumerate().map(|(client, source)| Put {
        kv: connections.of(client).kv(),
        source,
        keys,
    });
    let workers = workers.collect();
    costed(settings, async {
        let (tally, wall) = drive(settings, &["put"], workers).await?;
        Ok(Report::new("put", settings, &tally, wall))
    })
    .await
}

/// Puts the first `keys` keys of the prefix, outside any measurement.
pub(in crate::bench) async fn preload(settings: &Settings, keys: u64) -> Result<(), Failure> {
    if keys == 0 {
        return Ok(());
    }
    let settings = Settings {
        clients: PRELOAD_CLIENTS,
        total: keys,
        duration: Duration::from_secs(600),
        server_pids: Vec::new(),
        ..settings.clone()
    };
    let report = put(&settings, Keys::Sequential).await?;
    match report.first_error {
        Some(error) => Err(Failure::new(
            Exit::Failed,
            format!("loading keys first: {error}"),
        )),
        None => Ok(()),
    }
}

/// A put with nothing but a key and a value.
pub(in crate::bench) fn put_request(key: bytes::Bytes, value: bytes::Bytes) -> PutRequest {
    PutRequest {
        key,
        value,
        ..PutRequest::default()
    }
}
