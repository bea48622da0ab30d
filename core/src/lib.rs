//! `quorate`: a small, highly available datastore behind the etcd v3 API.
pub mod database;
pub mod etcd;
pub mod ids;
pub mod membership;
pub mod proto;
pub mod runtime;
pub mod transport;
pub mod state;
