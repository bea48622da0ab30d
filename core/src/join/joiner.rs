//! The joining side of the conversation, as a pure machine: what happened goes in, what to do comes out.
//!
//! The order of effects is what makes a join safe to interrupt:
//!
//! 1. The node id and key are drawn and *on disk* before anything is sent. Whatever happens later, the node asks again as itself, and
//!    the cluster answers a repeated request of the same node and key as it answered the first.
//! 2. Certificate and member view are on disk before the join is called done.
//! 3. A refusal is final and nothing was changed by it, so what was drawn is forgotten: a failed join leaves nothing behind. A
//!    silence is not a refusal: what was drawn is kept, for the request may have been carried out.

use std::time::Duration;

use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::address::Address;
use super::clock::Gap;
use super::line::JoinLine;
use super::token::Claim;
use super::view::MemberView;
use crate::ids::{ClusterId, Epoch, NodeId};
use crate::proto::join::{
    Admitted, HelloReply, Refusal, Refused, RoleWanted, SubmitReply, SubmitRequest,
    submit_reply::Outcome,
};
use crate::runtime::WallTime;
use crate::tls::secure::Exporter;
use crate::tls::{PeerIdentity, PrivateKey, Validity, name, request};

/// Ids are random: two collisions in a row are no chance.
const MOST_DRAWS: u32 = 3;
const FIRST_REST: Duration = Duration::from_millis(500);
const LONGEST_REST: Duration = Duration::from_secs(10);

/// What the node wants to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    /// Its name among people.
    pub name: String,
    /// Where members will reach it.
    pub peer_addresses: Vec<Address>,
    /// Where clients will reach it.
    pub client_addresses: Vec<Address>,
    /// Which nodes it would fail with.
    pub failure_domain: String,
    /// What it wants to do.
    pub role: RoleWanted,
    /// What it understands.
    pub feature_level: u32,
}

/// A node id and key that may be known to the cluster already: kept on disk from before the first request until the end.
#[derive(Clone, PartialEq, Eq)]
pub struct Attempt {
    /// The cluster that is joined.
    pub cluster: ClusterId,
    /// The id.
    pub node: NodeId,
    /// The seed of its key.
    pub seed: Zeroizing<[u8; 32]>,
}

impl std::fmt::Debug for Attempt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Attempt(node {} of cluster {})", self.node, self.cluster)
    }
}

/// What makes a node a member: everything that it keeps of the join.
#[derive(Clone, Debug)]
pub struct Membership {
    /// Its id.
    pub node: NodeId,
    /// Its key.
    pub key: PrivateKey,
    /// The certificate for it.
    pub certificate: CertificateDer<'static>,
    /// What it knows of the others.
    pub view: MemberView,
}

/// What the data directory held when the join began.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// Nothing of a cluster.
    Nothing,
    /// An earlier attempt that did not end.
    Attempt(Attempt),
    /// A member's identity.
    Member {
        /// Of this cluster.
        cluster: ClusterId,
        /// This node.
        node: NodeId,
    },
}

/// What happened.
#[derive(Clone, Debug)]
pub enum Input {
    /// The join begins.
    Started(Found),
    /// A node id and a seed were drawn.
    Drawn {
        /// Never zero.
        node: NodeId,
        /// 32 bytes that nobody can guess.
        seed: Zeroizing<[u8; 32]>,
    },
    /// What had to be saved or stored is durable.
    Durable,
    /// A member whose CA has a pinned key answers.
    Connected {
        /// What the connection's two ends know alone.
        exporter: Exporter,
    },
    /// It said hello.
    Hello {
        /// What it said.
        hello: HelloReply,
        /// This machine's wall clock when it did.
        now: WallTime,
    },
    /// It answered the request.
    Answered {
        /// With this.
        reply: SubmitReply,
        /// This machine's wall clock when it did.
        now: WallTime,
    },
    /// The connection could not be made, or broke off.
    Broken {
        /// In words.
        reason: String,
    },
    /// The rest is over.
    Rested,
    /// The operator's patience is.
    TimeIsUp {
        /// What went wrong last, if it was not told yet.
        trouble: Option<String>,
    },
}

