//! Shortest paths, counted in transactions: helpers cost nothing.

use std::collections::VecDeque;

use super::graph::{EdgeKind, Graph, KindSet, Node};
use crate::deadline;

/// How many edges may still be looked at. Finding *a* cycle is linear and needs no budget; finding the shortest, or one of
/// a given kind, is not: a history broken everywhere must not take for ever to say so.
#[derive(Debug)]
pub(super) struct Budget {
    edges: u64,
}

impl Budget {
    pub(super) const fn new(edges: u64) -> Self {
        Self { edges }
    }
}

/// The answer of a search.
pub(super) enum Search {
    /// A path: its nodes with the kind of the edge that leaves each. The last edge leads to the goal.
    Found(Vec<(Node, EdgeKind)>),
    /// There is no path shorter than asked.
    None,
    /// The budget was spent before that was known.
    Unknown,
}

/// Where a walk may go.
pub(super) struct Territory<'a, Within: Fn(Node) -> bool, Cost: Fn(Node) -> u32> {
    pub(super) graph: &'a Graph,
    pub(super) allowed: KindSet,
    /// Nodes that need not be entered, for a reason that the caller knows, are not.
    pub(super) within: Within,
    /// What entering a node costs: 1 for a transaction, 0 for a helper.
    pub(super) cost: Cost,
}

/// Memory of searches in one graph, so that a thousand short searches do not clear a million nodes each.
pub(super) struct Pathfinder {
    /// The search in which the node was last reached, its distance then, and the edge by which it was reached.
    reached: Vec<(u32, u32, Node, EdgeKind)>,
    search: u32,
    open: VecDeque<(u32, Node)>,
}

impl Pathfinder {
    pub(super) fn new(nodes: usize) -> Self {
        Self {
            reached: vec![(0, 0, 0, EdgeKind::Relay); nodes],
            search: 0,
            open: VecDeque::new(),
        }
    }

    /// The shortest path of at least one edge from `start` to `goal` (which may be the same node) that costs less than
    /// `bound`.
    pub(super) fn path<Within: Fn(Node) -> bool, Cost: Fn(Node) -> u32>(
        &mut self,
        territory: &Territory<'_, Within, Cost>,
        start: Node,
        goal: Node,
        bound: u32,
        budget: &mut Budget,
    ) -> Search {
        self.search += 1;
        self.open.clear();
        self.open.push_back((0, start));
        // A node is settled when it is taken from the queue at its least distance; entries made before a shorter way was
        // found are passed over. The start counts as not reached, so that a path may come back to it.
        while let Some((distance, node)) = self.open.pop_front() {
            deadline::look();
            let (search, least, ..) = self.reached[node as usize];
            if search == self.search && least < distance && node != start {
                continue;
            }
            for edge in territory.graph.out(node) {
                if budget.edges == 0 {
                    return Search::Unknown;
                }
                budget.edges -= 1;
                let to = edge.to();
                if !territory.allowed.contains(edge.kind()) || !(territory.within)(to) {
                    continue;
                }
                let cost = (territory.cost)(to);
                let further = distance + cost;
                let (search, least, ..) = self.reached[to as usize];
                if further >= bound || search == self.search && least <= further {
                    continue;
                }
                self.reached[to as usize] = (self.search, further, node, edge.kind());
                if to == goal && cost > 0 {
                    return Search::Found(self.trace(start, goal));
                }
                match cost {
                    0 => self.open.push_front((further, to)),
                    _ => self.open.push_back((further, to)),
                }
            }
        }
        Search::None
    }

    fn trace(&self, start: Node, goal: Node) -> Vec<(Node, EdgeKind)> {
        let mut path = Vec::new();
        let mut node = goal;
        loop {
            let (_, _, previous, kind) = self.reached[node as usize];
            path.push((previous, kind));
            node = previous;
            if node == start {
                path.reverse();
                return path;
            }
        }
    }
}
