//! Time, tasks and plain streams of madsim.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use madsim::net::{TcpListener, TcpStream};
use madsim::time::TimeHandle;

use crate::host::HostId;
use crate::substrate::{Substrate, Time};

/// The simulator madsim.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Madsim;

impl Time for Madsim {
    type Wait = madsim::time::Sleep;

    fn elapsed() -> Duration {
        // What is dropped with its world has no time to ask for.
        TimeHandle::try_current()
            .map(|time| time.elapsed())
            .unwrap_or_default()
    }

    fn wait(duration: Duration) -> Self::Wait {
        madsim::time::sleep(duration)
    }
}

impl Substrate for Madsim {
    type Plain = TcpStream;
    type Acceptor = TcpListener;

    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        drop(madsim::task::spawn(task));
    }

    async fn bind(port: u16) -> io::Result<TcpListener> {
        TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], port))).await
    }

    async fn accept(acceptor: &TcpListener) -> io::Result<(TcpStream, (HostId, u16))> {
        let (stream, from) = acceptor.accept().await?;
        Ok((stream, address(from)?))
    }

    async fn connect(host: HostId, port: u16) -> io::Result<(TcpStream, u16)> {
        let stream = TcpStream::connect(format!("{}:{port}", host.ip())).await?;
        let own = stream.local_addr()?.port();
        Ok((stream, own))
    }
}

fn address(address: SocketAddr) -> io::Result<(HostId, u16)> {
    let host = HostId::at(&address.ip().to_string());
    host.map(|host| (host, address.port()))
        .ok_or_else(|| io::Error::other(format!("{address} is no machine")))
}
