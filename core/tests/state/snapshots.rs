//! Snapshots on their way: one applied entry whatever happens meanwhile, all or nothing at the receiver.

use bytes::Bytes;
use proptest::prelude::*;
use prost::Message;
use quorate::proto::etcdserverpb::{PutRequest, RangeRequest};
use quorate::proto::store::command::Body;
use quorate::proto::store::snapshot_chunk::Content;
use quorate::proto::store::{LeaseRevoke, SnapshotChunk};
use quorate::state::{SnapshotReader, Staged, StateError, Sweep, command};

use crate::driver::{Driver, compact, delete, grant, log_id, put};
use crate::random::send;

fn sender() -> Driver {
    let mut driver = Driver::new();
    driver.apply_all(&[
        grant(5),
        put("a", "1"),
        put("b", "2"),
        put("a", "2"),
        delete("b"),
    ]);
    driver
}

fn rest(stream: &mut SnapshotReader) -> Vec<Bytes> {
    std::iter::from_fn(|| stream.next_message().unwrap()).collect()
}

/// All of a snapshot, to be changed.
fn chunks_of(driver: &Driver) -> Vec<SnapshotChunk> {
    let messages = rest(&mut driver.state.snapshots().open().unwrap());
    let chunks = messages.into_iter().map(SnapshotChunk::decode);
    chunks.collect::<Result<_, _>>().unwrap()
}

/// Stages messages up to the first that is refused.
fn receive(receiver: &mut Driver, messages: &[Bytes]) -> Result<Staged, StateError> {
    let stage = |_, message| receiver.state.stage(message);
    messages.iter().try_fold(Staged::Part, stage)
}

fn encoded(chunks: &[SnapshotChunk]) -> Vec<Bytes> {
    let encoded = chunks.iter().map(Message::encode_to_vec);
    encoded.map(Bytes::from).collect()
}

#[test]
fn a_stream_is_the_state_at_its_beginning() {
    let mut driver = sender();
    let before = driver.state.snapshots().digest().unwrap();
    let mut stream = driver.state.snapshots().open().unwrap();
    let mut messages = vec![stream.next_message().unwrap().unwrap()];
    // Writes go on, and a compaction of what is being sent; its sweep waits.
    driver.apply_all(&[put("a", "3"), put("new", "1"), compact(6)]);
    assert_eq!(driver.state.compact_step(100).unwrap(), Sweep::Pinned);
    messages.extend(rest(&mut stream));
    drop(stream);
    assert_eq!(driver.state.compact_step(100).unwrap(), Sweep::Done);

    let mut receiver = Driver::new();
    receive(&mut receiver, &messages).unwrap();
    receiver.state.install().unwrap();
    assert_eq!(receiver.state.snapshots().digest().unwrap(), before);
    assert_eq!(receiver.everything(), [("a".into(), "2".into())]);
}

#[test]
fn long_values_travel_in_small_messages() {
    let mut driver = Driver::new();
    let long = |byte: u8, length: usize| {
        let value = Bytes::from(vec![byte; length]);
        Body::Put(PutRequest {
            key: Bytes::from(format!("{length}")),
            value,
            ..PutRequest::default()
        })
    };
    driver.apply_all(&[
        long(1, 0),
        long(2, 1_500_000),
        long(3, 245_760),
        long(4, 122_880),
        long(5, 122_881),
        long(6, 10),
    ]);
    let mut stream = driver.state.snapshots().open().unwrap();
    let longest = rest(&mut stream).iter().map(Bytes::len).max().unwrap();
    assert!(longest <= 256 << 10, "{longest}");
    drop(stream);
    let mut receiver = Driver::new();
    send(&driver, &mut receiver);
    assert_eq!(receiver.everything(), driver.everything());
}

