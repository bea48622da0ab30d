//! Strings that are appended to, key by key. What is appended differs, so a read tells the order of all that is in it.

use super::{Size, Workload, nothing};
use crate::check::linear::Linearizability;
use crate::generator::{Ask, Unique, forever, from_fn, limit, mix, per_key};
use crate::model::kv::KeyValue;

/// The workload.
pub fn append(size: Size) -> Workload {
    let generator = per_key(size.group, 0..i64::MAX, move |_| {
        let mut unique = Unique::default();
        let append =
            from_fn(move |_| Some(Ask::new("append").with(format!(" {}", unique.value()))));
        let get = forever(Ask::new("get"));
        Box::new(limit(
            size.per_key,
            mix(vec![(1, Box::new(append)), (1, Box::new(get))]),
        ))
    });
    Workload {
        name: "append",
        generator: Box::new(generator),
        last: nothing(),
        checker: Box::new(Linearizability::of(KeyValue)),
    }
}
