//! The etcd v3 API.
pub mod error;

pub use error::EtcdError;
