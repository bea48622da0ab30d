//! The generated protobuf types: etcd's wire format and our own for what is stored and replicated.
#![allow(
    missing_docs,
    clippy::all,
    clippy::pedantic,
    clippy::allow_attributes_without_reason,
    unreachable_pub,
    unused_qualifications,
    reason = "generated code"
)]

use std::fmt;

/// Keys and events as etcd's clients see them.
pub mod mvccpb {
    tonic::include_proto!("mvccpb");
}
/// The etcd v3 services and messages.
pub mod etcdserverpb {
    tonic::include_proto!("etcdserverpb");
}
/// Our own packages, nested as their names are.
pub mod quorate {
    pub mod admin {
        pub mod v1 {
            tonic::include_proto!("quorate.admin.v1");
        }
    }
    pub mod store {
        pub mod v1 {
            tonic::include_proto!("quorate.store.v1");
        }
    }
    pub mod join {
        pub mod v1 {
            tonic::include_proto!("quorate.join.v1");
        }
    }
    pub mod peer {
        pub mod v1 {
            tonic::include_proto!("quorate.peer.v1");
        }
    }
}
/// What an operator asks of his own node.
pub use quorate::admin::v1 as admin;
/// How a node becomes a member.
pub use quorate::join::v1 as join;
/// What members say to one another.
pub use quorate::peer::v1 as peer;
/// What is stored and replicated.
pub use quorate::store::v1 as store;

/// Without the lines: they hold the token.
impl fmt::Debug for admin::AddNodeReply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AddNodeReply")
            .field("token_id", &self.token_id)
            .field("expires_at_ms", &self.expires_at_ms)
            .field("uses", &self.uses)
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}

/// Without the seed, which is the cluster's signing key.
impl fmt::Debug for join::SignerHandOver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SignerHandOver").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_holds_a_secret_is_shown_without_it() {
        let reply = admin::AddNodeReply {
            line: "SECRET".to_owned(),
            token_id: "shown".to_owned(),
            alternatives: vec!["SECRET".to_owned()],
            ..admin::AddNodeReply::default()
        };
        let text = format!("{reply:?}");
        assert!(text.contains("shown") && !text.contains("SECRET"), "{text}");
        let signer = join::SignerHandOver {
            seed: b"SECRET".to_vec().into(),
            ..join::SignerHandOver::default()
        };
        assert!(!format!("{signer:?}").contains("SECRET"));
    }
}
