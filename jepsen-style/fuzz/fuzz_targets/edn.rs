//! Whatever the bytes, the reader answers; and what it has read can be written and read again, operation by operation.

#![no_main]

use libfuzzer_sys::fuzz_target;
use quorate_jepsen_style::history::read::{Format, read};
use quorate_jepsen_style::history::write::write;

fuzz_target!(|bytes: &[u8]| {
    let Ok(history) = read(bytes, Some(Format::Edn)) else { return };
    let mut once = Vec::new();
    write(&history, &mut once).expect("memory can be written");
    let again = read(&once[..], Some(Format::JsonLines)).expect("what was written can be read");
    assert_eq!(again.len(), history.len());
});