/// What to do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Draw an id and a seed.
    Draw,
    /// Write the attempt to disk, durably.
    Save(Attempt),
    /// Dial this address as a stranger.
    Connect(Address),
    /// Say hello.
    SendHello,
    /// Ask to be admitted.
    Submit(Box<SubmitRequest>),
    /// Wait, then go on.
    Rest(Duration),
    /// Write the membership to disk, durably; the attempt goes.
    Store(Box<Membership>),
    /// Remove the attempt from the disk.
    Forget,
    /// The node is a member.
    Done(NodeId),
    /// It is not going to be.
    Fail(JoinFailure),
}

/// Why a join failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JoinFailure {
    /// The directory belongs to something else.
    #[error(
        "the data directory belongs to node {node} of cluster {cluster}; to give that up, join with --wipe"
    )]
    OtherCluster {
        /// That cluster.
        cluster: ClusterId,
        /// That node.
        node: NodeId,
    },
    /// The cluster said no. Nothing was changed, and nothing is left behind.
    #[error("the cluster refused: {text}")]
    Refused {
        /// The reason.
        why: Refusal,
        /// In the member's words.
        text: String,
    },
    /// The cluster needs a newer version.
    #[error(
        "the cluster needs feature level {needed}, this version understands {known}: upgrade it first"
    )]
    TooOld {
        /// The cluster's level.
        needed: u32,
        /// Ours.
        known: u32,
    },
    /// The clocks are too far apart: its certificate might not be good yet, or not be taken for one.
    #[error("this machine's clock is {0} the cluster's: set it, then join again")]
    ClockOff(Gap),
    /// Something was answered that no member of this cluster would answer.
    #[error("the answer makes no sense: {0}")]
    BadAnswer(&'static str),
    /// Nobody could be reached, or nobody decided, in time.
    #[error("no member could be reached in time:{}", list(attempts))]
    OutOfTime {
        /// The last trouble with each address.
        attempts: Vec<(Address, String)>,
    },
}

fn list(attempts: &[(Address, String)]) -> String {
    attempts
        .iter()
        .map(|(address, reason)| format!("\n  {address}: {reason}"))
        .collect()
}

/// Where the conversation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    New,
    Drawing,
    Saving,
    Connecting,
    Greeting,
    Asking,
    Resting,
    Storing,
    Ended,
}

/// The joining side.
#[derive(Debug)]
pub struct Joiner {
    line: JoinLine,
    wish: Wish,
    state: State,
    attempt: Option<Attempt>,
    draws: u32,
    /// Whether a request may have been carried out.
    asked: bool,
    position: usize,
    rest: Duration,
    exporter: Exporter,
    troubles: Vec<(Address, String)>,
}

impl Joiner {
    /// Begins a conversation; the line has at least one address.
    #[must_use]
    pub fn new(line: JoinLine, wish: Wish) -> Self {
        Self {
            line,
            wish,
            state: State::New,
            attempt: None,
            draws: 0,
            asked: false,
            position: 0,
            rest: FIRST_REST,
            exporter: [0; 32],
            troubles: Vec::new(),
        }
    }

    /// One step. What does not fit the state is late news of something given up: it is ignored.
    pub fn step(&mut self, input: Input) -> Vec<Effect> {
        match (self.state, input) {
            (State::Ended, _) => Vec::new(),
            (_, Input::TimeIsUp { trouble }) => self.out_of_time(trouble),
            (State::New, Input::Started(found)) => self.begin(found),
            (State::Drawing, Input::Drawn { node, seed }) => {
                let attempt = Attempt {
                    cluster: self.line.cluster,
                    node,
                    seed,
                };
                self.attempt = Some(attempt.clone());
                self.enter(State::Saving, Effect::Save(attempt))
            }
            (State::Saving, Input::Durable) | (State::Resting, Input::Rested) => self.connect(),
            (State::Connecting, Input::Connected { exporter }) => {
                self.exporter = exporter;
                self.enter(State::Greeting, Effect::SendHello)
            }
            (State::Greeting, Input::Hello { hello, now }) => self.ask(&hello, now),
            (State::Asking, Input::Answered { reply, now }) => self.answered(reply, now),
            (State::Connecting | State::Greeting | State::Asking, Input::Broken { reason }) => {
                self.next_address(reason)
            }
            (State::Storing, Input::Durable) => {
                let node = self
                    .attempt
                    .as_ref()
                    .map_or(NodeId(0), |attempt| attempt.node);
                self.enter(State::Ended, Effect::Done(node))
            }
            _ => Vec::new(),
        }
    }

