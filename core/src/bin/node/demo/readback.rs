//! What a node really has.

use super::writer::PREFIX;
use crate::client::{Channel, Endpoint};
use crate::exit::{Context, Exit, Failure};
use prost::Message;
use quorate::proto::etcdserverpb::{HashKvRequest, RangeRequest};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Keys of one page: with their values far below the limit of a message.
const PAGE: i64 = 5_000;
/// The range of all keys, as etcd's clients write it.
const ALL: &[u8] = &[0];

/// Everything on one node at one revision.
pub(super) struct Content {
    /// The demonstration's own keys with their values.
    pub(super) keys: BTreeMap<String, String>,
    pub(super) revision: i64,
    /// Of every key with its value, revisions, version and lease, in order, and of all history.
    pub(super) digest: String,
}

impl Content {
    /// Reads all pages at one revision. The first page is a linearizable read, which a node answers from its own state
    /// once that has caught up with everything that was acknowledged.
    pub(super) async fn read(endpoint: &Endpoint) -> Result<Self, Failure> {
        let what = format!("reading back from {endpoint}");
        let channel = Channel::connect(endpoint).await?;
        let mut kv = channel.kv();
        let mut keys = BTreeMap::new();
        let mut hash = Sha256::new();
        let mut request = RangeRequest {
            key: ALL.into(),
            range_end: ALL.into(),
            limit: PAGE,
            ..RangeRequest::default()
        };
        loop {
            let page = kv
                .range(request.clone())
                .await
                .context(Exit::Failed, &what)?
                .into_inner();
            if request.revision == 0 {
                request.revision = page.header.as_ref().map_or(0, |header| header.revision);
            }
            if let Some(last) = page.kvs.last() {
                // The next key after the last one is the same with a zero byte behind it.
                request.key = [&last.key, ALL].concat().into();
            }
            for pair in page.kvs {
                hash.update(pair.encode_length_delimited_to_vec());
                let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                if pair.key.starts_with(PREFIX.as_bytes()) {
                    keys.insert(text(&pair.key), text(&pair.value));
                }
            }
            if !page.more {
                break;
            }
        }
        let revision = request.revision;
        let mut maintenance = channel.maintenance();
        let history = maintenance.hash_kv(HashKvRequest { revision }).await;
        let history = history.context(Exit::Failed, &what)?.into_inner();
        hash.update(history.hash.to_be_bytes());
        let digest = hash
            .finalize()
            .iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect();
        Ok(Self {
            keys,
            revision,
            digest,
        })
    }
}
