//! Strongly connected components, without recursion.
//!
//! Every cycle lies within one component, and a history without anomalies has none of more than one node: so this one pass
//! is all that a good history costs. It is Tarjan's algorithm in the form of Pearce ("A space-efficient algorithm for
//! finding strongly connected components", 2016): one number a node holds visit index, low link and component in turn.

use super::graph::{Graph, KindSet, Node};
use super::transactions::index_u32;
use crate::deadline;

const UNVISITED: u32 = 0;

/// Visits the components of the part of the graph whose edges are of the allowed kinds, each after all that it leads to
/// (reverse topological order). The slice is valid for the call only; its order is not specified.
pub(super) fn visit_components(graph: &Graph, allowed: KindSet, mut visit: impl FnMut(&[Node])) {
    let mut walk = Walk::new(graph, allowed);
    for node in 0..index_u32(graph.nodes()) {
        if walk.rank[node as usize] == UNVISITED {
            walk.from(node, &mut visit);
        }
    }
}

/// A node on the path of the walk: where it is in its row, and the rank it was given.
struct Frame {
    node: Node,
    next: u32,
    end: u32,
    is_root: bool,
}

struct Walk<'a> {
    graph: &'a Graph,
    allowed: KindSet,
    /// While a node is open, the least visit index known to be reachable from it; once its component is closed, a number
    /// greater than any index still to be given.
    rank: Vec<u32>,
    path: Vec<Frame>,
    /// Nodes left, but whose component is not closed.
    pending: Vec<Node>,
    index: u32,
    component: u32,
}

impl<'a> Walk<'a> {
    fn new(graph: &'a Graph, allowed: KindSet) -> Self {
        Self {
            graph,
            allowed,
            rank: vec![UNVISITED; graph.nodes()],
            path: Vec::new(),
            pending: Vec::new(),
            index: 1,
            component: u32::MAX,
        }
    }

    fn enter(&mut self, node: Node) {
        deadline::look();
        let (next, end) = self.graph.row(node);
        self.rank[node as usize] = self.index;
        self.index += 1;
        self.path.push(Frame {
            node,
            next,
            end,
            is_root: true,
        });
    }

    fn from(&mut self, start: Node, visit: &mut impl FnMut(&[Node])) {
        self.enter(start);
        while let Some(frame) = self.path.last_mut() {
            if frame.next == frame.end {
                self.leave(visit);
                continue;
            }
            let edge = self.graph.edge_at(frame.next);
            if !self.allowed.contains(edge.kind()) {
                frame.next += 1;
                continue;
            }
            let rank = self.rank[edge.to() as usize];
            if rank == UNVISITED {
                // The edge is looked at again when the walk is back: then the target has its rank.
                self.enter(edge.to());
                continue;
            }
            frame.next += 1;
            let own = &mut self.rank[frame.node as usize];
            if rank < *own {
                *own = rank;
                frame.is_root = false;
            }
        }
    }

    fn leave(&mut self, visit: &mut impl FnMut(&[Node])) {
        let frame = self.path.pop().expect("the caller saw a frame");
        if !frame.is_root {
            self.pending.push(frame.node);
            return;
        }
        let rank = self.rank[frame.node as usize];
        let mut start = self.pending.len();
        while start > 0 && rank <= self.rank[self.pending[start - 1] as usize] {
            start -= 1;
        }
        self.pending.push(frame.node);
        let members = &self.pending[start..];
        for member in members {
            self.rank[*member as usize] = self.component;
        }
        self.index -= index_u32(members.len());
        self.component -= 1;
        visit(members);
        self.pending.truncate(start);
    }
}

/// The number of each node's component; an edge between components leads to the smaller number. And whether any component
/// has two nodes, that is, whether there is a cycle.
pub(super) struct Components {
    pub(super) of: Vec<u32>,
    pub(super) sizes: Vec<u32>,
}

impl Components {
    pub(super) fn find(graph: &Graph, allowed: KindSet) -> Self {
        let mut of = vec![0; graph.nodes()];
        let mut sizes = Vec::new();
        visit_components(graph, allowed, |members| {
            for member in members {
                of[*member as usize] = index_u32(sizes.len());
            }
            sizes.push(index_u32(members.len()));
        });
        Self { of, sizes }
    }

    /// Whether a node lies on a cycle.
    pub(super) fn is_cyclic(&self, node: Node) -> bool {
        self.sizes[self.of[node as usize] as usize] > 1
    }

    /// Whether an edge lies on a cycle.
    pub(super) fn holds_both(&self, from: Node, to: Node) -> bool {
        self.of[from as usize] == self.of[to as usize]
    }

    pub(super) fn has_cycle(&self) -> bool {
        self.sizes.iter().any(|size| *size > 1)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::graph::{EdgeKind, GraphBuilder};
    use super::*;

    fn graph_of(nodes: u32, edges: &[(Node, Node)]) -> Graph {
        let mut builder = GraphBuilder::new(nodes as usize, edges.len());
        for (from, to) in edges {
            builder.edge(*from, EdgeKind::WriteWrite, *to);
        }
        builder.build()
    }

    #[test]
    fn a_path_of_a_million_nodes_needs_no_stack() {
        let edges: Vec<_> = (0..1_000_000).map(|node| (node, node + 1)).collect();
        let components = Components::find(&graph_of(1_000_001, &edges), KindSet::ALL);
        assert!(!components.has_cycle());
        assert!(
            components.of[0] > components.of[1_000_000],
            "an edge leads to the smaller number"
        );
    }

    #[test]
    fn kinds_that_are_not_allowed_close_no_cycle() {
        let mut builder = GraphBuilder::new(2, 2);
        builder.edge(0, EdgeKind::WriteWrite, 1);
        builder.edge(1, EdgeKind::ReadWrite, 0);
        let graph = builder.build();
        assert!(Components::find(&graph, KindSet::ALL).has_cycle());
        assert!(!Components::find(&graph, KindSet::of(&[EdgeKind::WriteWrite])).has_cycle());
    }

    proptest! {
        /// Two nodes share a component exactly if each reaches the other (Warshall's closure is the twin), and numbers
        /// fall along the edges between components.
        #[test]
        fn components_agree_with_the_transitive_closure(
            edges in prop::collection::vec((0_u32..9, 0_u32..9), 0..24)
        ) {
            let components = Components::find(&graph_of(9, &edges), KindSet::ALL);
            let mut reaches = [[false; 9]; 9];
            for (from, to) in &edges {
                reaches[*from as usize][*to as usize] = true;
            }
            for middle in 0..9 {
                let onward = reaches[middle];
                for row in reaches.iter_mut().filter(|row| row[middle]) {
                    for (reached, more) in row.iter_mut().zip(onward) {
                        *reached |= more;
                    }
                }
            }
            for (from, row) in reaches.iter().enumerate() {
                for (to, reached) in row.iter().enumerate() {
                    let mutual = from == to || *reached && reaches[to][from];
                    prop_assert_eq!(mutual, components.of[from] == components.of[to]);
                    if *reached {
                        prop_assert!(components.of[from] >= components.of[to]);
                    }
                }
            }
        }
    }
}
