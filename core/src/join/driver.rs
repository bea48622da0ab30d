//! Carries the joiner's effects out: one connection at a time, and nothing after the operator's patience is over.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio_rustls::client::TlsStream;
use zeroize::Zeroizing;

use super::address::Address;
use super::joiner::{Effect, Input, JoinFailure, Joiner, Wish};
use super::keep::IdentityFiles;
use super::line::JoinLine;
use super::view::MemberView;
use crate::ids::{ClusterId, NodeId};
use crate::proto::join::join_client::JoinClient;
use crate::proto::join::{HelloReply, HelloRequest, SubmitRequest};
use crate::runtime::{Instant, Runtime, timeout};
use crate::tls::name::public_key;
use crate::tls::secure::{Exporter, connect_as_stranger, explain};
use crate::tls::{KeyHash, PeerIdentity};
use crate::transport::{Channel, ChannelOptions, Dial};

/// From the first packet to the end of the handshake.
const CONNECT: Duration = Duration::from_secs(3);
/// For one call: the admission has to be committed in it.
const CALL: Duration = Duration::from_secs(10);

/// Why a join did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum JoinError {
    /// The conversation ended without a membership.
    #[error(transparent)]
    Failed(#[from] JoinFailure),
    /// The data directory cannot be read or written.
    #[error("the data directory: {0}")]
    Disk(#[from] io::Error),
}

/// Joins the cluster of `line` and keeps what comes of it in `files`. Called again after a crash, or when it has succeeded
/// already, it goes on from there.
///
/// # Errors
/// When the cluster refuses, nobody decides within `patience`, or the disk fails.
pub async fn join<R: Runtime>(
    line: JoinLine,
    wish: Wish,
    files: &IdentityFiles<R::Disk>,
    patience: Duration,
) -> Result<NodeId, JoinError> {
    let mut driver = Driver::<'_, R> {
        joiner: Joiner::new(line.clone(), wish),
        line,
        files,
        deadline: R::now() + patience,
        client: None,
    };
    driver.run().await
}

/// Whether the members of a cluster say that `node` was removed from it. A removed node is refused at every door but the
/// strangers', where it may at least be told why.
pub async fn was_removed<R: Runtime>(view: &MemberView, node: NodeId) -> bool {
    let pins = view.trusted.iter();
    let pins = pins.filter_map(|ca| public_key(ca).ok().map(|key| key.hash()));
    let pins: Vec<_> = pins.collect();
    let addresses = view.peer_addresses().into_iter();
    let addresses: Vec<_> = addresses.map(|(_, address)| address).collect();
    let hello = greet::<R>(&addresses, view.cluster, &pins, node).await;
    hello.is_some_and(|hello| hello.removed)
}

/// Whether the members that a line names say that a node is none of them any more: it was removed, or belongs to a life of the
/// cluster that is over. Nobody says so when nobody answers.
pub async fn is_given_up<R: Runtime>(line: &JoinLine, identity: &PeerIdentity) -> bool {
    let addresses: Vec<_> = line.addresses.iter().map(ToString::to_string).collect();
    let hello = greet::<R>(&addresses, line.cluster, &line.pins, identity.node).await;
    hello.is_some_and(|hello| hello.removed || hello.epoch > identity.epoch.0)
}

/// What the first member that answers says to `node`.
async fn greet<R: Runtime>(
    addresses: &[String],
    cluster: ClusterId,
    pins: &[KeyHash],
    node: NodeId,
) -> Option<HelloReply> {
    for address in addresses {
        let dialled = connect_as_stranger::<R>(address, cluster, pins.to_vec());
        let Ok(Ok((stream, _))) = timeout::<R, _>(CONNECT, dialled).await else {
            continue;
        };
        let mut request = tonic::Request::new(HelloRequest {
            cluster: cluster.0,
            node: node.0,
            wall_ms: R::wall().millis(),
        });
        request.set_timeout(CONNECT);
        if let Ok(hello) = client::<R>(stream).hello(request).await {
            return Some(hello.into_inner());
        }
    }
    None
}

type Client<R> = JoinClient<Channel<R>>;

fn client<R: Runtime>(stream: TlsStream<R::Stream>) -> Client<R> {
    let options = ChannelOptions {
        connect_timeout: CONNECT,
        call_timeout: CALL,
        keepalive_interval: CONNECT,
        keepalive_timeout: CONNECT,
        rest_min: CONNECT,
        rest_max: CONNECT,
    };
    JoinClient::new(Channel::new(OneStream(Mutex::new(Some(stream))), options))
}

struct Driver<'a, R: Runtime> {
    line: JoinLine,
    joiner: Joiner,
    files: &'a IdentityFiles<R::Disk>,
    deadline: Instant,
    client: Option<Client<R>>,
}

