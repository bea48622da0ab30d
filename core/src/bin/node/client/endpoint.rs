//! Where a server listens for clients.

use std::fmt::{self, Display};
use std::net::IpAddr;

/// Where a server listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Endpoint {
    host: String,
    port: u16,
}

impl Endpoint {
    pub(crate) fn local(port: u16) -> Self {
        Self {
            host: "127.0.0.1".into(),
            port,
        }
    }

    pub(crate) fn parse(typed: &str) -> Result<Self, String> {
        let rest = typed.strip_prefix("http://").unwrap_or(typed);
        let (host, port) = rest
            .rsplit_once(':')
            .ok_or_else(|| format!("{typed}: an endpoint is host:port"))?;
        let port = port
            .parse()
            .map_err(|_| format!("{typed}: the port is not a number up to 65535"))?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.contains('/') {
            return Err(format!("{typed}: an endpoint is host:port over plain HTTP"));
        }
        Ok(Self {
            host: host.into(),
            port,
        })
    }

    pub(crate) fn is_loopback(&self) -> bool {
        is_loopback(&self.host)
    }

    pub(crate) fn address(&self) -> (&str, u16) {
        (&self.host, self.port)
    }
}

/// Whether only processes of this machine can connect to a host; an IPv6 address may stand in brackets.
pub(crate) fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    bare == "localhost" || bare.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

impl Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}
