//! How fast histories are read and judged for linearizability.
//!
//! The published histories are not part of this repository: name their folder in `QUORATE_HISTORIES`. Without it, only
//! histories of our own making are measured, and that is said.

use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use quorate_jepsen_style::check::linear::{Bounds, Judgement, Linearizability, Partition};
use quorate_jepsen_style::history::read::read;
use quorate_jepsen_style::history::{
    History, Moment, Name, Operation, Outcome, Process, Value, write,
};
use quorate_jepsen_style::model::Model;
use quorate_jepsen_style::model::kv::KeyValue;
use quorate_jepsen_style::model::register::{CasRegister, Register};
use quorate_jepsen_style::random::Random;

fn folder() -> Option<PathBuf> {
    let folder = std::env::var_os("QUORATE_HISTORIES").map(PathBuf::from);
    if folder.is_none() {
        eprintln!("QUORATE_HISTORIES is not set: the published histories are not measured");
    }
    folder
}

fn load(path: &Path) -> History {
    let bytes = bytes(path);
    read(&bytes[..], None).expect("a published history is well formed")
}

fn bytes(path: &Path) -> Vec<u8> {
    #[expect(clippy::disallowed_methods, reason = "a bench, on a real disk")]
    let bytes = std::fs::read(path);
    bytes.unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn judge<M: Model>(model: M, history: &History, partition: Partition, jobs: usize) -> Judgement {
    let bounds = Bounds::generous().on(jobs);
    Linearizability::of(model)
        .partitioned(partition)
        .within(bounds)
        .judge(history)
}

/// The best of many times for each file: which is the slowest is seen at a glance, and criterion would take minutes for it.
fn tell_each(files: &[PathBuf], histories: &[History], judge: impl Fn(&History) -> Judgement) {
    const TIMES: usize = 300;
    let mut lines: Vec<(Duration, String)> = Vec::new();
    for (file, history) in files.iter().zip(histories) {
        let once = |_| {
            #[expect(clippy::disallowed_methods, reason = "a bench, on a real clock")]
            let started = Instant::now();
            black_box(judge(black_box(history)));
            started.elapsed()
        };
        let best = (0..TIMES).map(once).min().unwrap_or_default();
        lines.push((best, name(file)));
    }
    lines.sort();
    for (best, name) in lines {
        eprintln!("{name}: {:.1} µs", best.as_secs_f64() * 1e6);
    }
}

fn name(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

fn published(criterion: &mut Criterion) {
    let Some(folder) = folder() else { return };
    #[expect(clippy::disallowed_methods, reason = "a bench, on a real disk")]
    let mut logs: Vec<PathBuf> = std::fs::read_dir(folder.join("etcd"))
        .expect("the folder has a folder etcd")
        .map(|entry| entry.expect("a folder can be listed").path())
        .collect();
    logs.sort();
    let histories: Vec<History> = logs.iter().map(|path| load(path)).collect();
    let judge_log =
        |history: &History| judge(CasRegister::default(), history, Partition::ByPart, 1);
    tell_each(&logs, &histories, judge_log);
    criterion.bench_function("all etcd logs", |bencher| {
        bencher.iter(|| histories.iter().map(judge_log).collect::<Vec<_>>());
    });
    for (path, history) in logs.iter().zip(&histories) {
        let name = name(path);
        if ["etcd_002", "etcd_040", "etcd_080", "etcd_098"].contains(&name.as_str()) {
            criterion.bench_function(&name, |bencher| bencher.iter(|| judge_log(history)));
        }
    }
    for name in ["c01-ok", "c01-bad", "c10-ok", "c10-bad", "c50-ok"] {
        let path = folder.join("kv").join(name).with_extension("txt");
        let history = load(&path);
        for (words, partition, jobs) in [
            ("by key", Partition::ByPart, 1),
            ("by key, two threads", Partition::ByPart, 2),
            ("whole", Partition::Off, 1),
        ] {
            criterion.bench_function(&format!("{name} {words}"), |bencher| {
                bencher.iter(|| judge(KeyValue, &history, partition, jobs));
            });
        }
        let bytes = bytes(&path);
        let mut group = criterion.benchmark_group("read EDN");
        group.throughput(Throughput::Bytes(bytes.len() as u64));
        group.bench_function(name, |bencher| {
            bencher.iter(|| read(black_box(&bytes[..]), None));
        });
        group.finish();
    }
}

/// A register that works, used by many processes at a time; every write writes another value.
fn register(operations: u32, processes: u32) -> History {
    let mut random = Random::new(7);
    let (read, write) = (Name::from("read"), Name::from("write"));
    let mut state = Value::Nil;
    let mut open: Vec<Option<Operation>> = vec![None; processes as usize];
    let mut done = Vec::with_capacity(operations as usize);
    let mut order = 0;
    let mut invoked = 0;
    while done.len() < operations as usize {
        let process = random.below(u64::from(processes)) as usize;
        order += 1;
        let now = Moment {
            order,
            nanoseconds: u64::from(order) * 1000,
        };
        match open[process].take() {
            // It takes effect as it is invoked or as it is answered.
            Some(mut operation) => {
                if operation.output.is_nil() {
                    operation.output = act(&operation, &mut state);
                }
                operation.outcome = Outcome::Ok;
                operation.ended = Some(now);
                done.push(operation);
            }
            None if invoked < operations => {
                invoked += 1;
                let is_write = random.below(2) == 0;
                let mut operation = Operation {
                    process: Process::Client(process as u32),
                    function: if is_write {
                        write.clone()
                    } else {
                        read.clone()
                    },
                    key: Value::Nil,
                    input: if is_write {
                        Value::Integer(i64::from(invoked))
                    } else {
                        Value::Nil
                    },
                    output: Value::Nil,
                    outcome: Outcome::Unknown,
                    invoked: now,
                    ended: None,
                    details: None,
                };
                if random.below(2) == 0 {
                    operation.output = act(&operation, &mut state);
                }
                open[process] = Some(operation);
            }
            None => {}
        }
    }
    History::new(done)
}

fn act(operation: &Operation, state: &mut Value) -> Value {
    if operation.function == "write" {
        state.clone_from(&operation.input);
    }
    state.clone()
}

fn own(criterion: &mut Criterion) {
    let history = register(1_000_000, 50);
    let mut group = criterion.benchmark_group("own");
    group.sample_size(10);
    group.bench_function("register of unique values, 10^6 operations", |bencher| {
        bencher.iter(|| {
            let verdict = judge(Register::default(), &history, Partition::ByPart, 1);
            assert_eq!(verdict, Judgement::Linearizable);
        });
    });
    let mut lines = Vec::new();
    write::write(&history, &mut lines).expect("memory can be written");
    group.throughput(Throughput::Bytes(lines.len() as u64));
    group.bench_function("read JSON Lines", |bencher| {
        bencher.iter_batched(
            || (),
            |()| read(black_box(&lines[..]), None),
            BatchSize::PerIteration,
        );
    });
    group.finish();
}

criterion_group!(benches, published, own);
criterion_main!(benches);
