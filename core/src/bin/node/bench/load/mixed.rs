//! A mixed load of the kinds that a Kubernetes API server sends: guarded creates, updates and deletes, single gets,
//! lists with a limit, and watches open on every resource. Values are 1 to 4 KiB, keys 300 bytes unless the user says
//! otherwise.

use super::{costed, guarded};
use crate::bench::connections::Connections;
use crate::bench::report::Report;
use crate::bench::settings::Settings;
use crate::bench::source::{Source, end_of, padded};
use crate::bench::tally::Answer;
use crate::bench::worker::{Worker, drive};
use crate::client::Channel;
use crate::exit::{Context, Exit, Failure};
use bytes::Bytes;
use quorate::proto::etcdserverpb::kv_client::KvClient;
use quorate::proto::etcdserverpb::watch_request::RequestUnion;
use quorate::proto::etcdserverpb::{RangeRequest, TxnRequest, WatchCreateRequest, WatchRequest};
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tonic::Status;

const RESOURCES: [&str; 5] = ["pods", "leases", "configmaps", "events", "endpointslices"];
const KINDS: &[&str] = &["get", "list", "create", "update", "delete"];
const USUAL_KEY_SIZE: usize = 300;

/// What a client does next. The order is that of [`KINDS`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Get,
    List,
    Create,
    Update,
    Delete,
}

/// Parts of a hundred.
const SHARES: [(Action, u64); 5] = [
    (Action::Get, 40),
    (Action::List, 10),
    (Action::Create, 8),
    (Action::Update, 36),
    (Action::Delete, 6),
];

struct ApiServer {
    kv: KvClient<Channel>,
    source: Source,
    key_size: usize,
    limit: u32,
    /// Objects of all clients: a get may ask for any of them.
    objects: u64,
    /// The objects that this client writes, and the revision that it last saw of each.
    own: Range<u64>,
    seen: BTreeMap<u64, i64>,
}

impl ApiServer {
    fn draw(&mut self) -> Action {
        let mut roll = self.source.below(100);
        for (action, share) in SHARES {
            if roll < share {
                return action;
            }
            roll -= share;
        }
        unreachable!("the shares add up to a hundred")
    }

    fn key(&self, id: u64) -> Bytes {
        let resource = RESOURCES[(id % RESOURCES.len() as u64) as usize];
        let namespace = id / RESOURCES.len() as u64 % 50;
        padded(
            format!("/registry/{resource}/namespace-{namespace}/object-{id:09}"),
            self.key_size,
        )
    }

    fn value(&mut self) -> Bytes {
        let size = 1024 + self.source.below(3 * 1024 + 1) as usize;
        self.source.value_of(size)
    }

    async fn read(&mut self, request: RangeRequest) -> Result<Answer, Status> {
        self.kv.range(request).await?;
        Ok(Answer::Done)
    }

    async fn write(&mut self, id: u64, request: TxnRequest) -> Result<Answer, Status> {
        let answer = self.kv.txn(request.clone()).await?.into_inner();
        self.seen.insert(id, guarded::seen_after(&request, &answer));
        let held = answer.succeeded;
        Ok(if held { Answer::Done } else { Answer::Conflict })
    }

    async fn put(&mut self, id: u64, seen: i64) -> Result<Answer, Status> {
        let request = guarded::put(self.key(id), self.value(), seen);
        self.write(id, request).await
    }

    /// Creates this client's objects, before the clock runs.
    async fn create_own(mut self) -> Result<Self, Status> {
        for id in self.own.clone() {
            self.put(id, 0).await?;
        }
        Ok(self)
    }
}

