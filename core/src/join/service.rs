//! What answers strangers. It decides nothing: it carries the request, and the exporter of the connection that it came by, to the
//! leader, where an [`Inviter`] judges it.
//!
//! Strangers can open connections, so all of this is bounded before it: the transport caps connections, headers, messages and the time of a
//! handshake, and a [`Gate`] lets only so many requests per second through to the leader.

use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tonic::{Request, Response, Status};

use super::clock::Gap;
use super::inviter::{Effect, Facts, Inviter, LONGEST_NAME, Leadership, Proposal, try_again};
use super::token::TokenId;
use super::view::MemberView;
use crate::ids::NodeId;
use crate::membership::Signer;
use crate::proto::join::join_server::Join;
use crate::proto::join::{HelloReply, HelloRequest, RelayedSubmit, SubmitReply, SubmitRequest};
use crate::proto::store::{MemberAdmit, Token};
use crate::runtime::{Instant, WallTime};
use crate::tls::secure::{Exporter, Peer};
use crate::tls::{NodeSubject, PublicKey};
use crate::transport::Connection;

/// What a decision rests on, as a node looks it up.
#[derive(Clone, Debug)]
pub struct Known {
    /// Members, tombstones, cluster, epoch.
    pub view: Arc<MemberView>,
    /// The token that was asked for, if the state has it.
    pub token: Option<Token>,
    /// The highest wall time that was ever replicated.
    pub highest: WallTime,
    /// The node's wall clock.
    pub now: WallTime,
    /// What a member must understand.
    pub feature_level: u32,
    /// Whether this node decides.
    pub leadership: Leadership,
    /// Whether it can sign.
    pub signer: Signer,
}

/// What the service needs of the node behind it.
pub trait Host: Send + Sync + 'static {
    /// What is known now, the token of this id included.
    fn look_up(&self, token: TokenId) -> impl Future<Output = Known> + Send;

    /// Proposes an admission and waits until it is applied here.
    fn propose(&self, admission: MemberAdmit) -> impl Future<Output = Proposal> + Send;

    /// Signs a certificate; none when the signing key is not here.
    fn sign(
        &self,
        subject: NodeSubject,
        key: PublicKey,
    ) -> impl Future<Output = Option<Vec<u8>>> + Send;

    /// Has the leader decide; none when nobody is known to lead, or it does not answer.
    fn relay(&self, request: RelayedSubmit) -> impl Future<Output = Option<SubmitReply>> + Send;

    /// The node's monotonic clock.
    fn clock(&self) -> Instant;
}

/// Decides a request, here or at the leader.
pub async fn decide<H: Host>(host: &H, request: SubmitRequest, exporter: Exporter) -> SubmitReply {
    let token =
        PublicKey::from_slice(&request.token_key).map_or(TokenId([0; 8]), |key| TokenId::of(&key));
    let known = host.look_up(token).await;
    if known.leadership == Leadership::Elsewhere {
        let relayed = RelayedSubmit {
            request: Some(request),
            exporter: exporter.to_vec().into(),
        };
        return host.relay(relayed).await.unwrap_or_else(|| {
            tracing::info!("a node asked to join, and nobody leads the cluster at the moment");
            *try_again("nobody leads the cluster at the moment")
        });
    }
    decide_here(host, &request, &exporter, &known).await
}

/// Decides a request that another member relayed. It is not relayed again: two members that each take the other for the leader would
/// play with it.
pub async fn decide_relayed<H: Host>(host: &H, relayed: RelayedSubmit) -> SubmitReply {
    let (Some(request), Ok(exporter)) =
        (relayed.request, Exporter::try_from(&relayed.exporter[..]))
    else {
        return *try_again("the request was damaged on its way to the leader");
    };
    let token =
        PublicKey::from_slice(&request.token_key).map_or(TokenId([0; 8]), |key| TokenId::of(&key));
    let known = host.look_up(token).await;
    decide_here(host, &request, &exporter, &known).await
}

async fn decide_here<H: Host>(
    host: &H,
    request: &SubmitRequest,
    exporter: &Exporter,
    known: &Known,
) -> SubmitReply {
    let facts = Facts {
        view: &known.view,
        token: known.token.as_ref(),
        highest: known.highest,
        now: known.now,
        feature_level: known.feature_level,
        leadership: known.leadership,
        signer: known.signer,
    };
    let (inviter, mut effect) = Inviter::begin(request, exporter, &facts);
    loop {
        effect = match (effect, &inviter) {
            (Effect::Reply(reply), _) => {
                let outcome = reply.outcome.as_ref().map_or_else(String::new, words);
                tracing::info!(node = %NodeId(request.node), name = shown(&request.name), outcome, "a node asked to join");
                return *reply;
            }
            (Effect::Propose(admission), Some(inviter)) => {
                inviter.proposed(host.propose(*admission).await)
            }
            (Effect::Sign { subject, key }, Some(inviter)) => {
                let certificate = host.sign(subject, key).await;
                let now = host.look_up(TokenId([0; 8])).await;
                Effect::Reply(inviter.signed(certificate, &now.view))
            }
            (Effect::Propose(_) | Effect::Sign { .. }, None) => {
                Effect::Reply(try_again("nothing was decided"))
            }
        };
    }
}

