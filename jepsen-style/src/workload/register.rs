//! Reads, writes and compare-and-set on many keys, each a linearizable register.

use super::{Size, Workload, nothing};
use crate::check::linear::Linearizability;
use crate::generator::{Ask, forever, from_fn, limit, mix, per_key};
use crate::history::Value;
use crate::model::register::CasRegister;

/// Values are few, so that comparisons sometimes hold.
const VALUES: u64 = 5;

/// The workload.
pub fn register(size: Size) -> Workload {
    let one = |drawn: u64| Value::Integer(drawn as i64);
    let generator = per_key(size.group, 0..i64::MAX, move |_| {
        let write =
            from_fn(move |context| Some(Ask::new("write").with(one(context.random.below(VALUES)))));
        let cas = from_fn(move |context| {
            let pair = [
                one(context.random.below(VALUES)),
                one(context.random.below(VALUES)),
            ];
            Some(Ask::new("cas").with(Value::list(pair)))
        });
        let read = forever(Ask::new("read"));
        let mixed = mix(vec![
            (2, Box::new(read)),
            (1, Box::new(write)),
            (1, Box::new(cas)),
        ]);
        Box::new(limit(size.per_key, mixed))
    });
    Workload {
        name: "register",
        generator: Box::new(generator),
        last: nothing(),
        checker: Box::new(Linearizability::of(CasRegister::default())),
    }
}
