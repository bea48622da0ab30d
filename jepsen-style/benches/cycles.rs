//! How many transactions a CPU-second the cycle checkers judge, and what memory that takes.
//!
//! `cargo bench -p quorate-jepsen-style --bench cycles`, optionally followed by `-- TRANSACTIONS`. Histories are generated
//! before the clock starts; the clock is the CPU time of the one thread that judges, as Linux counts it
//! (`/proc/thread-self/schedstat`), so that a busy machine does not spoil it. Each row is the best of three.

#![expect(
    clippy::disallowed_methods,
    reason = "a program that measures its own process, not simulated code"
)]

use quorate_jepsen_style::check::cycles::generate::{Shape, Store, Workload, generate};
use quorate_jepsen_style::check::cycles::{
    Findings, MicroKind, TransactionId, Transactions, list_append, rw_register,
};

/// Nanoseconds of CPU that this thread has used.
fn cpu_nanoseconds() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat")
        .expect("Linux counts the CPU time of threads");
    let first = text
        .split_whitespace()
        .next()
        .expect("the first number is the time on a CPU");
    first.parse().expect("it is a number")
}

/// Forgets how much memory was resident before.
fn reset_peak() {
    std::fs::write("/proc/self/clear_refs", "5")
        .expect("Linux lets a process reset its high-water mark");
}

/// The greatest resident memory since [`reset_peak`], in MiB.
fn peak_mebibytes() -> u64 {
    let text =
        std::fs::read_to_string("/proc/self/status").expect("Linux tells the memory of processes");
    let line = text
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .expect("there is a high-water mark");
    line.split_whitespace()
        .nth(1)
        .and_then(|number| number.parse::<u64>().ok())
        .expect("in KiB")
        / 1024
}

fn judge(workload: Workload, history: &Transactions) -> Findings {
    match workload {
        Workload::ListAppend => list_append(history),
        Workload::Register => rw_register(history),
    }
    .expect("what is generated can be judged")
}

fn measure(name: &str, store: Store, shape: &Shape) {
    let history = generate(1, store, shape);
    let elements: usize = (0..)
        .map(TransactionId)
        .take(history.len())
        .flat_map(|transaction| history.operations(transaction))
        .filter(|operation| operation.kind == MicroKind::ReadList)
        .map(|operation| history.elements(operation).len())
        .sum();
    reset_peak();
    let before = peak_mebibytes();
    let mut best = u64::MAX;
    let mut anomalies = String::new();
    for _ in 0..3 {
        let start = cpu_nanoseconds();
        let findings = judge(shape.workload, &history);
        best = best.min(cpu_nanoseconds() - start);
        anomalies = findings
            .anomalies()
            .keys()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(" ");
    }
    let peak = peak_mebibytes();
    let rate = history.len() as u64 * 1_000_000 / (best / 1_000);
    println!(
        "{name:<34} {:>9} transactions {elements:>10} elements {:>7.1} ms CPU {rate:>9} /s  peak {before} -> {peak} MiB  {}",
        history.len(),
        best as f64 / 1e6,
        if anomalies.is_empty() {
            "no anomaly"
        } else {
            &anomalies
        },
    );
}

fn main() {
    let transactions = std::env::args()
        .skip(1)
        .find_map(|argument| argument.parse().ok())
        .unwrap_or(1_000_000);
    let lists = Shape::usual(Workload::ListAppend, transactions);
    let registers = Shape::usual(Workload::Register, transactions);
    measure(
        "list-append, a tenth",
        Store::Strict,
        &Shape {
            transactions: transactions / 10,
            ..lists
        },
    );
    measure("list-append", Store::Strict, &lists);
    measure(
        "list-append, 128 writes a key",
        Store::Strict,
        &Shape {
            writes_per_key: 128,
            ..lists
        },
    );
    measure(
        "list-append, 100 keys at a time",
        Store::Strict,
        &Shape { keys: 100, ..lists },
    );
    measure("list-append, lagging replica", Store::Lagging, &lists);
    measure("list-append, write skew", Store::Snapshot, &lists);
    measure("list-append, lost updates", Store::Careless, &lists);
    measure("rw-register", Store::Strict, &registers);
    measure(
        "rw-register, 10,000 writes a key",
        Store::Strict,
        &Shape {
            writes_per_key: 10_000,
            ..registers
        },
    );
}
