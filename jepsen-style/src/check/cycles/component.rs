//! One strongly connected component on its own, and the views of it in which cycles are looked for.

use super::anomaly::Layer;
use super::graph::{EdgeKind, Graph, GraphBuilder, KindSet, Node};
use super::order;
use super::transactions::{Span, index_u32};

/// A component cut out of the whole graph, its nodes renumbered from zero, the order of processes added.
pub(super) struct Component {
    pub(super) graph: Graph,
    /// The node of the whole graph that each node here stands for, ascending: so transactions come first.
    originals: Vec<Node>,
    transactions: usize,
}

impl Component {
    /// Cuts out `members`. `local` is scratch of one number for each node of the whole graph; what it holds does not matter.
    pub(super) fn cut(whole: &Graph, spans: &[Span], members: &[Node], local: &mut [u32]) -> Self {
        let mut originals = members.to_vec();
        originals.sort_unstable();
        for (number, original) in (0..).zip(&originals) {
            local[*original as usize] = number;
        }
        // Scratch may hold numbers of other components: a node is a member if its number leads back to it.
        let is_member = |node: Node, number: u32| originals.get(number as usize) == Some(&node);
        let mut builder = GraphBuilder::new(originals.len(), 0);
        for (from, original) in (0..).zip(&originals) {
            for edge in whole.out(*original) {
                let to = local[edge.to() as usize];
                if is_member(edge.to(), to) {
                    builder.edge(from, edge.kind(), to);
                }
            }
        }
        let transactions = originals.partition_point(|original| (*original as usize) < spans.len());
        for (from, to) in order::process_edges(spans, &originals[..transactions]) {
            builder.edge(local[from as usize], EdgeKind::Process, local[to as usize]);
        }
        Self {
            graph: builder.build(),
            originals,
            transactions,
        }
    }

    pub(super) fn original(&self, node: Node) -> Node {
        self.originals[node as usize]
    }

    pub(super) fn is_transaction(&self, node: Node) -> bool {
        (node as usize) < self.transactions
    }

    /// The graph of (node, whether the last edge was an anti-dependency) without two anti-dependencies in a row: each cycle
    /// in it is one that snapshot isolation forbids. Node `n` becomes `2 n` and `2 n + 1`.
    pub(super) fn without_adjacent_anti_dependencies(&self, allowed: KindSet) -> Graph {
        let mut builder = GraphBuilder::new(self.graph.nodes() * 2, self.graph.edges() * 2);
        for node in 0..index_u32(self.graph.nodes()) {
            for edge in self
                .graph
                .out(node)
                .iter()
                .filter(|edge| allowed.contains(edge.kind()))
            {
                let kind = edge.kind();
                for after_anti in [0, 1] {
                    let next = match kind {
                        _ if kind.is_anti_dependency() => {
                            if after_anti == 1 {
                                continue;
                            }
                            1
                        }
                        EdgeKind::Relay => after_anti,
                        _ => 0,
                    };
                    builder.edge(2 * node + after_anti, kind, 2 * edge.to() + next);
                }
            }
        }
        builder.build()
    }
}

/// The kinds of edges that count in a layer, beside the dependencies: real time implies the order of processes.
fn order_kinds(layer: Layer) -> KindSet {
    let none = KindSet::of(&[EdgeKind::Relay]);
    match layer {
        Layer::Value => none,
        Layer::Process => none.with(EdgeKind::Process),
        Layer::RealTime => none.with(EdgeKind::Process).with(EdgeKind::RealTime),
    }
}

/// What a cycle without read dependencies may use.
pub(super) fn write_kinds(layer: Layer) -> KindSet {
    order_kinds(layer).with(EdgeKind::WriteWrite)
}

/// What a cycle without anti-dependencies may use.
pub(super) fn dependency_kinds(layer: Layer) -> KindSet {
    write_kinds(layer).with(EdgeKind::WriteRead)
}

/// What any cycle may use. Overwriting that is known only from real time counts here and not as a write dependency above:
/// it is implied unless a read was stale, and then the cycle through that read says what happened.
pub(super) fn all_kinds(layer: Layer) -> KindSet {
    let kinds = dependency_kinds(layer).with(EdgeKind::ReadWrite);
    match layer {
        Layer::RealTime => kinds
            .with(EdgeKind::TimedReadWrite)
            .with(EdgeKind::TimedWriteWrite),
        Layer::Value | Layer::Process => kinds,
    }
}

#[cfg(test)]
mod tests {
    use super::super::scc::Components;
    use super::*;
    use crate::history::Outcome;

    #[test]
    fn a_relay_carries_on_whether_the_edge_into_it_was_an_anti_dependency() {
        let span = |process| Span {
            process,
            invoked: 0,
            completed: 9,
            outcome: Outcome::Ok,
        };
        let has_cycle = |back: EdgeKind| {
            let mut builder = GraphBuilder::new(2, 4);
            let (there, home) = (builder.helper(), builder.helper());
            builder.edge(0, EdgeKind::ReadWrite, there);
            builder.edge(there, EdgeKind::Relay, 1);
            builder.edge(1, back, home);
            builder.edge(home, EdgeKind::Relay, 0);
            let spans = [span(0), span(1)];
            let component = Component::cut(&builder.build(), &spans, &[0, 1, 2, 3], &mut [0; 4]);
            let product = component.without_adjacent_anti_dependencies(all_kinds(Layer::Value));
            Components::find(&product, KindSet::ALL).has_cycle()
        };
        assert!(has_cycle(EdgeKind::WriteRead));
        assert!(!has_cycle(EdgeKind::ReadWrite));
    }
}
