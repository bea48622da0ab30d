//! What is measured, and the bar for each figure.

use crate::bench::args::TxnKind;
use crate::bench::load::Consistency;

/// A load with its clients and the bars it must meet.
#[derive(Clone, Copy, Debug)]
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) kind: Kind,
    pub(super) clients: usize,
    pub(super) value_size: usize,
    throughput: Bar,
    p50: Bar,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Kind {
    Put,
    Get(Consistency),
    Txn(TxnKind),
}

/// What a figure of ours must be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bar {
    /// Shown, not judged.
    None,
    /// At least this many times etcd's.
    AtLeastTimes(f64),
    /// At most this many times etcd's.
    AtMostTimes(f64),
    /// At most this, whatever etcd's is.
    AtMost(f64),
}

/// One line of the table.
#[derive(Clone, Debug)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) bar: Bar,
    /// Decimals shown.
    pub(super) decimals: usize,
}

const CASES: [Case; 8] = [
    put("put 256 B, 1 client", 1, Bar::None, Bar::AtMostTimes(1.0)),
    put(
        "put 256 B, 16 clients",
        16,
        Bar::AtLeastTimes(1.5),
        Bar::None,
    ),
    put(
        "put 256 B, 64 clients",
        64,
        Bar::AtLeastTimes(1.5),
        Bar::None,
    ),
    put(
        "put 256 B, 256 clients",
        256,
        Bar::AtLeastTimes(1.5),
        Bar::None,
    ),
    txn("txn create 1 KiB, 64 clients", TxnKind::Create),
    txn("txn update 1 KiB, 64 clients", TxnKind::Update),
    get(
        "get linearizable, 64 clients",
        Consistency::Linearizable,
        1.5,
    ),
    get(
        "get serializable, 64 clients",
        Consistency::Serializable,
        1.2,
    ),
];

const fn put(name: &'static str, clients: usize, throughput: Bar, p50: Bar) -> Case {
    Case {
        name,
        kind: Kind::Put,
        clients,
        value_size: 256,
        throughput,
        p50,
    }
}

const fn txn(name: &'static str, kind: TxnKind) -> Case {
    Case {
        name,
        kind: Kind::Txn(kind),
        clients: 64,
        value_size: 1024,
        throughput: Bar::AtLeastTimes(2.0),
        p50: Bar::None,
    }
}

const fn get(name: &'static str, consistency: Consistency, times: f64) -> Case {
    Case {
        name,
        kind: Kind::Get(consistency),
        clients: 64,
        value_size: 256,
        throughput: Bar::AtLeastTimes(times),
        p50: Bar::None,
    }
}

/// The loads, in the order in which they are run.
pub(super) fn cases() -> &'static [Case] {
    &CASES
}

impl Case {
    pub(super) fn throughput(&self) -> String {
        format!("{}: operations/s", self.name)
    }

    pub(super) fn p50(&self) -> String {
        format!("{}: p50 ms", self.name)
    }

    pub(super) fn p99(&self) -> String {
        format!("{}: p99 ms", self.name)
    }

    pub(super) fn cpu(&self) -> String {
        format!("{}: CPU µs/operation", self.name)
    }
}

pub(super) const START: &str = "one node, start to first write, ms";
pub(super) const IDLE_MEMORY: &str = "memory per node, idle, MB";
pub(super) const LOADED_MEMORY: &str = "memory per node, 100,000 keys of 1 KiB, MB";
pub(super) const IDLE_CPU: &str = "idle, % of a core per node";
pub(super) const IDLE_WRITTEN: &str = "idle, bytes written, all nodes";
pub(super) const WRITTEN_SINGLE: &str = "bytes written per put, 1 client, all nodes";
pub(super) const WRITTEN_MANY: &str = "bytes written per put, 64 clients, all nodes";
pub(super) const KILLED: &str = "leader killed to next write, ms";
pub(super) const STOPPED: &str = "leader stopped to next write, ms";

/// Every line of the table, in order.
pub(super) fn figures() -> Vec<Figure> {
    let line = |name: String, bar, decimals| Figure {
        name,
        bar,
        decimals,
    };
    let of_case = |case: &Case| {
        [
            line(case.throughput(), case.throughput, 0),
            line(case.p50(), case.p50, 2),
            line(case.p99(), Bar::None, 2),
            line(case.cpu(), Bar::AtMostTimes(0.6), 0),
        ]
    };
    let others = [
        (START, Bar::AtMost(300.0), 0),
        (IDLE_MEMORY, Bar::AtMost(20.0), 1),
        (LOADED_MEMORY, Bar::AtMost(64.0), 1),
        (IDLE_CPU, Bar::AtMost(0.5), 2),
        (IDLE_WRITTEN, Bar::AtMost(0.0), 0),
        (WRITTEN_SINGLE, Bar::AtMostTimes(1.0), 0),
        (WRITTEN_MANY, Bar::AtMostTimes(1.0), 0),
        (KILLED, Bar::AtMost(600.0), 0),
        (STOPPED, Bar::AtMost(50.0), 0),
    ];
    let others = others.map(|(name, bar, decimals)| line(name.into(), bar, decimals));
    CASES.iter().flat_map(of_case).chain(others).collect()
}
