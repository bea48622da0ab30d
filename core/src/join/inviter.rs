//! The inviting side: what the leader decides about one request to join, as a pure machine.
//!
//! The token is consumed in the same replicated command that admits the member, and the state machine judges it again when that
//! command is applied: two requests with one single-use token at the same instant are decided by their order in the log. What is
//! checked here before proposing only spares the log what is hopeless, and finds the words. The certificate is signed after
//! the admission has committed, and signing again for the same node and key is harmless, so every step can be repeated.

use super::address::{MOST_ADDRESSES, may_be_claimed};
use super::token::{Claim, TokenId};
use super::view::MemberView;
use crate::ids::{ClusterId, Epoch, NodeId};
use crate::membership::Signer;
use crate::proto::join::{
    Admitted, Refusal, Refused, RoleWanted, SubmitReply, SubmitRequest, TryAgain,
    submit_reply::Outcome,
};
use crate::proto::store::{Member, MemberAdmit, Role, Token};
use crate::runtime::WallTime;
use crate::state::Rejection;
use crate::tls::peer::stored_hash;
use crate::tls::secure::Exporter;
use crate::tls::{NodeSubject, PublicKey, request};

/// How long a joiner rests when there is nobody to decide.
const PAUSE_MS: u64 = 500;
pub(super) const LONGEST_NAME: usize = 63;

/// Whether this node decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leadership {
    /// It leads.
    Here,
    /// Another does, or nobody.
    Elsewhere,
}

/// What the decision rests on.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// Members, tombstones, cluster, epoch.
    pub view: &'a MemberView,
    /// The token that the request's key belongs to, if there is one.
    pub token: Option<&'a Token>,
    /// The highest wall time that was ever replicated.
    pub highest: WallTime,
    /// This node's wall clock.
    pub now: WallTime,
    /// What a member must understand.
    pub feature_level: u32,
    /// Whether this node decides.
    pub leadership: Leadership,
    /// Whether it can sign.
    pub signer: Signer,
}

/// What came of the proposal.
#[derive(Clone, Debug)]
pub enum Proposal {
    /// Applied: the node is a member, now or since an earlier request.
    Admitted(Member),
    /// Applied, and refused by the state machine.
    Rejected(Rejection),
    /// Not known, or not proposed: the joiner asks again and learns.
    Undecided,
}

/// What to do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Propose this command, and come back with what came of it.
    Propose(Box<MemberAdmit>),
    /// Sign a certificate, and come back with it and the present view.
    Sign {
        /// For whom.
        subject: NodeSubject,
        /// For this key.
        key: PublicKey,
    },
    /// Answer, and be done.
    Reply(Box<SubmitReply>),
}

/// One request being decided.
#[derive(Debug)]
pub struct Inviter {
    cluster: ClusterId,
    epoch: Epoch,
    node: NodeId,
    key: PublicKey,
}

impl Inviter {
    /// Looks at a request that came by a connection with this exporter. Nothing has been changed if there is a reply at once.
    pub fn begin(
        request: &SubmitRequest,
        exporter: &Exporter,
        facts: &Facts<'_>,
    ) -> (Option<Self>, Effect) {
        match Self::check(request, exporter, facts) {
            Err(reply) => (None, Effect::Reply(reply)),
            Ok(inviter) => {
                let known = facts.view.members.get(&inviter.node);
                let effect = match known {
                    Some(member) => inviter.sign(member),
                    None => Effect::Propose(Box::new(inviter.admission(request, facts))),
                };
                (Some(inviter), effect)
            }
        }
    }

    /// Goes on when the proposal has come to something.
    pub fn proposed(&self, proposal: Proposal) -> Effect {
        match proposal {
            Proposal::Admitted(member) => self.sign(&member),
            Proposal::Rejected(rejection) => {
                let (why, text) = words(&rejection);
                Effect::Reply(refused(why, text))
            }
            Proposal::Undecided => Effect::Reply(try_again("the cluster did not decide in time")),
        }
    }

