//! Time, tasks and connections of turmoil.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::time::Instant;
use turmoil::net::{TcpListener, TcpStream};

use crate::host::HostId;
use crate::machine::{elapsed_by, running_life};
use crate::substrate::{Substrate, Time};

/// How long the world had run at a moment of a machine's tokio runtime.
#[derive(Clone, Copy)]
struct Known {
    life: u64,
    at: Instant,
    elapsed: Duration,
}

thread_local! {
    /// Of the machine that asked last.
    static KNOWN: Cell<Option<Known>> = const { Cell::new(None) };
}

/// The simulator turmoil.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Turmoil;

impl Time for Turmoil {
    type Wait = tokio::time::Sleep;

    /// turmoil looks the machine up among all others, and that with everything that asks for the time. As long as its process goes on,
    /// its time is that of its tokio runtime, from a moment on at which both were known.
    #[expect(
        clippy::disallowed_methods,
        reason = "turmoil is the real tokio with its clock paused: this clock is simulated"
    )]
    fn elapsed() -> Duration {
        // What is dropped with its world has no time to ask for.
        let told = || turmoil::sim_elapsed().unwrap_or_default();
        elapsed_by(|| {
            let Some(life) = running_life() else {
                return told();
            };
            match KNOWN.get().filter(|known| known.life == life) {
                Some(known) => known.elapsed + known.at.elapsed(),
                None => {
                    let (elapsed, at) = (told(), Instant::now());
                    KNOWN.set(Some(Known { life, at, elapsed }));
                    elapsed
                }
            }
        })
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
