//! What members ask of one another beside Raft: relayed joins, the signing key, new certificates.

use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::CertificateDer;
use tonic::{Request, Response, Status};

use super::inner::Inner;
use super::leader::Decider;
use crate::ids::NodeId;
use crate::join::founder;
use crate::join::service::decide_relayed;
use crate::membership::SaidOfLog;
use crate::proto::admin::{
    ClientCertificate, ClientCertificateRequest, Done, RemoveNodeRequest, StatusReply,
    StatusRequest,
};
use crate::proto::join::membership_client::MembershipClient;
use crate::proto::join::membership_server::Membership;
use crate::proto::join::{
    Described, Description, MemberView, RelayedSubmit, RenewReply, RenewRequest, SignerHandOver,
    SignerTaken, SubmitReply, ViewTaken,
};
use crate::raft::server::sender;
use crate::runtime::Runtime;
use crate::runtime::buggify::{fails, stumble};
use crate::tls::config::Credentials;
use crate::tls::validity::AUTHORITY_LIFE;
use crate::tls::{Authority, NodeSubject, PrivateKey, PublicKey, Validity, request};
use crate::transport::Channel;

/// The service of one node.
pub(super) struct MembershipService<R: Runtime> {
    node: Arc<Inner<R>>,
}

impl<R: Runtime> MembershipService<R> {
    pub(super) fn new(node: Arc<Inner<R>>) -> Self {
        Self { node }
    }
}

#[tonic::async_trait]
impl<R: Runtime> Membership for MembershipService<R> {
    async fn relay(
        &self,
        request: Request<RelayedSubmit>,
    ) -> Result<Response<SubmitReply>, Status> {
        let relayed = request.into_inner();
        Ok(Response::new(decide_relayed(&*self.node, relayed).await))
    }

    async fn renew(&self, request: Request<RenewRequest>) -> Result<Response<RenewReply>, Status> {
        let from = sender(&request)?;
        let csr = &request.get_ref().csr;
        let certificate = self.node.issue_again(from, csr)?;
        Ok(Response::new(RenewReply {
            certificate: certificate.into(),
        }))
    }

    async fn show(&self, request: Request<MemberView>) -> Result<Response<ViewTaken>, Status> {
        let view = crate::join::MemberView::from_message(request.into_inner())
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        if fails!(R, "buggify/view.not-taken") {
            return Err(Status::unavailable("as the run asks for"));
        }
        self.node.take_view(view);
        stumble!(R, "buggify/view.taken");
        Ok(Response::new(ViewTaken {
            holds_log: self.node.may_hold_log(),
        }))
    }

    async fn status(
        &self,
        _request: Request<StatusRequest>,
    ) -> Result<Response<StatusReply>, Status> {
        // Asked of a leader; one that has just stopped leading must not pass the question round in a circle.
        let status = self.node.own_status_reply();
        let status = status.ok_or_else(|| Status::unavailable("this node does not lead"))?;
        Ok(Response::new(status))
    }

    async fn remove(&self, request: Request<RemoveNodeRequest>) -> Result<Response<Done>, Status> {
        if self.node.own_status().is_none() {
            return Err(Status::unavailable("this node does not lead"));
        }
        self.node
            .remove_here(request.into_inner())
            .await
            .map(Response::new)
    }

    async fn issue_client_certificate(
        &self,
        request: Request<ClientCertificateRequest>,
    ) -> Result<Response<ClientCertificate>, Status> {
        self.node
            .client_certificate_here(request.get_ref())
            .map(Response::new)
    }

    async fn describe(&self, request: Request<Description>) -> Result<Response<Described>, Status> {
        let from = sender(&request)?;
        if self.node.own_status().is_none() {
            return Err(Status::unavailable("this node does not lead"));
        }
        self.node.describe_here(from, request.into_inner()).await?;
        Ok(Response::new(Described {}))
    }

