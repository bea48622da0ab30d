//! Random fleets, failures, flaps and failure domains. The rules are written down here a second time, from the observations
//! that the world itself kept, so that a mistake in the planner's counting cannot hide.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use quorate::ids::NodeId;
use quorate::membership::{Duty, OwnTerm, Plan, Reason, Role, RoleChange, Signer, Step};

use crate::world::{Power, TICK, World};

#[derive(Clone, Debug)]
enum Event {
    Join {
        domain: usize,
    },
    Down(prop::sample::Index),
    Up(prop::sample::Index),
    Flap {
        node: prop::sample::Index,
        times: u8,
    },
    Stuck(prop::sample::Index),
    Leave(prop::sample::Index),
    SpareOnly(prop::sample::Index),
    Wait {
        ticks: u16,
    },
}

const DOMAINS: [&str; 4] = ["", "east", "west", "cellar"];

fn event() -> impl Strategy<Value = Event> {
    let node = any::<prop::sample::Index>;
    prop_oneof![
        3 => (0..DOMAINS.len()).prop_map(|domain| Event::Join { domain }),
        4 => node().prop_map(Event::Down),
        4 => node().prop_map(Event::Up),
        1 => (node(), 1..5_u8).prop_map(|(node, times)| Event::Flap { node, times }),
        2 => node().prop_map(Event::Stuck),
        2 => node().prop_map(Event::Leave),
        1 => node().prop_map(Event::SpareOnly),
        4 => (1..12_u16).prop_map(|ticks| Event::Wait { ticks }),
        4 => (12..120_u16).prop_map(|ticks| Event::Wait { ticks }),
    ]
}

/// Who counts, by the world's own record of what the leader has heard.
fn counting(world: &World, voters: &BTreeSet<NodeId>) -> usize {
    let fresh = |moment: Option<quorate::runtime::Instant>, span: Duration| {
        moment.is_some_and(|at| world.now.since(at) <= span)
    };
    voters
        .iter()
        .filter(|id| {
            let node = &world.nodes[id];
            world.leader == Some(**id)
                || (fresh(node.last_heard, world.policy.silence)
                    && fresh(node.last_level, world.policy.loss))
        })
        .count()
}

fn survived(world: &World, voters: &BTreeSet<NodeId>) -> isize {
    counting(world, voters) as isize - (voters.len() / 2 + 1) as isize
}

/// One change against the rules of a joint step.
fn check_change(world: &World, change: &RoleChange) {
    let old = world.with_role(Role::Voter);
    let new = &change.voters;
    let (added, removed) = (new.difference(&old).count(), old.difference(new).count());
    let single = added <= 1 && removed <= 1;
    let one_to_three = (old.len(), new.len(), removed) == (1, 3, 0);
    let to_one = new.len() == 1 && old.len() <= 3 && added == 0;
    assert!(
        single || one_to_three || to_one,
        "not one joint step: {old:?} to {new:?}"
    );
    assert_ne!(new.len(), 0, "nobody would vote");
    assert!(
        new.len() != 2 || old.len() == 2,
        "two voters survive less than one"
    );

    for (id, role) in &change.roles {
        let facts = &world.nodes[id].facts;
        assert!(
            facts.role.check_move(*role).is_ok(),
            "{id}: {} to {role}",
            facts.role
        );
        if *role == Role::Voter {
            assert_eq!(
                facts.signer,
                Signer::Held,
                "{id} votes without the signing key"
            );
            assert_eq!(facts.duty, Duty::Any, "{id} must not vote");
            assert!(
                world.nodes[id].may_vote(&world.policy, world.now),
                "{id} votes although it was lost lately"
            );
            assert_eq!(
                counting(world, &BTreeSet::from([*id])),
                1,
                "{id} votes although it is not level"
            );
        }
        if *role == Role::Standby {
            assert_ne!(
                (facts.role, facts.duty),
                (Role::Spare, Duty::SpareOnly),
                "{id} must hold no data"
            );
        }
    }
    let named: BTreeSet<NodeId> = change.roles.keys().copied().collect();
    let moved: BTreeSet<NodeId> = new.symmetric_difference(&old).copied().collect();
    assert!(
        moved.is_subset(&named),
        "a vote changes hands without its row in the table"
    );

    let (now, then) = (survived(world, &old), survived(world, new));
    assert!(now >= 0 && then >= 0, "no quorum: {old:?} to {new:?}");
    let members = world
        .nodes
        .values()
        .filter(|node| node.facts.duty == Duty::Any)
        .count();
    let target = world.policy.voters_wanted(members).max(1);
    let everyone = counting(world, &old) == old.len();
    let bound = if everyone {
        now.min((target as isize - 1) / 2)
    } else {
        now
    };
    assert!(
        then >= bound,
        "survived {now}, then {then}: {old:?} to {new:?}"
    );
    let leader = world.leader.unwrap();
    assert!(
        new.contains(&leader) || old.len() == 1,
        "the leader loses its vote while it leads"
    );
}

