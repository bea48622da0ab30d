//! JSON in the form that people prefer to read: a block of YAML. Only written, and only from JSON, so it needs no library: every
//! scalar and key stands as JSON writes it, which is valid YAML.

use serde_json::Value;
use std::fmt::Write;

/// Keys that YAML, in one version or another, takes for something else than text.
const WORDS: [&str; 9] = ["null", "true", "false", "yes", "no", "on", "off", "y", "n"];

/// `value` as a YAML document.
pub(super) fn block(value: &Value) -> String {
    let mut text = String::new();
    match value {
        Value::Object(_) | Value::Array(_) if !is_empty(value) => write_block(value, 0, &mut text),
        scalar => writeln!(text, "{scalar}").expect("a string takes everything"),
    }
    text
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Object(fields) => fields.is_empty(),
        Value::Array(items) => items.is_empty(),
        _ => true,
    }
}

fn write_block(value: &Value, indent: usize, text: &mut String) {
    let space = " ".repeat(indent);
    let mut entry = |head: &str, value: &Value| {
        text.push_str(&space);
        text.push_str(head);
        if is_empty(value) {
            writeln!(text, " {value}").expect("a string takes everything");
        } else if head == "-" {
            // The first field of an item stands beside its dash.
            let mut inner = String::new();
            write_block(value, indent + 2, &mut inner);
            text.push(' ');
            text.push_str(inner.trim_start());
        } else {
            text.push('\n');
            write_block(value, indent + 2, text);
        }
    };
    match value {
        Value::Object(fields) => fields.iter().for_each(|(key, value)| {
            let plain = !key.is_empty()
                && !WORDS.contains(&key.as_str())
                && key
                    .bytes()
                    .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            let key = if plain {
                key.clone()
            } else {
                Value::from(key.as_str()).to_string()
            };
            entry(&format!("{key}:"), value);
        }),
        Value::Array(items) => items.iter().for_each(|item| entry("-", item)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn nested_values_are_indented() {
        let value = json!({
            "voters": {"total": 3, "survives": null},
            "copies": {"": 1, "no": 3, "rack 1": 2},
            "nodes": [{"id": "a", "peers": ["x:1", "y:2"]}, {"id": "b", "peers": []}],
        });
        insta::assert_snapshot!(block(&value), @r#"
        copies:
          "": 1
          "no": 3
          "rack 1": 2
        nodes:
          - id: "a"
            peers:
              - "x:1"
              - "y:2"
          - id: "b"
            peers: []
        voters:
          survives: null
          total: 3
        "#);
    }
}
