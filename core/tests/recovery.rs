//! A recovery that is cut off anywhere leaves a directory that starts as it was, or as it was to be, or says what to do.
//!
//! A disk that copies the data directory before each change (`filming`) shows every place where a machine could have lost its power.
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "the test looks at the disk itself, and whatever is not as it must be ends it"
)]

mod filming;
mod nodes;

use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate::config::{Beginning, NodeConfig};
use quorate::directory::{Directory, DirectoryError};
use quorate::node::recover::Patient;
use quorate::node::{Invitation, NodeError, Wipe};
use quorate::proto::etcdserverpb::{PutRequest, RangeRequest};
use quorate::proto::join::RoleWanted;
use quorate::proto::store::command::Body;
use quorate::real::{self, RealNode};
use quorate::runtime::tokio::{StdDisk, TokioRuntime as Real};

use filming::{CAMERA, Camera, Filmed, World, copy};
use nodes::until;

fn config(directory: &Path) -> NodeConfig {
    let name = directory.file_name().unwrap().to_str().unwrap();
    nodes::config(directory.to_owned(), name)
}

async fn leads(node: &RealNode) {
    until("it leads", || {
        node.handle()
            .own_status()
            .is_some_and(|status| status.voters.alive == 1)
    })
    .await;
}

async fn value(node: &RealNode) -> (i64, Option<Vec<u8>>) {
    let request = RangeRequest {
        key: "key".into(),
        ..RangeRequest::default()
    };
    let readers = node.replica().readers().await.unwrap().unwrap();
    let answer = readers.with(|reader| reader.range(&request)).unwrap();
    let revision = answer.header.map_or(0, |header| header.revision);
    (revision, answer.kvs.first().map(|kv| kv.value.to_vec()))
}

/// A cluster's only voter, which has written something, and two machines that joined and have gone.
async fn survivor(parent: &Path) -> PathBuf {
    let directory = parent.join("survivor");
    let node = real::start(config(&directory), Beginning::Usual)
        .await
        .unwrap();
    leads(&node).await;
    let put = PutRequest {
        key: "key".into(),
        value: "value".into(),
        ..PutRequest::default()
    };
    node.replica().command(Body::Put(put)).await.unwrap();
    for name in ["b", "c"] {
        let invitation = Invitation {
            ttl: Duration::from_secs(60),
            uses: 1,
            role: RoleWanted::Spare,
            name: String::new(),
        };
        let (line, _) = node.handle().invite(invitation).await.unwrap();
        let config = config(&parent.join(name));
        let patience = Duration::from_secs(30);
        real::join(&config, line, RoleWanted::Spare, Wipe::Refuse, patience)
            .await
            .unwrap();
    }
    real::stop(node).await;
    directory
}

/// Starts a node on the directory and asks what it holds; none if it does not start because a recovery was cut off there.
async fn start(directory: &Path) -> Option<(u64, i64)> {
    let node = match real::start(config(directory), Beginning::Existing).await {
        Ok(node) => node,
        Err(NodeError::Directory(DirectoryError::HalfRecovered { .. })) => return None,
        Err(error) => panic!("{}: {error}", directory.display()),
    };
    leads(&node).await;
    let epoch = node.identity().epoch.0;
    let (revision, value) = value(&node).await;
    assert_eq!(value.as_deref(), Some(&b"value"[..]));
    real::stop(node).await;
    Some((epoch, revision))
}

async fn every_cut_is_told_or_harmless(signer: bool) {
    let parent = tempfile::tempdir().unwrap();
    let directory = survivor(parent.path()).await;
    if !signer {
        std::fs::remove_file(directory.join("ca.key")).unwrap();
    }
    let shots = parent.path().join("shots");
    let mut patient = Patient::<World>::examine(Directory::new(Filmed, directory.clone())).unwrap();
    *CAMERA.lock().unwrap() = Some(Camera {
        from: directory.clone(),
        to: shots.clone(),
        shots: 0,
    });
    let recovered = patient.recover().unwrap();
    let count = CAMERA.lock().unwrap().take().unwrap().shots;
    drop(patient);
    assert_eq!(recovered.new_authority, !signer);
    // The log is written before the state: the one after the recovery, the other before.
    let between = shots.join(count.to_string());
    copy(&shots.join("1"), &between);
    for name in ["state.db", "state.db-wal"] {
        let before = shots.join("0").join(name);
        let _ = std::fs::remove_file(between.join(name));
        if before.exists() {
            std::fs::copy(before, between.join(name)).unwrap();
        }
    }
    let mut refused = 0;
    for cut in 0..=count {
        let directory = shots.join(cut.to_string());
        match start(&directory).await {
            // Nothing was changed yet.
            Some((1, _)) => assert_eq!(cut, 0, "cut {cut} is of the old cluster"),
            Some(other) => panic!("cut {cut} starts in {other:?}"),
            None => {
                refused += 1;
                let place = Directory::new(StdDisk, directory.clone());
                let mut patient = Patient::<Real>::examine(place).unwrap();
                let recovered = patient.recover().unwrap();
                drop(patient);
                let (epoch, revision) = start(&directory).await.unwrap();
                assert_eq!(epoch, recovered.epoch.0);
                assert!(epoch > 1 && revision > 1_000_000_000);
            }
        }
    }
    assert!(
        refused > 4,
        "only {refused} of {count} cuts were in between"
    );
    let (epoch, revision) = start(&directory).await.unwrap();
    assert_eq!(epoch, 2);
    assert!(revision > 1_000_000_000);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_recovery_that_is_cut_off_anywhere_is_begun_anew() {
    every_cut_is_told_or_harmless(true).await;
    every_cut_is_told_or_harmless(false).await;
}