/// How unevenly nodes lie over the failure domains: the sum of the squares of the nodes in each.
fn crowding<'i>(world: &World, nodes: impl IntoIterator<Item = &'i NodeId>) -> usize {
    let mut domains = BTreeMap::<&str, usize>::new();
    for id in nodes {
        let domain = world.nodes[id].facts.failure_domain.as_str();
        *domains.entry(domain).or_default() += 1;
    }
    domains.values().map(|count| count * count).sum()
}

/// Whether a voter could change places with a standby, and the voters would lie better for it.
fn could_spread(world: &World) -> bool {
    let voters = world.with_role(Role::Voter);
    let now = crowding(world, &voters);
    let movable = voters.iter().filter(|id| world.leader != Some(**id));
    movable.into_iter().any(|out| {
        world.with_role(Role::Standby).iter().any(|standby| {
            let mut other = voters.clone();
            other.remove(out);
            other.insert(*standby);
            crowding(world, &other) < now
        })
    })
}

fn act(world: &mut World) {
    for _ in 0..40 {
        let Some(Plan::Step(step)) = world.plan() else {
            return;
        };
        assert!(
            world.raft.own_term == OwnTerm::Applied,
            "{step} before this leader has applied anything"
        );
        if let Step::ChangeRoles(change) = &step {
            check_change(world, change);
        }
        let before = world.with_role(Role::Voter);
        let leader = world.leader;
        world.apply(&step);
        if matches!(step, Step::ChangeRoles(_) | Step::TransferLeadership { .. })
            && before == world.with_role(Role::Voter)
            && leader == world.leader
        {
            // It may not have committed: the world knows of a death that nobody has noticed yet.
            return;
        }
    }
    panic!("forty steps at one moment: the planner goes in circles");
}

fn happen(world: &mut World, event: &Event, next_id: &mut u64) {
    let pick = |world: &World, index: &prop::sample::Index| {
        *index.get(&world.nodes.keys().copied().collect::<Vec<_>>())
    };
    match event {
        Event::Join { domain } => {
            if world.nodes.len() < 12 {
                world.add(NodeId(*next_id), Role::Spare, DOMAINS[*domain]);
                *next_id += 1;
            }
        }
        Event::Down(node) => world.nodes.get_mut(&pick(world, node)).unwrap().power = Power::Off,
        Event::Up(node) => world.nodes.get_mut(&pick(world, node)).unwrap().power = Power::On,
        Event::Flap { node, times } => {
            let node = pick(world, node);
            for _ in 0..*times {
                for power in [Power::Off, Power::On] {
                    if let Some(node) = world.nodes.get_mut(&node) {
                        node.power = power;
                    }
                    pass(world, Duration::from_secs(5));
                }
            }
        }
        Event::Stuck(node) => {
            let node = world.nodes.get_mut(&pick(world, node)).unwrap();
            node.stuck = true;
            node.lag += 5_000;
        }
        Event::Leave(node) => {
            let staying = world
                .nodes
                .values()
                .filter(|node| node.facts.duty != Duty::Leaving)
                .count();
            if staying > 1 {
                world.nodes.get_mut(&pick(world, node)).unwrap().facts.duty = Duty::Leaving;
            }
        }
        Event::SpareOnly(node) => {
            let node = world.nodes.get_mut(&pick(world, node)).unwrap();
            if node.facts.role == Role::Spare && node.facts.duty == Duty::Any {
                node.facts.duty = Duty::SpareOnly;
            }
        }
        Event::Wait { ticks } => pass(world, TICK * u32::from(*ticks)),
    }
}

