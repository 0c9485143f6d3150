//! Frames: requests in, responses and events out.

use claviger_crypto::json::{self, JsonError};
use serde_json::{Map, Value};

use super::close::Failure;

/// The id under which an unreadable request is answered.
pub const UNREADABLE: &str = "invalid";
/// Longest id of a request, in bytes.
const ID_MAX_BYTES: usize = 256;
/// Deepest nesting of a frame: the bodies of the operations may be 32 deep.
const DEPTH_MAX: usize = 33;

/// A request.
#[derive(Debug, PartialEq)]
pub struct Request {
    /// Chosen by the client.
    pub id: String,
    /// What is asked for.
    pub method: String,
    /// With what.
    pub params: Option<Value>,
}

/// A frame that is no request.
#[derive(Debug, PartialEq, Eq)]
pub struct Unreadable {
    /// Its id, if it has one that can be read.
    pub id: Option<String>,
    /// The rule that it breaks.
    pub rule: &'static str,
}

/// Reads a request. Members that are not known are ignored.
///
/// # Errors
/// See [`Unreadable`].
pub fn parse(text: &[u8]) -> Result<Request, Unreadable> {
    let anonymous = |rule| Unreadable { id: None, rule };
    let mut frame = json::parse_object(text, DEPTH_MAX).map_err(|error| {
        anonymous(match error {
            JsonError::Malformed => "a frame must be valid JSON",
            JsonError::NotAnObject => "a frame must be a JSON object",
            JsonError::TooDeep => "a frame is nested at most 33 deep",
            JsonError::Duplicate => "an object in a frame must not have duplicate members",
        })
    })?;
    let id = match frame.remove("id") {
        Some(Value::String(id)) if (1..=ID_MAX_BYTES).contains(&id.len()) => Some(id),
        Some(_) | None => None,
    };
    if frame.get("type").and_then(Value::as_str) != Some("req") {
        return Err(Unreadable { id, rule: "the type of a frame must be req" });
    }
    let Some(id) = id else { return Err(anonymous("id must be a text of 1 to 256 bytes")) };
    match frame.remove("method") {
        Some(Value::String(method)) => Ok(Request { id, method, params: frame.remove("params") }),
        Some(_) | None => Err(Unreadable { id: Some(id), rule: "method must be a text" }),
    }
}

/// A response to a request that succeeded, with its payload as JSON text.
#[must_use]
pub fn success(id: &str, payload: Option<&str>) -> String {
    let id = quoted(id);
    match payload {
        Some(payload) => {
            let mut text = String::with_capacity(payload.len() + id.len() + 48);
            text.push_str(r#"{"type":"res","id":"#);
            text.push_str(&id);
            text.push_str(r#","ok":true,"payload":"#);
            text.push_str(payload);
            text.push('}');
            text
        }
        None => format!(r#"{{"type":"res","id":{id},"ok":true}}"#),
    }
}

/// A response to a request that failed.
#[must_use]
pub fn failure(id: &str, failure: &Failure) -> String {
    format!(r#"{{"type":"res","id":{},"ok":false,"error":{}}}"#, quoted(id), failure.value())
}

/// An event, with its payload as JSON text.
#[must_use]
pub fn event(name: &str, payload: Option<&str>, seq: u64, epoch: Option<u64>) -> String {
    let mut text = format!(r#"{{"type":"event","event":{}"#, quoted(name));
    if let Some(payload) = payload {
        text.push_str(r#","payload":"#);
        text.push_str(payload);
    }
    text.push_str(&format!(r#","seq":{seq}"#));
    if let Some(epoch) = epoch {
        text.push_str(&format!(r#","epoch":{epoch}"#));
    }
    text.push('}');
    text
}

fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// `params` as an object; absent counts as empty.
///
/// # Errors
/// It is something else.
pub fn members(params: Option<Value>) -> Result<Map<String, Value>, Failure> {
    match params {
        None => Ok(Map::new()),
        Some(Value::Object(members)) => Ok(members),
        Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
            Err(Failure::invalid("params must be an object"))
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    #[test]
    fn requests_are_read_and_what_is_not_known_is_ignored() {
        let text = br#"{"type":"req","id":"1","method":"keys.list","params":{"limit":5},"trace":[1]}"#;
        let expected =
            Request { id: "1".to_owned(), method: "keys.list".to_owned(), params: Some(json!({"limit": 5})) };
        assert_eq!(parse(text), Ok(expected));
    }

    #[test]
    fn the_id_is_found_wherever_it_can_be() {
        let id = |text: &str| parse(text.as_bytes()).expect_err(text).id;
        for text in [
            "",
            "nonsense",
            "[]",
            "null",
            "\"req\"",
            "{}",
            r#"{"type":"req"}"#,
            r#"{"type":"req","id":1,"method":"a"}"#,
            r#"{"type":"req","id":"","method":"a"}"#,
            r#"{"type":"req","id":"a","id":"a","method":"a"}"#,
            r#"{"type":"req","id":"1","method":"a"} x"#,
        ] {
            assert_eq!(id(text), None, "{text}");
        }
        for text in [
            r#"{"type":"req","id":"7"}"#,
            r#"{"type":"req","id":"7","method":null}"#,
            r#"{"type":"res","id":"7","method":"a"}"#,
            r#"{"id":"7","method":"a"}"#,
        ] {
            assert_eq!(id(text).as_deref(), Some("7"), "{text}");
        }
        let long = format!(r#"{{"type":"req","id":"{}","method":"a"}}"#, "x".repeat(257));
        assert_eq!(id(&long), None);
        assert_eq!(id(&"[".repeat(1 << 20)), None);
    }

    #[test]
    fn frames_have_the_members_of_the_protocol() {
        assert_eq!(
            success("a\"", Some("{\"x\":1}")),
            r#"{"type":"res","id":"a\"","ok":true,"payload":{"x":1}}"#
        );
        assert_eq!(success("a", None), r#"{"type":"res","id":"a","ok":true}"#);
        assert_eq!(
            failure("a", &Failure::invalid("no")),
            r#"{"type":"res","id":"a","ok":false,"error":{"code":"invalid_request","message":"no"}}"#
        );
        assert_eq!(
            event("tick", Some("{\"ts\":1}"), 4, None),
            r#"{"type":"event","event":"tick","payload":{"ts":1},"seq":4}"#
        );
        assert_eq!(
            event("health", None, 5, Some(9)),
            r#"{"type":"event","event":"health","seq":5,"epoch":9}"#
        );
    }

    proptest! {
        #[test]
        fn no_bytes_do_harm(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _read = parse(&bytes);
        }

        #[test]
        fn whatever_is_written_can_be_read(id in "\\PC{1,40}", message in "\\PC{0,40}") {
            let text = failure(&id, &Failure::invalid(message.clone()));
            let value: Value = serde_json::from_str(&text).unwrap();
            prop_assert_eq!(&value["id"], &Value::from(id));
            prop_assert_eq!(&value["error"]["message"], &Value::from(message));
        }
    }
}
