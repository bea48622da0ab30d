//! Isolation of transactions, judged by cycles.
//!
//! A database that runs transactions promises an isolation level. Adya's thesis (1999) defines the levels by what must not
//! be found in the *dependency graph* of a history: its nodes are transactions, and an edge says that one must come before
//! another, because the second overwrote what the first wrote (ww), read what the first wrote (wr), or overwrote what the
//! first had read (rw); because one process ran them in turn; or because the first had completed before the second was
//! invoked. Serializable means that there is no cycle; weaker levels allow some sorts of cycles. Kingsbury and Alvaro
//! ("Elle: Inferring Isolation Anomalies from Experimental Observations", VLDB 2020) showed that with the right workload the
//! graph can be read off what clients saw, so that a check takes linear time where the search for an order would be
//! exponential, and fails with a cycle that a person can follow edge by edge.
//!
//! The way of a history through this folder:
//!
//! | file | noun |
//! |---|---|
//! | [`transactions`] | [`Transactions`], the input, packed in flat arrays |
//! | `keys` | micro-operations by key, values by number |
//! | `append`, `register` | the edges that lists and registers tell, and anomalies that need no cycle |
//! | `fan` | relays: edges from one to many for the price of a logarithm |
//! | `order` | real time through barriers, and the order of processes |
//! | `graph`, `scc` | the graph in compressed rows; its components, in one pass |
//! | `component`, `search`, `shortest` | what kind of cycle a component holds, and the shortest |
//! | [`anomaly`] | [`Anomaly`], [`IsolationLevel`], and which forbids which |
//! | [`evidence`], [`explain`] | [`Findings`], and the same in words |
//! | `twin` | the same verdicts from definitions alone, for tests |
//! | [`convert`], [`checker`] | from a [`History`](crate::history::History) and to a [`Report`](crate::check::Report) |
//! | [`generate`] | histories that are right by construction, to measure and to test with |
//!
//! A good history costs a pass over the operations by key, the graph, and one pass over it. Everything takes memory in
//! proportion to the history. Left out: predicates (so G2 is G2-item here) and levels defined by sessions alone, such as
//! monotonic reads (see the `session` checker).

pub mod anomaly;
mod append;
pub mod checker;
mod component;
pub mod convert;
pub mod evidence;
pub mod explain;
mod fan;
pub mod generate;
mod graph;
mod keys;
mod order;
mod register;
mod scc;
mod search;
mod shortest;
pub mod transactions;
#[cfg(test)]
mod twin;

pub use anomaly::{Anomaly, CycleKind, IsolationLevel, Layer};
pub use checker::{ListAppend, RwRegister};
pub use evidence::{Evidence, Findings, Found, KnownFrom, Reason, Step};
pub use explain::{Names, PlainNames, Unjudgeable, in_words};
pub use graph::EdgeKind;
pub use transactions::{
    KeyId, MicroKind, MicroOperation, NEVER, NIL, Span, TransactionId, Transactions, ValueId,
};

use component::Component;
use explain::Explain;
use graph::{GraphBuilder, KindSet};
use shortest::Budget;

use crate::deadline;

/// How many edges the searches for shortest cycles may look at in all: a second or so.
const SEARCH_EDGES: u64 = 100_000_000;

/// Finds every anomaly in transactions that append to lists and read them. Each value is appended to a key at most once.
pub fn list_append(transactions: &Transactions) -> Result<Findings, Unjudgeable> {
    judge(transactions, append::infer)
}

/// Finds every anomaly that can be told in transactions that write and read registers. Each value is written to a key at
/// most once.
pub fn rw_register(transactions: &Transactions) -> Result<Findings, Unjudgeable> {
    judge(transactions, register::infer)
}

/// Adds to the graph what transactions of one kind say about their order, and to the findings what needs no cycle; gives what
/// explains the edges.
type Infer<'a, E> =
    fn(&'a Transactions, &mut GraphBuilder, &mut Findings) -> Result<E, Unjudgeable>;

fn judge<'a, E: Explain>(
    transactions: &'a Transactions,
    infer: Infer<'a, E>,
) -> Result<Findings, Unjudgeable> {
    if let Some(transaction) = order::overlap(transactions.spans()) {
        return Err(Unjudgeable::Overlap { transaction });
    }
    // Two edges a micro-operation and three a transaction are the usual upper bound.
    let edges = transactions.all_operations().len() * 2 + transactions.len() * 3;
    let mut builder = GraphBuilder::new(transactions.len(), edges);
    let mut findings = Findings::default();
    let explain = infer(transactions, &mut builder, &mut findings)?;
    find_cycles(transactions, builder, &explain, &mut findings);
    Ok(findings)
}

fn find_cycles(
    transactions: &Transactions,
    mut builder: GraphBuilder,
    explain: &impl Explain,
    findings: &mut Findings,
) {
    order::add_real_time(&mut builder, transactions.spans());
    let graph = builder.build();
    let mut budget = Budget::new(SEARCH_EDGES);
    let mut local = Vec::new();
    scc::visit_components(&graph, KindSet::ALL, |members| {
        if members.len() > 1 {
            local.resize(graph.nodes(), 0);
            let component = Component::cut(&graph, transactions.spans(), members, &mut local);
            report_cycles(transactions, &component, explain, findings, &mut budget);
        }
    });
}

fn report_cycles(
    transactions: &Transactions,
    component: &Component,
    explain: &impl Explain,
    findings: &mut Findings,
    budget: &mut Budget,
) {
    let outcome = search::search(component, budget);
    findings.undecided |= outcome.undecided.contains(&Layer::Value);
    for cycle in outcome.cycles {
        let next = cycle.steps.iter().cycle().skip(1);
        let steps = cycle
            .steps
            .iter()
            .zip(next)
            .map(|((node, kind), (next, _))| {
                deadline::look();
                let (first, second) = (TransactionId(*node), TransactionId(*next));
                let reason = explain::reason(explain, transactions.spans(), first, *kind, second);
                Step {
                    transaction: first,
                    reason,
                }
            });
        findings.add(
            Anomaly::Cycle(cycle.kind, cycle.layer),
            Evidence::Cycle(steps.collect()),
        );
    }
}
