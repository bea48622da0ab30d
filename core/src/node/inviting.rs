//! Tokens and admissions, as the leader decides them; any node may be asked.

use std::time::Duration;

use super::inner::Inner;
use super::leader::Decider;
use crate::ids::NodeId;
use crate::join::founder;
use crate::join::inviter::{Leadership, Proposal};
use crate::join::service::{Host, Known};
use crate::join::{Address, JoinLine, Token, TokenId, addresses};
use crate::membership::Signer;
use crate::proto::join::{RelayedSubmit, RoleWanted, SubmitReply};
use crate::proto::store::command::Body;
use crate::proto::store::{self, MemberAdmit, TokenAdd, TokenRevoke};
use crate::raft::proposer::ProposeError;
use crate::runtime::buggify::stumble;
use crate::runtime::{Instant, Runtime};
use crate::state::{FEATURE_LEVEL, Rejection, Response, StateError, SystemResponse};
use crate::tls::{NodeSubject, PublicKey, name};

/// The right to join that somebody is to get.
#[derive(Clone, Debug)]
pub struct Invitation {
    /// For how long, by the leader's clock.
    pub ttl: Duration,
    /// For how many nodes.
    pub uses: u32,
    /// What they may become.
    pub role: RoleWanted,
    /// The name that the node must have; empty for any.
    pub name: String,
}

/// Why nobody was invited, or a token not revoked.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// The cluster could not be asked, or did not answer in time.
    #[error(transparent)]
    Proposal(#[from] ProposeError),
    /// It refused.
    #[error("{0}")]
    Rejected(Rejection),
    /// The state cannot be read here.
    #[error(transparent)]
    State(#[from] StateError),
    /// No member has an address that can be dialled.
    #[error("no member of the cluster has an address that another machine could dial")]
    NoAddress,
    /// A certificate of a trusted authority cannot be read.
    #[error(transparent)]
    Tls(#[from] crate::tls::TlsError),
}

impl<R: Runtime> Inner<R> {
    /// Makes a token, keeps its public half in the cluster, and gives the line that holds the other half.
    ///
    /// # Errors
    /// When the cluster does not take the token, or no line can be made of what is known.
    pub async fn invite(
        &self,
        invitation: Invitation,
    ) -> Result<(JoinLine, store::Token), InviteError> {
        let token = Token::from_secret(*founder::key::<R>().seed());
        let at = R::wall();
        let stored = store::Token {
            id: token.id().0.to_vec().into(),
            public_key: token.public_key().0.to_vec().into(),
            uses_left: invitation.uses,
            expires_at_ms: (at + invitation.ttl).millis(),
            spare_only: invitation.role == RoleWanted::Spare,
            node_name: invitation.name,
            created_by: self.config().name.clone(),
        };
        let line = self.line(token)?;
        let add = TokenAdd {
            token: Some(stored.clone()),
            at_ms: at.millis(),
        };
        self.accepted(Body::TokenAdd(add)).await?;
        Ok((line, stored))
    }

    /// Takes a token back.
    ///
    /// # Errors
    /// When there is none of this id, or the cluster does not answer.
    pub async fn revoke(&self, id: TokenId) -> Result<(), InviteError> {
        let revoke = TokenRevoke {
            id: id.0.to_vec().into(),
        };
        self.accepted(Body::TokenRevoke(revoke)).await.map(drop)
    }

    /// Every token that is known here, used up and expired ones included.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub fn tokens(&self) -> Result<Vec<store::Token>, StateError> {
        match self.replica().committed() {
            Some(readers) => readers.with(|reader| crate::state::tokens(reader.connection())),
            None => Ok(Vec::new()),
        }
    }

    /// All addresses of this node first, for whoever reads the line stands next to it; then those of the others.
    fn line(&self, token: Token) -> Result<JoinLine, InviteError> {
        let view = self.newest_view();
        let me = self.who().node;
        let mut members: Vec<_> = view.members.values().collect();
        members.sort_by_key(|member| NodeId(member.id) != me);
        let mut all: Vec<Address> = Vec::new();
        for address in members
            .iter()
            .flat_map(|member| addresses(&member.peer_addresses))
        {
            if !all.contains(&address) {
                all.push(address);
            }
        }
        if all.is_empty() {
            return Err(InviteError::NoAddress);
        }
        let pins = view.trusted.iter();
        let pins = pins.map(|ca| name::public_key(ca).map(|key| key.hash()));
        Ok(JoinLine {
            addresses: all,
            token,
            cluster: view.cluster,
            pins: pins.collect::<Result<_, _>>()?,
        })
    }

    pub(super) async fn accepted(&self, body: Body) -> Result<SystemResponse, InviteError> {
        match self.replica().command(body).await? {
            Response::Rejected(rejection) => Err(InviteError::Rejected(rejection)),
            Response::System(answer) => Ok(answer),
            _ => Ok(SystemResponse::Done),
        }
    }

    /// Waits until the cluster's first command is applied. A newcomer admitted before it would be the only member in the
    /// table; the first node would find the table filled, never write itself down, and nobody would ever vote but it.
    async fn is_written_down(&self) -> bool {
        let deadline = R::now() + self.replica().timing().request_timeout();
        while !matches!(self.roster(), Ok(Some(_))) {
            if R::now() > deadline {
                return false;
            }
            R::sleep(self.replica().timing().heartbeat()).await;
        }
        true
    }
}

impl<R: Runtime> Host for Inner<R> {
    async fn look_up(&self, token: TokenId) -> Known {
        let leads = self.replica().leads();
        let highest = self.learn_members();
        let tokens = self.tokens().unwrap_or_default();
        Known {
            view: self.view().get(),
            token: tokens.into_iter().find(|stored| stored.id == token.0[..]),
            highest: highest.unwrap_or_else(R::wall),
            now: R::wall(),
            feature_level: FEATURE_LEVEL,
            leadership: if leads {
                Leadership::Here
            } else {
                Leadership::Elsewhere
            },
            signer: if self.authority().is_some() {
                Signer::Held
            } else {
                Signer::Missing
            },
        }
    }

    async fn propose(&self, admission: MemberAdmit) -> Proposal {
        if !self.is_written_down().await {
            return Proposal::Undecided;
        }
        stumble!(R, "buggify/join.judged");
        let answer = self.accepted(Body::MemberAdmit(admission)).await;
        stumble!(R, "buggify/join.admitted");
        match answer {
            Ok(SystemResponse::Admitted(member)) => Proposal::Admitted(member),
            Err(InviteError::Rejected(rejection)) => Proposal::Rejected(rejection),
            Ok(SystemResponse::Done) | Err(_) => Proposal::Undecided,
        }
    }

    async fn sign(&self, subject: NodeSubject, key: PublicKey) -> Option<Vec<u8>> {
        let signed = founder::sign::<R>(&self.authority()?, &subject, key);
        signed
            .inspect_err(|error| tracing::error!(%error, "a certificate could not be signed"))
            .ok()
    }

    async fn relay(&self, request: RelayedSubmit) -> Option<SubmitReply> {
        let Ok(Decider::There(mut leader)) = self.decider() else {
            return None;
        };
        let answer = leader.relay(self.in_time(request)).await;
        answer
            .inspect_err(|status| {
                tracing::info!(status = status.message(), "a join could not be relayed");
            })
            .ok()
            .map(tonic::Response::into_inner)
    }

    fn clock(&self) -> Instant {
        R::now()
    }
}