    /// Answers with what was signed; `None` when it could not be.
    pub fn signed(&self, certificate: Option<Vec<u8>>, view: &MemberView) -> Box<SubmitReply> {
        match certificate {
            Some(certificate) => {
                let admitted = Admitted {
                    certificate: certificate.into(),
                    view: Some(view.to_message()),
                };
                answer(Outcome::Admitted(admitted))
            }
            None => try_again("the leader does not hold the signing key yet"),
        }
    }

    fn check(
        request: &SubmitRequest,
        exporter: &Exporter,
        facts: &Facts<'_>,
    ) -> Result<Self, Box<SubmitReply>> {
        let view = facts.view;
        if request.cluster != view.cluster.0 {
            return Err(refused(
                Refusal::WrongCluster,
                "the join line is for another cluster",
            ));
        }
        if facts.leadership == Leadership::Elsewhere {
            return Err(try_again("this member does not lead"));
        }
        if request.epoch != view.epoch.0 {
            return Err(refused(
                Refusal::WrongEpoch,
                "the cluster has been recovered since: ask for a new join line",
            ));
        }
        let node = NodeId(request.node);
        if view.tombstones.contains_key(&node) {
            return Err(refused(
                Refusal::NodeRemoved,
                "this node was removed from the cluster: join with --wipe, as a new one",
            ));
        }
        check_shape(request).map_err(|text| refused(Refusal::BadRequest, text))?;
        let key = request::check(&request.csr, view.cluster, node)
            .map_err(|error| refused(Refusal::BadRequest, &error.to_string()))?;
        let role = RoleWanted::try_from(request.role)
            .map_err(|_| refused(Refusal::BadRequest, "it asks for an unknown role"))?;
        let claim = Claim {
            cluster: view.cluster,
            exporter,
            csr: &request.csr,
            node,
            role,
        };
        let token_key = PublicKey::from_slice(&request.token_key).ok();
        let proven = token_key.filter(|key| claim.is_proven(key, &request.proof));
        let Some(token_key) = proven else {
            return Err(refused(
                Refusal::BadProof,
                "the proof does not fit the request: somebody may stand between",
            ));
        };
        if facts.feature_level > request.feature_level {
            return Err(refused(
                Refusal::FeatureLevel,
                "the node is too old for this cluster: upgrade it first",
            ));
        }
        let inviter = Self {
            cluster: view.cluster,
            epoch: view.epoch,
            node,
            key,
        };
        match view.members.get(&node) {
            // Asked before, and the answer was lost on the way: whatever became of the token, the same answer again.
            Some(member) if member.key_hash == stored_hash(key.hash()) => {}
            Some(_) => return Err(refused(Refusal::IdTaken, "the node id is taken")),
            None => {
                // The token first: whoever has none learns nothing of the members' names.
                check_token(&token_key, role, &request.name, facts)?;
                check_name(&request.name, view)?;
            }
        }
        if facts.signer == Signer::Missing {
            return Err(try_again("the leader does not hold the signing key yet"));
        }
        Ok(inviter)
    }

    fn admission(&self, request: &SubmitRequest, facts: &Facts<'_>) -> MemberAdmit {
        let token_key =
            PublicKey::from_slice(&request.token_key).expect("its signature was verified");
        let member = Member {
            id: self.node.0,
            name: request.name.clone(),
            role: Role::Spare.into(),
            peer_addresses: request.peer_addresses.clone(),
            client_addresses: request.client_addresses.clone(),
            failure_domain: request.failure_domain.clone(),
            feature_level: request.feature_level,
            key_hash: stored_hash(self.key.hash()),
            spare_only: request.role == i32::from(RoleWanted::Spare),
            ..Member::default()
        };
        MemberAdmit {
            member: Some(member),
            token_id: TokenId::of(&token_key).0.to_vec().into(),
            at_ms: facts.now.max(facts.highest).millis(),
        }
    }

    fn sign(&self, member: &Member) -> Effect {
        let subject = NodeSubject::of_member(member, self.epoch);
        Effect::Sign {
            subject,
            key: self.key,
        }
    }

