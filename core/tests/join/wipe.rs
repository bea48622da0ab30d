//! `join --wipe` on real directories: nothing is lost before the cluster has said yes, and nothing is used up twice.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use quorate::config::Beginning;
use quorate::directory::DirectoryError;
use quorate::join::driver::JoinError;
use quorate::join::joiner::JoinFailure;
use quorate::join::{Address, JoinLine, Token};
use quorate::node::{Invitation, NodeError, Wipe, join};
use quorate::proto::admin::RemoveNodeRequest;
use quorate::proto::join::RoleWanted;
use quorate::raft::peers::Identity;
use quorate::real::{self, RealNode};

use crate::filming::{CAMERA, Camera, World as Filmed, copy};
use crate::nodes::{config, until};

const PATIENCE: Duration = Duration::from_secs(30);

async fn founded(directory: PathBuf, name: &str) -> RealNode {
    let node = real::start(config(directory, name), Beginning::Usual)
        .await
        .unwrap();
    until("it leads", || node.handle().own_status().is_some()).await;
    node
}

/// A directory with the data of another cluster, whose node does not run.
async fn of_another_cluster(directory: &Path) {
    real::stop(founded(directory.to_owned(), "old").await).await;
}

async fn line(node: &RealNode, uses: u32) -> JoinLine {
    let invitation = Invitation {
        ttl: Duration::from_secs(600),
        uses,
        role: RoleWanted::Spare,
        name: String::new(),
    };
    node.handle().invite(invitation).await.unwrap().0
}

async fn join_wiping(directory: &Path, line: &JoinLine) -> Result<Identity, NodeError> {
    let config = config(directory.to_owned(), "b");
    let (line, role) = (line.clone(), RoleWanted::Spare);
    real::join(&config, line, role, Wipe::Everything, PATIENCE).await
}

/// Every file below a directory but the lock.
fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            all.extend(files(&path));
        } else if !path.ends_with("lock") {
            all.insert(path.clone(), std::fs::read(path).unwrap());
        }
    }
    all
}

fn members(node: &RealNode) -> usize {
    node.handle().newest_view().members.len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_is_of_no_use_costs_no_data() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("b");
    of_another_cluster(&directory).await;
    let member = founded(parent.path().join("a"), "a").await;
    let good = line(&member, 1).await;
    let before = files(&directory);

    let mut made_up = good.clone();
    made_up.token = Token::from_secret([7; 32]);
    let refused = join_wiping(&directory, &made_up).await.unwrap_err();
    let is_refused = matches!(
        &refused,
        NodeError::Join(JoinError::Failed(JoinFailure::Refused { .. }))
    );
    assert!(is_refused, "{refused}");
    assert!(before == files(&directory), "a refusal changed something");

    let mut nowhere = good.clone();
    nowhere.addresses = vec![Address::parse("127.0.0.1:1").unwrap()];
    let (config, wipe) = (config(directory.clone(), "b"), Wipe::Everything);
    let patience = Duration::from_millis(200);
    let failed = real::join(&config, nowhere, RoleWanted::Any, wipe, patience).await;
    assert!(failed.is_err());
    assert!(before == files(&directory), "silence changed something");

    let identity = join_wiping(&directory, &good).await.unwrap();
    assert_eq!(identity.cluster, member.identity().cluster);
    let after = files(&directory);
    let names: Vec<_> = after.keys().filter_map(|path| path.file_name()).collect();
    assert_eq!(
        names,
        ["identity.json", "members.view", "node.crt", "node.key"]
    );
    real::stop(member).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_line_again_goes_on_and_a_removed_node_begins_anew() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("b");
    of_another_cluster(&directory).await;
    let member = founded(parent.path().join("a"), "a").await;
    let once = line(&member, 1).await;
    let first = join_wiping(&directory, &once).await.unwrap();
    let again = join_wiping(&directory, &once).await.unwrap();
    assert_eq!((first, members(&member)), (again, 2));
    // As it is after a crash just before the directory said whose it is.
    std::fs::remove_file(directory.join("identity.json")).unwrap();
    assert_eq!(join_wiping(&directory, &once).await.unwrap(), first);

    let request = RemoveNodeRequest {
        node: "b".to_owned(),
        force: true,
    };
    member.handle().remove(request).await.unwrap();
    let next = line(&member, 1).await;
    let second = join_wiping(&directory, &next).await.unwrap();
    assert_ne!(first.node, second.node);
    assert_eq!(members(&member), 2);
    real::stop(member).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_left_is_wiped_only_if_somebody_says_so() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("b");
    of_another_cluster(&directory).await;
    std::fs::rename(
        directory.join("identity.json"),
        directory.join("left.identity.json"),
    )
    .unwrap();
    let member = founded(parent.path().join("a"), "a").await;
    let line = line(&member, 1).await;
    let config = config(directory.clone(), "b");
    let refused = real::join(
        &config,
        line.clone(),
        RoleWanted::Any,
        Wipe::Refuse,
        PATIENCE,
    )
    .await;
    let left = matches!(
        refused,
        Err(NodeError::Directory(DirectoryError::Left { .. }))
    );
    assert!(left, "{refused:?}");
    join_wiping(&directory, &line).await.unwrap();
    assert!(!directory.join("left.identity.json").exists());
    real::stop(member).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_join_that_is_cut_off_anywhere_goes_on_with_the_same_line() {
    let parent = tempfile::tempdir().unwrap();
    let (directory, shots) = (parent.path().join("b"), parent.path().join("shots"));
    of_another_cluster(&directory).await;
    let member = founded(parent.path().join("a"), "a").await;
    let line = line(&member, 1).await;
    *CAMERA.lock().unwrap() = Some(Camera {
        from: directory.clone(),
        to: shots.clone(),
        shots: 0,
    });
    let config = config(directory.clone(), "b");
    let (role, wipe) = (RoleWanted::Spare, Wipe::Everything);
    let joined = join::<Filmed>(&config, line.clone(), role, wipe, PATIENCE).await;
    let identity = joined.unwrap();
    let count = CAMERA.lock().unwrap().take().unwrap().shots;
    let last = shots.join(count.to_string());
    copy(&directory, &last);
    let done = files(&last);
    // At the first cut nothing has been written: that would be another node, which the token does not admit.
    assert!(count > 10, "only {count} cuts");
    for cut in 1..=count {
        let directory = shots.join(cut.to_string());
        let again = join_wiping(&directory, &line).await;
        assert_eq!(again.unwrap(), identity, "cut {cut}");
        let names = |files: BTreeMap<PathBuf, Vec<u8>>| -> Vec<_> {
            let names = files.into_keys();
            names
                .map(|path| path.file_name().unwrap().to_owned())
                .collect()
        };
        assert_eq!(names(files(&directory)), names(done.clone()), "cut {cut}");
        assert_eq!(members(&member), 2, "cut {cut}");
    }
    real::stop(member).await;
}
