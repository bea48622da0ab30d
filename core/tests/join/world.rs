//! One leader, called `a`, and machines that want to join it. What the leader's state machine does with an admission is
//! written down here a second time, in ten lines.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use quorate::ids::{ClusterId, Epoch, LogIndex, NodeId};
use quorate::join::inviter::{self, Facts, Inviter, Leadership, Proposal};
use quorate::join::joiner::{Attempt, Effect, Found, Input, Joiner, Wish};
use quorate::join::{Address, JoinLine, MemberView, Token, TokenId};
use quorate::membership::Signer;
use quorate::proto::join::submit_reply::Outcome;
use quorate::proto::join::{HelloReply, SubmitReply, SubmitRequest};
use quorate::proto::store;
use quorate::runtime::WallTime;
use quorate::state::Rejection;
use quorate::tls::secure::Exporter;
use quorate::tls::{Authority, PrivateKey, Serial};
use zeroize::Zeroizing;

const CLUSTER: ClusterId = ClusterId(0xc1);
const START: WallTime = WallTime::from_millis(1_800_000_000_000);

/// A place where a machine or the network fails, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    CrashAfterSave,
    CrashAfterSubmit,
    CrashBeforeStore,
    LoseAnswer,
    OtherExporter,
}

pub(crate) struct Machine {
    pub(crate) disk: Found,
    pub(crate) line: JoinLine,
    pub(crate) wish: Wish,
    pub(crate) troubles: Vec<Trouble>,
    /// Rests until the operator gives up.
    pub(crate) patience: u32,
    pub(crate) draws: Vec<u64>,
    pub(crate) clock_behind: Duration,
    joiner: Option<Joiner>,
    inputs: Vec<Input>,
    exporter: Exporter,
}

pub(crate) struct World {
    authority: Authority,
    pub(crate) view: MemberView,
    pub(crate) tokens: BTreeMap<String, (Token, Option<store::Token>)>,
    pub(crate) machines: BTreeMap<String, Machine>,
    pub(crate) now: WallTime,
    pub(crate) highest: WallTime,
    pub(crate) leadership: Leadership,
    pub(crate) signer: Signer,
    pub(crate) feature_level: u32,
    /// The member that signs need not be the one that says hello.
    pub(crate) signer_ahead: Duration,
    next_id: u64,
    connections: u8,
}

impl World {
    pub(crate) fn new() -> Self {
        let key = PrivateKey::from_seed([100; 32]);
        let authority =
            Authority::create(CLUSTER, key, Serial::from_secret([1; 16]), START).unwrap();
        let mut view = MemberView::empty(CLUSTER, Epoch(1), vec![authority.certificate().clone()]);
        view.index = LogIndex(10);
        let first = store::Member {
            id: 0xa,
            name: "a".to_owned(),
            role: store::Role::Voter.into(),
            ..Default::default()
        };
        view.members.insert(NodeId(0xa), first);
        Self {
            authority,
            view,
            tokens: BTreeMap::new(),
            machines: BTreeMap::new(),
            now: START,
            highest: START,
            leadership: Leadership::Here,
            signer: Signer::Held,
            feature_level: 1,
            signer_ahead: Duration::ZERO,
            next_id: 0xb,
            connections: 0,
        }
    }

    pub(crate) fn machine(
        &mut self,
        name: &str,
        token: &str,
        addresses: &[&str],
        wish: Wish,
        cluster: ClusterId,
    ) {
        let line = JoinLine {
            addresses: addresses
                .iter()
                .map(|host| Address::parse(&format!("{host}:7400")).unwrap())
                .collect(),
            token: self.tokens[token].0.clone(),
            cluster,
            pins: vec![self.authority.key().public().hash()],
        };
        let disk = self
            .machines
            .remove(name)
            .map_or(Found::Nothing, |machine| machine.disk);
        let machine = Machine {
            disk,
            line,
            wish,
            troubles: Vec::new(),
            patience: 4,
            draws: Vec::new(),
            clock_behind: Duration::ZERO,
            joiner: None,
            inputs: Vec::new(),
            exporter: [0; 32],
        };
        self.machines.insert(name.to_owned(), machine);
    }

    /// Joins to the end.
    pub(crate) fn join(&mut self, name: &str) -> String {
        let mut said = String::new();
        while let Some(request) = self.advance(name, &mut said) {
            let reply = self.decide(name, &request, &mut said);
            self.deliver(name, reply, &mut said);
        }
        said
    }

    /// Two requests are judged at the same instant, before either is in the log.
    pub(crate) fn race(&mut self, names: &[&str]) -> String {
        let mut said = String::new();
        let mut judged = Vec::new();
        for name in names {
            let Some(request) = self.advance(name, &mut said) else {
                continue;
            };
            judged.push((*name, self.judge(name, &request)));
        }
        for (name, (inviter, effect)) in judged {
            let reply = self.conclude(name, inviter.as_ref(), effect, &mut said);
            self.deliver(name, reply, &mut said);
        }
        for name in names {
            said.push_str(&self.join(name));
        }
        said
    }

