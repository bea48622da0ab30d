//! Machines by number.

use std::fmt;

/// One simulated machine: a node's or a client's. Its address follows from its number, the same in every world.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(u16);

impl HostId {
    /// The machine of this number; nodes count from 1, and 0 is nobody.
    #[must_use]
    pub const fn new(number: u16) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The address that others reach the machine by.
    #[must_use]
    pub fn ip(self) -> String {
        format!("10.0.{}.{}", self.0 >> 8, self.0 & 0xff)
    }

    /// The machine at this `host:port` or bare address.
    #[must_use]
    pub fn at(address: &str) -> Option<Self> {
        let ip = address.rsplit_once(':').map_or(address, |(ip, _port)| ip);
        let mut parts = ip.strip_prefix("10.0.")?.split('.');
        let high: u8 = parts.next()?.parse().ok()?;
        let low: u8 = parts.next()?.parse().ok()?;
        parts
            .next()
            .is_none()
            .then_some(Self(u16::from(high) << 8 | u16::from(low)))
    }
}

impl fmt::Display for HostId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn address_leads_back_to_its_machine() {
        for number in [1, 9, 255, 256, 1000] {
            let host = HostId::new(number);
            assert_eq!(HostId::at(&host.ip()), Some(host));
            assert_eq!(HostId::at(&format!("{}:7000", host.ip())), Some(host));
        }
        assert_eq!(HostId::at("127.0.0.1:7000"), None);
        assert_eq!(HostId::at("10.0.1.2.3:1"), None);
    }
}
