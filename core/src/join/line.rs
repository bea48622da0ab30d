//! The join line: everything that a machine needs to know to join, in one word that a shell leaves alone.
//!
//! ```text
//!   10.0.0.1:7400,192.168.1.9:7400/dG9rZW4…/00000000000000c1/cGluLi4u…/5f3a9c01
//!   addresses                      token    cluster          pins      check
//! ```
//!
//! The parts are separated by slashes, lists within a part by commas. Addresses can be read by people, and an IPv6 address is
//! written without the brackets that a shell would take for a pattern: `fd00::1@7400`. Token and pins are base64url, the cluster's
//! id is hexadecimal. The check comes last, so that a line that lost its end in a terminal is told apart from one that was
//! altered: the former is short of parts or its check is short of digits.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use sha2::{Digest, Sha256};
use zeroize::Zeroizing;

use super::address::{Address, AddressError};
use super::token::Token;
use crate::ids::ClusterId;
use crate::tls::KeyHash;

const PARTS: usize = 5;
const CHECK_DIGITS: usize = 8;
/// One CA, or two while one replaces the other.
const MOST_PINS: usize = 2;

/// What the line holds.
#[derive(Clone, Debug)]
pub struct JoinLine {
    /// Where members can be reached, the likeliest first.
    pub addresses: Vec<Address>,
    /// The right to join.
    pub token: Token,
    /// The cluster.
    pub cluster: ClusterId,
    /// SHA-256 of the public keys of the CAs.
    pub pins: Vec<KeyHash>,
}

/// What is wrong with a line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LineError {
    /// Nothing was given.
    #[error("the join line is empty")]
    Empty,
    /// The end is missing.
    #[error("the join line is cut off after {length} characters: copy it as a whole")]
    Truncated {
        /// How much there is.
        length: usize,
    },
    /// It does not add up.
    #[error("the join line was altered on the way: its check does not match")]
    Altered,
    /// There is something after its end, or it is not a join line at all.
    #[error("this is not a join line: it has {0} parts instead of {PARTS}")]
    NotALine(usize),
    /// An address cannot be used.
    #[error("the join line has an unusable address: {0}")]
    Address(#[from] AddressError),
    /// A part is not what it should be, although the check matches: made by a newer version, or by hand.
    #[error("the join line has an unusable {0}")]
    Part(&'static str),
}

impl JoinLine {
    /// Reads a line. Space around it is left out; within it there is none.
    pub fn parse(text: &str) -> Result<Self, LineError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(LineError::Empty);
        }
        let parts: Vec<&str> = text.split('/').collect();
        match parts.len() {
            PARTS if parts[PARTS - 1].len() < CHECK_DIGITS => {
                return Err(LineError::Truncated { length: text.len() });
            }
            PARTS => {}
            fewer if fewer < PARTS => return Err(LineError::Truncated { length: text.len() }),
            more => return Err(LineError::NotALine(more)),
        }
        let body = &text[..text.len() - parts[PARTS - 1].len() - 1];
        if parts[PARTS - 1] != check(body) {
            return Err(LineError::Altered);
        }
        let [addresses, token, cluster, pins] = parts[..PARTS - 1] else {
            return Err(LineError::NotALine(parts.len()));
        };
        let secret = Zeroizing::new(bytes(token).ok_or(LineError::Part("token"))?);
        Ok(Self {
            addresses: addresses
                .split(',')
                .map(parse_address)
                .collect::<Result<_, _>>()?,
            token: Token::from_secret(*secret),
            cluster: parse_cluster(cluster).ok_or(LineError::Part("cluster id"))?,
            pins: parse_pins(pins).ok_or(LineError::Part("pin"))?,
        })
    }

    /// Writes the line: the only place where a token is shown.
    #[must_use]
    pub fn encode(&self) -> String {
        let addresses: Vec<String> = self.addresses.iter().map(write_address).collect();
        let token = Zeroizing::new(BASE64.encode(self.token.secret()));
        let pins: Vec<String> = self.pins.iter().map(|pin| BASE64.encode(pin.0)).collect();
        let body = format!(
            "{}/{}/{:016x}/{}",
            addresses.join(","),
            *token,
            self.cluster.0,
            pins.join(",")
        );
        let check = check(&body);
        format!("{body}/{check}")
    }

    /// The same line with this address alone, for the alternatives that `add-node` prints.
    #[must_use]
    pub fn only(&self, address: &Address) -> Self {
        Self {
            addresses: vec![address.clone()],
            ..self.clone()
        }
    }
}

/// A line is shown without its token; `encode` is for those who mean it.
impl fmt::Display for JoinLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "join line for cluster {} with token {}",
            self.cluster,
            self.token.id()
        )
    }
}

