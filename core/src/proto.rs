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
