//! Time, tasks and plain streams of turmoil.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use turmoil::net::{TcpListener, TcpStream};

use crate::host::HostId;
use crate::substrate::{Substrate, Time};

/// The simulator turmoil.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Turmoil;

impl Time for Turmoil {
    /// A stream asks for the machine whose turn it is.
    const POLLS_ANYWHERE: bool = false;
    type Wait = tokio::time::Sleep;

    fn elapsed() -> Duration {
        // What is dropped with its world has no time to ask for.
        turmoil::sim_elapsed().unwrap_or_default()
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "turmoil is the real tokio with its clock paused: this sleep is simulated"
    )]
    fn wait(duration: Duration) -> Self::Wait {
        tokio::time::sleep(duration)
    }
}

impl Substrate for Turmoil {
    type Plain = TcpStream;
    type Acceptor = TcpListener;

    #[expect(
        clippy::disallowed_methods,
        reason = "turmoil runs each machine's tasks on a tokio runtime of its own"
    )]
    fn spawn(task: impl Future<Output = ()> + Send + 'static) {
        drop(tokio::spawn(task));
    }

    async fn bind(port: u16) -> io::Result<TcpListener> {
        TcpListener::bind(SocketAddr::from(([0, 0, 0, 0], port))).await
    }

    async fn accept(acceptor: &TcpListener) -> io::Result<(TcpStream, (HostId, u64))> {
        let (stream, from) = acceptor.accept().await?;
        let host = HostId::at(&from.ip().to_string());
        let host = host.ok_or_else(|| io::Error::other(format!("{from} is no machine")))?;
        Ok((stream, (host, from.port().into())))
    }

    /// Ports are given out in turn, and come again only after tens of thousands.
    async fn connect(host: HostId, port: u16) -> io::Result<(TcpStream, u64)> {
        let stream = TcpStream::connect(format!("{}:{port}", host.ip())).await?;
        let own = stream.local_addr()?.port();
        Ok((stream, own.into()))
    }
}
