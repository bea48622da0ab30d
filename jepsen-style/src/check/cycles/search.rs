//! Which anomalies a component holds, and the shortest cycle that shows each.
//!
//! The kinds of cycles form stairs: what counts as a cycle of one kind in one layer also counts as one of every milder kind
//! and in every later layer. So the search goes layer by layer, in each from the worst kind to the mildest, takes the first
//! that it finds, and in later layers looks only for worse (G-single and G-nonadjacent count as one there: no level that
//! respects processes or clocks tells them apart). What is found is then of its kind by elimination: a cycle of
//! write and read dependencies where write dependencies alone have none, and so on. Each such question but one is about
//! strongly connected components of a part of the graph, hence linear and exact:
//!
//! * G0, G1c: is there a cycle without reads, without anti-dependencies?
//! * G-single or G-nonadjacent: is there a cycle in the graph that remembers whether the last edge was an anti-dependency?
//! * G-single alone: does the head of some anti-dependency reach its tail through dependencies? This one takes a walk for
//!   each anti-dependency, in a part of the graph that has no cycles (or G1c had been found), confined to what lies between
//!   the two in topological order; a [`Budget`] bounds the walks. When it is spent the cycle is reported as
//!   G-nonadjacent, and whether a consistent view held is *unknown*.
//! * G2-item: is there any cycle left?

use super::anomaly::{CycleKind, Layer};
use super::component::{Component, all_kinds, dependency_kinds, write_kinds};
use super::graph::{EdgeKind, Graph, KindSet, Node};
use super::scc::Components;
use super::shortest::{Budget, Pathfinder, Search, Territory};
use super::transactions::index_u32;
use crate::deadline;

/// A cycle of transactions: each with the kind of the edge that leads to the next, the last to the first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct FoundCycle {
    pub(super) kind: CycleKind,
    pub(super) layer: Layer,
    pub(super) steps: Vec<(Node, EdgeKind)>,
}

/// What a search found in one component.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) cycles: Vec<FoundCycle>,
    /// Layers in which there may be a G-single beside the G-nonadjacent that was found.
    pub(super) undecided: Vec<Layer>,
}

/// Finds the worst cycle of each layer that is worse than those of the layers before it.
pub(super) fn search(component: &Component, budget: &mut Budget) -> Outcome {
    let mut outcome = Outcome::default();
    let mut worst: Option<CycleKind> = None;
    for layer in Layer::ALL {
        let mut view = View {
            component,
            layer,
            budget,
            undecided: false,
        };
        let kinds = [
            CycleKind::G0,
            CycleKind::G1c,
            CycleKind::GNonadjacent,
            CycleKind::G2Item,
        ];
        let found = kinds
            .into_iter()
            .take_while(|kind| worst.is_none_or(|worst| *kind < worst))
            .find_map(|kind| view.find(kind));
        if view.undecided {
            outcome.undecided.push(layer);
        }
        if let Some((kind, steps)) = found {
            worst = Some(kind);
            outcome.cycles.push(FoundCycle { kind, layer, steps });
        }
    }
    outcome
}

/// A component in one layer.
struct View<'a> {
    component: &'a Component,
    layer: Layer,
    budget: &'a mut Budget,
    undecided: bool,
}

type Steps = Vec<(Node, EdgeKind)>;

