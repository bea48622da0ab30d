//! What a join leaves on the disk, file by file.
//!
//! ```text
//! join-attempt.json   the id and key of a join that has not ended; gone when it has
//! node.key            the node's private key (PEM, 0600)
//! node.crt            its certificate, and that of the CA which issued it (PEM)
//! members.view        the newest member view that it has seen
//! ca.key, ca.crt      the cluster's signing key (0600) and its certificate, on voters only
//! ```
//!
//! The view is written last: a directory that has one has a usable identity.

use std::io;
use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::joiner::{Attempt, Found, Membership};
use super::view::MemberView;
use crate::ids::{ClusterId, NodeId};
use crate::runtime::{self, Access, Disk};
use crate::tls::config::Credentials;
use crate::tls::pem::{certificate_to_pem, certificates_from_pem, key_from_pem, key_to_pem};
use crate::tls::{Authority, PeerIdentity, name};

const ATTEMPT: &str = "join-attempt.json";
const KEY: &str = "node.key";
const CERTIFICATE: &str = "node.crt";
const VIEW: &str = "members.view";
const SIGNER_KEY: &str = "ca.key";
const SIGNER_CERTIFICATE: &str = "ca.crt";

/// The files of a node's identity, in its data directory.
#[derive(Clone, Debug)]
pub struct IdentityFiles<D> {
    disk: D,
    directory: PathBuf,
}

/// As the attempt stands in its file; numbers are strings, because JSON's own lose the last digits of 64 bits.
#[derive(serde::Serialize, serde::Deserialize)]
struct AttemptFile {
    cluster: String,
    node: String,
    seed: [u8; 32],
}

/// Who the node is, and what it knew of the others when it last ran.
#[derive(Clone, Debug)]
pub struct KeptIdentity {
    /// Key and certificates.
    pub credentials: Credentials,
    /// The newest view that was kept.
    pub view: MemberView,
}

impl<D: Disk> IdentityFiles<D> {
    /// The files below `directory`.
    #[must_use]
    pub fn new(disk: D, directory: &Path) -> Self {
        Self {
            disk,
            directory: directory.to_owned(),
        }
    }

    /// What a join would find here.
    ///
    /// # Errors
    /// When a file cannot be read, or is not what it should be.
    pub fn found(&self) -> io::Result<Found> {
        if let Some(kept) = self.read()? {
            let identity = PeerIdentity::from_certificate(kept.credentials.certificate())
                .map_err(io::Error::other)?;
            return Ok(Found::Member {
                cluster: identity.cluster,
                node: identity.node,
            });
        }
        match self.disk.read(&self.path(ATTEMPT))? {
            None => Ok(Found::Nothing),
            Some(bytes) => {
                let bytes = Zeroizing::new(bytes);
                let file: AttemptFile =
                    serde_json::from_slice(&bytes).map_err(|_| damaged(ATTEMPT))?;
                let number =
                    |text: &str| u64::from_str_radix(text, 16).map_err(|_| damaged(ATTEMPT));
                let cluster = ClusterId(number(&file.cluster)?);
                let node = NodeId(number(&file.node)?);
                Ok(Found::Attempt(Attempt {
                    cluster,
                    node,
                    seed: Zeroizing::new(file.seed),
                }))
            }
        }
    }