    /// The cluster that is joined.
    #[must_use]
    pub fn cluster(&self) -> ClusterId {
        self.cluster
    }
}

fn check_shape(request: &SubmitRequest) -> Result<(), &'static str> {
    if request.node == 0 {
        return Err("a node id is never zero");
    }
    let name = &request.name;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
    if name.is_empty() || name.len() > LONGEST_NAME || !name.bytes().all(plain) {
        return Err("a name has 1 to 63 letters, digits, hyphens, dots and underscores");
    }
    if request.failure_domain.len() > LONGEST_NAME
        || request.failure_domain.chars().any(char::is_control)
    {
        return Err("a failure domain has up to 63 characters");
    }
    let addresses = || {
        request
            .peer_addresses
            .iter()
            .chain(&request.client_addresses)
    };
    if request.peer_addresses.is_empty() || addresses().count() > MOST_ADDRESSES {
        return Err("a node has at least one address for its peers, and 16 at most in all");
    }
    if !addresses().all(|address| may_be_claimed(address)) {
        return Err("an address cannot be used");
    }
    Ok(())
}

fn check_name(name: &str, view: &MemberView) -> Result<(), Box<SubmitReply>> {
    if view.members.values().any(|member| member.name == name) {
        return Err(refused(
            Refusal::NameTaken,
            &format!("the name {name:?} is taken: choose another with --name"),
        ));
    }
    Ok(())
}

fn check_token(
    key: &PublicKey,
    role: RoleWanted,
    name: &str,
    facts: &Facts<'_>,
) -> Result<(), Box<SubmitReply>> {
    let Some(token) = facts.token.filter(|token| token.public_key[..] == key.0) else {
        return Err(refused(
            Refusal::TokenUnknown,
            "the token is unknown: it was revoked, or expired long ago",
        ));
    };
    if token.expires_at_ms <= facts.now.max(facts.highest).millis() {
        return Err(refused(Refusal::TokenExpired, "the token has expired"));
    }
    if token.uses_left == 0 {
        return Err(refused(Refusal::TokenUsed, "the token has been used up"));
    }
    if token.spare_only && role != RoleWanted::Spare {
        return Err(refused(
            Refusal::TokenScope,
            "the token is for spares only: join with --role spare",
        ));
    }
    if !token.node_name.is_empty() && token.node_name != name {
        return Err(refused(
            Refusal::TokenScope,
            "the token is for a node of another name",
        ));
    }
    Ok(())
}

fn words(rejection: &Rejection) -> (Refusal, &'static str) {
    match rejection {
        Rejection::TokenExpired => (Refusal::TokenExpired, "the token has expired"),
        Rejection::TokenUsedUp => (Refusal::TokenUsed, "the token has been used up"),
        Rejection::TokenUnknown => (
            Refusal::TokenUnknown,
            "the token is unknown: it was revoked, or expired long ago",
        ),
        Rejection::TokenForAnother => (
            Refusal::TokenScope,
            "the token is for a node of another name",
        ),
        Rejection::MemberIdUsed => (Refusal::IdTaken, "the node id is taken"),
        Rejection::MemberNameTaken => (
            Refusal::NameTaken,
            "the name is taken: choose another with --name",
        ),
        _ => (
            Refusal::BadRequest,
            "the cluster's state refused the admission",
        ),
    }
}

fn refused(why: Refusal, text: &str) -> Box<SubmitReply> {
    answer(Outcome::Refused(Refused {
        why: why.into(),
        text: text.to_owned(),
    }))
}

/// Nothing was decided: the joiner asks again.
#[must_use]
pub fn try_again(text: &str) -> Box<SubmitReply> {
    answer(Outcome::TryAgain(TryAgain {
        text: text.to_owned(),
        after_ms: PAUSE_MS,
    }))
}

fn answer(outcome: Outcome) -> Box<SubmitReply> {
    Box::new(SubmitReply {
        outcome: Some(outcome),
    })
}
