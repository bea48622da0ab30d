//! `quorate client-cert`: a key made here, and a certificate for it.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use quorate::proto::admin::ClientCertificateRequest;
use quorate::runtime::Runtime as _;
use quorate::runtime::tokio::TokioRuntime;
use quorate::tls::PrivateKey;
use quorate::tls::pem::{certificate_to_pem, key_to_pem};
use rustls::pki_types::CertificateDer;

use super::client::call;
use super::commands::{Target, span};
use crate::exit::{Context, Exit, Failure};
use crate::say::say;

/// The long help of `quorate client-cert`.
pub(crate) const ABOUT: &str = "\
Issue a certificate for a client of the etcd API on another machine.

Writes NAME.key, NAME.crt and ca.crt. The key is made here and goes nowhere. Use them so: etcdctl --endpoints https://HOST:2379 \
--cacert ca.crt --cert NAME.crt --key NAME.key get key

A client's certificate cannot be taken back: it is good until it expires. Give it the life (--ttl) that you would give a stolen key.";

/// `quorate client-cert`
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    target: Target,
    /// Whom the certificate is for.
    name: String,
    /// How long it is good for: a number with s, m, h or d behind it.
    #[arg(long, default_value = "365d", value_parser = span)]
    ttl: Duration,
    /// The directory for the three files.
    #[arg(long, default_value = ".", value_name = "DIR")]
    out: PathBuf,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let Arguments {
        target,
        name,
        ttl,
        out,
    } = arguments;
    let mut seed = [0; 32];
    TokioRuntime::secret(&mut seed);
    let key = PrivateKey::from_seed(seed);
    let request = ClientCertificateRequest {
        name: name.clone(),
        ttl_ms: u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX),
        public_key: key.public().spki().into(),
    };
    let issued = call(&target.data_dir, async |mut node| {
        Ok(node.issue_client_certificate(request).await?.into_inner())
    })?;
    let trusted = issued.trusted_cas.iter();
    let trusted = trusted.map(|ca| certificate_to_pem(&CertificateDer::from(ca.to_vec())));
    let certificate = certificate_to_pem(&CertificateDer::from(issued.certificate.to_vec()));
    fs::create_dir_all(out).context(Exit::Failed, out.display())?;
    let written = [
        write(out, &format!("{name}.key"), &key_to_pem(&key), 0o600)?,
        write(out, &format!("{name}.crt"), &certificate, 0o644)?,
        write(out, "ca.crt", &trusted.collect::<String>(), 0o644)?,
    ];
    for path in written {
        say!("{}", path.display());
    }
    Ok(())
}

/// A key is never written over another by accident: only its own certificates fit it.
fn write(directory: &Path, name: &str, content: &str, mode: u32) -> Result<PathBuf, Failure> {
    let path = directory.join(name);
    let mut options = OpenOptions::new();
    options.write(true).mode(mode);
    if mode == 0o600 {
        options.create_new(true);
    } else {
        options.create(true).truncate(true);
    }
    let mut file = options.open(&path).context(Exit::Failed, path.display())?;
    let written = file.write_all(content.as_bytes());
    written.context(Exit::Failed, path.display())?;
    Ok(path)
}
