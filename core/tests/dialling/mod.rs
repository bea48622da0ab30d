//! A client's way to whoever serves the etcd API.

use std::time::Duration;

use quorate::runtime::tokio::TokioRuntime;
use quorate::transport::{Channel, ChannelOptions, PlainDial};

/// To the one at `address`, with more patience than anything takes on an idle machine.
pub(crate) fn channel(address: &str) -> Channel<TokioRuntime> {
    let options = ChannelOptions {
        connect_timeout: Duration::from_secs(10),
        call_timeout: Duration::from_secs(30),
        keepalive_interval: Duration::from_secs(60),
        keepalive_timeout: Duration::from_secs(10),
        rest_min: Duration::from_millis(1),
        rest_max: Duration::from_millis(100),
    };
    Channel::new(PlainDial::<TokioRuntime>::new(address), options)
}
