//! The dependency graph: compressed rows, four bytes an edge.
//!
//! A node is a transaction or a *helper*: a node of no transaction, put in so that "everyone of these before everyone of
//! those" costs a sum of edges and not a product. Helpers are of two sorts: barriers of real time (see
//! [`super::order`]) and relays (see [`super::fan`]).

use super::transactions::index_u32;

/// A node: below the number of transactions a transaction, otherwise a helper.
pub(super) type Node = u32;

/// Why one transaction comes before another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EdgeKind {
    /// The second overwrote what the first wrote.
    WriteWrite,
    /// The second read what the first wrote.
    WriteRead,
    /// The second overwrote what the first had read (an anti-dependency).
    ReadWrite,
    /// One process ran the second after the first.
    Process,
    /// The first had completed before the second was invoked.
    RealTime,
    /// Leaves a relay: carries on whatever the edge into the relay was.
    Relay,
    /// The second overwrote what the first wrote, if the order of versions follows real time.
    TimedWriteWrite,
    /// The second overwrote what the first had read, if the order of versions follows real time.
    TimedReadWrite,
}

impl EdgeKind {
    const ALL: [Self; 8] = [
        Self::WriteWrite,
        Self::WriteRead,
        Self::ReadWrite,
        Self::Process,
        Self::RealTime,
        Self::Relay,
        Self::TimedWriteWrite,
        Self::TimedReadWrite,
    ];

    /// Whether the edge is an anti-dependency.
    #[must_use]
    pub const fn is_anti_dependency(self) -> bool {
        matches!(self, Self::ReadWrite | Self::TimedReadWrite)
    }
}

/// A set of edge kinds: which part of the graph is looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct KindSet(u8);

impl KindSet {
    pub(super) const ALL: Self = Self(u8::MAX);

    pub(super) const fn of(kinds: &[EdgeKind]) -> Self {
        let mut bits = 0;
        let mut index = 0;
        while index < kinds.len() {
            bits |= 1 << kinds[index] as u8;
            index += 1;
        }
        Self(bits)
    }

    pub(super) const fn with(self, kind: EdgeKind) -> Self {
        Self(self.0 | 1 << kind as u8)
    }

    pub(super) const fn contains(self, kind: EdgeKind) -> bool {
        self.0 & (1 << kind as u8) != 0
    }
}

/// The far end of an edge and its kind, packed: three bits of kind, 29 of node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Edge(u32);

const NODE_BITS: u32 = 29;

impl Edge {
    pub(super) const fn new(kind: EdgeKind, to: Node) -> Self {
        Self((kind as u32) << NODE_BITS | to)
    }

    pub(super) const fn kind(self) -> EdgeKind {
        EdgeKind::ALL[(self.0 >> NODE_BITS) as usize]
    }

    pub(super) const fn to(self) -> Node {
        self.0 & ((1 << NODE_BITS) - 1)
    }
}

/// Edges in the order in which they are found, before they are sorted into rows.
#[derive(Debug)]
pub(super) struct GraphBuilder {
    nodes: Node,
    edges: Vec<(Node, Edge)>,
}

impl GraphBuilder {
    pub(super) fn new(nodes: usize, expected_edges: usize) -> Self {
        assert!(
            nodes < 1 << (NODE_BITS - 1),
            "a graph has fewer than 2^28 transactions"
        );
        Self {
            nodes: index_u32(nodes),
            edges: Vec::with_capacity(expected_edges),
        }
    }

    /// Adds a helper node.
    pub(super) fn helper(&mut self) -> Node {
        let node = self.nodes;
        assert!(node < 1 << NODE_BITS, "a graph has fewer than 2^29 nodes");
        self.nodes += 1;
        node
    }

    /// Adds an edge, unless it leads from a node to itself: a transaction may depend on its own steps.
    pub(super) fn edge(&mut self, from: Node, kind: EdgeKind, to: Node) {
        if from != to {
            self.edges.push((from, Edge::new(kind, to)));
        }
    }

    /// Sorts the edges into rows by counting.
    pub(super) fn build(self) -> Graph {
        let mut offsets = vec![0_u32; self.nodes as usize + 1];
        index_u32(self.edges.len());
        for (from, _) in &self.edges {
            offsets[*from as usize] += 1;
        }
        let mut end = 0;
        for offset in &mut offsets {
            end += *offset;
            *offset = end;
        }
        // Filling from the back turns each row's end into its start.
        let mut edges = vec![Edge(0); self.edges.len()];
        for (from, edge) in self.edges.iter().rev() {
            let offset = &mut offsets[*from as usize];
            *offset -= 1;
            edges[*offset as usize] = *edge;
        }
        Graph { offsets, edges }
    }
}

/// A directed graph with kinds on its edges.
#[derive(Debug)]
pub(super) struct Graph {
    /// `offsets[n]..offsets[n + 1]` is the row of node `n`.
    offsets: Vec<u32>,
    edges: Vec<Edge>,
}

impl Graph {
    pub(super) fn nodes(&self) -> usize {
        self.offsets.len() - 1
    }

    pub(super) fn edges(&self) -> usize {
        self.edges.len()
    }

    pub(super) fn out(&self, node: Node) -> &[Edge] {
        let node = node as usize;
        &self.edges[self.offsets[node] as usize..self.offsets[node + 1] as usize]
    }

    /// Where a node's row begins and ends, for a walk that keeps its place.
    pub(super) fn row(&self, node: Node) -> (u32, u32) {
        (self.offsets[node as usize], self.offsets[node as usize + 1])
    }

    pub(super) fn edge_at(&self, position: u32) -> Edge {
        self.edges[position as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_keep_kind_target_and_insertion_order() {
        let mut builder = GraphBuilder::new(3, 4);
        builder.edge(1, EdgeKind::ReadWrite, 2);
        builder.edge(0, EdgeKind::WriteRead, 1);
        builder.edge(1, EdgeKind::WriteWrite, 0);
        builder.edge(2, EdgeKind::RealTime, 2);
        let helper = builder.helper();
        builder.edge(helper, EdgeKind::Relay, 0);
        let graph = builder.build();

        let row = |node| {
            graph
                .out(node)
                .iter()
                .map(|edge| (edge.kind(), edge.to()))
                .collect::<Vec<_>>()
        };
        assert_eq!(row(0), [(EdgeKind::WriteRead, 1)]);
        assert_eq!(
            row(1),
            [(EdgeKind::ReadWrite, 2), (EdgeKind::WriteWrite, 0)]
        );
        assert_eq!(row(2), [], "an edge to itself is dropped");
        assert_eq!(row(helper), [(EdgeKind::Relay, 0)]);
    }
}
