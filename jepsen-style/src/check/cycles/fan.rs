//! Edges from one node to a whole range of nodes, at the price of a logarithm.
//!
//! "Every reader of the last version comes before every writer that nobody saw, but for itself" is a product of edges, and
//! one relay node in the middle would lead a transaction that both read and wrote back to itself. So the targets become the
//! leaves of a binary tree of relays, and a source is tied to the few relays that cover its range.

use super::graph::{EdgeKind, GraphBuilder, Node};

/// A tree of relays over a row of targets. Inner node `i` has the children `2 i` and `2 i + 1`; leaves begin at the number
/// of targets, so the tree needs no padding.
pub(super) struct Fan<'a> {
    targets: &'a [Node],
    /// The relays of the inner nodes 1, 2, …; empty while ranges are so few that plain edges are cheaper.
    relays: Vec<Node>,
}

impl<'a> Fan<'a> {
    /// A fan over `targets` that expects about so many calls of [`Self::connect`].
    pub(super) fn new(targets: &'a [Node], sources: usize, builder: &mut GraphBuilder) -> Self {
        let mut fan = Self {
            targets,
            relays: Vec::new(),
        };
        let (sources, count) = (sources, targets.len());
        if sources.saturating_mul(count) > 2 * (sources + count) {
            fan.grow(builder);
        }
        fan
    }

    fn grow(&mut self, builder: &mut GraphBuilder) {
        self.relays = (1..self.targets.len()).map(|_| builder.helper()).collect();
        for inner in 1..self.targets.len() {
            for child in [2 * inner, 2 * inner + 1] {
                builder.edge(self.relays[inner - 1], EdgeKind::Relay, self.node(child));
            }
        }
    }

    fn node(&self, position: usize) -> Node {
        match position.checked_sub(self.targets.len()) {
            Some(leaf) => self.targets[leaf],
            None => self.relays[position - 1],
        }
    }

    /// Puts `from` before every target of the range.
    pub(super) fn connect(
        &self,
        from: Node,
        kind: EdgeKind,
        range: std::ops::Range<usize>,
        builder: &mut GraphBuilder,
    ) {
        if self.relays.is_empty() {
            for target in &self.targets[range] {
                builder.edge(from, kind, *target);
            }
            return;
        }
        let (mut low, mut high) = (
            range.start + self.targets.len(),
            range.end + self.targets.len(),
        );
        while low < high {
            if low % 2 == 1 {
                builder.edge(from, kind, self.node(low));
                low += 1;
            }
            if high % 2 == 1 {
                high -= 1;
                builder.edge(from, kind, self.node(high));
            }
            low /= 2;
            high /= 2;
        }
    }

    /// Puts `from` before every target of the range but itself, which stands in it at most once.
    pub(super) fn connect_others(
        &self,
        from: Node,
        kind: EdgeKind,
        range: std::ops::Range<usize>,
        builder: &mut GraphBuilder,
        own: Option<usize>,
    ) {
        match own {
            Some(own) if range.contains(&own) => {
                self.connect(from, kind, range.start..own, builder);
                self.connect(from, kind, own + 1..range.end, builder);
            }
            _ => self.connect(from, kind, range, builder),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::super::graph::Graph;
    use super::*;

    /// The transactions (below `count`) that `from` leads to.
    fn reached(graph: &Graph, from: Node, count: Node) -> BTreeSet<Node> {
        let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
        while let Some(node) = open.pop() {
            for edge in graph.out(node) {
                if edge.to() < count {
                    seen.insert(edge.to());
                } else {
                    open.push(edge.to());
                }
            }
        }
        seen
    }

    proptest! {
        /// Through relays or not, a source reaches its range and nothing else.
        #[test]
        fn a_source_reaches_exactly_its_range(
            count in 1_usize..40, many in any::<bool>(), low in 0_usize..40, length in 0_usize..40, own in 0_usize..40
        ) {
            let (low, own) = (low % count, own % count);
            let high = (low + length).min(count);
            let nodes = u32::try_from(count).expect("small");
            let targets: Vec<Node> = (0..nodes).rev().collect();
            let mut builder = GraphBuilder::new(count, 0);
            let fan = Fan::new(&targets, if many { 1_000 } else { 1 }, &mut builder);
            let from = targets[own];
            fan.connect_others(from, EdgeKind::ReadWrite, low..high, &mut builder, Some(own));
            let graph = builder.build();
            let expected = (low..high).filter(|position| *position != own).map(|position| targets[position]).collect();
            prop_assert_eq!(reached(&graph, from, nodes), expected);
        }
    }
}
