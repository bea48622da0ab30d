//! The order of time: what had completed before what was invoked, and what one process did in turn.
//!
//! "T1 completed before T2 was invoked" holds for about half of all pairs. Written out that is quadratic; even reduced it is
//! the number of transactions times the number of processes. *Barriers* make it linear: put the invocations in a row; the
//! first invocation after the completion of T1 is a place in that row; a barrier node stands before each such place; T1
//! leads to its barrier, each barrier to the next and to the invocations up to the next. That is at most three edges a
//! transaction, whatever the concurrency.
//!
//! The order of a process is part of the order of time (a process runs one transaction at a time, which is checked), so the
//! whole graph does not hold it. It is added to the part in which a cycle was found, to tell whether sessions or only clocks
//! are violated.

use rustc_hash::FxHashMap;

use super::graph::{EdgeKind, GraphBuilder, Node};
use super::transactions::{Span, TransactionId, index_u32};
use crate::history::Outcome;

/// Adds the order of real time. A transaction of unknown outcome never completed: it comes after others, not before.
pub(super) fn add_real_time(builder: &mut GraphBuilder, spans: &[Span]) {
    let row = InvocationRow::new(spans);
    let count = index_u32(spans.len());
    // Before which place in the row each transaction had completed; `count` for none.
    let mut places = vec![count; spans.len()];
    let mut has_barrier = vec![false; spans.len()];
    for rank in 0..count {
        let transaction = row.at(rank);
        if spans[transaction as usize].outcome != Outcome::Ok {
            continue;
        }
        let place = row.first_after(rank, spans[transaction as usize].completed);
        places[transaction as usize] = place;
        if place < count {
            has_barrier[place as usize] = true;
        }
    }

    let mut barriers = vec![0; spans.len()];
    let mut current: Option<Node> = None;
    for rank in 0..count {
        if has_barrier[rank as usize] {
            let barrier = builder.helper();
            if let Some(previous) = current {
                builder.edge(previous, EdgeKind::RealTime, barrier);
            }
            barriers[rank as usize] = barrier;
            current = Some(barrier);
        }
        let transaction = row.at(rank);
        if let Some(barrier) = current
            && spans[transaction as usize].outcome != Outcome::Failed
        {
            builder.edge(barrier, EdgeKind::RealTime, transaction);
        }
    }
    for (transaction, place) in (0..).zip(&places) {
        if *place < count {
            builder.edge(transaction, EdgeKind::RealTime, barriers[*place as usize]);
        }
    }
}

/// Transactions in the order of their invocations.
struct InvocationRow<'a> {
    spans: &'a [Span],
    /// `None` if they are numbered in that order already, as recordings do.
    sorted: Option<Vec<Node>>,
}

impl<'a> InvocationRow<'a> {
    fn new(spans: &'a [Span]) -> Self {
        let sorted = (!spans.is_sorted_by_key(|span| span.invoked)).then(|| {
            let mut sorted: Vec<Node> = (0..index_u32(spans.len())).collect();
            sorted.sort_by_key(|transaction| spans[*transaction as usize].invoked);
            sorted
        });
        Self { spans, sorted }
    }

    fn at(&self, rank: u32) -> Node {
        self.sorted
            .as_ref()
            .map_or(rank, |sorted| sorted[rank as usize])
    }

    fn invoked(&self, rank: u32) -> u64 {
        self.spans[self.at(rank) as usize].invoked
    }

