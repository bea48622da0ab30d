//! What a restart finds, and what a batch that was never committed leaves behind.

use quorate::proto::store::{Command, Membership, NodeSet, command::Body};
use quorate::state::{self, Durability, Response, StateError};

use crate::driver::{Driver, delete, log_id, put};

#[test]
fn what_was_committed_is_there_after_a_restart() {
    let mut driver = Driver::new();
    driver.apply_all(&[put("a", "1"), put("b", "2"), delete("a"), put("b", "3")]);
    let membership = Membership {
        voters: vec![NodeSet { nodes: vec![7] }],
        standbys: vec![9],
    };
    let mut batch = driver.state.begin().unwrap();
    assert_eq!(
        batch.apply(log_id(5), None, Some(&membership)).unwrap(),
        Response::Blank
    );
    batch.commit(Durability::Lazy).unwrap();

    let mut driver = driver.reopen();
    assert_eq!(driver.everything(), [("b".into(), "3".into())]);
    assert_eq!(driver.state.revision().0, 5);
    let applied = driver.state.applied();
    assert_eq!(
        (applied.log_id, applied.membership),
        (Some(log_id(5)), Some((log_id(5), membership)))
    );
    assert_eq!(
        driver.state.durable_applied(),
        None,
        "what was found at the start is not known to be durable"
    );
    assert_eq!(driver.state.make_durable().unwrap(), Some(log_id(5)));
}

#[test]
fn a_batch_that_is_dropped_leaves_nothing_behind() {
    let mut driver = Driver::new();
    driver.apply(put("a", "1"));
    let before = driver.state.applied();
    let mut batch = driver.state.begin().unwrap();
    batch
        .apply(
            log_id(2),
            Some(&state::command(put("a", "2"))),
            Some(&Membership::default()),
        )
        .unwrap();
    drop(batch);
    assert_eq!(driver.state.applied(), before);
    assert_eq!(driver.state.revision().0, 2);
    assert_eq!(driver.everything(), [("a".into(), "1".into())]);
    driver.apply(put("a", "3"));
    assert_eq!(driver.state.revision().0, 3);
}

#[test]
fn a_reader_sees_a_batch_only_when_it_is_committed() {
    let mut driver = Driver::new();
    let mut batch = driver.state.begin().unwrap();
    batch
        .apply(log_id(1), Some(&state::command(put("a", "1"))), None)
        .unwrap();
    assert_eq!(driver.reader.revisions().unwrap().current.0, 1);
    batch.commit(Durability::Durable).unwrap();
    assert_eq!(driver.reader.revisions().unwrap().current.0, 2);
    assert_eq!(driver.state.durable_applied(), Some(log_id(1)));
}

#[test]
fn a_command_from_the_future_stops_the_node() {
    let known = state::command(put("a", "1"));
    let commands = [
        Command {
            format: 2,
            ..known.clone()
        },
        Command {
            feature_level: state::FEATURE_LEVEL + 1,
            ..known.clone()
        },
        Command {
            body: None,
            ..known.clone()
        },
        Command { target: 1, ..known },
    ];
    let check =
        |command: &Command| state::check(log_id(0), &prost::Message::encode_to_vec(command).into());
    assert!(check(&state::command(put("a", "1"))).is_ok());
    for command in commands {
        assert!(
            check(&command).is_err(),
            "a leader does not take what it cannot apply"
        );
        let mut driver = Driver::new();
        let mut batch = driver.state.begin().unwrap();
        let stopped = batch.apply(log_id(1), Some(&command), None);
        assert!(
            matches!(stopped, Err(StateError::UnknownCommand { index: 1, .. })),
            "{stopped:?}"
        );
        drop(batch);
        assert_eq!(driver.state.applied().log_id, None);
    }
    let mut body = Vec::new();
    prost::Message::encode(&state::command(Body::Put(Default::default())), &mut body).unwrap();
    body.truncate(body.len() - 1);
    assert!(matches!(
        state::decode(log_id(3), body.into()),
        Err(StateError::UnknownCommand { index: 3, .. })
    ));
}
