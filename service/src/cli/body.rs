//! From arguments to requests.

use serde_json::{Map, Value};

/// Adds a member that was given.
pub(super) fn put(body: &mut Map<String, Value>, member: &str, value: Option<impl Into<Value>>) {
    body.extend(value.map(|value| (member.to_owned(), value.into())));
}

/// A member of an answer; null where there is none.
pub(super) fn member<'a>(value: &'a Value, name: &str) -> &'a Value {
    static NOTHING: Value = Value::Null;
    value.get(name).unwrap_or(&NOTHING)
}

/// An argument that is a JSON object.
///
/// # Errors
/// It is none.
pub(super) fn object(text: &str) -> Result<Map<String, Value>, &'static str> {
    serde_json::from_str(text).map_err(|_| "must be a JSON object")
}

/// An argument that becomes a segment of the path; an empty one, or dots, would lead to another route.
///
/// # Errors
/// It is none.
pub(super) fn segment(text: &str) -> Result<String, &'static str> {
    let fits = !matches!(text, "" | "." | "..") && !text.contains(char::is_control);
    fits.then(|| text.to_owned()).ok_or("must be a name")
}
