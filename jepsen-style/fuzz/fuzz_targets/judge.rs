//! Whatever the bytes say happened, every model and every checker comes to a verdict: none panics, none goes on for ever.
//!
//! Two bytes are an event: which process, what it does, with which small value. So nearly every input is a history, and
//! values come again, which is where judging is hard.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use quorate_jepsen_style::check::linear::{Bounds, Linearizability, Partition};
use quorate_jepsen_style::check::{Checker, Verdict, named, names};
use quorate_jepsen_style::history::{Event, EventKind, History, Name, Pairing, Process, Value, read};
use quorate_jepsen_style::model::lock::{Ends, Lock};
use quorate_jepsen_style::model::{Model, counter, etcd, kv, map, queue, register, set};

/// What may be asked, with arguments and answers in EDN.
const WORDS: &[(&str, &[&str])] = &[
    ("read", &["nil", "1", "2", "[1 2]", "\"12\"", "{1 2}"]),
    ("write", &["1", "2", "3"]),
    ("cas", &["[1 2]", "[2 1]", "true", "false", "[1]"]),
    ("get", &["nil", "\"\"", "\"1\"", "{:key 1}", "{:revision 2 :kvs [{:key 1 :value 2 :mod 2}]}", "{:revision 1 :kvs []}"]),
    ("put", &["1", "{:key 1 :value 2}", "{:revision 2}", "{:key 1 :value 3 :lease 7}", "{:revision 3 :prev {:key 1}}"]),
    ("delete", &["{:key 1}", "{:key 0 :end 9}", "{:revision 3 :deleted 1}", "{:revision 2 :deleted 0}", "{:revision 3}"]),
    ("txn", &["[[:w 1 1] [:r 1 nil]]", "[[:append 1 1] [:r 1 nil]]", "[[:r 1 [1]] [:append 1 2]]", "[[:r 1 [2 1]]]", "[[:w 1 2] [:r 2 1]]",
        "{:compare [{:key 1 :target :mod :result := :operand 2}] :then [{:f :put :key 1 :value 1}] :else []}", "{:revision 3 :succeeded true}", "{:revision 2}"]),
    ("lease-grant", &["{:lease 7}", "{:revision 2}", "7"]),
    ("lease-revoke", &["{:lease 7}", "{:revision 3}"]),
    ("append", &["\"1\"", "\"2\""]),
    ("add", &["1", "2", "-1", "9223372036854775807"]),
    ("remove", &["1", "2"]),
    ("contains", &["1", "true", "false"]),
    ("enqueue", &["1", "2", "nil"]),
    ("dequeue", &["nil", "1", "2"]),
    ("drain", &["[]", "[1 2]", "1"]),
    ("increment", &["nil", "3"]),
    ("acquire", &["1", "2", "nil"]),
    ("release", &["nil", "1"]),
    ("use", &["1", "2", "true", "false"]),
    ("guarded", &["1", "2"]),
    ("transfer", &["{:from 1 :to 2 :amount 3}", "nil"]),
    ("grant", &["1", "nil", "-1", "9223372036854775807"]),
    ("keepalive", &["1", "0", "nil"]),
    ("alive", &["true", "false", "nil"]),
    ("revoke", &["nil"]),
    ("mint", &["1", "2", "-1"]),
    ("redeem", &["1", "2"]),
    ("generate", &["1", "2", "nil"]),
    ("watch", &["{:from 1 :to 2 :start 1}", "[1 [[:put 1 2 3]]]", "[[[:delete 1 nil 2 1]] 9]", "nil"]),
    ("change", &["[[:put 1 2]]", "2", "[[:delete 1]]"]),
];

/// Which of them come together: the first byte chooses, so that some model understands all of a history.
const FAMILIES: &[&[&str]] = &[
    &["read", "write", "cas"],
    &["read", "write"],
    &["get", "put", "append"],
    &["get", "put", "delete", "txn", "lease-grant", "lease-revoke"],
    &["get", "put", "delete", "txn"],
    &["txn"],
    &["add", "remove", "contains", "read"],
    &["add", "read"],
    &["enqueue", "dequeue", "drain"],
    &["enqueue", "dequeue"],
    &["add", "increment", "read"],
    &["acquire", "release", "use"],
    &["acquire", "release", "guarded"],
    &["transfer", "read"],
    &["grant", "keepalive", "alive", "revoke"],
    &["mint", "redeem", "revoke"],
    &["generate"],
    &["put", "delete", "watch", "change"],
];

fn history(bytes: &[u8]) -> History {
    let Some((first, bytes)) = bytes.split_first() else {
        return History::default();
    };
    let family = FAMILIES[usize::from(*first) % FAMILIES.len()];
    let mut pairing = Pairing::default();
    let mut open: [Option<&str>; 5] = [None; 5];
    for (place, pair) in (0u64..).zip(bytes.chunks_exact(2)) {
        let process = usize::from(pair[0]) % open.len();
        let choice = usize::from(pair[0]) / open.len();
        let (word, kind) = match open[process].take() {
            Some(word) => (
                word,
                match choice % 8 {
                    0 => EventKind::Fail,
                    1 => EventKind::Info,
                    _ => EventKind::Ok,
                },
            ),
            None => {
                let word = family[choice % family.len()];
                open[process] = Some(word);
                (word, EventKind::Invoke)
            }
        };
        let known = WORDS.iter().find(|(function, _)| *function == word);
        let (function, values) = known.expect("families are made of words");
        let value = values[usize::from(pair[1]) % values.len()];
        let event = Event {
            process: Process::Client(process as u32),
            kind,
            function: Name::from(*function),
            key: Value::Nil,
            value: read::edn_value(value).expect("the table is well formed"),
            nanoseconds: place * 1_000_000_000,
            details: None,
        };
        pairing.push(event).expect("one thing at a time");
    }
    pairing.finish()
}

fn judge<M: Model + Clone>(model: M, history: &History) {
    let bounds = Bounds::generous()
        .within(Duration::from_millis(20))
        .remembering(8 << 20);
    for partition in [Partition::ByPart, Partition::Off] {
        let checker = Linearizability::of(model.clone()).partitioned(partition).within(bounds.clone());
        let report = checker.check(history);
        // What fails can be told in words, and what passes has an order.
        if report.verdict == Verdict::Fail {
            assert!(!report.reason.is_empty());
        }
    }
}

fuzz_target!(|bytes: &[u8]| {
    // Longer ones find nothing new, and slowly.
    let history = history(&bytes[..bytes.len().min(120)]);
    judge(register::Register::default(), &history);
    judge(register::CasRegister::default(), &history);
    judge(kv::KeyValue, &history);
    judge(map::MultiKeyMap, &history);
    judge(set::Set, &history);
    judge(queue::Queue, &history);
    judge(counter::Counter, &history);
    judge(Lock::ending(Ends::ByRelease), &history);
    judge(Lock::ending(Ends::ByExpiry), &history);
    judge(etcd::Etcd::default(), &etcd::expiry::with_expiries(&history));
    for name in names() {
        // Not guarded: a checker that crashes is what is looked for.
        let _ = named(name).expect("it is named").check(&history);
    }
});