    fn enter(&mut self, state: State, effect: Effect) -> Vec<Effect> {
        self.state = state;
        vec![effect]
    }

    fn begin(&mut self, found: Found) -> Vec<Effect> {
        match found {
            Found::Nothing => self.draw(),
            Found::Attempt(attempt) if attempt.cluster == self.line.cluster => {
                // Its request may have been carried out: only as the same node it can find out.
                self.asked = true;
                self.attempt = Some(attempt);
                self.connect()
            }
            Found::Member { cluster, node } if cluster == self.line.cluster => {
                self.enter(State::Ended, Effect::Done(node))
            }
            Found::Attempt(Attempt { cluster, node, .. }) | Found::Member { cluster, node } => self
                .enter(
                    State::Ended,
                    Effect::Fail(JoinFailure::OtherCluster { cluster, node }),
                ),
        }
    }

    fn draw(&mut self) -> Vec<Effect> {
        self.draws += 1;
        self.enter(State::Drawing, Effect::Draw)
    }

    fn connect(&mut self) -> Vec<Effect> {
        let address = self.address().clone();
        self.enter(State::Connecting, Effect::Connect(address))
    }

    fn address(&self) -> &Address {
        &self.line.addresses[self.position % self.line.addresses.len()]
    }

    fn ask(&mut self, hello: &HelloReply, now: WallTime) -> Vec<Effect> {
        if let Some(gap) = Gap::between(now, WallTime::from_millis(hello.wall_ms)) {
            return self.fail(JoinFailure::ClockOff(gap));
        }
        if hello.feature_level > self.wish.feature_level {
            let failure = JoinFailure::TooOld {
                needed: hello.feature_level,
                known: self.wish.feature_level,
            };
            return self.fail(failure);
        }
        let request = self.request(Epoch(hello.epoch));
        self.asked = true;
        self.enter(State::Asking, Effect::Submit(Box::new(request)))
    }

    fn request(&self, epoch: Epoch) -> SubmitRequest {
        let attempt = self
            .attempt
            .as_ref()
            .expect("an attempt is saved before anybody is dialled");
        let key = PrivateKey::from_seed(*attempt.seed);
        let csr = request::create(&key, self.line.cluster, attempt.node)
            .expect("our own names can be written");
        let role = self.wish.role;
        let claim = Claim {
            cluster: self.line.cluster,
            exporter: &self.exporter,
            csr: &csr,
            node: attempt.node,
            role,
        };
        let texts = |addresses: &[Address]| addresses.iter().map(ToString::to_string).collect();
        SubmitRequest {
            cluster: self.line.cluster.0,
            epoch: epoch.0,
            node: attempt.node.0,
            name: self.wish.name.clone(),
            peer_addresses: texts(&self.wish.peer_addresses),
            client_addresses: texts(&self.wish.client_addresses),
            failure_domain: self.wish.failure_domain.clone(),
            feature_level: self.wish.feature_level,
            role: role.into(),
            token_key: self.line.token.public_key().0.to_vec().into(),
            proof: self.line.token.prove(&claim).to_vec().into(),
            csr: csr.into(),
        }
    }