    /// Runs a machine until it submits its request, or ends.
    fn advance(&mut self, name: &str, said: &mut String) -> Option<SubmitRequest> {
        let machine = self.machines.get_mut(name).unwrap();
        if machine.joiner.is_none() {
            machine.joiner = Some(Joiner::new(machine.line.clone(), machine.wish.clone()));
            machine.inputs = vec![Input::Started(machine.disk.clone())];
        }
        while let Some(input) = self.machines.get_mut(name).unwrap().inputs.pop() {
            let effects = self
                .machines
                .get_mut(name)
                .unwrap()
                .joiner
                .as_mut()?
                .step(input);
            for effect in effects {
                if let Some(request) = self.act(name, effect, said) {
                    return Some(request);
                }
            }
        }
        self.machines.get_mut(name).unwrap().joiner = None;
        None
    }

    fn act(&mut self, name: &str, effect: Effect, said: &mut String) -> Option<SubmitRequest> {
        let hello = HelloReply {
            cluster: CLUSTER.0,
            epoch: self.view.epoch.0,
            feature_level: self.feature_level,
            wall_ms: self.now.millis(),
            removed: false,
        };
        let machine = self.machines.get_mut(name).unwrap();
        let mut say = |text: String| {
            let _ = writeln!(said, "{name} {text}");
        };
        match effect {
            Effect::Draw => {
                let node = NodeId(machine.draws.pop().unwrap_or_else(|| {
                    self.next_id += 1;
                    self.next_id - 1
                }));
                say(format!("draws id {node}"));
                let seed = Zeroizing::new([u8::try_from(node.0).unwrap(); 32]);
                machine.inputs.push(Input::Drawn { node, seed });
            }
            Effect::Save(attempt) => {
                machine.disk = Found::Attempt(attempt);
                say("saves its attempt".to_owned());
                if !machine.meets(Trouble::CrashAfterSave, &mut say) {
                    machine.inputs.push(Input::Durable);
                }
            }
            Effect::Connect(address) if address.host() == "a" => {
                self.connections += 1;
                machine.exporter = [self.connections; 32];
                machine.inputs.push(Input::Connected {
                    exporter: machine.exporter,
                });
            }
            Effect::Connect(address) => {
                say(format!("dials {address} in vain"));
                machine.inputs.push(Input::Broken {
                    reason: "connection refused".to_owned(),
                });
            }
            Effect::SendHello => {
                say("says hello to a".to_owned());
                let now = self.now - machine.clock_behind;
                machine.inputs.push(Input::Hello { hello, now });
            }
            Effect::Submit(request) => {
                say(format!(
                    "asks to be admitted as node {:x}, {:?}",
                    request.node, request.name
                ));
                return Some(*request);
            }
            Effect::Rest(span) => {
                machine.patience = machine.patience.saturating_sub(1);
                say(format!("rests {:.1} s", span.as_secs_f64()));
                machine.inputs.push(if machine.patience == 0 {
                    Input::TimeIsUp { trouble: None }
                } else {
                    Input::Rested
                });
            }
            Effect::Store(membership) => {
                if machine.meets(Trouble::CrashBeforeStore, &mut say) {
                    return None;
                }
                machine.disk = Found::Member {
                    cluster: membership.view.cluster,
                    node: membership.node,
                };
                say(format!(
                    "stores certificate and view: {} members at index {}",
                    membership.view.members.len(),
                    membership.view.index
                ));
                machine.inputs.push(Input::Durable);
            }
            Effect::Forget => {
                machine.disk = Found::Nothing;
                say("forgets its attempt".to_owned());
            }
            Effect::Done(node) => say(format!("is node {node}")),
            Effect::Fail(failure) => say(format!("fails: {failure}")),
        }
        None
    }

    fn judge(&mut self, name: &str, request: &SubmitRequest) -> (Option<Inviter>, inviter::Effect) {
        let machine = &self.machines[name];
        let mut exporter = machine.exporter;
        if machine.troubles.contains(&Trouble::OtherExporter) {
            exporter[0] ^= 1;
        }
        let token = self
            .tokens
            .values()
            .filter_map(|(_, stored)| stored.as_ref())
            .find(|token| token.public_key == request.token_key);
        let facts = Facts {
            view: &self.view,
            token,
            highest: self.highest,
            now: self.now,
            feature_level: self.feature_level,
            leadership: self.leadership,
            signer: self.signer,
        };
        Inviter::begin(request, &exporter, &facts)
    }

    fn decide(&mut self, name: &str, request: &SubmitRequest, said: &mut String) -> SubmitReply {
        let (inviter, effect) = self.judge(name, request);
        self.conclude(name, inviter.as_ref(), effect, said)
    }

