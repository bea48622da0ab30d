//! Guarded creates and updates, as a Kubernetes API server writes.

use super::{costed, guarded};
use crate::bench::args::TxnKind;
use crate::bench::connections::Connections;
use crate::bench::report::Report;
use crate::bench::settings::Settings;
use crate::bench::source::Source;
use crate::bench::tally::Answer;
use crate::bench::worker::{Worker, drive};
use crate::client::Channel;
use crate::exit::Failure;
use quorate::proto::etcdserverpb::kv_client::KvClient;
use std::collections::BTreeMap;
use std::ops::Range;
use tonic::Status;

/// Whether two clients may update the same key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::bench) enum Sharing {
    /// Each client has keys of its own, so that every compare holds.
    Apart,
    /// All clients update the same keys.
    Contended,
}

struct Transact {
    kv: KvClient<Channel>,
    source: Source,
    kind: TxnKind,
    /// The keys that this client updates.
    keys: Range<u64>,
    /// The revision that it last saw of each.
    seen: BTreeMap<u64, i64>,
}

impl Worker for Transact {
    async fn step(&mut self, number: u64) -> Result<(usize, Answer), Status> {
        let id = match self.kind {
            TxnKind::Create => number,
            TxnKind::Update => self.keys.start + self.source.below(self.keys.end - self.keys.start),
        };
        let seen = self.seen.get(&id).copied().unwrap_or(0);
        let request = guarded::put(self.source.key(id), self.source.value(), seen);
        let answer = self.kv.txn(request.clone()).await?.into_inner();
        if self.kind == TxnKind::Update {
            self.seen.insert(id, guarded::seen_after(&request, &answer));
        }
        let held = answer.succeeded;
        Ok((0, if held { Answer::Done } else { Answer::Conflict }))
    }
}

/// Sends transactions until the budget is spent.
pub(in crate::bench) async fn txn(
    settings: &Settings,
    kind: TxnKind,
    sharing: Sharing,
) -> Result<Report, Failure> {
    let connections = Connections::open(settings).await?;
    let each = (settings.key_space / settings.clients as u64).max(1);
    let keys = |client: u64| match sharing {
        Sharing::Apart => client * each..(client + 1) * each,
        Sharing::Contended => 0..settings.key_space,
    };
    let sources = Source::many(settings, settings.clients);
    let workers = sources
        .into_iter()
        .enumerate()
        .map(|(client, source)| Transact {
            kv: connections.of(client).kv(),
            source,
            kind,
            keys: keys(client as u64),
            seen: BTreeMap::new(),
        });
    let workers = workers.collect();
    costed(settings, async {
        let (tally, wall) = drive(settings, &["txn"], workers).await?;
        let name = match kind {
            TxnKind::Create => "create",
            TxnKind::Update => "update",
        };
        Ok(Report::new("txn", settings, &tally, wall).with("kind", name))
    })
    .await
}
