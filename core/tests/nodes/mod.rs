//! Whole nodes in the test's own process: how they are configured, and how one waits for them.

use std::net::TcpListener;
use std::path::PathBuf;
use std::time::Duration;

use quorate::config::{ClientAccess, NodeConfig};
use quorate::membership::Policy;
use quorate::raft::config::Timing;
use quorate::runtime::Runtime as _;
use quorate::runtime::tokio::TokioRuntime;

/// A node on loopback, at a port that was free a moment ago.
pub(crate) fn config(data_dir: PathBuf, name: &str) -> NodeConfig {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let peer = listener.local_addr().unwrap().to_string();
    NodeConfig {
        data_dir,
        name: name.to_owned(),
        listen_client: "127.0.0.1:0".to_owned(),
        listen_peer: peer.clone(),
        advertise_peer: vec![peer],
        advertise_client: vec![],
        failure_domain: String::new(),
        timing: Timing::default(),
        client_access: ClientAccess::Anyone,
        policy: Policy::production(),
        max_client_connections: 64,
        min_free_bytes: 0,
        reserve_bytes: 4096,
        drain: Duration::from_secs(1),
    }
}

/// Waits until it holds, far longer than anything takes on an idle machine.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..3_000 {
        if holds() {
            return;
        }
        TokioRuntime::sleep(Duration::from_millis(10)).await;
    }
    panic!("not within 30 s: {what}");
}
