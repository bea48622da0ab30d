//! A disk that fills up under the leader: it takes no more writes, lets another lead, and goes on by itself.

use std::time::Duration;

use quorate_sim::cluster::in_cluster;
use quorate_sim::host::HostId;
use quorate_sim::madsim::MadsimWorld;
use quorate_sim::options::Options;
use quorate_sim::seed::Seed;
use quorate_sim::simulator::Simulator;
use quorate_sim::trace::Keep;
use quorate_sim::turmoil::TurmoilWorld;

fn leader_with_a_full_disk_lets_another_lead<M: Simulator>() {
    let options = Options::none(3);
    in_cluster::<M, _>(Seed::new(5), options, Keep::Last(60), |cluster| {
        let full = cluster.leader().expect("a cluster that was formed has one");
        cluster.put(full, "key", "before").expect("acknowledged");
        // Then the state has committed it, and needs no room for it any more.
        cluster.advance(Duration::from_secs(2));
        let disk = cluster.world().machine(HostId::new(full)).disk().clone();
        disk.set_capacity(Some(disk.stored() + 4096));
        cluster.advance(Duration::from_secs(5));

        let next = cluster.leader().expect("somebody leads");
        assert_ne!(next, full, "leadership was handed over");
        cluster
            .put(next, "key", "meanwhile")
            .expect("two of three take writes");
        assert_eq!(cluster.get(next, "key").as_deref(), Some("meanwhile"));
        // It cannot apply what it has no room for: it may fail to answer, but not answer what was before.
        let there = cluster.get(full, "key");
        assert_ne!(there.as_deref(), Some("before"));

        disk.set_capacity(None);
        cluster
            .converge(Duration::from_secs(30))
            .expect("with room again all three are together");
        assert_eq!(cluster.get(full, "key").as_deref(), Some("meanwhile"));
        cluster.put(full, "key", "after").expect("acknowledged");
        cluster.assert_sound();
        let told = cluster.world().witness().told();
        for path in [
            "writes refused by a full disk",
            "leadership handed over",
            "writes taken again after a full disk",
        ] {
            assert!(told.contains_key(path), "{path} is not in {told:?}");
        }
    });
}

#[test]
fn leader_with_a_full_disk_lets_another_lead_madsim() {
    leader_with_a_full_disk_lets_another_lead::<MadsimWorld>();
}

#[test]
fn leader_with_a_full_disk_lets_another_lead_turmoil() {
    leader_with_a_full_disk_lets_another_lead::<TurmoilWorld>();
}