impl View<'_> {
    fn find(&mut self, kind: CycleKind) -> Option<(CycleKind, Steps)> {
        match kind {
            CycleKind::G0 => self
                .cycle_of(write_kinds(self.layer))
                .map(|steps| (kind, steps)),
            CycleKind::G1c => self
                .cycle_of(dependency_kinds(self.layer))
                .map(|steps| (kind, steps)),
            CycleKind::GSingle | CycleKind::GNonadjacent => self.snapshot_violation(),
            CycleKind::G2Item => self
                .cycle_of(all_kinds(self.layer))
                .map(|steps| (kind, steps)),
        }
    }

    fn cycle_of(&mut self, allowed: KindSet) -> Option<Steps> {
        let component = self.component;
        let cost = |node| u32::from(component.is_transaction(node));
        let walk = shortest_cycle(&component.graph, allowed, cost, self.budget)?;
        Some(self.contract(&walk, |node| node))
    }

    /// A cycle without two anti-dependencies in a row: with one of them if there is such a cycle, otherwise with several.
    fn snapshot_violation(&mut self) -> Option<(CycleKind, Steps)> {
        let component = self.component;
        let product = component.without_adjacent_anti_dependencies(all_kinds(self.layer));
        let cyclic = Components::find(&product, KindSet::ALL);
        if !cyclic.has_cycle() {
            return None;
        }
        if let Some(walk) = self.single_anti_dependency(&cyclic) {
            return Some((CycleKind::GSingle, self.contract(&walk, |node| node)));
        }
        let cost = |node| u32::from(component.is_transaction(node / 2));
        let walk = shortest_cycle(&product, KindSet::ALL, cost, self.budget)?;
        let steps = without_repetition(self.contract(&walk, |node| node / 2));
        let kind = kind_of(&steps);
        if kind == CycleKind::GSingle {
            // The walks one by one ran out of budget before they came to it.
            self.undecided = false;
        }
        Some((kind, steps))
    }

    /// The shortest cycle of dependencies and exactly one anti-dependency. `product` are the components of the graph that
    /// [`Component::without_adjacent_anti_dependencies`] made.
    fn single_anti_dependency(&mut self, product: &Components) -> Option<Steps> {
        let component = self.component;
        let graph = &component.graph;
        let (allowed, dependencies) = (all_kinds(self.layer), dependency_kinds(self.layer));
        let order = Components::find(graph, dependencies).of;
        let mut pathfinder = Pathfinder::new(graph.nodes());
        let mut best: Option<Steps> = None;
        for from in 0..index_u32(graph.nodes()) {
            for edge in graph.out(from) {
                let to = edge.to();
                let may_close = edge.kind().is_anti_dependency()
                    && allowed.contains(edge.kind())
                    && product.holds_both(2 * from, 2 * to + 1)
                    && order[to as usize] > order[from as usize];
                if !may_close {
                    continue;
                }
                let territory = Territory {
                    graph,
                    allowed: dependencies,
                    within: |node: Node| {
                        let place = order[node as usize];
                        order[from as usize] <= place && place <= order[to as usize]
                    },
                    cost: |node| u32::from(component.is_transaction(node)),
                };
                let bound = best.as_ref().map_or(u32::MAX, |best| {
                    path_cost(best, component) - u32::from(component.is_transaction(to))
                });
                match pathfinder.path(&territory, to, from, bound, self.budget) {
                    Search::Found(path) => {
                        let mut cycle = vec![(from, edge.kind())];
                        cycle.extend(path);
                        best = Some(cycle);
                    }
                    Search::None => {}
                    Search::Unknown => {
                        self.undecided |= best.is_none();
                        return best;
                    }
                }
            }
        }
        best
    }

    /// Leaves out helpers: the edge into the first of a run of them says what the run means. Nodes become those of the
    /// whole graph.
    fn contract(&self, walk: &[(Node, EdgeKind)], plain: impl Fn(Node) -> Node) -> Steps {
        walk.iter()
            .map(|(node, kind)| (plain(*node), *kind))
            .filter(|(node, _)| self.component.is_transaction(*node))
            .map(|(node, kind)| (self.component.original(node), kind))
            .collect()
    }
}

/// The number of transactions on a cycle.
fn path_cost(cycle: &[(Node, EdgeKind)], component: &Component) -> u32 {
    index_u32(
        cycle
            .iter()
            .filter(|(node, _)| component.is_transaction(*node))
            .count(),
    )
}

/// The shortest cycle of edges of the allowed kinds; a shortish one when the budget ends.
fn shortest_cycle(
    graph: &Graph,
    allowed: KindSet,
    cost: impl Fn(Node) -> u32,
    budget: &mut Budget,
) -> Option<Steps> {
    let components = Components::find(graph, allowed);
    let mut pathfinder = Pathfinder::new(graph.nodes());
    let mut best: Option<(u32, Steps)> = None;
    // The first walk must end, budget or not: that there is a cycle is certain, and one walk is linear.
    let mut first_walk = Budget::new(u64::MAX);
    for start in 0..index_u32(graph.nodes()) {
        if !components.is_cyclic(start) || cost(start) == 0 {
            continue;
        }
        let home = components.of[start as usize];
        let territory = Territory {
            graph,
            allowed,
            within: |node: Node| components.of[node as usize] == home,
            cost: &cost,
        };
        let bound = best.as_ref().map_or(u32::MAX, |(length, _)| *length);
        let budget = if best.is_none() {
            &mut first_walk
        } else {
            &mut *budget
        };
        match pathfinder.path(&territory, start, start, bound, budget) {
            Search::Found(path) => {
                let length = path.iter().map(|(node, _)| cost(*node)).sum();
                best = Some((length, path));
                if length == 2 {
                    break;
                }
            }
            Search::None => {}
            Search::Unknown => break,
        }
    }
    best.map(|(_, path)| path)
}

/// Of a closed walk without two anti-dependencies in a row, a part that visits each transaction once and is still such a
/// walk. A node that stands twice parts the walk in two closed ones; of these one at least has no two in a row where it
/// closes: the part between an arrival by another edge and the next such arrival, or else the rest.
fn without_repetition(mut steps: Steps) -> Steps {
    while let Some((first, second)) = repetition(&steps) {
        let inner = steps[first..second].to_vec();
        let outer: Steps = steps[..first]
            .iter()
            .chain(&steps[second..])
            .copied()
            .collect();
        steps = if has_adjacent(&inner) { outer } else { inner };
    }
    steps
}

