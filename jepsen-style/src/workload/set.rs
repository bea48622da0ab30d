//! Elements added to one set, and read back at the end: what was answered must be there.

use super::Workload;
use crate::check::linear::Linearizability;
use crate::generator::{Ask, Unique, each, forever, from_fn, mix};
use crate::model::set::Set;

/// The workload: ten additions for a read.
pub fn set() -> Workload {
    let mut unique = Unique::default();
    let add = from_fn(move |_| Some(Ask::new("add").with(unique.value())));
    let read = forever(Ask::new("read"));
    Workload {
        name: "set",
        generator: Box::new(mix(vec![(10, Box::new(add)), (1, Box::new(read))])),
        last: Box::new(each([Ask::new("read")])),
        checker: Box::new(Linearizability::of(Set)),
    }
}
