//! The identifiers and counters that could be mistaken for one another, each a type of its own.

use std::fmt;

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($inner:ty), $format:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, $format, self.0)
            }
        }

        impl From<$inner> for $name {
            fn from(value: $inner) -> Self {
                Self(value)
            }
        }
    };
}

number!(
    /// A running `quorate`: random, never zero, never used again once removed. Shown in hexadecimal, as etcd's clients do.
    NodeId(u64),
    "{:x}"
);
number!(
    /// A cluster: random, never zero, made once when its first node starts.
    ClusterId(u64),
    "{:x}"
);
number!(
    /// Which life of a cluster: grows when a survivor of a lost quorum goes on alone, so that the two sides never mix.
    Epoch(u64),
    "{}"
);
number!(
    /// A Raft term.
    Term(u64),
    "{}"
);
number!(
    /// A position in the Raft log.
    LogIndex(u64),
    "{}"
);
number!(
    /// A state of the keyspace: one more for each transaction that modified it.
    Revision(i64),
    "{}"
);
number!(
    /// A lease; zero means none.
    LeaseId(i64),
    "{:x}"
);