    /// Keeps an attempt.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, attempt: &Attempt) -> io::Result<()> {
        self.disk.create_directory(&self.directory)?;
        let file = AttemptFile {
            cluster: attempt.cluster.to_string(),
            node: attempt.node.to_string(),
            seed: *attempt.seed,
        };
        let bytes = Zeroizing::new(serde_json::to_vec(&file).expect("strings and bytes are JSON"));
        self.disk
            .write(&self.path(ATTEMPT), &bytes, Access::Private)
    }

    /// Keeps a membership, and forgets the attempt that led to it.
    ///
    /// # Errors
    /// When it cannot be written; then the attempt is still there.
    pub fn store(&self, membership: &Membership) -> io::Result<()> {
        self.disk.create_directory(&self.directory)?;
        let issuer = name::issuer_among(&membership.certificate, &membership.view.trusted);
        let issuer = issuer
            .ok_or_else(|| io::Error::other("the certificate is of no CA that is trusted"))?;
        let chain = certificate_to_pem(&membership.certificate) + &certificate_to_pem(issuer);
        self.disk.write(
            &self.path(KEY),
            key_to_pem(&membership.key).as_bytes(),
            Access::Private,
        )?;
        self.disk
            .write(&self.path(CERTIFICATE), chain.as_bytes(), Access::Public)?;
        self.keep_view(&membership.view)?;
        self.forget()
    }

    /// Keeps a newer view.
    ///
    /// # Errors
    /// When it cannot be written; then the older one stands.
    pub fn keep_view(&self, view: &MemberView) -> io::Result<()> {
        self.disk
            .write(&self.path(VIEW), &view.encode(), Access::Public)
    }

    /// Keeps a renewed certificate.
    ///
    /// # Errors
    /// When it cannot be written; then the older one stands.
    pub fn keep_certificate(&self, credentials: &Credentials) -> io::Result<()> {
        let chain = certificate_to_pem(credentials.certificate())
            + &certificate_to_pem(credentials.authority());
        self.disk
            .write(&self.path(CERTIFICATE), chain.as_bytes(), Access::Public)
    }

    /// Forgets an attempt; nothing happens when there is none.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn forget(&self) -> io::Result<()> {
        self.disk.remove(&self.path(ATTEMPT))
    }

    /// Removes all of it but the signing key, the view first, so that what is left of it is taken for nothing; then the
    /// directory.
    ///
    /// # Errors
    /// When a file cannot be removed, or something else is in the directory.
    pub fn clear(&self) -> io::Result<()> {
        if self.disk.find(&self.directory)? == runtime::Found::Nothing {
            return Ok(());
        }
        for file in [VIEW, ATTEMPT, KEY, CERTIFICATE] {
            self.disk.remove(&self.path(file))?;
        }
        self.disk.remove_directory(&self.directory)
    }

    /// Who the node is; none when it is not a member of anything.
    ///
    /// # Errors
    /// When a file cannot be read, or is not what it should be.
    pub fn read(&self) -> io::Result<Option<KeptIdentity>> {
        let Some(view) = self.disk.read(&self.path(VIEW))? else {
            return Ok(None);
        };
        let view = MemberView::decode(&view).map_err(|_| damaged(VIEW))?;
        let key = key_from_pem(&self.text(KEY)?).map_err(|_| damaged(KEY))?;
        let chain =
            certificates_from_pem(&self.text(CERTIFICATE)?).map_err(|_| damaged(CERTIFICATE))?;
        let [certificate, authority] =
            <[_; 2]>::try_from(chain).map_err(|_| damaged(CERTIFICATE))?;
        let credentials =
            Credentials::new(key, certificate, authority).map_err(io::Error::other)?;
        Ok(Some(KeptIdentity { credentials, view }))
    }

    /// Keeps the cluster's signing key, as a node that may come to lead.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn keep_signer(&self, authority: &Authority) -> io::Result<()> {
        let certificate = certificate_to_pem(authority.certificate());
        self.disk.write(
            &self.path(SIGNER_CERTIFICATE),
            certificate.as_bytes(),
            Access::Public,
        )?;
        self.disk.write(
            &self.path(SIGNER_KEY),
            key_to_pem(authority.key()).as_bytes(),
            Access::Private,
        )
    }

    /// The cluster's signing key, if it is here.
    ///
    /// # Errors
    /// When a file cannot be read, or is not what it should be.
    pub fn signer(&self, cluster: ClusterId) -> io::Result<Option<Authority>> {
        if self.disk.read(&self.path(SIGNER_KEY))?.is_none() {
            return Ok(None);
        }
        let key = key_from_pem(&self.text(SIGNER_KEY)?).map_err(|_| damaged(SIGNER_KEY))?;
        let chain = certificates_from_pem(&self.text(SIGNER_CERTIFICATE)?)
            .map_err(|_| damaged(SIGNER_CERTIFICATE))?;
        let certificate = chain
            .into_iter()
            .next()
            .ok_or_else(|| damaged(SIGNER_CERTIFICATE))?;
        Authority::open(cluster, key, certificate)
            .map(Some)
            .map_err(io::Error::other)
    }

    /// Deletes the signing key: the node does not vote any more. Copies that somebody made of it remain; the answer to a stolen
    /// key is another CA.
    ///
    /// # Errors
    /// When it is there and cannot be removed.
    pub fn forget_signer(&self) -> io::Result<()> {
        self.disk.remove(&self.path(SIGNER_KEY))
    }

    fn text(&self, file: &'static str) -> io::Result<Zeroizing<String>> {
        let bytes = self
            .disk
            .read(&self.path(file))?
            .ok_or_else(|| damaged(file))?;
        String::from_utf8(bytes)
            .map(Zeroizing::new)
            .map_err(|_| damaged(file))
    }

    fn path(&self, file: &str) -> PathBuf {
        self.directory.join(file)
    }
}

fn damaged(file: &str) -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("{file} is missing or damaged: restore it, or wipe the directory and join anew"),
    )
}