    fn answered(&mut self, reply: SubmitReply, now: WallTime) -> Vec<Effect> {
        match reply.outcome {
            Some(Outcome::Admitted(admitted)) => match self.check(admitted) {
                // The member that signed need not be the one that said hello. With this certificate others would refuse us.
                Ok(membership) => {
                    let validity = Validity::of(&membership.certificate).ok();
                    match validity.and_then(|validity| validity.not_good_yet(now)) {
                        Some(why) => self.ask_later(why, LONGEST_REST),
                        None => self.enter(State::Storing, Effect::Store(Box::new(membership))),
                    }
                }
                // The attempt is kept: somebody may have admitted us after all.
                Err(reason) => {
                    self.enter(State::Ended, Effect::Fail(JoinFailure::BadAnswer(reason)))
                }
            },
            Some(Outcome::Refused(Refused { why, .. }))
                if why == i32::from(Refusal::IdTaken) && self.draws < MOST_DRAWS =>
            {
                let mut effects = vec![Effect::Forget];
                effects.extend(self.draw());
                effects
            }
            Some(Outcome::Refused(Refused { why, text })) => {
                let why = Refusal::try_from(why).unwrap_or(Refusal::Unspecified);
                self.asked = false;
                self.fail(JoinFailure::Refused { why, text })
            }
            Some(Outcome::TryAgain(later)) => {
                let pause = Duration::from_millis(later.after_ms).min(LONGEST_REST);
                self.ask_later(later.text, pause)
            }
            None => self.next_address("an empty answer".to_owned()),
        }
    }

    /// The answer came over a connection to a member, but what it says is checked all the same: a wrong certificate would be found out
    /// by everybody but us.
    fn check(&self, admitted: Admitted) -> Result<Membership, &'static str> {
        let attempt = self.attempt.as_ref().ok_or("nothing was asked")?;
        let key = PrivateKey::from_seed(*attempt.seed);
        let certificate = CertificateDer::from(admitted.certificate.to_vec());
        let identity = PeerIdentity::from_certificate(&certificate)
            .map_err(|_| "the certificate cannot be read")?;
        if (identity.cluster, identity.node, identity.key)
            != (self.line.cluster, attempt.node, key.public())
        {
            return Err("the certificate is for somebody else");
        }
        let view = MemberView::from_message(admitted.view.ok_or("there is no member view")?)
            .map_err(|_| "the member view cannot be used")?;
        let pinned = |ca: &CertificateDer<'_>| {
            name::public_key(ca).is_ok_and(|key| self.line.pins.contains(&key.hash()))
        };
        if view.cluster != self.line.cluster
            || view.epoch != identity.epoch
            || !view.trusted.iter().any(pinned)
        {
            return Err("the member view is of another cluster");
        }
        Ok(Membership {
            node: attempt.node,
            key,
            certificate,
            view,
        })
    }

    fn ask_later(&mut self, reason: String, pause: Duration) -> Vec<Effect> {
        self.trouble(reason);
        self.position += 1;
        self.enter(State::Resting, Effect::Rest(pause))
    }

    fn next_address(&mut self, reason: String) -> Vec<Effect> {
        self.trouble(reason);
        self.position += 1;
        if !self.position.is_multiple_of(self.line.addresses.len()) {
            return self.connect();
        }
        let rest = self.rest;
        self.rest = (self.rest * 2).min(LONGEST_REST);
        self.enter(State::Resting, Effect::Rest(rest))
    }

    fn trouble(&mut self, reason: String) {
        let address = self.address().clone();
        self.troubles.retain(|(other, _)| *other != address);
        self.troubles.push((address, reason));
    }

    fn out_of_time(&mut self, trouble: Option<String>) -> Vec<Effect> {
        if let Some(reason) = trouble {
            self.trouble(reason);
        }
        let attempts = std::mem::take(&mut self.troubles);
        self.fail(JoinFailure::OutOfTime { attempts })
    }

    /// Ends without a membership; what was drawn is forgotten unless a request may have been carried out.
    fn fail(&mut self, failure: JoinFailure) -> Vec<Effect> {
        self.state = State::Ended;
        let forget = self.attempt.is_some() && !self.asked;
        forget
            .then_some(Effect::Forget)
            .into_iter()
            .chain([Effect::Fail(failure)])
            .collect()
    }
}