impl Worker for ApiServer {
    async fn step(&mut self, _number: u64) -> Result<(usize, Answer), Status> {
        let action = self.draw();
        let id = self.own.start + self.source.below(self.own.end - self.own.start);
        let seen = self.seen.get(&id).copied().unwrap_or(0);
        let answer = match action {
            Action::Get => {
                let any = self.source.below(self.objects);
                let key = self.key(any);
                self.read(RangeRequest {
                    key,
                    ..RangeRequest::default()
                })
                .await
            }
            Action::List => {
                let resource = RESOURCES[self.source.below(RESOURCES.len() as u64) as usize];
                self.read(list(resource, self.limit)).await
            }
            Action::Create => self.put(id, 0).await,
            Action::Update => self.put(id, seen).await,
            Action::Delete => {
                let request = guarded::delete(self.key(id), seen);
                self.write(id, request).await
            }
        };
        Ok((action as usize, answer?))
    }
}

fn list(resource: &str, limit: u32) -> RangeRequest {
    let prefix = format!("/registry/{resource}/");
    RangeRequest {
        range_end: end_of(&prefix),
        key: prefix.into(),
        limit: i64::from(limit),
        ..RangeRequest::default()
    }
}

/// Runs the mix until the budget is spent.
pub(super) async fn mixed(
    settings: &Settings,
    objects: u64,
    watches: usize,
    limit: u32,
) -> Result<Report, Failure> {
    let connections = Connections::open(settings).await?;
    let key_size = match settings.key_size {
        0 => USUAL_KEY_SIZE,
        size => size,
    };
    let each = (objects / settings.clients as u64).max(1);
    let objects = each * settings.clients as u64;
    let mut creating = Vec::with_capacity(settings.clients);
    for (client, source) in Source::many(settings, settings.clients)
        .into_iter()
        .enumerate()
    {
        let first = client as u64 * each;
        let worker = ApiServer {
            kv: connections.of(client).kv(),
            source,
            key_size,
            limit,
            objects,
            own: first..first + each,
            seen: BTreeMap::new(),
        };
        creating.push(tokio::spawn(worker.create_own()));
    }
    let what = "creating the objects";
    let mut workers = Vec::with_capacity(creating.len());
    for task in creating {
        let created = task.await.context(Exit::Failed, what)?;
        workers.push(created.context(Exit::Failed, what)?);
    }
    let events = Arc::new(AtomicU64::new(0));
    open_watches(&connections, watches, &events).await?;
    costed(settings, async {
        let (tally, wall) = drive(settings, KINDS, workers).await?;
        let events_per_second = events.load(Ordering::Relaxed) as f64 / wall.as_secs_f64();
        let mut report = Report::new("mixed", settings, &tally, wall);
        report.value_size = "1024-4096".into();
        Ok(report
            .with("key_size", key_size)
            .with("objects", objects)
            .with("watches", watches)
            .with("watch_events_per_second", events_per_second.round()))
    })
    .await
}

/// Opens the watches; they count events until the process ends.
async fn open_watches(
    connections: &Connections,
    watches: usize,
    events: &Arc<AtomicU64>,
) -> Result<(), Failure> {
    for watch in 0..watches {
        let prefix = format!("/registry/{}/", RESOURCES[watch % RESOURCES.len()]);
        let create = WatchCreateRequest {
            range_end: end_of(&prefix),
            key: prefix.into(),
            prev_kv: true,
            ..WatchCreateRequest::default()
        };
        let request = WatchRequest {
            request_union: Some(RequestUnion::CreateRequest(create)),
        };
        let requests = super::watch::held_open(request);
        let answer = connections.of(watch).watch().watch(requests).await;
        let mut stream = answer
            .context(Exit::Failed, "opening a watch")?
            .into_inner();
        let events = events.clone();
        tokio::spawn(async move {
            while let Ok(Some(message)) = stream.message().await {
                events.fetch_add(message.events.len() as u64, Ordering::Relaxed);
            }
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_parts_of_a_hundred_in_the_order_of_the_kinds() {
        assert_eq!(SHARES.iter().map(|(_, share)| share).sum::<u64>(), 100);
        for (position, (action, _)) in SHARES.into_iter().enumerate() {
            assert_eq!(action as usize, position);
            assert_eq!(format!("{action:?}").to_lowercase(), KINDS[position]);
        }
    }
}
