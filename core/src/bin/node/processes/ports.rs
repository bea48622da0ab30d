//! Loopback ports that nobody uses.

use crate::exit::{Context, Exit, Failure};
use std::net::{Ipv4Addr, TcpListener};

/// `count` different free ports. All are held until the last is found, so that none is given twice; another program
/// may still take one before it is used, and then the node that wanted it says so.
pub(super) fn free(count: usize) -> Result<Vec<u16>, Failure> {
    let what = "looking for a free port";
    let mut held = Vec::with_capacity(count);
    for _ in 0..count {
        held.push(TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context(Exit::Failed, what)?);
    }
    let port = |listener: &TcpListener| listener.local_addr().map(|address| address.port());
    let ports: Result<Vec<u16>, _> = held.iter().map(port).collect();
    ports.context(Exit::Failed, what)
}

#[cfg(test)]
mod tests {
    #[test]
    fn free_ports_differ() {
        let mut ports = super::free(6).unwrap();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 6);
    }
}
