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
    /// The search in which the node was last reached, and the edge by which it was reached first.
    reached: Vec<(u32, Node, EdgeKind)>,
    search: u32,
    open: VecDeque<(u32, Node)>,
}

impl Pathfinder {
    pub(super) fn new(nodes: usize) -> Self {
        Self {
            reached: vec![(0, 0, EdgeKind::Relay); nodes],
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
        // Nodes leave the queue by distance, and what it costs to enter a node is the same from everywhere: so the first way
        // to a node is a shortest. The start counts as not reached, so that a path may come back to it.
        while let Some((distance, node)) = self.open.pop_front() {
            deadline::look();
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
                if further >= bound || self.reached[to as usize].0 == self.search {
                    continue;
                }
                self.reached[to as usize] = (self.search, node, edge.kind());
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
            let (_, previous, kind) = self.reached[node as usize];
            path.push((previous, kind));
            node = previous;
            if node == start {
                path.reverse();
                return path;
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::super::graph::GraphBuilder;
    use super::*;

    const NODES: Node = 9;
    /// Nodes from here on are helpers.
    const TRANSACTIONS: Node = 6;

    fn cost(node: Node) -> u32 {
        u32::from(node < TRANSACTIONS)
    }

    /// What the cheapest way of at least one edge from each node to `goal` costs, found by trying again and again whether an
    /// edge makes a way cheaper.
    pub(in super::super) fn costs_to(
        edges: &[(Node, Node)],
        goal: Node,
        nodes: Node,
        cost: impl Fn(Node) -> u32,
    ) -> Vec<Option<u32>> {
        let mut least: Vec<Option<u32>> = vec![None; nodes as usize];
        for _ in 0..=nodes {
            for (from, to) in edges {
                let on = if *to == goal {
                    Some(0)
                } else {
                    least[*to as usize]
                };
                let way = on.map(|on| on + cost(*to));
                let known = &mut least[*from as usize];
                *known = match (*known, way) {
                    (Some(known), Some(way)) => Some(known.min(way)),
                    (known, way) => known.or(way),
                };
            }
        }
        least
    }

    proptest! {
        /// Through helpers, which cost nothing, and back to where it began too.
        #[test]
        fn a_path_costs_what_the_cheapest_does(
            drawn in prop::collection::vec((0..NODES, 0..NODES), 1..24),
            pairs in prop::collection::vec((0..TRANSACTIONS, 0..TRANSACTIONS, 0_u32..6), 1..5),
        ) {
            let edges: Vec<(Node, Node)> = drawn.into_iter().filter(|(from, to)| from != to).collect();
            let mut builder = GraphBuilder::new(NODES as usize, edges.len());
            for (from, to) in &edges {
                builder.edge(*from, EdgeKind::WriteRead, *to);
            }
            let graph = builder.build();
            let territory = Territory { graph: &graph, allowed: KindSet::ALL, within: |_| true, cost };
            // One pathfinder for all: what an earlier search left behind must not matter.
            let mut pathfinder = Pathfinder::new(NODES as usize);
            for (start, goal, bound) in pairs {
                let least = costs_to(&edges, goal, NODES, cost)[start as usize].filter(|least| *least < bound);
                let found = match pathfinder.path(&territory, start, goal, bound, &mut Budget::new(u64::MAX)) {
                    Search::Found(path) => Some(path),
                    Search::None => None,
                    Search::Unknown => panic!("the budget is large"),
                };
                prop_assert_eq!(found.is_some(), least.is_some());
                let Some(path) = found else { continue };
                prop_assert_eq!(path[0].0, start);
                let next = path.iter().skip(1).map(|(node, _)| *node).chain([goal]);
                let steps: Vec<(Node, Node)> = path.iter().map(|(node, _)| *node).zip(next).collect();
                prop_assert!(steps.iter().all(|step| edges.contains(step)), "{steps:?}");
                let cost: u32 = steps.iter().map(|(_, to)| cost(*to)).sum();
                prop_assert_eq!(Some(cost), least, "{:?}", path);
            }
        }
    }

    #[test]
    fn a_search_without_budget_does_not_know() {
        let mut builder = GraphBuilder::new(3, 2);
        builder.edge(0, EdgeKind::WriteRead, 1);
        builder.edge(1, EdgeKind::WriteRead, 2);
        let graph = builder.build();
        let territory = Territory {
            graph: &graph,
            allowed: KindSet::ALL,
            within: |_| true,
            cost,
        };
        let mut pathfinder = Pathfinder::new(3);
        for (edges, is_found) in [(1, false), (2, true)] {
            let mut budget = Budget::new(edges);
            match pathfinder.path(&territory, 0, 2, u32::MAX, &mut budget) {
                Search::Found(_) => assert!(is_found),
                Search::None => panic!("there is a path"),
                Search::Unknown => assert!(!is_found),
            }
        }
    }
}
