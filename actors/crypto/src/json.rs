//! Strict JSON: no duplicate members, bounded depth, nothing after the value.
//!
//! Two parsers that disagree on a duplicate member are an attack (RFC 8725 §2.4), and a megabyte of `[` is another, so depth is
//! counted over the bytes before anything is built.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Unexpected, Visitor};
use serde_json::{Map, Number, Value};

/// A text that is not accepted as JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Not JSON, or something follows it.
    #[error("not valid JSON")]
    Malformed,
    /// Nested deeper than allowed.
    #[error("nested too deeply")]
    TooDeep,
    /// An object names a member twice.
    #[error("an object has a duplicate member")]
    Duplicate,
    /// Not an object.
    #[error("not a JSON object")]
    NotAnObject,
}

const DUPLICATE: &str = "duplicate member";

/// Parses one value, nested at most `max_depth` deep (a plain object is 1).
///
/// # Errors
/// See [`JsonError`].
pub fn parse(bytes: &[u8], max_depth: usize) -> Result<Value, JsonError> {
    if !depth_within(bytes, max_depth) {
        return Err(JsonError::TooDeep);
    }
    let mut deserializer = serde_json::Deserializer::from_slice(bytes);
    let value = Strict.deserialize(&mut deserializer).map_err(|error| {
        // The one message of our own; serde_json's may quote the input and is dropped.
        if error.to_string().starts_with(DUPLICATE) { JsonError::Duplicate } else { JsonError::Malformed }
    })?;
    deserializer.end().map_err(|_| JsonError::Malformed)?;
    Ok(value)
}

/// Parses one object.
///
/// # Errors
/// See [`JsonError`].
pub fn parse_object(bytes: &[u8], max_depth: usize) -> Result<Map<String, Value>, JsonError> {
    match parse(bytes, max_depth)? {
        Value::Object(map) => Ok(map),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(JsonError::NotAnObject)
        }
    }
}

/// For a member of any form, read as strictly as by [`parse`]; absent and `null` are the same.
///
/// # Errors
/// An object names a member twice, or what the format says.
pub fn strict<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Value>, D::Error> {
    Strict.deserialize(deserializer).map(|value| Some(value).filter(|value| !value.is_null()))
}

/// For a member that is an object, read as strictly.
///
/// # Errors
/// It is none, or as [`strict`].
pub fn strict_object<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Map<String, Value>, D::Error> {
    match Strict.deserialize(deserializer)? {
        Value::Object(map) => Ok(map),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(D::Error::invalid_type(Unexpected::Other("something else"), &"a map"))
        }
    }
}

/// Counts brackets outside strings; says nothing about validity.
#[must_use]
pub fn depth_within(bytes: &[u8], max_depth: usize) -> bool {
    let (mut depth, mut rest) = (0_usize, bytes);
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b'"' => rest = after_string(after),
            b'[' | b'{' => {
                depth += 1;
                if depth > max_depth {
                    return false;
                }
            }
            b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    true
}

/// What follows the string whose beginning was taken off; most of a body is in few and long ones.
fn after_string(mut text: &[u8]) -> &[u8] {
    while let Some(at) = memchr::memchr2(b'"', b'\\', text) {
        let is_over = text.get(at) == Some(&b'"');
        text = text.get(at + if is_over { 1 } else { 2 }..).unwrap_or_default();
        if is_over {
            return text;
        }
    }
    &[]
}

struct Strict;

impl<'de> DeserializeSeed<'de> for Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Number(value.into()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(Strict)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            let value = members.next_value_seed(Strict)?;
            if map.insert(name, value).is_some() {
                return Err(A::Error::custom(DUPLICATE));
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn refuses_what_two_parsers_could_read_differently() {
        assert_eq!(parse(br#"{"a":1,"a":2}"#, 8), Err(JsonError::Duplicate));
        assert_eq!(parse(br#"{"b":{"a":1,"\u0061":2}}"#, 8), Err(JsonError::Duplicate));
        assert_eq!(parse(br#"{"a":1} {}"#, 8), Err(JsonError::Malformed));
        assert_eq!(parse(b"\xff", 8), Err(JsonError::Malformed));
        assert_eq!(parse(br#"[[1]]"#, 1), Err(JsonError::TooDeep));
        assert_eq!(parse(&vec![b'['; 1 << 20], 32), Err(JsonError::TooDeep));
        assert!(depth_within(br#"{"a":"[[[[\"[["}"#, 1));
        assert_eq!(parse_object(b"[]", 8), Err(JsonError::NotAnObject));
    }

    /// Byte by byte.
    fn depth(bytes: &[u8]) -> usize {
        let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
        for byte in bytes {
            match (in_string, byte) {
                (true, _) if escaped => escaped = false,
                (true, b'\\') => escaped = true,
                (_, b'"') => in_string = !in_string,
                (false, b'[' | b'{') => depth += 1,
                (false, b']' | b'}') => depth = depth.saturating_sub(1),
                (_, _) => {}
            }
            deepest = deepest.max(depth);
        }
        deepest
    }

    proptest! {
        #[test]
        fn brackets_are_counted_outside_strings(text in r#"[\[\]{}"\\a]{0,60}"#, most in 0_usize..8) {
            prop_assert_eq!(depth_within(text.as_bytes(), most), depth(text.as_bytes()) <= most);
        }

        #[test]
        fn agrees_with_serde_json_on_what_it_accepts(text in "[\\[\\]{}\",:0-9a-e .]{0,40}") {
            if let Ok(value) = parse(text.as_bytes(), 64) {
                prop_assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
            }
        }
    }
}