    async fn hand_over_signer(
        &self,
        request: Request<SignerHandOver>,
    ) -> Result<Response<SignerTaken>, Status> {
        let from = sender(&request)?;
        self.node.take_signer(request.get_ref())?;
        tracing::info!(%from, "the cluster's signing key was taken over");
        Ok(Response::new(SignerTaken {}))
    }
}

impl<R: Runtime> Inner<R> {
    /// Signs a new certificate for a member, for the key that it was admitted with and no other.
    fn issue_again(&self, node: NodeId, csr: &[u8]) -> Result<Vec<u8>, Status> {
        let view = self.view().get();
        let key = request::check(csr, view.cluster, node)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let member = view.members.get(&node);
        let member = member.ok_or_else(|| Status::permission_denied("not a member"))?;
        if member.key_hash != key.hash().0[..] {
            return Err(Status::permission_denied(
                "a renewed certificate is for the key that the node was admitted with",
            ));
        }
        let authority = self.authority().ok_or_else(|| {
            Status::unavailable("this node does not hold the cluster's signing key")
        })?;
        founder::sign::<R>(&authority, &NodeSubject::of_member(member, view.epoch), key)
            .map_err(|error| Status::internal(error.to_string()))
    }

    /// A certificate for a client of the etcd API, signed here or by the leader.
    ///
    /// # Errors
    /// When the request makes no sense, or nobody can sign.
    pub async fn client_certificate(
        &self,
        request: ClientCertificateRequest,
    ) -> Result<ClientCertificate, Status> {
        self.refuse_as_spare()?;
        if self.authority().is_some() {
            return self.client_certificate_here(&request);
        }
        match self.decider()? {
            Decider::Here => self.client_certificate_here(&request),
            Decider::There(mut leader) => {
                let request = self.in_time(request);
                Ok(leader.issue_client_certificate(request).await?.into_inner())
            }
        }
    }

    fn client_certificate_here(
        &self,
        request: &ClientCertificateRequest,
    ) -> Result<ClientCertificate, Status> {
        let name = &request.name;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
        if name.is_empty() || name.len() > 63 || !name.bytes().all(plain) {
            return Err(Status::invalid_argument(
                "a client's name has 1 to 63 letters, digits, hyphens, dots and underscores",
            ));
        }
        let life = Duration::from_millis(request.ttl_ms);
        if life.is_zero() || life > AUTHORITY_LIFE {
            return Err(Status::invalid_argument(
                "a certificate is good for more than nothing, and for 20 years at most",
            ));
        }
        let key = PublicKey::from_spki(&request.public_key)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        let authority = self.authority().ok_or_else(|| {
            Status::unavailable("this node does not hold the cluster's signing key")
        })?;
        let validity = Validity::starting(R::wall(), life);
        let certificate = authority.issue_client(name, key, founder::serial::<R>(), validity);
        let certificate = certificate.map_err(|error| Status::internal(error.to_string()))?;
        tracing::info!(client = name, "a client's certificate was issued");
        let view = self.view().get();
        let trusted = view.trusted.iter().map(|ca| ca.to_vec().into());
        Ok(ClientCertificate {
            certificate: certificate.to_vec().into(),
            trusted_cas: trusted.collect(),
        })
    }

    /// Keeps a signing key, if it belongs to an authority that the cluster trusts.
    fn take_signer(&self, offered: &SignerHandOver) -> Result<(), Status> {
        let seed = <[u8; 32]>::try_from(&offered.seed[..])
            .map_err(|_| Status::invalid_argument("a signing key has 32 bytes"))?;
        let certificate = CertificateDer::from(offered.certificate.to_vec());
        let view = self.view().get();
        if !view.trusted.contains(&certificate) {
            return Err(Status::permission_denied(
                "the cluster does not trust this authority",
            ));
        }
        let authority = Authority::open(view.cluster, PrivateKey::from_seed(seed), certificate)
            .map_err(|error| Status::invalid_argument(error.to_string()))?;
        self.keep_authority(authority)
            .map_err(|error| Status::unavailable(format!("the key cannot be kept: {error}")))
    }

