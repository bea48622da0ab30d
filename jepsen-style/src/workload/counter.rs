//! Additions of one, and reads of the sum.

use super::Workload;
use crate::check::linear::Linearizability;
use crate::generator::{Ask, each, forever, mix};
use crate::model::counter::Counter;

/// The workload.
pub fn counter() -> Workload {
    let add = forever(Ask::new("add").with(1));
    let read = forever(Ask::new("read"));
    Workload {
        name: "counter",
        generator: Box::new(mix(vec![(1, Box::new(add)), (1, Box::new(read))])),
        last: Box::new(each([Ask::new("read")])),
        checker: Box::new(Linearizability::of(Counter)),
    }
}