/// More keys than a receiver holds in memory before it writes them, then the same keys again: deleted, with leases, so often
/// that they are reached by jumps.
#[test]
fn keys_that_were_put_away_while_a_snapshot_came_are_found_again() {
    let mut driver = Driver::new();
    let long = |number: u32| format!("{number}{}", "k".repeat(200_000));
    let of_lease = |key: &str| {
        Body::Put(PutRequest {
            key: Bytes::from(key.to_owned()),
            lease: 5,
            ..PutRequest::default()
        })
    };
    driver.apply_all(&[grant(5), of_lease("a"), put("a", "1"), of_lease("b")]);
    driver.apply_all(
        &(0..150)
            .map(|n| put("often", &format!("{n}")))
            .collect::<Vec<_>>(),
    );
    let keys: Vec<_> = (0..30).map(long).collect();
    for round in ["1", "2"] {
        driver.apply_all(&keys.iter().map(|key| put(key, round)).collect::<Vec<_>>());
        driver.apply_all(&[
            put("often", round),
            of_lease("a"),
            delete("b"),
            put("b", round),
        ]);
        driver.apply_all(&[delete(&keys[7]), of_lease(&keys[8])]);
    }
    let mut receiver = Driver::new();
    send(&driver, &mut receiver);
    let digests = [&driver, &receiver].map(|driver| driver.state.snapshots().digest().unwrap());
    assert_eq!(digests[0], digests[1]);
    let last = driver.state.revision().0;
    for revision in (1..=last).step_by(3) {
        let read = |driver: &Driver| {
            let whole = RangeRequest {
                key: Bytes::from_static(b"\0"),
                range_end: Bytes::from_static(b"\0"),
                revision,
                ..RangeRequest::default()
            };
            driver.range(&whole).unwrap()
        };
        assert!(read(&driver) == read(&receiver), "revision {revision}");
    }
    // A lease takes the keys with it that are its own at the end, and no others.
    for driver in [&mut driver, &mut receiver] {
        driver.apply(Body::LeaseRevoke(LeaseRevoke {
            id: 5,
            expired_in_term: 0,
        }));
    }
    assert_eq!(receiver.everything(), driver.everything());
    assert_eq!(receiver.everything().len(), keys.len() - 2 + 2);
}

#[test]
fn a_crash_before_the_end_leaves_the_old_state() {
    let driver = sender();
    let messages = rest(&mut driver.state.snapshots().open().unwrap());
    for received in 0..=messages.len() {
        let mut receiver = Driver::new();
        receiver.apply(put("old", "1"));
        let before = receiver.state.snapshots().digest().unwrap();
        receive(&mut receiver, &messages[..received]).unwrap();
        let mut receiver = receiver.reopen();
        assert_eq!(receiver.state.snapshots().digest().unwrap(), before);
        assert!(matches!(
            receiver.state.install(),
            Err(StateError::Snapshot(_))
        ));
        receiver.apply(put("old", "2"));
        assert_eq!(receiver.everything(), [("old".into(), "2".into())]);
    }
}

#[test]
fn a_broken_stream_is_refused_and_may_begin_anew() {
    let driver = sender();
    let chunks = chunks_of(&driver);
    let mut missing = chunks.clone();
    missing.remove(2);
    let mut changed = chunks.clone();
    let versions = changed
        .iter_mut()
        .find_map(|chunk| match &mut chunk.content {
            Some(Content::Versions(versions)) => Some(&mut versions.versions),
            _ => None,
        });
    versions.unwrap()[0].value = Bytes::from_static(b"9");
    let mut unknown = chunks.clone();
    unknown[1].content = None;
    let headless = chunks[1..].to_vec();
    let mut broken = [missing, changed, unknown, headless]
        .map(|chunks| encoded(&chunks))
        .to_vec();
    broken.push(vec![Bytes::from_static(b"\xff no message")]);

    let mut receiver = Driver::new();
    receiver.apply(put("old", "1"));
    for broken in broken {
        let refused = receive(&mut receiver, &broken);
        assert!(
            matches!(refused, Err(StateError::Snapshot(_))),
            "{refused:?}"
        );
        assert!(receiver.state.install().is_err());
        assert_eq!(receiver.everything(), [("old".into(), "1".into())]);
    }
    let whole = receive(&mut receiver, &encoded(&chunks)).unwrap();
    assert_eq!(whole, Staged::Whole);
    receiver.state.install().unwrap();
    assert_eq!(receiver.everything(), driver.everything());
    let receiver = receiver.reopen();
    assert_eq!(receiver.everything(), driver.everything());
    assert_eq!(receiver.state.applied(), driver.state.applied());
}

/// A number of a message, put in the place of another.
fn any_number() -> impl Strategy<Value = i64> {
    prop_oneof![
        any::<i64>(),
        -3..12_i64,
        (0..8_i64).prop_map(|revision| revision << 22),
        Just(i64::MAX),
        Just(i64::MIN),
    ]
}

