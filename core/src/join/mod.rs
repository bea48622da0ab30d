//! How a machine becomes a member, from the line that `add-node` prints to the certificate on its disk.
//!
//! | file | what it holds |
//! |---|---|
//! | `address.rs` | [`Address`]: where a node can be reached |
//! | `clock.rs` | [`clock::Gap`]: how far a joiner's clock is off |
//! | `token.rs` | [`Token`]: minted, named, and proven without being sent |
//! | `line.rs` | [`JoinLine`]: the one word that is copied from machine to machine |
//! | `joiner.rs` | [`joiner::Joiner`]: the side that wants to join, as a pure machine |
//! | `founder.rs` | what the first node makes instead of joining |
//! | `inviter.rs` | [`inviter::Inviter`]: the side that decides, as a pure machine |
//! | `keep.rs` | what a join leaves on the disk |
//! | `driver.rs` | carries the joiner's effects out over a runtime |
//! | `service.rs` | what answers strangers, and has the leader decide |
//! | `view.rs` | [`MemberView`]: what every node knows of all others, and spares keep instead of the data |
//!
//! # The conversation
//!
//! ```text
//!   joiner                                        any member                        leader
//!     │ draws node id and key, saves both              │                               │
//!     │ ── TLS: trusts only the CA with the pinned key │                               │
//!     │ ── hello ─────────────────────────────────────▶│                               │
//!     │ ◀── cluster, epoch, feature level ─────────────│                               │
//!     │ ── submit: CSR, name, addresses, proof ───────▶│ ── the same, and the exporter ▶│ judges
//!     │                                                │                               │ proposes: admit, consume token
//!     │                                                │                               │ applies, signs the CSR
//!     │ ◀── certificate, member view ──────────────────│ ◀─────────────────────────────│
//!     │ stores both, forgets line and attempt          │                               │
//! ```
//!
//! The proof is the token's signature over `label ‖ cluster ‖ TLS exporter ‖ SHA-256(CSR) ‖ node id ‖ role`. Nothing secret crosses the
//! wire and nothing secret is stored; a member that relays the request cannot swap the CSR, and one exporter makes one proof, so there
//! is nothing to replay. Both ends insist on the connection: the joiner because the CA is pinned, the leader because
//! the exporter is part of what was signed.
//!
//! Whatever breaks, the joiner asks again *as the same node with the same key* and is answered as it was the first time. A refusal
//! changes nothing on either side.

pub mod address;
pub mod clock;
pub mod driver;
pub mod founder;
pub mod inviter;
pub mod joiner;
pub mod keep;
pub mod line;
pub mod service;
pub mod token;
pub mod view;

pub(crate) use address::MOST_ADDRESSES;
pub use address::{Address, AddressError, addresses, are_local, may_be_claimed};
pub use line::{JoinLine, LineError};
pub use token::{Claim, Token, TokenId};
pub use view::{MemberView, SharedView, ViewError};