impl<R: Runtime> Driver<'_, R> {
    async fn run(&mut self) -> Result<NodeId, JoinError> {
        let mut input = Input::Started(self.files.found()?);
        loop {
            let mut next = None;
            for effect in self.joiner.step(input) {
                match effect {
                    Effect::Done(node) => return Ok(node),
                    Effect::Fail(failure) => return Err(failure.into()),
                    effect => next = self.act(effect).await?.or(next),
                }
            }
            input = match next {
                Some(next) if R::now() < self.deadline => next,
                // What is durable stays durable, and an answer is an answer: only what waits for others is cut short.
                Some(next @ (Input::Durable | Input::Answered { .. })) => next,
                Some(Input::Broken { reason }) => Input::TimeIsUp {
                    trouble: Some(reason),
                },
                _ => Input::TimeIsUp { trouble: None },
            };
        }
    }

    async fn act(&mut self, effect: Effect) -> io::Result<Option<Input>> {
        Ok(match effect {
            Effect::Draw => Some(draw::<R>()),
            Effect::Save(attempt) => {
                self.files.save(&attempt)?;
                Some(Input::Durable)
            }
            Effect::Connect(address) => Some(self.connect(&address).await),
            Effect::SendHello => Some(self.hello().await),
            Effect::Submit(request) => Some(self.submit(*request).await),
            Effect::Rest(span) => {
                R::sleep(span.min(self.deadline.since(R::now()))).await;
                Some(Input::Rested)
            }
            Effect::Store(membership) => {
                self.files.store(&membership)?;
                Some(Input::Durable)
            }
            Effect::Forget => {
                self.files.forget()?;
                None
            }
            Effect::Done(_) | Effect::Fail(_) => None,
        })
    }

    async fn connect(&mut self, address: &Address) -> Input {
        self.client = None;
        let patience = CONNECT.min(self.deadline.since(R::now()));
        let dialled =
            connect_as_stranger::<R>(address.as_str(), self.line.cluster, self.line.pins.clone());
        match timeout::<R, _>(patience, dialled).await {
            Ok(Ok((stream, exporter))) => self.connected(stream, exporter),
            Ok(Err(error)) => Input::Broken {
                reason: explain(&error),
            },
            Err(elapsed) => Input::Broken {
                reason: format!("no answer: {elapsed}"),
            },
        }
    }

    fn connected(&mut self, stream: TlsStream<R::Stream>, exporter: Exporter) -> Input {
        self.client = Some(client::<R>(stream));
        Input::Connected { exporter }
    }

    async fn hello(&mut self) -> Input {
        let request = self.in_time(HelloRequest {
            cluster: self.line.cluster.0,
            node: 0,
            wall_ms: R::wall().millis(),
        });
        match self.client.as_mut() {
            None => lost(),
            Some(client) => match client.hello(request).await {
                Ok(hello) => Input::Hello {
                    hello: hello.into_inner(),
                    now: R::wall(),
                },
                Err(status) => Input::Broken {
                    reason: status.message().to_owned(),
                },
            },
        }
    }

    async fn submit(&mut self, request: SubmitRequest) -> Input {
        let request = self.in_time(request);
        match self.client.as_mut() {
            None => lost(),
            Some(client) => match client.submit(request).await {
                Ok(reply) => Input::Answered {
                    reply: reply.into_inner(),
                    now: R::wall(),
                },
                Err(status) => Input::Broken {
                    reason: status.message().to_owned(),
                },
            },
        }
    }

    fn in_time<T>(&self, message: T) -> tonic::Request<T> {
        let mut request = tonic::Request::new(message);
        request.set_timeout(CALL.min(self.deadline.since(R::now())));
        request
    }
}

fn lost() -> Input {
    Input::Broken {
        reason: "the connection is gone".to_owned(),
    }
}

fn draw<R: Runtime>() -> Input {
    let mut seed = Zeroizing::new([0; 32]);
    R::secret(&mut *seed);
    let mut bytes = [0; 8];
    loop {
        R::secret(&mut bytes);
        // Zero means "no node" everywhere.
        if bytes != [0; 8] {
            return Input::Drawn {
                node: NodeId(u64::from_be_bytes(bytes)),
                seed,
            };
        }
    }
}

/// One connection and never another: a proof is bound to the connection that it was made for.
struct OneStream<S>(Mutex<Option<S>>);

impl<S: crate::runtime::Stream> Dial for OneStream<S> {
    type Stream = S;

    async fn dial(&self) -> io::Result<S> {
        let stream = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        stream.ok_or_else(|| io::Error::new(io::ErrorKind::NotConnected, "the connection is gone"))
    }
}