    /// The first place in the row, not before `rank`, whose invocation comes after `moment`. It gallops: the place is as
    /// near as there are transactions open at a time.
    fn first_after(&self, rank: u32, moment: u64) -> u32 {
        let count = index_u32(self.spans.len());
        let mut step = 1;
        let mut low = rank;
        while low < count && self.invoked((low + step).min(count) - 1) <= moment {
            low = (low + step).min(count);
            step *= 2;
        }
        let mut high = (low + step).min(count);
        while low < high {
            let middle = low.midpoint(high);
            if self.invoked(middle) <= moment {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }
}

/// The order of each process among `members`, given in ascending number.
pub(super) fn process_edges(spans: &[Span], members: &[Node]) -> Vec<(Node, Node)> {
    let mut by_process: Vec<Node> = members.to_vec();
    by_process.sort_by_key(|member| {
        let span = &spans[*member as usize];
        (span.process, span.invoked)
    });
    let mut edges = Vec::new();
    // The last one of the process that completed; what follows it up to the next such one comes after it.
    let mut last: Option<Node> = None;
    for member in by_process {
        let span = &spans[member as usize];
        last = last.filter(|last| spans[*last as usize].process == span.process);
        if let Some(last) = last {
            edges.push((last, member));
        }
        if span.outcome == Outcome::Ok {
            last = Some(member);
        }
    }
    edges
}

/// A transaction that was invoked by a process while another of the same process was open, or that completed before it
/// was invoked: the order of time would make no sense.
pub(super) fn overlap(spans: &[Span]) -> Option<TransactionId> {
    let row = InvocationRow::new(spans);
    let mut free_from: FxHashMap<u32, u64> = FxHashMap::default();
    for rank in 0..index_u32(spans.len()) {
        let transaction = row.at(rank);
        let span = &spans[transaction as usize];
        let free = free_from.entry(span.process).or_insert(0);
        if span.invoked < *free || span.completed < span.invoked {
            return Some(TransactionId(transaction));
        }
        // The process of an unknown outcome may go on: it gave up waiting at some moment that is not known here. The
        // first moment that is free is then one after an invocation, since equal moments order nothing.
        *free = match span.outcome {
            Outcome::Unknown => span.invoked,
            Outcome::Ok | Outcome::Failed => span.completed.saturating_add(1),
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::graph::Graph;
    use super::*;

    fn span(process: u32, invoked: u64, completed: u64, outcome: Outcome) -> Span {
        Span {
            process,
            invoked,
            completed,
            outcome,
        }
    }

    fn reaches(graph: &Graph, from: Node, to: Node) -> bool {
        let mut seen = vec![false; graph.nodes()];
        let mut open = vec![from];
        while let Some(node) = open.pop() {
            for edge in graph.out(node) {
                if edge.to() == to {
                    return true;
                }
                if !std::mem::replace(&mut seen[edge.to() as usize], true) {
                    open.push(edge.to());
                }
            }
        }
        false
    }

    #[test]
    fn a_process_with_two_open_transactions_is_noticed() {
        let spans = [span(0, 0, 5, Outcome::Ok), span(0, 4, 9, Outcome::Ok)];
        assert_eq!(overlap(&spans), Some(TransactionId(1)));
        assert_eq!(
            overlap(&[span(0, 0, 5, Outcome::Ok), span(0, 6, 9, Outcome::Ok)]),
            None
        );
    }

    #[test]
    fn a_process_goes_on_after_an_unknown_outcome_without_ordering_it() {
        let spans = [
            span(0, 0, 1, Outcome::Ok),
            span(0, 2, u64::MAX, Outcome::Unknown),
            span(0, 4, 5, Outcome::Ok),
            span(1, 0, 9, Outcome::Ok),
        ];
        assert_eq!(overlap(&spans), None);
        assert_eq!(process_edges(&spans, &[0, 1, 2, 3]), [(0, 1), (0, 2)]);
    }

    proptest! {
        /// Through barriers one transaction reaches another exactly if it completed before the other was invoked.
        #[test]
        fn barriers_say_what_the_pairs_say(
            drawn in prop::collection::vec((0_u64..30, 0_u64..12, 0_u8..4), 1..14)
        ) {
            let spans: Vec<Span> = drawn
                .iter()
                .map(|(invoked, length, outcome)| {
                    let outcome = [Outcome::Ok, Outcome::Ok, Outcome::Failed, Outcome::Unknown][*outcome as usize];
                    span(0, *invoked, invoked + length, outcome)
                })
                .collect();
            let mut builder = GraphBuilder::new(spans.len(), 0);
            add_real_time(&mut builder, &spans);
            let graph = builder.build();
            prop_assert!(graph.edges() <= 3 * spans.len());
            for (from, first) in (0..).zip(&spans) {
                for (to, second) in (0..).zip(&spans) {
                    let expected = first.outcome == Outcome::Ok
                        && second.outcome != Outcome::Failed
                        && first.completed < second.invoked;
                    prop_assert_eq!(expected, reaches(&graph, from, to), "{} to {}", from, to);
                }
            }
        }
    }
}
