//! The worlds by name.

use std::fmt;
use std::str::FromStr;

/// Where a scenario runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WorldName {
    /// Under madsim: what is ready is polled in random order.
    Madsim,
    /// Under turmoil: the real tokio with its clock in our hands.
    Turmoil,
}

impl WorldName {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Madsim, Self::Turmoil];

    /// The name on command lines and in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Madsim => "madsim",
            Self::Turmoil => "turmoil",
        }
    }
}

impl fmt::Display for WorldName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for WorldName {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|world| world.name() == text);
        found.ok_or_else(|| format!("there is no world {text}; there are madsim and turmoil"))
    }
}