/// What is logged of a name that nobody has checked: no more than a name may have, on one line.
fn shown(name: &str) -> String {
    let cut: String = name.chars().take(LONGEST_NAME).collect();
    cut.escape_debug().to_string()
}

/// What is logged of an outcome: never a certificate or a view.
fn words(outcome: &crate::proto::join::submit_reply::Outcome) -> String {
    use crate::proto::join::submit_reply::Outcome;
    match outcome {
        Outcome::Admitted(_) => "admitted".to_owned(),
        Outcome::Refused(refused) => format!("refused: {}", refused.text),
        Outcome::TryAgain(later) => format!("undecided: {}", later.text),
    }
}

/// Lets a bounded number of requests through: so many at once, and one more in each span.
#[derive(Debug)]
pub struct Gate {
    burst: u32,
    span: Duration,
    state: Mutex<(u32, Instant)>,
}

impl Gate {
    /// Full at the start.
    #[must_use]
    pub fn new(burst: u32, span: Duration, now: Instant) -> Self {
        Self {
            burst,
            span,
            state: Mutex::new((burst, now)),
        }
    }

    /// Whether one more may pass now.
    pub fn pass(&self, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let (left, since) = *state;
        let earned = now.since(since).as_nanos() / self.span.as_nanos().max(1);
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        let left = left.saturating_add(earned).min(self.burst);
        let since = if earned == 0 { since } else { now };
        *state = (left.saturating_sub(1), since);
        left > 0
    }
}

/// The service.
#[derive(Debug)]
pub struct JoinService<H> {
    host: Arc<H>,
    gate: Gate,
}

impl<H: Host> JoinService<H> {
    /// Fifty requests at once, and twenty more in each second: a rack of machines that join together is no attack, and a joiner
    /// makes two requests.
    pub fn new(host: Arc<H>) -> Self {
        let gate = Gate::new(50, Duration::from_millis(50), host.clock());
        Self { host, gate }
    }

    fn admit_call(&self) -> Result<(), Status> {
        if self.gate.pass(self.host.clock()) {
            Ok(())
        } else {
            Err(Status::resource_exhausted("too many requests to join"))
        }
    }
}

#[tonic::async_trait]
impl<H: Host> Join for JoinService<H> {
    async fn hello(&self, request: Request<HelloRequest>) -> Result<Response<HelloReply>, Status> {
        self.admit_call()?;
        let known = self.host.look_up(TokenId([0; 8])).await;
        let theirs = request.get_ref().wall_ms;
        if let Some(gap) = Gap::between(WallTime::from_millis(theirs), known.now)
            && theirs != 0
        {
            tracing::info!(
                "a machine whose clock is {gap} this one asked to join: it goes no further"
            );
        }
        if request.get_ref().cluster != known.view.cluster.0 {
            return Err(Status::failed_precondition("this is another cluster"));
        }
        Ok(Response::new(HelloReply {
            cluster: known.view.cluster.0,
            epoch: known.view.epoch.0,
            feature_level: known.feature_level,
            wall_ms: known.now.millis(),
            removed: known
                .view
                .tombstones
                .contains_key(&NodeId(request.get_ref().node)),
        }))
    }

    async fn submit(
        &self,
        request: Request<SubmitRequest>,
    ) -> Result<Response<SubmitReply>, Status> {
        self.admit_call()?;
        let connection = request.extensions().get::<Arc<Connection<Peer>>>();
        let Some(Peer::Stranger { exporter }) =
            connection.map(|connection| connection.peer.clone())
        else {
            return Err(Status::failed_precondition(
                "joining needs a connection of its own",
            ));
        };
        Ok(Response::new(
            decide(&*self.host, request.into_inner(), exporter).await,
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gate_lets_a_burst_through_and_then_a_trickle() {
        let at = |millis| Instant::from_start(Duration::from_millis(millis));
        let gate = Gate::new(3, Duration::from_millis(200), at(0));
        let passed = |moment: Instant| (0..10).filter(|_| gate.pass(moment)).count();
        assert_eq!(passed(at(0)), 3);
        assert_eq!(passed(at(199)), 0);
        assert_eq!(passed(at(400)), 2);
        assert_eq!(passed(at(60_000)), 3);
    }
}