fn pass(world: &mut World, span: Duration) {
    let end = world.now + span;
    while world.now < end {
        world.tick();
        act(world);
    }
}

/// A cluster of this many nodes that has run for a while.
fn begin(domains: &[usize]) -> World {
    let mut world = World::new();
    world.terms = true;
    world.add(NodeId(1), Role::Voter, DOMAINS[domains[0]]);
    for (position, domain) in domains.iter().enumerate().skip(1) {
        world.add(NodeId(position as u64 + 1), Role::Spare, DOMAINS[*domain]);
    }
    pass(&mut world, Duration::from_secs(60));
    world
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    /// Whatever happens, no step is unsafe; and once everything is well for long enough, the cluster is what it should be and
    /// nothing moves any more.
    #[test]
    fn every_step_is_safe_and_a_healed_fleet_settles(domains in vec(0..DOMAINS.len(), 1..9), events in vec(event(), 1..40)) {
        let mut world = begin(&domains);
        let mut next_id = 100;
        for event in &events {
            happen(&mut world, event, &mut next_id);
        }
        for node in world.nodes.values_mut() {
            node.power = Power::On;
            node.stuck = false;
        }
        pass(&mut world, Duration::from_secs(1_000));

        let last_one_leaves = world.nodes.values().all(|node| node.facts.duty != Duty::Any);
        let fit = world.nodes.values().filter(|node| node.facts.duty == Duty::Any).count();
        if !last_one_leaves {
            let wanted = world.policy.voters_wanted(fit);
            prop_assert_eq!(world.with_role(Role::Voter).len(), wanted, "{:?}", world.plan());
            prop_assert_eq!(world.with_role(Role::Standby).len(), (fit - wanted).min(world.policy.standbys));
            prop_assert_eq!(world.plan(), Some(Plan::Wait(Reason::Settled)));
            let anybody_leaving = world.nodes.values().any(|node| node.facts.duty == Duty::Leaving);
            prop_assert!(!anybody_leaving, "somebody is still leaving");
            prop_assert!(!could_spread(&world), "voters share a domain although a standby is elsewhere");
        }
        let roles: Vec<_> = world.members();
        pass(&mut world, Duration::from_secs(100));
        prop_assert_eq!(roles, world.members(), "it moves although nothing happened");
    }

    /// With some nodes dead for good the cluster settles as well, on as many voters as the living allow, none of them dead if a
    /// living node could take its place.
    #[test]
    fn a_wounded_fleet_settles_on_the_living(
        domains in vec(0..DOMAINS.len(), 1..10),
        dead in vec(any::<prop::sample::Index>(), 1..4),
    ) {
        let mut world = begin(&domains);
        for index in &dead {
            let ids: Vec<NodeId> = world.nodes.keys().copied().collect();
            world.nodes.get_mut(index.get(&ids)).unwrap().power = Power::Off;
            pass(&mut world, Duration::from_secs(90));
        }
        pass(&mut world, Duration::from_secs(300));
        let roles: Vec<_> = world.members();
        pass(&mut world, Duration::from_secs(200));
        prop_assert_eq!(&roles, &world.members(), "it moves although nothing happened");
        if world.leader.is_some() {
            let voters = world.with_role(Role::Voter);
            let living = |id: &NodeId| world.nodes[id].power == Power::On;
            let dead_voters = voters.iter().filter(|id| !living(id)).count();
            let living_standbys = world.with_role(Role::Standby).iter().filter(|id| living(id)).count();
            prop_assert!(dead_voters == 0 || living_standbys == 0, "a dead voter beside a living standby");
            prop_assert!(voters.len() % 2 == 1, "an even number of voters: {:?}", voters);
        }
    }
}
