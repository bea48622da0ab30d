//! Keys and certificates as text, so that openssl, etcdctl and people can read the files.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use rustls::pki_types::CertificateDer;
use zeroize::Zeroizing;

use super::TlsError;
use super::key::PrivateKey;

const CERTIFICATE: &str = "CERTIFICATE";
const PRIVATE_KEY: &str = "PRIVATE KEY";
const LINE: usize = 64;

/// A certificate.
#[must_use]
pub fn certificate_to_pem(certificate: &CertificateDer<'_>) -> String {
    write(CERTIFICATE, certificate)
}

/// Every certificate in a text, in order; there is at least one.
pub fn certificates_from_pem(text: &str) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let malformed = || TlsError::Malformed {
        what: "PEM certificate",
    };
    let blocks = read(CERTIFICATE, text).ok_or_else(malformed)?;
    if blocks.is_empty() {
        return Err(malformed());
    }
    Ok(blocks
        .into_iter()
        .map(|block| CertificateDer::from(block.to_vec()))
        .collect())
}

/// A private key, PKCS#8.
#[must_use]
pub fn key_to_pem(key: &PrivateKey) -> Zeroizing<String> {
    Zeroizing::new(write(PRIVATE_KEY, key.to_pkcs8().secret_der()))
}

/// The first private key in a text.
pub fn key_from_pem(text: &str) -> Result<PrivateKey, TlsError> {
    let malformed = || TlsError::Malformed {
        what: "PEM private key",
    };
    let blocks = read(PRIVATE_KEY, text).ok_or_else(malformed)?;
    PrivateKey::from_pkcs8(blocks.first().ok_or_else(malformed)?)
}

fn write(label: &str, der: &[u8]) -> String {
    let encoded = Zeroizing::new(BASE64.encode(der));
    let lines: Vec<&str> = encoded
        .as_bytes()
        .chunks(LINE)
        .map(|line| std::str::from_utf8(line).expect("base64 is ASCII"))
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

/// The blocks with this label; `None` when one of them does not end or cannot be decoded.
fn read(label: &str, text: &str) -> Option<Vec<Zeroizing<Vec<u8>>>> {
    let (begin, end) = (
        format!("-----BEGIN {label}-----"),
        format!("-----END {label}-----"),
    );
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some((_, after)) = rest.split_once(&begin) {
        let (body, after) = after.split_once(&end)?;
        let encoded: Zeroizing<String> = Zeroizing::new(body.split_whitespace().collect());
        blocks.push(Zeroizing::new(BASE64.decode(encoded.as_bytes()).ok()?));
        rest = after;
    }
    Some(blocks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_and_certificates_come_back() {
        let key = PrivateKey::from_seed([3; 32]);
        assert_eq!(
            key_from_pem(&key_to_pem(&key)).unwrap().public(),
            key.public()
        );
        let certificates: Vec<CertificateDer<'static>> = [vec![1; 200], vec![2; 48]]
            .map(CertificateDer::from)
            .to_vec();
        let text: String = certificates.iter().map(certificate_to_pem).collect();
        assert_eq!(certificates_from_pem(&text).unwrap(), certificates);
    }

    #[test]
    fn what_is_cut_off_or_empty_is_refused() {
        let text = certificate_to_pem(&CertificateDer::from(vec![1; 200]));
        assert!(certificates_from_pem(&text[..text.len() - 10]).is_err());
        assert!(certificates_from_pem("").is_err());
        assert!(key_from_pem(&text).is_err());
    }
}