    fn conclude(
        &mut self,
        name: &str,
        inviter: Option<&Inviter>,
        mut effect: inviter::Effect,
        said: &mut String,
    ) -> SubmitReply {
        loop {
            effect = match effect {
                inviter::Effect::Reply(reply) => return *reply,
                inviter::Effect::Propose(admit) => {
                    let proposal = self.apply(&admit);
                    let token = TokenId::from_slice(&admit.token_id).unwrap();
                    let token = self
                        .tokens
                        .iter()
                        .find(|(_, (other, _))| other.id() == token)
                        .unwrap()
                        .0;
                    let _ = match &proposal {
                        Proposal::Admitted(member) => {
                            writeln!(
                                said,
                                "  a commits at {}: admit {name}, use {token}",
                                member.admitted_index
                            )
                        }
                        Proposal::Rejected(rejection) => writeln!(
                            said,
                            "  a applies the admission of {name} in vain: {rejection}"
                        ),
                        Proposal::Undecided => {
                            writeln!(said, "  a does not know what became of its proposal")
                        }
                    };
                    inviter.unwrap().proposed(proposal)
                }
                inviter::Effect::Sign { subject, key } => {
                    let _ = writeln!(
                        said,
                        "  a signs for node {}, admitted at {}",
                        subject.node, subject.admitted
                    );
                    let signed_at = self.now + self.signer_ahead;
                    let certificate = self
                        .authority
                        .issue_node(&subject, key, Serial::from_secret([2; 16]), signed_at)
                        .unwrap();
                    return *inviter
                        .unwrap()
                        .signed(Some(certificate.to_vec()), &self.view);
                }
            };
        }
    }

    /// What the replicated state does.
    fn apply(&mut self, admit: &store::MemberAdmit) -> Proposal {
        self.view.index.0 += 1;
        self.highest = self.highest.max(WallTime::from_millis(admit.at_ms));
        let asked = admit.member.clone().unwrap();
        let token = self
            .tokens
            .values_mut()
            .filter_map(|(_, stored)| stored.as_mut())
            .find(|token| token.id == admit.token_id);
        let Some(token) = token else {
            return Proposal::Rejected(Rejection::TokenUnknown);
        };
        if token.uses_left == 0 {
            return Proposal::Rejected(Rejection::TokenUsedUp);
        }
        token.uses_left -= 1;
        let member = store::Member {
            admitted_index: self.view.index.0,
            admitted_at_ms: admit.at_ms,
            ..asked
        };
        self.view.members.insert(NodeId(member.id), member.clone());
        Proposal::Admitted(member)
    }

    fn deliver(&mut self, name: &str, reply: SubmitReply, said: &mut String) {
        let machine = self.machines.get_mut(name).unwrap();
        let mut say = |text: String| {
            let _ = writeln!(said, "{name} {text}");
        };
        if machine.meets(Trouble::CrashAfterSubmit, &mut say) {
            return;
        }
        if machine.takes(Trouble::LoseAnswer) {
            say("loses the connection".to_owned());
            machine.inputs.push(Input::Broken {
                reason: "connection reset".to_owned(),
            });
            return;
        }
        let _ = match &reply.outcome {
            Some(Outcome::Admitted(_)) => writeln!(said, "  a answers {name}: admitted"),
            Some(Outcome::Refused(refused)) => {
                writeln!(said, "  a answers {name}: refused, {}", refused.text)
            }
            Some(Outcome::TryAgain(later)) => {
                writeln!(said, "  a answers {name}: try again, {}", later.text)
            }
            None => writeln!(said, "  a answers {name}: nothing"),
        };
        let now = self.now - machine.clock_behind;
        machine.inputs.push(Input::Answered { reply, now });
    }

    pub(crate) fn advance_time(&mut self, span: Duration) {
        self.now = self.now + span;
    }
}

impl Machine {
    fn takes(&mut self, trouble: Trouble) -> bool {
        let position = self.troubles.iter().position(|other| *other == trouble);
        position
            .map(|position| self.troubles.remove(position))
            .is_some()
    }

    fn meets(&mut self, crash: Trouble, say: &mut impl FnMut(String)) -> bool {
        let crashes = self.takes(crash);
        if crashes {
            say("crashes".to_owned());
            self.joiner = None;
            self.inputs.clear();
        }
        crashes
    }

    /// What is on its disk, in words.
    pub(crate) fn on_disk(&self) -> String {
        match &self.disk {
            Found::Nothing => "nothing".to_owned(),
            Found::Attempt(Attempt { cluster, node, .. }) => {
                format!("an attempt to join {cluster} as {node}")
            }
            Found::Member { cluster, node } => format!("node {node} of cluster {cluster}"),
        }
    }
}
