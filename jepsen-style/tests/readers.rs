//! Whatever the bytes, a reader answers; and what was written reads back the same.

#![allow(
    clippy::unwrap_used,
    reason = "a test may end where it finds what cannot be"
)]

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed};
use quorate_jepsen_style::history::read::{Format, edn_value, json_value, read};
use quorate_jepsen_style::history::write::write;
use quorate_jepsen_style::history::{Event, EventKind, History, Name, Process, Value};

const FORMATS: [Format; 3] = [Format::JsonLines, Format::Edn, Format::EtcdLog];

/// Values that JSON can say without loss.
fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Nil),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<i32>().prop_map(|number| Value::from(f64::from(number) / 64.0 + 0.5)),
        ".{0,40}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 5, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((".{0,8}".prop_map(Value::from), inner), 0..5)
                .prop_map(Value::map),
        ]
    })
}

/// Bytes that nearly are a history.
fn nearly() -> impl Strategy<Value = (Vec<u8>, Vec<(u16, u8)>)> {
    let histories = [
        "{\"story\":\"s\"}\n{\"process\":1,\"type\":\"invoke\",\"f\":\"w\",\"value\":[1,\"\\u00e9\",{\"a\":-1.5e3}],\"time\":7}\n{\"process\":1,\"type\":\"ok\",\"f\":\"w\"}\n",
        "[{:process 1, :type :invoke, :f :w, :value #{1 \"\\n\" \\a 2.5 3N 1/2}} #_ x ; c\n#op{:process 1, :type :info, :f :w, :error #inst \"2020\"}]",
        "INFO  jepsen.util - 1\t:invoke\t:cas\t[1 2]\nINFO  jepsen.util - 1\t:fail\t:cas\t[1 2]\n",
    ];
    let text = proptest::sample::select(histories.map(|text| text.as_bytes().to_vec()).to_vec());
    (text, proptest::collection::vec(any::<(u16, u8)>(), 0..6))
}

fn config() -> Config {
    Config {
        cases: 2000,
        rng_seed: RngSeed::Fixed(11),
        failure_persistence: None,
        ..Config::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn no_bytes_break_a_reader(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for format in FORMATS {
            let _ = read(&bytes[..], Some(format));
        }
    }

    #[test]
    fn what_is_nearly_a_history_is_read_or_its_error_is_inside_it((text, changes) in nearly()) {
        let mut bytes = text;
        for (place, byte) in changes {
            let place = usize::from(place) % bytes.len();
            match byte % 3 {
                0 => bytes[place] = byte,
                1 => bytes.insert(place, byte),
                _ => bytes.truncate(place.max(1)),
            }
        }
        for format in FORMATS {
            match read(&bytes[..], Some(format)) {
                Ok(history) => {
                    let mut lines = Vec::new();
                    write(&history, &mut lines).unwrap();
                    let again = read(&lines[..], Some(Format::JsonLines)).unwrap();
                    prop_assert_eq!(again.len(), history.len());
                }
                Err(error) => {
                    let lines = bytes.iter().filter(|byte| **byte == b'\n').count() + 1;
                    prop_assert!((1..=lines).contains(&error.line) && error.column >= 1, "{error}");
                }
            }
        }
    }

    #[test]
    fn a_value_written_as_json_or_in_a_history_reads_back_the_same(value in value()) {
        let json = serde_json::to_string(&value).unwrap();
        prop_assert_eq!(json_value(&json).unwrap(), value.clone());
        let event = |kind, value| Event {
            process: Process::Client(4),
            kind,
            function: Name::from("write"),
            key: Value::from("k"),
            value,
            nanoseconds: 3,
            details: None,
        };
        let history =
            History::from_events([event(EventKind::Invoke, value.clone()), event(EventKind::Ok, value)]).unwrap();
        let mut lines = Vec::new();
        write(&history, &mut lines).unwrap();
        prop_assert_eq!(read(&lines[..], None).unwrap(), history);
    }

    #[test]
    fn numbers_and_words_shown_as_edn_read_back_the_same(numbers: Vec<i64>, words in proptest::collection::vec("[a-z\"\\\\ é]{0,12}", 0..6)) {
        let value = Value::list(numbers.into_iter().map(Value::from).chain(words.into_iter().map(Value::from)));
        prop_assert_eq!(edn_value(&value.to_string()).unwrap(), value);
    }
}
