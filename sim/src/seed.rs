//! The one number that a run is made of.
//!
//! Everything random in a run comes from a [`Seed`], and never from one shared generator: each part asks for its own
//! *labelled* stream. A disk that draws one number more then changes nothing about the network, so that a failure keeps
//! its shape while someone adds a fault or removes one.

use std::fmt;
use std::str::FromStr;

use rand::SeedableRng;
use rand::rngs::SmallRng;

/// Where a run, or one part of it, gets its randomness from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Seed(u64);

impl Seed {
    /// The seed with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// The number that was given, for printing and for the command that repeats a run.
    #[must_use]
    pub const fn number(self) -> u64 {
        self.0
    }

    /// A seed of its own for the part called `label`: same seed and label, same stream; anything else, another one.
    #[must_use]
    pub fn labelled(self, label: &str) -> Self {
        let mut hash = mix(self.0);
        for byte in label.bytes() {
            hash = mix(hash ^ u64::from(byte));
        }
        Self(hash)
    }

    /// A seed of its own for the `index`-th of several equal parts.
    #[must_use]
    pub fn indexed(self, index: u64) -> Self {
        Self(mix(mix(self.0) ^ index.rotate_left(32)))
    }

    /// The generator of this seed.
    #[must_use]
    pub fn rng(self) -> SmallRng {
        SmallRng::seed_from_u64(self.0)
    }
}

/// The finalizer of `splitmix64`: a permutation in which one changed bit changes half of the others.
fn mix(number: u64) -> u64 {
    let mut z = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl fmt::Display for Seed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// What was given is neither a number nor the hash of a commit.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no seed: a number, or the hash of a commit (at least seven hexadecimal digits, one of them a letter)"
)]
pub struct NotASeed(String);

impl FromStr for Seed {
    type Err = NotASeed;

    /// A decimal number is itself. The hash of a commit is a seed too, so that a night's run of every commit needs no
    /// list of numbers.
    fn from_str(text: &str) -> Result<Self, NotASeed> {
        if let Ok(number) = text.parse() {
            return Ok(Self(number));
        }
        let hash = text.len() >= 7 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
        if hash {
            Ok(Self(0).labelled(&text.to_ascii_lowercase()))
        } else {
            Err(NotASeed(text.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn same_label_gives_the_same_stream_and_another_label_another() {
        let seed = Seed::new(7);
        let first = |seed: Seed| seed.rng().next_u64();
        assert_eq!(first(seed.labelled("disk")), first(seed.labelled("disk")));
        assert_ne!(first(seed.labelled("disk")), first(seed.labelled("net")));
        assert_ne!(
            first(seed.labelled("disk")),
            first(Seed::new(8).labelled("disk"))
        );
        assert_ne!(first(seed.indexed(1)), first(seed.indexed(2)));
    }

    #[test]
    fn number_and_commit_are_seeds_and_prose_is_not() {
        assert_eq!("42".parse(), Ok(Seed::new(42)));
        let commit: Seed = "ceb402edeadbeef".parse().unwrap();
        assert_eq!("CEB402EDEADBEEF".parse(), Ok(commit));
        assert!("tuesday".parse::<Seed>().is_err());
        assert!("abc".parse::<Seed>().is_err());
    }
}
