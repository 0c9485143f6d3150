//! The strict JSON parser: never accepts what another parser reads differently.

#![no_main]

use claviger_crypto::json::{self, JsonError};
use claviger_fuzz::bounded;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

fuzz_target!(|data: &[u8]| bounded(|| run(data)));

fn run(data: &[u8]) {
    for max_depth in [2, 32, 64] {
        let theirs = serde_json::from_slice::<Value>(data);
        match (json::parse(data, max_depth), theirs) {
            (Ok(ours), Ok(theirs)) => {
                assert_eq!(ours, theirs);
                assert!(depth(&ours) <= max_depth);
                assert_eq!(members(&ours), colons(data), "a member was dropped");
                assert_eq!(json::parse_object(data, max_depth).is_ok(), ours.is_object());
                let written = ours.to_string();
                assert_eq!(json::parse(written.as_bytes(), max_depth), Ok(ours), "{written}");
            }
            (Ok(_), Err(error)) => panic!("accepted, and serde_json says {error}"),
            (Err(JsonError::Malformed), Ok(_)) => panic!("refused as malformed, and serde_json reads it"),
            (Err(JsonError::NotAnObject), _) => panic!("nobody asked for an object"),
            (Err(JsonError::TooDeep | JsonError::Duplicate), Ok(_)) => {}
            (Err(JsonError::Malformed | JsonError::TooDeep | JsonError::Duplicate), Err(_)) => {}
        }
    }
}

fn depth(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(depth).max().unwrap_or(0),
        Value::Object(members) => 1 + members.values().map(depth).max().unwrap_or(0),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

fn members(value: &Value) -> usize {
    match value {
        Value::Array(items) => items.iter().map(members).sum(),
        Value::Object(map) => map.len() + map.values().map(members).sum::<usize>(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

/// Outside texts, in valid JSON: one for each member.
fn colons(data: &[u8]) -> usize {
    let (mut count, mut in_text, mut escaped) = (0, false, false);
    for byte in data {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_text => escaped = true,
            b'"' => in_text = !in_text,
            b':' if !in_text => count += 1,
            _ => {}
        }
    }
    count
}
