//! Where a node can be reached: `host:port`.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::tls::name::is_reserved;

/// Addresses that a node may have, for peers and clients together.
pub(crate) const MOST_ADDRESSES: usize = 16;

/// An address that can be dialled. The host is a DNS name, an IPv4 address or an IPv6 address in brackets; it is not resolved here,
/// and need not be resolvable by anybody but those who dial it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Address(String);

/// What is wrong with an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// There is only a host.
    #[error("{0:?} has no port")]
    NoPort(String),
    /// The port is not one that can be dialled.
    #[error("{0:?} has no usable port: one of 1 to 65535 is needed")]
    Port(String),
    /// The host is neither a name nor an IP address.
    #[error("{0:?} has no usable host")]
    Host(String),
}

impl Address {
    /// Checks `host:port`.
    pub fn parse(text: &str) -> Result<Self, AddressError> {
        let (host, port) = text
            .rsplit_once(':')
            .ok_or_else(|| AddressError::NoPort(text.to_owned()))?;
        let digits = !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
        match port.parse::<u16>() {
            Ok(number) if digits && number > 0 => {}
            _ => return Err(AddressError::Port(text.to_owned())),
        }
        let usable = match host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            Some(ip) => ip.parse::<Ipv6Addr>().is_ok(),
            None => host.parse::<Ipv4Addr>().is_ok() || is_dns_name(host),
        };
        if usable {
            Ok(Self(text.to_owned()))
        } else {
            Err(AddressError::Host(text.to_owned()))
        }
    }

    /// As it is dialled.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host without port and brackets.
    #[must_use]
    pub fn host(&self) -> &str {
        let (host, _) = self.0.rsplit_once(':').expect("checked when it was parsed");
        host.trim_start_matches('[').trim_end_matches(']')
    }

    /// Whether it means the machine that dials it.
    #[must_use]
    pub fn is_loopback(&self) -> bool {
        let host = self.host();
        let ip = host.parse::<IpAddr>();
        host.eq_ignore_ascii_case("localhost") || ip.is_ok_and(|ip| ip.is_loopback())
    }
}

/// Whether there are addresses and all of them mean the machine that dials them: nobody else reaches anything there.
#[must_use]
pub fn are_local(addresses: &[Address]) -> bool {
    !addresses.is_empty() && addresses.iter().all(Address::is_loopback)
}

/// Those of the configured addresses that can be dialled; an operator may have written URLs.
#[must_use]
pub fn addresses(configured: &[String]) -> Vec<Address> {
    configured.iter().filter_map(|text| bare(text)).collect()
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a member may say that it is reached there: the address can be dialled, and its host is no name of the kind that
/// certificates give to nodes. An operator may have written a URL.
#[must_use]
pub fn may_be_claimed(configured: &str) -> bool {
    let parsed = bare(configured);
    parsed.is_some_and(|address| !is_reserved(address.host()))
}

fn bare(configured: &str) -> Option<Address> {
    let (_, rest) = configured.split_once("://").unwrap_or(("", configured));
    Address::parse(rest.trim_end_matches('/')).ok()
}

/// Letters, digits, hyphens and dots; not all digits and dots, which would be a mistyped IP address.
fn is_dns_name(host: &str) -> bool {
    let label = |label: &str| {
        let plain = label
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
        plain
            && !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    host.len() <= 253
        && host.split('.').all(label)
        && host.bytes().any(|byte| byte.is_ascii_alphabetic())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_that_can_be_dialled_pass() {
        for (text, host) in [
            ("10.0.0.1:7400", "10.0.0.1"),
            ("[fd00::1]:1", "fd00::1"),
            ("node-1.rack:65535", "node-1.rack"),
            ("localhost:80", "localhost"),
        ] {
            assert_eq!(Address::parse(text).unwrap().host(), host);
        }
    }

    #[test]
    fn urls_lose_what_is_not_dialled_and_others_are_left_out() {
        let configured = ["https://10.0.0.1:7379/", "node-1:80", "nowhere"];
        let dialled = addresses(&configured.map(str::to_owned));
        let texts: Vec<_> = dialled.iter().map(Address::as_str).collect();
        assert_eq!(texts, ["10.0.0.1:7379", "node-1:80"]);
    }

    #[test]
    fn addresses_that_mean_whoever_dials_are_told_apart() {
        let all = |texts: &[&str]| -> Vec<Address> {
            let parsed = texts.iter().map(|text| Address::parse(text).unwrap());
            parsed.collect()
        };
        assert!(are_local(&all(&[
            "127.0.0.1:1",
            "[::1]:1",
            "localhost:1",
            "127.1.2.3:1"
        ])));
        assert!(!are_local(&all(&["127.0.0.1:1", "10.0.0.1:1"])));
        assert!(!are_local(&all(&["localhost.lan:1"])));
        assert!(!are_local(&[]));
    }

    #[test]
    fn nobody_claims_a_name_that_certificates_give() {
        for claimed in ["https://10.0.0.1:7379/", "node-1:80", "[fd00::1]:1"] {
            assert!(may_be_claimed(claimed), "{claimed}");
        }
        for not in [
            "0000000000000001.00000000000000c1.quorate.internal:1",
            "https://00000000000000C1.Quorate.Internal:1",
            "nowhere",
            "a b:1",
        ] {
            assert!(!may_be_claimed(not), "{not}");
        }
    }

    #[test]
    fn others_are_refused_with_the_reason() {
        for (text, reason) in [
            ("host", "\"host\" has no port"),
            (
                "host:",
                "\"host:\" has no usable port: one of 1 to 65535 is needed",
            ),
            (
                "host:0",
                "\"host:0\" has no usable port: one of 1 to 65535 is needed",
            ),
            (
                "host:+1",
                "\"host:+1\" has no usable port: one of 1 to 65535 is needed",
            ),
            ("10.0.0.300:1", "\"10.0.0.300:1\" has no usable host"),
            ("fd00::1:7400", "\"fd00::1:7400\" has no usable host"),
            ("a b:1", "\"a b:1\" has no usable host"),
            (":1", "\":1\" has no usable host"),
        ] {
            assert_eq!(Address::parse(text).unwrap_err().to_string(), reason);
        }
    }
}
