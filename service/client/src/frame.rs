//! Frames of the protocol, as JSON text. Pure: whatever a server sends is either one of these or nothing.

use std::time::Duration;

use serde_json::{Map, Value, json};

use crate::ending::one_line;

/// The whole public state of the ring.
pub(crate) const RING_SYNC: &str = "ring.sync";
/// The first event of a connection.
pub(crate) const CHALLENGE: &str = "connect.challenge";
/// A sign of life.
pub(crate) const TICK: &str = "tick";

/// Something that has happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Such as `key.rotated`.
    pub name: String,
    /// The change of the ring that it is; what no log keeps has none.
    pub epoch: Option<u64>,
    /// What is told of it.
    pub payload: Value,
}

impl Event {
    /// What tells events of one change apart.
    pub(crate) fn identity(&self) -> (String, String, i64) {
        let key = self.payload.get("name").and_then(Value::as_str).unwrap_or_default();
        let version = self.payload.get("version").and_then(Value::as_i64).unwrap_or_default();
        (self.name.clone(), key.to_owned(), version)
    }
}

/// An error that a server answers with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ServerError {
    pub(crate) code: String,
    pub(crate) message: String,
    pub(crate) details: Option<Value>,
    pub(crate) retryable: bool,
    pub(crate) retry_after: Option<Duration>,
}

/// What a server sends.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Frame {
    Event(Event),
    Response {
        id: String,
        answer: Result<Value, ServerError>,
    },
    /// Of a kind that is not known here: to be ignored, so that servers may learn to say more.
    Unknown,
}

/// Reads a frame. `None` = it is none.
pub(crate) fn parse(text: &str) -> Option<Frame> {
    let Ok(Value::Object(mut frame)) = serde_json::from_str(text) else { return None };
    let texts = |frame: &Map<String, Value>, name: &str| Some(frame.get(name)?.as_str()?.to_owned());
    match texts(&frame, "type")?.as_str() {
        "event" => {
            let name = texts(&frame, "event")?;
            let epoch = match frame.get("epoch") {
                None | Some(Value::Null) => None,
                Some(epoch) => Some(epoch.as_u64()?),
            };
            let payload = frame.remove("payload").unwrap_or(Value::Null);
            Some(Frame::Event(Event { name, epoch, payload }))
        }
        "res" => {
            let id = texts(&frame, "id")?;
            let answer = if frame.get("ok")?.as_bool()? {
                Ok(frame.remove("payload").unwrap_or(Value::Null))
            } else {
                Err(server_error(frame.remove("error")?)?)
            };
            Some(Frame::Response { id, answer })
        }
        _ => Some(Frame::Unknown),
    }
}

fn server_error(error: Value) -> Option<ServerError> {
    let Value::Object(mut error) = error else { return None };
    let text = |name: &str| error.get(name).and_then(Value::as_str).map(one_line);
    let (code, message) = (text("code")?, text("message").unwrap_or_default());
    let retry_after = error.get("retryAfterMs").and_then(Value::as_u64).map(Duration::from_millis);
    let retryable = error.get("retryable").and_then(Value::as_bool).unwrap_or(retry_after.is_some());
    let details = error.remove("details").filter(|details| !details.is_null());
    Some(ServerError { code, message, details, retryable, retry_after })
}

/// A request as text.
pub(crate) fn request(id: &str, method: &str, params: Value) -> String {
    let mut request = json!({ "type": "req", "id": id, "method": method });
    if let (Some(request), false) = (request.as_object_mut(), params.is_null()) {
        request.insert("params".to_owned(), params);
    }
    request.to_string()
}

/// What a server says when it lets a client in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hello {
    /// Name of the node.
    pub node: String,
    /// Version of the node.
    pub version: String,
    /// Of this connection.
    pub connection_id: String,
    /// Methods that may be called.
    pub methods: Vec<String>,
    /// Events that may come.
    pub events: Vec<String>,
    /// Role of this session.
    pub role: String,
    /// Scopes that were granted.
    pub scopes: Vec<String>,
    /// Epoch of the ring at this node.
    pub epoch: u64,
    /// Largest frame that the server takes, in bytes.
    pub payload_max_bytes: usize,
    /// How often the server gives a sign of life.
    pub tick: Duration,
}

/// Why a hello is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoHello {
    OtherVersion,
    Malformed,
}

/// Shortest and longest interval that a server may announce.
const TICKS: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(600));
/// Largest frame that is sent, whatever a server says.
const PAYLOAD_MAX_BYTES: usize = 16 << 20;
/// The protocol that is spoken here.
pub(crate) const PROTOCOL_VERSION: u64 = 1;

impl Hello {
    pub(crate) fn parse(payload: &Value) -> Result<Self, NoHello> {
        let version = payload.pointer("/server/protocolVersion").and_then(Value::as_u64);
        if version.is_some_and(|version| version != PROTOCOL_VERSION) {
            return Err(NoHello::OtherVersion);
        }
        let is_hello = payload.get("type").and_then(Value::as_str) == Some("hello-ok") && version.is_some();
        Self::read(payload).filter(|_| is_hello).ok_or(NoHello::Malformed)
    }

