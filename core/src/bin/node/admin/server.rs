//! Serves the admin service on the node's socket.

use std::convert::Infallible;
use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use quorate::admin::AdminService;
use quorate::node::Inner;
use quorate::proto::admin::admin_server::AdminServer;
use quorate::runtime::tokio::TokioRuntime;
use quorate::transport::{Connection, Handler, Request, Services};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::path::SocketPath;
use crate::exit::{Context, Exit, Failure};

/// Commands that are served at a time.
const MOST_CONNECTIONS: usize = 32;
/// A request is a few strings.
const MESSAGE_BYTES: usize = 64 * 1024;
/// How long a connection may be open; commands ask one thing, `--wait-ready` asks anew.
const CONNECTION_LIFE: Duration = Duration::from_secs(120);

/// Serves commands until the process ends. The socket stays behind then; the next start finds that nobody answers on it, and
/// replaces it.
pub(crate) fn serve(data_dir: &Path, node: Arc<Inner<TokioRuntime>>) -> Result<(), Failure> {
    let path = SocketPath::make(data_dir).context(Exit::DataDirectory, "the admin directory")?;
    let listener = listen(&path).context(Exit::DataDirectory, path.shown())?;
    let service =
        AdminServer::new(AdminService::new(node)).max_decoding_message_size(MESSAGE_BYTES);
    let services = Arc::new(Services::new().and(service));
    tokio::spawn(accept(listener, services));
    Ok(())
}

fn listen(path: &SocketPath) -> io::Result<UnixListener> {
    let short = path.short();
    match UnixListener::bind(&short) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            // The data directory is locked, so whoever made this socket is gone; unless somebody answers on it after all.
            match StdUnixStream::connect(&short) {
                Err(refused) if refused.kind() == io::ErrorKind::ConnectionRefused => {
                    std::fs::remove_file(&short)?;
                    UnixListener::bind(&short)
                }
                _ => Err(error),
            }
        }
        bound => bound,
    }
}

async fn accept(listener: UnixListener, services: Arc<Services>) {
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) if is_ours(&stream) => {
                let services = Arc::clone(&services);
                tokio::spawn(async move {
                    let served = tokio::time::timeout(CONNECTION_LIFE, converse(stream, services));
                    drop(served.await);
                    drop(place);
                });
            }
            Ok(_) => tracing::warn!("another user's command was refused"),
            Err(error) => {
                tracing::warn!(%error, "a command could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// The user that runs the node, or root.
fn is_ours(stream: &UnixStream) -> bool {
    let own = rustix::process::getuid().as_raw();
    stream
        .peer_cred()
        .is_ok_and(|peer| peer.uid() == own || peer.uid() == 0)
}

async fn converse(stream: UnixStream, services: Arc<Services>) {
    let connection = Arc::new(Connection::new("admin".to_owned(), ()));
    let service = service_fn(move |request: Request| {
        let answered = Arc::clone(&services).handle(Arc::clone(&connection), request);
        async move { Ok::<_, Infallible>(answered.await) }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(8)
        .max_header_list_size(16 * 1024);
    let served = builder.serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a command's connection failed");
    }
}
