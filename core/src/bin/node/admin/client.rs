//! How a command calls the node on its own machine.

use std::io;
use std::path::Path;
use std::time::Duration;

use quorate::proto::admin::admin_client::AdminClient;
use quorate::runtime::tokio::TokioRuntime;
use quorate::transport::{Channel, ChannelOptions, Dial};
use tokio::net::UnixStream;
use tonic::{Code, Status};

use super::path::SocketPath;
use crate::exit::{Context, Exit, Failure};

/// Longer than a node may need for a request that the whole cluster has to agree on, removals included.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);
const CONNECT_LIMIT: Duration = Duration::from_secs(5);

/// Calls a node's admin service.
pub(crate) type Client = AdminClient<Channel<TokioRuntime>>;

/// A node that was started a moment ago may need so long until it can be called.
const APPEARS_WITHIN: Duration = Duration::from_secs(2);
const LOOKS_AGAIN: Duration = Duration::from_millis(50);

/// The node whose data is in `data_dir`, if it runs.
pub(crate) async fn connect(data_dir: &Path) -> Result<Client, Failure> {
    let deadline = tokio::time::Instant::now() + APPEARS_WITHIN;
    let path = loop {
        match reach(data_dir).await {
            Ok(path) => break path,
            Err(error)
                if error.kind() == io::ErrorKind::PermissionDenied
                    || tokio::time::Instant::now() >= deadline =>
            {
                return Err(absent(data_dir, &error));
            }
            Err(_) => tokio::time::sleep(LOOKS_AGAIN).await,
        }
    };
    let options = ChannelOptions {
        connect_timeout: CONNECT_LIMIT,
        call_timeout: ANSWER_LIMIT,
        keepalive_interval: CONNECT_LIMIT,
        keepalive_timeout: CONNECT_LIMIT,
        rest_min: CONNECT_LIMIT,
        rest_max: CONNECT_LIMIT,
    };
    Ok(AdminClient::new(Channel::new(SocketDial(path), options)))
}

async fn reach(data_dir: &Path) -> io::Result<SocketPath> {
    let path = SocketPath::open(data_dir)?;
    UnixStream::connect(path.short()).await?;
    Ok(path)
}

fn absent(data_dir: &Path, error: &io::Error) -> Failure {
    let exit = match error.kind() {
        io::ErrorKind::PermissionDenied => Exit::Failed,
        _ => Exit::Unreachable,
    };
    let directory = data_dir.display();
    Failure::new(
        exit,
        format!(
            "no node runs on {directory}, or it is not yours: {error}. Name its directory with --data-dir"
        ),
    )
}

/// Runs one conversation with the node on `data_dir`.
pub(crate) fn call<T>(
    data_dir: &Path,
    conversation: impl AsyncFnOnce(Client) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let runtime = runtime.context(Exit::Failed, "starting the runtime")?;
    runtime.block_on(async { conversation(connect(data_dir).await?).await })
}

/// What a script is told of a call that the node refused.
impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let exit = match status.code() {
            Code::Unavailable | Code::DeadlineExceeded => Exit::Unreachable,
            Code::InvalidArgument => Exit::Usage,
            Code::FailedPrecondition => Exit::Refused,
            _ => Exit::Failed,
        };
        Failure::new(exit, status.message())
    }
}

struct SocketDial(SocketPath);

impl Dial for SocketDial {
    type Stream = UnixStream;

    async fn dial(&self) -> io::Result<UnixStream> {
        UnixStream::connect(self.0.short()).await
    }
}