    fn read(payload: &Value) -> Option<Self> {
        let text = |path: &str| Some(one_line(payload.pointer(path)?.as_str()?));
        let number = |path: &str| payload.pointer(path)?.as_u64();
        let texts = |path: &str| -> Option<Vec<String>> {
            let list = payload.pointer(path)?.as_array()?;
            list.iter().map(|item| item.as_str().map(one_line)).collect()
        };
        let payload_max_bytes = usize::try_from(number("/policy/payload/maxBytes")?).unwrap_or(usize::MAX);
        Some(Self {
            node: text("/server/node")?,
            version: text("/server/version")?,
            connection_id: text("/server/connId")?,
            methods: texts("/methods")?,
            events: texts("/events")?,
            role: text("/auth/role")?,
            scopes: texts("/auth/scopes")?,
            epoch: number("/snapshot/epoch")?,
            payload_max_bytes: payload_max_bytes.min(PAYLOAD_MAX_BYTES),
            tick: Duration::from_millis(number("/policy/tick/intervalMs")?).clamp(TICKS.0, TICKS.1),
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn frames_of_the_protocol_are_read() {
        let event = parse(r#"{"type":"event","event":"tick","payload":{"ts":1},"seq":4}"#);
        let expected = Event { name: "tick".to_owned(), epoch: None, payload: json!({"ts": 1}) };
        assert_eq!(event, Some(Frame::Event(expected)));
        let response = parse(r#"{"type":"res","id":"7","ok":true,"payload":[1],"more":2}"#);
        assert_eq!(response, Some(Frame::Response { id: "7".to_owned(), answer: Ok(json!([1])) }));
        let refused = parse(
            r#"{"type":"res","id":"7","ok":false,"error":{"code":"rate_limited","message":"a\nb","retryAfterMs":50,"details":{"x":1}}}"#,
        );
        let error = ServerError {
            code: "rate_limited".to_owned(),
            message: "a b".to_owned(),
            details: Some(json!({"x": 1})),
            retryable: true,
            retry_after: Some(Duration::from_millis(50)),
        };
        assert_eq!(refused, Some(Frame::Response { id: "7".to_owned(), answer: Err(error) }));
        assert_eq!(parse(r#"{"type":"news"}"#), Some(Frame::Unknown));
        assert_eq!(request("1", "a", Value::Null), r#"{"type":"req","id":"1","method":"a"}"#);
        assert_eq!(request("1", "a", json!({})), r#"{"type":"req","id":"1","method":"a","params":{}}"#);
    }

    #[test]
    fn what_is_no_frame_is_none() {
        for text in [
            "",
            "[]",
            "{}",
            "null",
            r#"{"type":1}"#,
            r#"{"type":"event"}"#,
            r#"{"type":"event","event":"a","epoch":-1}"#,
            r#"{"type":"event","event":"a","epoch":"7"}"#,
            r#"{"type":"res","id":"1"}"#,
            r#"{"type":"res","id":1,"ok":true}"#,
            r#"{"type":"res","id":"1","ok":false}"#,
            r#"{"type":"res","id":"1","ok":false,"error":{"message":"m"}}"#,
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(parse(&"[".repeat(1 << 20)), None);
    }

    fn hello() -> Value {
        json!({
            "type": "hello-ok",
            "server": {"version": "1", "protocolVersion": 1, "connId": "c", "node": "n"},
            "methods": ["keys.list"], "events": ["tick"],
            "snapshot": {"presence": [], "health": {}, "epoch": 7},
            "policy": {"payload": {"maxBytes": 524_288}, "buffer": {"maxBytes": 1}, "tick": {"intervalMs": 30_000}},
            "auth": {"role": "operator", "scopes": []},
        })
    }

    #[test]
    fn a_hello_must_be_whole_and_its_figures_are_bounded() {
        let read = Hello::parse(&hello()).unwrap();
        assert_eq!((read.tick, read.payload_max_bytes, read.epoch), (Duration::from_secs(30), 524_288, 7));
        let with = |path: &str, value: Value| {
            let mut hello = hello();
            *hello.pointer_mut(path).unwrap() = value;
            Hello::parse(&hello)
        };
        assert_eq!(with("/policy/tick/intervalMs", json!(0)).map(|hello| hello.tick), Ok(TICKS.0));
        assert_eq!(with("/policy/tick/intervalMs", json!(u64::MAX)).map(|hello| hello.tick), Ok(TICKS.1));
        let max = with("/policy/payload/maxBytes", json!(u64::MAX)).map(|hello| hello.payload_max_bytes);
        assert_eq!(max, Ok(PAYLOAD_MAX_BYTES));
        assert_eq!(with("/server/protocolVersion", json!(2)), Err(NoHello::OtherVersion));
        for path in ["/type", "/server/protocolVersion", "/server/node", "/methods", "/snapshot/epoch"] {
            assert_eq!(with(path, json!({})), Err(NoHello::Malformed), "{path}");
        }
    }

    proptest! {
        #[test]
        fn no_text_does_harm(text in "\\PC{0,200}") {
            let _read = parse(&text);
        }

        #[test]
        fn requests_can_be_read(id in "\\PC{1,20}", method in "\\PC{0,20}", value in "\\PC{0,20}") {
            let read: Value = serde_json::from_str(&request(&id, &method, json!({"v": value}))).unwrap();
            prop_assert_eq!(&read["id"], &Value::from(id));
            prop_assert_eq!(&read["method"], &Value::from(method));
            prop_assert_eq!(&read["params"]["v"], &Value::from(value));
        }
    }
}