/// Changes one number of one message.
fn tamper(chunks: &mut [SnapshotChunk], at: usize, field: usize, number: i64) {
    let at = at % chunks.len();
    match &mut chunks[at].content {
        Some(Content::Head(head)) => match field % 3 {
            0 => head.revision = number,
            1 => head.compacted = number,
            _ => head.swept = number,
        },
        Some(Content::Versions(versions)) => {
            let count = versions.versions.len();
            let version = &mut versions.versions[field / 5 % count];
            match field % 5 {
                0 => version.position = number,
                1 => version.created = number,
                2 => version.version = number,
                3 => version.lease = number,
                _ => version.continued = !version.continued,
            }
        }
        Some(Content::Records(records)) => {
            for lease in &mut records.leases {
                lease.ttl_seconds = number;
            }
        }
        Some(Content::End(_)) | None => {}
    }
}

/// The end that fits the messages before it: whoever changes them on purpose makes their checksum right.
fn make_whole(chunks: &mut [SnapshotChunk]) {
    let Some((last, before)) = chunks.split_last_mut() else {
        return;
    };
    let mut checksum = crc32fast::Hasher::new();
    for chunk in before {
        checksum.update(&chunk.encode_to_vec());
    }
    if let Some(Content::End(end)) = &mut last.content {
        end.checksum = checksum.finalize();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Whatever a member sends, the receiver refuses it or goes on with it; it never ends over it.
    #[test]
    fn no_snapshot_ends_its_receiver(
        changes in prop::collection::vec((any::<usize>(), any::<usize>(), any_number()), 1..4),
    ) {
        let driver = sender();
        let mut chunks = chunks_of(&driver);
        for (at, field, number) in changes {
            tamper(&mut chunks, at, field, number);
        }
        make_whole(&mut chunks);
        let mut receiver = Driver::new();
        receiver.apply(put("old", "1"));
        let staged = receive(&mut receiver, &encoded(&chunks));
        if staged.is_ok() && receiver.state.install().is_ok() {
            // What was sent incomplete may be found damaged, which is an error.
            let mut batch = receiver.state.begin().unwrap();
            for (index, body) in (100..).zip([put("a", "4"), put("b", "4"), delete("a")]) {
                if batch.apply(log_id(index), Some(&command(body)), None).is_err() {
                    break;
                }
            }
            drop(batch);
            let _ = receiver.state.compact_step(100);
            let _ = receiver.state.snapshots().digest();
        } else {
            prop_assert_eq!(receiver.everything(), [("old".into(), "1".into())]);
        }
    }
}

#[test]
fn a_stream_ends_with_an_error_when_its_state_is_replaced() {
    let driver = sender();
    let mut replaced = Driver::new();
    replaced.apply(put("old", "1"));
    let mut stream = replaced.state.snapshots().open().unwrap();
    stream.next_message().unwrap();
    send(&driver, &mut replaced);
    let ended = std::iter::from_fn(|| stream.next_message().transpose()).find_map(Result::err);
    assert!(matches!(ended, Some(StateError::Snapshot(_))), "{ended:?}");
}

#[test]
fn the_sweep_is_in_no_digest_and_a_changed_byte_is() {
    let mut swept = sender();
    let mut lazy = sender();
    for driver in [&mut swept, &mut lazy] {
        driver.apply(compact(5));
    }
    assert_eq!(swept.state.compact_step(2).unwrap(), Sweep::More);
    let digests = [&swept, &lazy].map(|driver| driver.state.snapshots().digest().unwrap());
    assert_eq!(digests[0], digests[1]);
    let other = {
        let mut driver = Driver::new();
        driver.apply_all(&[
            grant(5),
            put("a", "1"),
            put("b", "2"),
            put("a", "3"),
            delete("b"),
            compact(5),
        ]);
        driver.state.snapshots().digest().unwrap()
    };
    assert_eq!(other.log_id, digests[0].log_id);
    assert_ne!(other.hash, digests[0].hash);
}

#[test]
fn the_hash_of_a_revision_does_not_change_as_writes_go_on() {
    let mut driver = sender();
    let now = driver
        .state
        .snapshots()
        .hash_kv(quorate::ids::Revision(0))
        .unwrap();
    assert_eq!((now.revision.0, now.compacted.0), (5, -1));
    driver.apply(put("later", "1"));
    let then = driver.state.snapshots().hash_kv(now.revision).unwrap();
    assert_eq!(then.hash, now.hash);
    assert_ne!(
        driver
            .state
            .snapshots()
            .hash_kv(quorate::ids::Revision(0))
            .unwrap()
            .hash,
        now.hash
    );
    assert!(
        driver
            .state
            .snapshots()
            .hash_kv(quorate::ids::Revision(7))
            .is_err()
    );
}
