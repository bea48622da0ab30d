//! Disks that forget what they had promised: the node that has one is refused, and joins anew as another member.

use std::path::Path;
use std::time::Duration;

use quorate::runtime::{Disk, Found};
use quorate_sim::disk::Image;
use quorate_sim::faults::MemberChange;
use quorate_sim::liveness::Presence;
use quorate_sim::prelude::*;
use quorate_sim::simulator::Simulator;
use quorate_sim::world::Outcome;

/// What a node that does not start says.
fn refusal<M: Simulator>(cluster: &Cluster<'_, M>, number: u16) -> String {
    let host = HostId::new(number);
    let nodes = cluster.status();
    let node = nodes.iter().find(|node| node.host == host);
    match node.map(|node| node.presence.clone()) {
        Some(Presence::Starting(why)) => why,
        other => panic!("n{number} is not refused: {other:?}"),
    }
}

/// Writes through the leader, so that it has seen the others acknowledge.
fn write<M: Simulator>(cluster: &mut Cluster<'_, M>, leader: u16, key: &str) {
    for number in 0..10 {
        cluster
            .put(leader, &format!("{key}{number}"), "value")
            .expect("acknowledged");
    }
}

/// The leader of three, a follower, and an image of the follower's disk that lacks what it has acknowledged since.
fn older_image<M: Simulator>(cluster: &mut Cluster<'_, M>) -> (u16, u16, Image) {
    older_image_of(cluster, 1)
}

/// The same of the follower that is so many machines behind the leader, in a circle.
fn older_image_of<M: Simulator>(cluster: &mut Cluster<'_, M>, behind: u16) -> (u16, u16, Image) {
    let leader = cluster.leader().expect("a cluster that was formed has one");
    let forgetful = 1 + (leader - 1 + behind) % 3;
    write(cluster, leader, "before");
    let image = cluster
        .world()
        .machine(HostId::new(forgetful))
        .disk()
        .save();
    write(cluster, leader, "after");
    (leader, forgetful, image)
}

fn assert_forgetful<M: Simulator>(cluster: &Cluster<'_, M>, number: u16) {
    let why = refusal(cluster, number);
    assert!(why.contains("put back to an older state"), "{why}");
}

/// Once everything is well again the forgetful node is wiped and joins anew, and nothing is lost.
fn assert_replaced<M: Simulator>(cluster: &mut Cluster<'_, M>, leader: u16) {
    cluster.heal();
    cluster
        .converge(Duration::from_secs(120))
        .expect("wiped, it joins anew");
    assert_eq!(cluster.get(leader, "after3").as_deref(), Some("value"));
    cluster.assert_sound();
    assert_eq!(cluster.world().fired()["member-replaced"], 1);
}

/// T19: what it acknowledged is counted on, and its vote could elect one that lacks it.
fn older_image_is_refused_until_an_operator_wipes_it<M: Simulator>() {
    in_cluster::<M, _>(Seed::new(8), Options::none(3), Keep::Last(60), |cluster| {
        let (leader, forgetful, image) = older_image(cluster);
        cluster.world().put_back(HostId::new(forgetful), image);
        cluster.advance(Duration::from_secs(5));
        assert_forgetful(cluster, forgetful);
        write(cluster, leader, "meanwhile");
        assert_replaced(cluster, leader);
        assert_eq!(cluster.world().fired()["disk-stale-image"], 1);
        assert!(cluster.world().witness().told()["memory compared and found older"] > 0);
    });
}

/// T19 where nobody can be asked: it takes no part for as long as that lasts, and is refused as soon as somebody answers.
fn older_image_behind_a_partition_takes_no_part<M: Simulator>() {
    in_cluster::<M, _>(Seed::new(10), Options::none(3), Keep::Last(60), |cluster| {
        let (leader, forgetful, image) = older_image(cluster);
        cluster
            .partition(&[forgetful])
            .heal_after(Duration::from_secs(30));
        cluster.world().put_back(HostId::new(forgetful), image);
        cluster.advance(Duration::from_secs(25));
        assert!(cluster.is_up(forgetful), "{}", cluster.describe());
        assert!(!cluster.may_vote(forgetful), "nobody has answered it");
        write(cluster, leader, "meanwhile");

        cluster.advance(Duration::from_secs(15));
        assert_forgetful(cluster, forgetful);
        assert_replaced(cluster, leader);
    });
}

/// T19 when all get their power back at once: of two nodes one asks and tells the other, and either way is found out who is
/// forgetful.
fn older_image_is_refused_when_all_start_at_once<M: Simulator>() {
    for behind in [1, 2] {
        in_cluster::<M, _>(Seed::new(16), Options::none(3), Keep::Last(60), |cluster| {
            let (leader, forgetful, image) = older_image_of(cluster, behind);
            // What is remembered of others goes to the disk with what is written a second later.
            cluster.advance(Duration::from_secs(2));
            write(cluster, leader, "later");
            let others: Vec<u16> = (1..=3).filter(|number| *number != forgetful).collect();
            for number in &others {
                let _ = cluster.node(*number).crash();
            }
            cluster.world().put_back(HostId::new(forgetful), image);
            for number in others {
                let _ = cluster.node(number).start();
            }
            cluster.advance(Duration::from_secs(5));
            assert_forgetful(cluster, forgetful);
            assert_replaced(cluster, leader);
        });
    }
}

