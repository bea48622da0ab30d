//! One round of the planner over a hundred members: it runs with every heartbeat report, so it must cost next to nothing.

#![allow(missing_docs, reason = "criterion's macros make public functions")]

use std::hint::black_box;
use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use quorate::ids::NodeId;
use quorate::membership::{
    Arrival, Configuration, Duty, Health, MemberFacts, OwnTerm, Plan, Policy, RaftFacts, Role,
    Signer, plan,
};
use quorate::runtime::Instant;

const MEMBERS: u64 = 100;

fn fleet(policy: &Policy, now: Instant) -> (Vec<MemberFacts>, Health) {
    let mut health = Health::new();
    let members = (1..=MEMBERS)
        .map(|number| {
            let id = NodeId(number);
            let role = match number {
                1..=5 => Role::Voter,
                6..=8 => Role::Standby,
                _ => Role::Spare,
            };
            health.watch(id, Arrival::Established, Instant::default());
            health.heard(id, role.receives_log().then_some(0), policy, now);
            let failure_domain = format!("rack-{}", number % 7);
            MemberFacts {
                id,
                role,
                failure_domain,
                duty: Duty::Any,
                signer: Signer::Held,
            }
        })
        .collect();
    (members, health)
}

fn planner(criterion: &mut Criterion) {
    let policy = Policy::production();
    let now = Instant::from_start(Duration::from_secs(3_600));
    let (members, health) = fleet(&policy, now);
    let raft = RaftFacts {
        leader: NodeId(1),
        configuration: Configuration::Uniform,
        own_term: OwnTerm::Applied,
    };
    assert!(
        matches!(plan(&members, &health, raft, &policy, now), Plan::Wait(_)),
        "a settled fleet walks every duty"
    );
    criterion.bench_function("planner/settled/100 members", |bencher| {
        bencher.iter(|| black_box(plan(black_box(&members), &health, raft, &policy, now)));
    });
    let mut wounded = health.clone();
    // Heard without a gap that would count as a silence, all but one.
    let later = now + policy.loss;
    let steps = 16;
    for moment in (1..=steps).map(|step| now + policy.loss / steps * step) {
        for member in members.iter().filter(|member| member.id != NodeId(3)) {
            wounded.heard(member.id, Some(0), &policy, moment);
        }
    }
    assert!(
        matches!(
            plan(&members, &wounded, raft, &policy, later),
            Plan::Step(_)
        ),
        "a lost voter is replaced"
    );
    criterion.bench_function("planner/lost voter/100 members", |bencher| {
        bencher.iter(|| black_box(plan(black_box(&members), &wounded, raft, &policy, later)));
    });
}

criterion_group!(benches, planner);
criterion_main!(benches);
