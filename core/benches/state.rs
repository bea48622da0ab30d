//! What the state machine costs: puts in batches of several sizes, single reads, ranges.
//!
//! Measured is the CPU time of the process, since that is what the node has two cores of; waiting for a disk is not in it,
//! and neither is what else runs on the machine.
//!
//! `cargo bench -p quorate --bench state`; the figures and what was tried are in `README.md` beside this file.
#![expect(clippy::unwrap_used, reason = "a bench that cannot go on has failed")]

use std::time::Duration;

use bytes::Bytes;
use criterion::measurement::{Measurement, ValueFormatter, WallTime};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use quorate::database::{self, Missing, Place};
use quorate::proto::etcdserverpb::{PutRequest, RangeRequest};
use quorate::proto::store::{Command, LogId, command::Body};
use quorate::state::{self, Durability, LAYOUT, Reader, State};

const KEYS: u64 = 100_000;

/// CPU time of this process, user and system.
struct CpuTime;

impl Measurement for CpuTime {
    type Intermediate = Duration;
    type Value = Duration;

    fn start(&self) -> Duration {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
        Duration::new(
            now.tv_sec.cast_unsigned(),
            u32::try_from(now.tv_nsec).unwrap(),
        )
    }

    fn end(&self, start: Duration) -> Duration {
        self.start() - start
    }

    fn add(&self, one: &Duration, other: &Duration) -> Duration {
        *one + *other
    }

    fn zero(&self) -> Duration {
        Duration::ZERO
    }

    fn to_f64(&self, value: &Duration) -> f64 {
        WallTime.to_f64(value)
    }

    fn formatter(&self) -> &dyn ValueFormatter {
        WallTime.formatter()
    }
}

/// Numbers that look random and are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        self.0 >> 33
    }
}

struct Rig {
    dir: tempfile::TempDir,
    state: State,
    checkpointer: database::Checkpointer,
    numbers: Numbers,
    index: u64,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
        let place = Place::new(dir.path(), None);
        let state = State::open(&place, Missing::Create).unwrap();
        let checkpointer = database::Checkpointer::new(&place, &LAYOUT);
        Self {
            dir,
            state,
            checkpointer,
            numbers: Numbers(1),
            index: 0,
        }
    }

    fn filled(value: usize) -> Self {
        let mut rig = Self::new();
        let value = Bytes::from(vec![b'v'; value]);
        let commands: Vec<_> = (0..KEYS).map(|number| put(number, value.clone())).collect();
        for commands in commands.chunks(1000) {
            rig.batch(commands);
        }
        rig
    }

    /// Commands as the log would hand them over: decoded already. What they cost to make is not counted.
    fn random_puts(&mut self, count: u64, value: &Bytes) -> Vec<Command> {
        (0..count)
            .map(|_| put(self.numbers.next() % KEYS, value.clone()))
            .collect()
    }

    fn batch(&mut self, commands: &[Command]) {
        let mut batch = self.state.begin().unwrap();
        for command in commands {
            self.index += 1;
            batch
                .apply(
                    LogId {
                        term: 1,
                        index: self.index,
                    },
                    Some(command),
                    None,
                )
                .unwrap();
        }
        batch.commit(Durability::Lazy).unwrap();
    }

    fn reader(&self) -> Reader {
        Reader::open(&Place::new(self.dir.path(), None)).unwrap()
    }
}

fn key(number: u64) -> Bytes {
    Bytes::from(format!("/registry/things/space/{number:08}"))
}

fn put(number: u64, value: Bytes) -> Command {
    state::command(Body::Put(PutRequest {
        key: key(number),
        value,
        ..PutRequest::default()
    }))
}

fn puts(criterion: &mut Criterion<CpuTime>) {
    let mut group = criterion.benchmark_group("put");
    for (size, batches) in [(256, [1, 16, 100, 1000].as_slice()), (1024, &[100])] {
        let mut rig = Rig::filled(size);
        let value = Bytes::from(vec![b'n'; size]);
        for &batch in batches {
            group.throughput(Throughput::Elements(batch));
            group.bench_function(format!("{size} B, batch of {batch}"), |bencher| {
                bencher.iter_custom(|rounds| {
                    let mut taken = Duration::ZERO;
                    for round in 0..rounds {
                        let commands = rig.random_puts(batch, &value);
                        let start = CpuTime.start();
                        rig.batch(&commands);
                        // As the node does it, from time to time.
                        if (round + 1) * batch % 5_000 < batch {
                            rig.checkpointer.run().unwrap();
                        }
                        taken += CpuTime.end(start);
                    }
                    taken
                });
            });
        }
    }
    group.finish();
}

fn reads(criterion: &mut Criterion<CpuTime>) {
    let mut rig = Rig::filled(256);
    let value = Bytes::from(vec![b'n'; 256]);
    for _ in 0..100 {
        let commands = rig.random_puts(1000, &value);
        rig.batch(&commands);
    }
    rig.checkpointer.run().unwrap();
    let reader = rig.reader();
    let mut group = criterion.benchmark_group("read");
    group.bench_function("one key", |bencher| {
        bencher.iter(|| {
            let request = RangeRequest {
                key: key(rig.numbers.next() % KEYS),
                ..RangeRequest::default()
            };
            assert_eq!(reader.range(&request).unwrap().kvs.len(), 1);
        });
    });
    let revision = rig.state.revision().0;
    for (name, limit, revision) in [
        ("range of 1000", 0, 0),
        ("1000 of a range of 100000", 1000, 0),
        ("range of 1000, 100000 revisions ago", 0, revision - 100_000),
    ] {
        let end = if limit == 0 { key(51_000) } else { key(KEYS) };
        let start = if limit == 0 { key(50_000) } else { key(0) };
        group.throughput(Throughput::Elements(1000));
        group.bench_function(name, |bencher| {
            let request = RangeRequest {
                key: start.clone(),
                range_end: end.clone(),
                limit,
                revision,
                ..RangeRequest::default()
            };
            bencher.iter(|| assert_eq!(reader.range(&request).unwrap().kvs.len(), 1000));
        });
    }
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().with_measurement(CpuTime).sample_size(20).measurement_time(Duration::from_secs(4)).warm_up_time(Duration::from_secs(1));
    targets = puts, reads
}
criterion_main!(benches);