/// The kind of a cycle without two anti-dependencies in a row. None at all is left only if it needs overwriting that is known
/// from real time.
fn kind_of(steps: &[(Node, EdgeKind)]) -> CycleKind {
    let reads = steps.iter().any(|(_, kind)| *kind == EdgeKind::WriteRead);
    match steps
        .iter()
        .filter(|(_, kind)| kind.is_anti_dependency())
        .count()
    {
        0 if reads => CycleKind::G1c,
        0 => CycleKind::G0,
        1 => CycleKind::GSingle,
        _ => CycleKind::GNonadjacent,
    }
}

fn repetition(steps: &[(Node, EdgeKind)]) -> Option<(usize, usize)> {
    (0..steps.len()).find_map(|second| {
        deadline::look();
        let first = steps[..second]
            .iter()
            .position(|(node, _)| *node == steps[second].0)?;
        Some((first, second))
    })
}

fn has_adjacent(steps: &[(Node, EdgeKind)]) -> bool {
    (0..steps.len()).any(|place| {
        let next = (place + 1) % steps.len();
        steps[place].1.is_anti_dependency() && steps[next].1.is_anti_dependency()
    })
}

#[cfg(test)]
mod tests {
    use EdgeKind::{ReadWrite, TimedReadWrite, TimedWriteWrite, WriteRead, WriteWrite};
    use proptest::prelude::*;

    use super::super::graph::GraphBuilder;
    use super::super::shortest::tests::costs_to;
    use super::super::transactions::Span;
    use super::*;
    use crate::history::Outcome;

    fn steps(kinds: &[EdgeKind]) -> Steps {
        (0..).zip(kinds.iter().copied()).collect()
    }

    #[test]
    fn a_cycle_is_of_the_kind_that_its_edges_make_it() {
        for (kinds, kind) in [
            (&[WriteWrite, TimedWriteWrite][..], CycleKind::G0),
            (&[WriteRead, TimedWriteWrite], CycleKind::G1c),
            (&[WriteRead, TimedReadWrite], CycleKind::GSingle),
            (&[WriteWrite, ReadWrite], CycleKind::GSingle),
            (
                &[ReadWrite, WriteRead, TimedReadWrite, WriteWrite],
                CycleKind::GNonadjacent,
            ),
        ] {
            assert_eq!(kind_of(&steps(kinds)), kind, "{kinds:?}");
        }
    }

    #[test]
    fn of_a_walk_that_comes_back_a_part_without_two_in_a_row_is_left() {
        // Where 1 stands twice the walk parts: what lies between begins and ends with an anti-dependency.
        let walk = vec![
            (0, WriteRead),
            (1, ReadWrite),
            (2, WriteRead),
            (3, ReadWrite),
            (1, WriteWrite),
        ];
        assert!(!has_adjacent(&walk));
        let left = without_repetition(walk);
        assert_eq!(left, [(0, WriteRead), (1, WriteWrite)]);
        // Here the part between is the good one.
        let walk = vec![
            (0, ReadWrite),
            (1, WriteRead),
            (2, WriteRead),
            (1, WriteRead),
            (3, ReadWrite),
            (4, WriteWrite),
        ];
        let left = without_repetition(walk);
        assert_eq!(left, [(1, WriteRead), (2, WriteRead)]);
    }

    #[test]
    fn without_budget_it_is_not_known_whether_a_worse_cycle_is_there() {
        let kinds = [ReadWrite, WriteRead, ReadWrite, WriteRead];
        let mut builder = GraphBuilder::new(4, 4);
        for (from, kind) in (0..).zip(kinds) {
            builder.edge(from, kind, (from + 1) % 4);
        }
        let span = |process| Span {
            process,
            invoked: 0,
            completed: 9,
            outcome: Outcome::Ok,
        };
        let spans = [0, 1, 2, 3].map(span);
        let component = Component::cut(&builder.build(), &spans, &[0, 1, 2, 3], &mut [0; 4]);
        for (edges, undecided) in [(0, vec![Layer::Value]), (u64::MAX, vec![])] {
            let outcome = search(&component, &mut Budget::new(edges));
            let kinds: Vec<CycleKind> = outcome.cycles.iter().map(|cycle| cycle.kind).collect();
            assert_eq!(kinds, [CycleKind::GNonadjacent]);
            assert_eq!(outcome.undecided, undecided, "{edges}");
        }
    }

    proptest! {
        #[test]
        fn no_cycle_is_shorter_than_the_one_that_is_found(
            drawn in prop::collection::vec((0_u32..7, 0_u32..7), 1..18)
        ) {
            let edges: Vec<(Node, Node)> = drawn.into_iter().filter(|(from, to)| from != to).collect();
            let mut builder = GraphBuilder::new(7, edges.len());
            for (from, to) in &edges {
                builder.edge(*from, WriteWrite, *to);
            }
            let graph = builder.build();
            let found = shortest_cycle(&graph, KindSet::ALL, |_| 1, &mut Budget::new(u64::MAX));
            let least = (0..7).filter_map(|node| costs_to(&edges, node, 7, |_| 1)[node as usize]).min();
            prop_assert_eq!(found.map(|cycle| index_u32(cycle.len())), least);
        }
    }
}
