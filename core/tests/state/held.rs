//! Batches that are held: applied, and seen by nobody until they are committed.

use quorate::proto::store::{Command, Membership};
use quorate::state::{self, Durability, StateError};

use crate::driver::{Driver, compact, delete, log_id, put};

/// Applies one entry and holds it.
fn hold(driver: &mut Driver, body: quorate::proto::store::command::Body) {
    driver.index += 1;
    let mut batch = driver.state.begin().unwrap();
    batch
        .apply(log_id(driver.index), Some(&state::command(body)), None)
        .unwrap();
    batch.hold(10).unwrap();
}

#[test]
fn a_reader_sees_held_batches_when_they_are_committed() {
    let mut driver = Driver::new();
    hold(&mut driver, put("a", "1"));
    hold(&mut driver, put("b", "2"));
    assert!(driver.state.is_holding());
    assert_eq!(driver.state.held_weight(), 20);
    assert_eq!(driver.state.revision().0, 3);
    assert_eq!(driver.everything(), []);
    driver.state.commit_held().unwrap();
    assert!(!driver.state.is_holding());
    assert_eq!(driver.everything().len(), 2);
    assert_eq!(driver.reader.revisions().unwrap().current.0, 3);
}

#[test]
fn a_committed_batch_brings_those_held_before_it() {
    let mut driver = Driver::new();
    hold(&mut driver, put("a", "1"));
    driver.apply(put("b", "2"));
    assert!(!driver.state.is_holding());
    assert_eq!(driver.everything().len(), 2);
}

#[test]
fn what_the_cluster_knows_of_itself_is_never_held() {
    let mut driver = Driver::new();
    hold(&mut driver, put("a", "1"));
    let mut batch = driver.state.begin().unwrap();
    batch
        .apply(log_id(2), None, Some(&Membership::default()))
        .unwrap();
    batch.hold(10).unwrap();
    assert!(!driver.state.is_holding());
    assert_eq!(
        driver.reader.applied().unwrap().membership,
        Some((log_id(2), Membership::default()))
    );
}

#[test]
fn everything_else_that_writes_commits_what_is_held_first() {
    let mut driver = Driver::new();
    hold(&mut driver, put("a", "1"));
    assert_eq!(driver.state.make_durable().unwrap(), Some(log_id(1)));
    assert_eq!(driver.everything().len(), 1);

    hold(&mut driver, delete("a"));
    hold(&mut driver, compact(3));
    driver.state.compact_step(100).unwrap();
    assert_eq!(driver.everything(), []);

    hold(&mut driver, put("b", "1"));
    driver.state.discard_staged().unwrap();
    assert_eq!(driver.everything().len(), 1);

    hold(&mut driver, put("c", "1"));
    let driver = driver.reopen();
    assert_eq!(driver.everything().len(), 2, "an orderly end loses nothing");
}

#[test]
fn a_state_that_lost_held_batches_does_nothing_more() {
    let mut driver = Driver::new();
    driver.apply(put("a", "1"));
    hold(&mut driver, put("a", "2"));
    let mut batch = driver.state.begin().unwrap();
    let from_the_future = Command {
        body: None,
        ..state::command(put("a", "3"))
    };
    assert!(
        batch
            .apply(log_id(3), Some(&from_the_future), None)
            .is_err()
    );
    drop(batch);
    assert!(driver.state.is_lost());
    assert!(matches!(driver.state.begin(), Err(StateError::Lost)));
    assert!(matches!(driver.state.commit_held(), Err(StateError::Lost)));
    assert!(matches!(driver.state.make_durable(), Err(StateError::Lost)));
    assert_eq!(driver.everything(), [("a".into(), "1".into())]);

    // What is in the file is whole, and the log goes on from there.
    let mut driver = driver.reopen();
    assert_eq!(driver.state.applied().log_id, Some(log_id(1)));
    driver.index = 1;
    driver.apply(put("a", "2"));
    assert_eq!(driver.everything(), [("a".into(), "2".into())]);
}

#[test]
fn held_or_committed_one_by_one_the_state_is_the_same() {
    let bodies = |round: u32| {
        let key = format!("key{}", round % 7);
        if round % 5 == 4 {
            delete(&key)
        } else {
            put(&key, &round.to_string())
        }
    };
    let mut one_by_one = Driver::new();
    let mut held = Driver::new();
    for round in 0..100 {
        one_by_one.apply(bodies(round));
        hold(&mut held, bodies(round));
        if round % 13 == 12 {
            held.state.commit_held().unwrap();
        }
    }
    let mut batch = held.state.begin().unwrap();
    let last = state::command(put("last", ""));
    batch.apply(log_id(101), Some(&last), None).unwrap();
    batch.commit(Durability::Lazy).unwrap();
    one_by_one.apply(put("last", ""));
    assert_eq!(
        one_by_one.state.snapshots().digest().unwrap(),
        held.state.snapshots().digest().unwrap()
    );
}

#[test]
fn the_same_reader_is_told_another_size_when_the_database_has_grown() {
    let mut driver = Driver::new();
    driver.apply(put("a", "1"));
    let (bytes, in_use) = driver.reader.size().unwrap();
    assert_eq!(driver.reader.size().unwrap(), (bytes, in_use));
    driver.apply(put("b", &"2".repeat(1 << 20)));
    let grown = driver.reader.size().unwrap();
    assert!(
        grown.0 >= bytes + (1 << 20) && grown.1 >= in_use + (1 << 20),
        "{grown:?}, {bytes} and {in_use} before"
    );
}