    /// Shows the member view as it is here to a member that does not receive the log, and says what the member then says of its own.
    ///
    /// # Errors
    /// When it does not answer.
    pub(crate) async fn show_view(&self, to: NodeId) -> Result<SaidOfLog, String> {
        let view = self.newest_view();
        let request = self.in_time(view.to_message());
        let shown = self.replica().peers().membership(to).show(request).await;
        let taken = shown.map_err(|status| status.message().to_owned())?;
        Ok(SaidOfLog {
            as_of: view.index.0,
            holds_log: taken.into_inner().holds_log,
        })
    }

    /// Lets a member that has just been removed know, over a connection that still stands. It is only a courtesy: nobody listens
    /// to the member any more, whether it knows or not.
    pub(crate) async fn say_farewell(&self, mut member: MembershipClient<Channel<R>>) {
        let mut request = Request::new(self.newest_view().to_message());
        request.set_timeout(self.replica().timing().heartbeat() * 4);
        drop(member.show(request).await);
    }

    /// Gives the signing key to a member that is about to vote.
    ///
    /// # Errors
    /// When the key is not here, or the member does not take it.
    pub(crate) async fn hand_over_signer(&self, to: NodeId) -> Result<(), String> {
        let authority = self
            .authority()
            .ok_or("this node does not hold the cluster's signing key")?;
        let request = self.in_time(SignerHandOver {
            seed: authority.key().seed().to_vec().into(),
            certificate: authority.certificate().to_vec().into(),
        });
        let peers = self.replica().peers();
        let taken = peers.membership(to).hand_over_signer(request).await;
        taken
            .map(drop)
            .map_err(|status| status.message().to_owned())
    }

    /// Renews this node's certificate if it is time to: signed here if the key is here, else by the leader.
    pub(super) async fn renew_if_due(&self) -> Result<(), String> {
        let validity = self.replica().peers().tls().validity();
        if validity.needs_renewal(R::wall()) {
            self.renew().await
        } else {
            Ok(())
        }
    }

    /// Asks for a new certificate for the same key: for a further year, and for the addresses that the member table has now.
    pub(super) async fn renew(&self) -> Result<(), String> {
        let tls = self.replica().peers().tls();
        let kept = self.files().read().map_err(|error| error.to_string())?;
        let kept = kept.ok_or("the node's identity is not on its disk")?;
        let (key, me) = (kept.credentials.key().clone(), self.who());
        let csr = request::create(&key, me.cluster, me.node).map_err(|error| error.to_string())?;
        let certificate = match self.issue_again(me.node, &csr) {
            Ok(certificate) => certificate,
            Err(_) => self.ask_leader_to_renew(csr).await?,
        };
        let certificate = CertificateDer::from(certificate);
        let validity = Validity::of(&certificate).map_err(|error| error.to_string())?;
        // The old one is good still, and this one would be refused by everybody.
        if let Some(why) = validity.not_good_yet(R::wall()) {
            return Err(why);
        }
        let view = self.view().get();
        let issuer = crate::tls::name::issuer_among(&certificate, &view.trusted);
        let issuer = issuer.ok_or("the certificate is of no authority that is trusted")?;
        let credentials = Credentials::new(key, certificate, issuer.clone())
            .map_err(|error| error.to_string())?;
        self.files()
            .keep_certificate(&credentials)
            .map_err(|error| error.to_string())?;
        tls.renew(credentials).map_err(|error| error.to_string())?;
        tracing::info!("the node's certificate was renewed");
        Ok(())
    }

    async fn ask_leader_to_renew(&self, csr: Vec<u8>) -> Result<Vec<u8>, String> {
        let Ok(Decider::There(mut leader)) = self.decider() else {
            return Err("no other node leads".to_owned());
        };
        let request = self.in_time(RenewRequest { csr: csr.into() });
        let reply = leader.renew(request).await;
        let reply = reply.map_err(|status| status.message().to_owned())?;
        Ok(reply.into_inner().certificate.to_vec())
    }
}