fn check(body: &str) -> String {
    let digest = Sha256::digest(body.as_bytes());
    digest
        .iter()
        .take(CHECK_DIGITS / 2)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn bytes(text: &str) -> Option<[u8; 32]> {
    let decoded = Zeroizing::new(BASE64.decode(text).ok()?);
    decoded.as_slice().try_into().ok()
}

fn parse_cluster(text: &str) -> Option<ClusterId> {
    let digits = text.len() == 16
        && text
            .bytes()
            .all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let id = digits
        .then(|| u64::from_str_radix(text, 16).ok())
        .flatten()?;
    (id != 0).then_some(ClusterId(id))
}

fn parse_pins(text: &str) -> Option<Vec<KeyHash>> {
    let pins: Option<Vec<KeyHash>> = text.split(',').map(|pin| bytes(pin).map(KeyHash)).collect();
    pins.filter(|pins| pins.len() <= MOST_PINS)
}

fn parse_address(text: &str) -> Result<Address, AddressError> {
    match text.split_once('@') {
        Some((host, port)) => Address::parse(&format!("[{host}]:{port}")),
        None => Address::parse(text),
    }
}

fn write_address(address: &Address) -> String {
    match address
        .as_str()
        .strip_prefix('[')
        .and_then(|rest| rest.split_once("]:"))
    {
        Some((host, port)) => format!("{host}@{port}"),
        None => address.as_str().to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn line() -> JoinLine {
        JoinLine {
            addresses: vec![
                Address::parse("10.0.0.1:7400").unwrap(),
                Address::parse("[fd00::1]:7400").unwrap(),
            ],
            token: Token::from_secret([1; 32]),
            cluster: ClusterId(0xc1),
            pins: vec![KeyHash([2; 32])],
        }
    }

    fn same(one: &JoinLine, other: &JoinLine) -> bool {
        one.addresses == other.addresses
            && one.token.secret() == other.token.secret()
            && one.cluster == other.cluster
            && one.pins == other.pins
    }

    #[test]
    fn a_line_looks_like_this() {
        assert_eq!(
            line().encode(),
            "10.0.0.1:7400,fd00::1@7400/AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE/00000000000000c1/\
             AgICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgI/89cccbe4"
        );
    }

    #[test]
    fn every_truncation_is_called_one() {
        let whole = line().encode();
        for length in 1..whole.len() {
            let Err(error) = JoinLine::parse(&whole[..length]) else {
                panic!("{length} characters were enough")
            };
            assert_eq!(error, LineError::Truncated { length });
        }
        assert_eq!(JoinLine::parse("  ").unwrap_err(), LineError::Empty);
    }

    #[test]
    fn a_line_with_something_behind_it_is_not_cut_off() {
        let longer = format!("{}/more", line().encode());
        assert_eq!(
            JoinLine::parse(&longer).unwrap_err(),
            LineError::NotALine(6)
        );
        let longer = format!("{}0", line().encode());
        assert_eq!(JoinLine::parse(&longer).unwrap_err(), LineError::Altered);
    }

    #[test]
    fn what_adds_up_but_makes_no_sense_is_named() {
        let sealed = |body: &str| format!("{body}/{}", check(body));
        let token = "AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE";
        let error = |body: String| JoinLine::parse(&sealed(&body)).unwrap_err().to_string();
        assert_eq!(
            error(format!("host/{token}/00000000000000c1/{token}")),
            "the join line has an unusable address: \"host\" has no port"
        );
        assert_eq!(
            error(format!("host:1/{token}A/00000000000000c1/{token}")),
            "the join line has an unusable token"
        );
        assert_eq!(
            error(format!("host:1/{token}/0000000000000000/{token}")),
            "the join line has an unusable cluster id"
        );
        assert_eq!(
            error(format!(
                "host:1/{token}/00000000000000c1/{token},{token},{token}"
            )),
            "the join line has an unusable pin"
        );
    }

    #[test]
    fn a_shown_line_gives_nothing_away() {
        let shown = format!("{} {:?}", line(), line());
        assert!(
            !shown.contains("AQEB") && !shown.contains("[1, 1"),
            "{shown}"
        );
    }

    proptest! {
        #[test]
        fn a_line_comes_back(
            hosts in vec(prop_oneof![
                any::<[u8; 4]>().prop_map(|ip| std::net::Ipv4Addr::from(ip).to_string()),
                any::<[u8; 16]>().prop_map(|ip| format!("[{}]", std::net::Ipv6Addr::from(ip))),
                "[a-z][a-z0-9]{0,8}(\\.[a-z]{2,5})?",
            ], 1..5),
            port in 1..=u16::MAX,
            secret: [u8; 32],
            cluster in 1..=u64::MAX,
            pins in vec(any::<[u8; 32]>(), 1..=2),
        ) {
            let line = JoinLine {
                addresses: hosts.iter().map(|host| Address::parse(&format!("{host}:{port}")).unwrap()).collect(),
                token: Token::from_secret(secret),
                cluster: ClusterId(cluster),
                pins: pins.into_iter().map(KeyHash).collect(),
            };
            let text = line.encode();
            prop_assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".:,@/_-".contains(&byte)), "{}", text);
            prop_assert!(same(&line, &JoinLine::parse(&text).unwrap()));
        }

        #[test]
        fn one_wrong_character_is_noticed(position in 0..138_usize, replacement in "[a-zA-Z0-9]") {
            let whole = line().encode();
            let altered = format!("{}{replacement}{}", &whole[..position], &whole[position + 1..]);
            prop_assert!(altered == whole || JoinLine::parse(&altered).is_err());
        }

        #[test]
        fn nothing_that_is_typed_panics(text in "\\PC{0,200}") {
            let _ = JoinLine::parse(&text);
        }
    }
}
