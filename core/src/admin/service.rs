//! The calls of an operator, over a node.

use std::sync::Arc;
use std::time::Duration;

use tonic::{Request, Response, Status};

use crate::join::TokenId;
use crate::node::{Inner, Invitation, InviteError};
use crate::proto::admin::admin_server::Admin;
use crate::proto::admin::{
    AddNodeReply, AddNodeRequest, ClientCertificate, ClientCertificateRequest, Done, LeaveRequest,
    ListTokensReply, ListTokensRequest, RemoveNodeRequest, RevokeTokenRequest,
    SetFailureDomainRequest, StatusReply, StatusRequest, TokenEntry,
};
use crate::proto::join::RoleWanted;
use crate::proto::store::Token;
use crate::raft::proposer::ProposeError;
use crate::runtime::Runtime;

/// A token that lives longer is a password.
const LONGEST_TTL: Duration = Duration::from_secs(30 * 24 * 3600);
/// More nodes than a cluster has.
const MOST_USES: u32 = 1_000;

/// Serves an operator.
pub struct AdminService<R: Runtime> {
    node: Arc<Inner<R>>,
}

impl<R: Runtime> AdminService<R> {
    /// Over this node.
    #[must_use]
    pub fn new(node: Arc<Inner<R>>) -> Self {
        Self { node }
    }
}

#[tonic::async_trait]
impl<R: Runtime> Admin for AdminService<R> {
    async fn status(
        &self,
        _request: Request<StatusRequest>,
    ) -> Result<Response<StatusReply>, Status> {
        self.node.status().await.map(Response::new)
    }

    async fn add_node(
        &self,
        request: Request<AddNodeRequest>,
    ) -> Result<Response<AddNodeReply>, Status> {
        self.node.refuse_as_spare()?;
        let asked = request.into_inner();
        let ttl = Duration::from_millis(asked.ttl_ms);
        if ttl.is_zero() || ttl > LONGEST_TTL {
            return Err(Status::invalid_argument(
                "a token lives for more than nothing and for 30 days at most",
            ));
        }
        if asked.uses == 0 || asked.uses > MOST_USES {
            return Err(Status::invalid_argument("a token has 1 to 1000 uses"));
        }
        let role = if asked.spare_only {
            RoleWanted::Spare
        } else {
            RoleWanted::Any
        };
        let invitation = Invitation {
            ttl,
            uses: asked.uses,
            role,
            name: asked.name,
        };
        let (line, token) = self.node.invite(invitation).await.map_err(refusal)?;
        let alternatives = line.addresses.iter();
        let alternatives = alternatives.map(|address| line.only(address).encode());
        Ok(Response::new(AddNodeReply {
            line: line.encode(),
            token_id: line.token.id().to_string(),
            expires_at_ms: token.expires_at_ms,
            uses: token.uses_left,
            alternatives: alternatives.collect(),
            addresses: line.addresses.iter().map(ToString::to_string).collect(),
        }))
    }

    async fn list_tokens(
        &self,
        _request: Request<ListTokensRequest>,
    ) -> Result<Response<ListTokensReply>, Status> {
        self.node.refuse_as_spare()?;
        let tokens = self.node.tokens();
        let tokens = tokens.map_err(|error| Status::unavailable(error.to_string()))?;
        Ok(Response::new(ListTokensReply {
            tokens: tokens.into_iter().map(entry).collect(),
        }))
    }

    async fn remove_node(
        &self,
        request: Request<RemoveNodeRequest>,
    ) -> Result<Response<Done>, Status> {
        self.node
            .remove(request.into_inner())
            .await
            .map(Response::new)
    }

    async fn issue_client_certificate(
        &self,
        request: Request<ClientCertificateRequest>,
    ) -> Result<Response<ClientCertificate>, Status> {
        self.node
            .client_certificate(request.into_inner())
            .await
            .map(Response::new)
    }

    async fn leave(&self, _request: Request<LeaveRequest>) -> Result<Response<Done>, Status> {
        self.node.leave().await.map(Response::new)
    }

    async fn set_failure_domain(
        &self,
        request: Request<SetFailureDomainRequest>,
    ) -> Result<Response<Done>, Status> {
        let domain = request.into_inner().failure_domain;
        self.node.set_failure_domain(domain.clone()).await?;
        Ok(Response::new(Done {
            text: format!("this node's failure domain is {domain:?} from now on"),
        }))
    }

    async fn revoke_token(
        &self,
        request: Request<RevokeTokenRequest>,
    ) -> Result<Response<Done>, Status> {
        self.node.refuse_as_spare()?;
        let typed = request.into_inner().id;
        let id = TokenId::parse(&typed).ok_or_else(|| {
            Status::invalid_argument(format!(
                "{typed:?} is not a token's id: 16 hexadecimal digits"
            ))
        })?;
        self.node.revoke(id).await.map_err(refusal)?;
        Ok(Response::new(Done {
            text: format!("token {id} is revoked"),
        }))
    }
}

fn entry(token: Token) -> TokenEntry {
    TokenEntry {
        id: TokenId::from_slice(&token.id).map_or_else(String::new, |id| id.to_string()),
        uses_left: token.uses_left,
        expires_at_ms: token.expires_at_ms,
        spare_only: token.spare_only,
        name: token.node_name,
        created_by: token.created_by,
    }
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "the shape that map_err wants"
)]
fn refusal(error: InviteError) -> Status {
    let text = error.to_string();
    match error {
        InviteError::Proposal(ProposeError::Unknown) => {
            Status::unknown("the cluster did not answer in time: it may or may not be done")
        }
        InviteError::Proposal(_) => Status::unavailable(text),
        InviteError::Rejected(_) | InviteError::NoAddress => Status::failed_precondition(text),
        InviteError::State(_) | InviteError::Tls(_) => Status::internal(text),
    }
}