/// T19 at a later start: whoever remembered may be gone by then, and those who are left would be a majority with it.
fn older_image_stays_refused_when_nobody_who_remembers_is_left<M: Simulator>() {
    in_cluster::<M, _>(Seed::new(11), Options::none(3), Keep::Last(60), |cluster| {
        let (leader, forgetful, image) = older_image(cluster);
        cluster.world().put_back(HostId::new(forgetful), image);
        cluster.advance(Duration::from_secs(5));
        assert_forgetful(cluster, forgetful);

        let _ = cluster.node(leader).crash();
        let _ = cluster.node(forgetful).crash().start();
        cluster.advance(Duration::from_secs(30));
        assert_forgetful(cluster, forgetful);
        assert_replaced(cluster, leader);
    });
}

/// Two voters, a machine that has just joined as n3, and an image of its disk as a spare's. By then it is a standby.
fn spare_and_its_image<M: Simulator>(cluster: &mut Cluster<'_, M>) -> Image {
    let newcomer = HostId::new(3);
    assert_eq!(cluster.change(&MemberChange::Join), Outcome::Installed);
    let disk = cluster.world().machine(newcomer).disk().clone();
    let there = |file: &str| {
        let found = disk.mount().find(&Path::new("/data").join(file));
        matches!(found, Ok(Found::File))
    };
    let joined = (0..60_000).any(|_| {
        // What is wished for is asked for, and not waited for.
        let _ = cluster.settle(Duration::ZERO);
        cluster.advance(Duration::from_millis(1));
        there("identity.json")
    });
    assert!(joined && !there("log.db"), "{}", cluster.describe());
    let image = disk.save();
    cluster
        .settle(Duration::from_secs(60))
        .expect("it has joined");
    let receives = (0..600).any(|_| {
        cluster.advance(Duration::from_millis(20));
        there("log.db")
    });
    assert!(receives, "{}", cluster.describe());
    image
}

/// Back as a spare, n3 finds out by itself that more is asked of it; it is refused at its next start, and replaced.
fn assert_spare_s_image_is_refused<M: Simulator>(
    cluster: &mut Cluster<'_, M>,
    image: Image,
    path: &str,
) {
    let leader = cluster.leader().expect("a cluster that was formed has one");
    write(cluster, leader, "after");
    cluster.world().put_back(HostId::new(3), image);
    cluster.advance(Duration::from_secs(5));
    let told = cluster.world().witness().told();
    assert!(told.contains_key(path), "{told:?}");
    let _ = cluster.node(3).crash().start();
    cluster.advance(Duration::from_secs(5));
    assert_forgetful(cluster, 3);
    assert_replaced(cluster, leader);
}

fn two_and_a_newcomer() -> Options {
    Options {
        reserve: 1,
        ..Options::none(2)
    }
}

/// T19 back to before its first log: what it would begin with is empty, and it votes already.
fn image_of_a_spare_does_not_begin_to_vote<M: Simulator>() {
    let options = two_and_a_newcomer();
    in_cluster::<M, _>(Seed::new(12), options, Keep::Last(60), |cluster| {
        let image = spare_and_its_image(cluster);
        let votes = (0..600).any(|_| {
            cluster.advance(Duration::from_millis(100));
            cluster.votes(3)
        });
        assert!(votes, "{}", cluster.describe());
        assert_spare_s_image_is_refused(cluster, image, "voter found to be without a log");
    });
}

/// The same before it votes: its leader counts on what it has acknowledged, and would never send that again.
fn image_of_a_spare_does_not_begin_anew_as_a_standby<M: Simulator>() {
    let options = two_and_a_newcomer();
    in_cluster::<M, _>(Seed::new(13), options, Keep::Last(60), |cluster| {
        let image = spare_and_its_image(cluster);
        cluster.advance(Duration::from_secs(2));
        assert!(!cluster.votes(3), "{}", cluster.describe());
        assert_spare_s_image_is_refused(cluster, image, "standby found to be without a log");
    });
}

/// An identity without the log that belongs to it would be a voter that has forgotten everything.
fn node_whose_log_is_gone_does_not_return_under_its_id<M: Simulator>() {
    in_cluster::<M, _>(Seed::new(9), Options::none(3), Keep::Last(60), |cluster| {
        let leader = cluster.leader().expect("a cluster that was formed has one");
        let robbed = 1 + leader % 3;
        write(cluster, leader, "before");
        let _ = cluster.node(robbed).kill();
        let disk = cluster.world().machine(HostId::new(robbed)).disk().clone();
        let files = disk.mount();
        for file in ["log.db", "log.db-wal"] {
            files
                .remove(&Path::new("/data").join(file))
                .expect("it was there");
        }
        let _ = cluster.node(robbed).start();
        cluster.advance(Duration::from_secs(5));
        let why = refusal(cluster, robbed);
        assert!(why.contains("log.db"), "{why}");
        write(cluster, leader, "meanwhile");

        cluster.replace(robbed);
        cluster
            .converge(Duration::from_secs(120))
            .expect("wiped, it joins anew");
        cluster.assert_sound();
        assert_eq!(cluster.world().fired()["member-replaced"], 1);
    });
}

/// Makes a test of each story for each world.
macro_rules! stories {
    ($($story:ident),* $(,)?) => {
        mod madsim { $( #[test] fn $story() { super::$story::<super::MadsimWorld>(); } )* }
        mod turmoil { $( #[test] fn $story() { super::$story::<super::TurmoilWorld>(); } )* }
    };
}

stories![
    older_image_is_refused_until_an_operator_wipes_it,
    older_image_behind_a_partition_takes_no_part,
    older_image_is_refused_when_all_start_at_once,
    older_image_stays_refused_when_nobody_who_remembers_is_left,
    image_of_a_spare_does_not_begin_to_vote,
    image_of_a_spare_does_not_begin_anew_as_a_standby,
    node_whose_log_is_gone_does_not_return_under_its_id,
];
