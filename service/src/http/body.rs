//! Bodies, queries and path segments, strictly.
//!
//! What a request gets wrong is told by rule, never by quoting the request.

use std::{
    fmt,
    future::{Ready, ready},
    pin::pin,
    time::Duration,
};

use actix_web::{
    FromRequest, HttpMessage as _, HttpRequest,
    dev::Payload,
    error::PayloadError,
    http::header::{self, HeaderMap},
    web::{Bytes, BytesMut, Query},
};
use claviger_crypto::json::{self, JsonError};
use claviger_entity::{KeyName, VersionNumber};
use futures_util::{FutureExt as _, StreamExt as _};
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeOwned, Visitor},
};
use serde_json::Value;
use tokio::sync::{Semaphore, SemaphorePermit};
use zeroize::Zeroizing;

use super::{
    problem::{Code, Problem},
    state::Arrival,
    table,
};

/// Deepest nesting of a body.
const MAX_DEPTH: usize = 32;
/// Longest time for a body to arrive.
const ARRIVAL: Duration = Duration::from_secs(10);
/// Most bytes of a node's bodies that have come in part, or else so many bodies of the greatest length.
const AWAITED_MAX_BYTES: usize = 128 << 20;
const AWAITED_AT_LEAST: usize = 8;
/// What each may be without counting: whoever fills the room with large ones must not stand in the way of small ones.
const AWAITED_FREE: usize = 64 << 10;

/// Room for bodies that have come in part.
pub struct Awaited(Semaphore);

impl Awaited {
    /// Where a body has at most so many bytes.
    #[must_use]
    pub fn of(limit: usize) -> Self {
        Self(Semaphore::new(
            limit.saturating_mul(AWAITED_AT_LEAST).clamp(AWAITED_MAX_BYTES, Semaphore::MAX_PERMITS),
        ))
    }
}

/// Looks at the body that the door has taken; where there is none it is empty.
pub(super) fn of<T>(request: &HttpRequest, look: impl FnOnce(&[u8]) -> T) -> T {
    look(request.extensions().get::<Arrival>().and_then(Arrival::body).map_or(&[], |body| body))
}

/// A JSON body, whatever its `Content-Type`; an absent one counts as `{}`.
pub struct StrictJson<T>(pub T);

impl<T: DeserializeOwned> FromRequest for StrictJson<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(of(request, |body| value(body).and_then(typed)).map(Self))
    }
}

/// What can be read from a body in one go: none of its members is read as bare JSON, where two members of one name would not show (see
/// [`json::strict`]), and it knows no others.
pub trait Direct: DeserializeOwned {}

/// As [`StrictJson`], without a detour for bodies that are as they should be.
pub struct DirectJson<T>(pub T);

impl<T: Direct> FromRequest for DirectJson<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let read = |body: &[u8]| direct(body).map_or_else(|| value(body).and_then(typed), Ok);
        ready(of(request, read).map(Self))
    }
}

/// Reads a body in one go. `None`: it is not as it should be, or can't be read like this; whoever reads it slowly learns which.
pub fn direct<T: Direct>(body: &[u8]) -> Option<T> {
    // serde would take an array for a struct, its members by their place.
    let is_object = body.trim_ascii_start().first() == Some(&b'{');
    let is_bounded = is_object && json::depth_within(body, MAX_DEPTH);
    if is_bounded { serde_json::from_slice(body).ok() } else { None }
}

/// A body as it came.
pub struct Whole(pub Bytes);

impl FromRequest for Whole {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let body = request.extensions().get::<Arrival>().and_then(|arrival| arrival.body().cloned());
        ready(Ok(Self(body.unwrap_or_default())))
    }
}

/// `Content-Length`, where it is one.
pub(super) fn declared_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Reads a whole body, within the limits of size and time, and of what all that have come in part may be together.
pub(super) async fn read(
    (limit, awaited): (usize, &Awaited),
    declared: Option<usize>,
    payload: &mut Payload,
) -> Result<Bytes, Problem> {
    let too_large =
        || Problem::new(Code::PayloadTooLarge, format!("a request body has at most {limit} bytes"));
    if declared.is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let crowded = |_| {
        let detail = "too many large request bodies have come in part; try again, or another node";
        Problem::new(Code::Overloaded, detail).retry_after(Duration::from_secs(1))
    };
    let arrival = async {
        let (mut first, mut more) = (Bytes::new(), BytesMut::new());
        let mut room: Option<SemaphorePermit<'_>> = None;
        while let Some(chunk) = payload.next().await {
            let chunk = chunk.map_err(|error| {
                if matches!(error, PayloadError::Overflow) {
                    too_large()
                } else {
                    Problem::invalid("the request body did not arrive whole")
                }
            })?;
            let length = first.len() + more.len() + chunk.len();
            if length > limit {
                return Err(too_large());
            }
            let counts = length.saturating_sub(AWAITED_FREE).min(chunk.len());
            if let Ok(counts @ 1..) = u32::try_from(counts) {
                let further = awaited.0.try_acquire_many(counts).map_err(crowded)?;
                match &mut room {
                    Some(room) => room.merge(further),
                    None => room = Some(further),
                }
            }
            if first.is_empty() {
                first = chunk;
            } else {
                more.extend_from_slice(&chunk);
            }
        }
        Ok(if more.is_empty() { first } else { [first, more.freeze()].concat().into() })
    };
    let mut arrival = pin!(arrival);
    // Most come with their head, in one piece, and need no clock.
    if let Some(body) = arrival.as_mut().now_or_never() {
        return body;
    }
    let late = |_| Problem::invalid("the request body did not arrive within 10 s");
    actix_web::rt::time::timeout(ARRIVAL, arrival).await.map_err(late)?
}

pub(super) fn value(body: &[u8]) -> Result<Value, Problem> {
    if body.trim_ascii().is_empty() {
        return Ok(Value::Object(serde_json::Map::new()));
    }
    json::parse(body, MAX_DEPTH).map_err(|error| {
        Problem::invalid(match error {
            JsonError::TooDeep => "the body is nested more than 32 deep",
            JsonError::Duplicate => "an object in the body has a duplicate member",
            JsonError::Malformed | JsonError::NotAnObject => "the body is not valid JSON",
        })
    })
}

/// A value as a type, with an error that quotes nothing.
///
/// # Errors
/// `invalid_request`.
pub fn typed<T: DeserializeOwned>(value: Value) -> Result<T, Problem> {
    // serde would take an array for a struct, its members by their place.
    if !value.is_object() {
        return Err(Problem::invalid("the body must be a JSON object"));
    }
    serde_json::from_value(value).map_err(|error| Problem::invalid(rule_of(&error.to_string())))
}

/// serde quotes what it got and then says what it expected; only the latter is ours to repeat.
fn rule_of(message: &str) -> String {
    if let Some((_, expected)) = message.rsplit_once(", expected ") {
        let what = if message.starts_with("unknown field") {
            "has an unknown member"
        } else {
            "has a member of the wrong form"
        };
        return format!("the body {what}; expected {expected}");
    }
    if message.starts_with("missing field") {
        return format!("the body is incomplete: {message}");
    }
    if message.starts_with("unknown field") {
        return "the body has an unknown member".to_owned();
    }
    // What is left is written by the domain types, which say a rule and no value.
    format!("the body has a member that breaks a rule: {message}")
}

/// A query string without unknown parameters.
pub struct StrictQuery<T>(pub T);

impl<T: DeserializeOwned> FromRequest for StrictQuery<T> {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let query = Query::<T>::from_query(request.query_string());
        ready(
            query
                .map(|query| Self(query.into_inner()))
                .map_err(|_| Problem::invalid("the query has an unknown parameter or one of the wrong form")),
        )
    }
}

/// What the path of a request has where the pattern of its route says `{name}`.
pub fn segment<T>(request: &HttpRequest, name: &str, read: impl FnOnce(&str) -> Option<T>) -> Option<T> {
    let extensions = request.extensions();
    let pattern = extensions.get::<Arrival>()?.route().pattern;
    table::segment(pattern, request.match_info().as_str(), name).and_then(read)
}

/// `{name}` of a path. What is no name can't be a key, so it is not found.
pub struct PathName(pub KeyName);

impl FromRequest for PathName {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let name = segment(request, "name", |name| name.parse().ok());
        let missing = || Problem::new(Code::KeyNotFound, "there is no such key");
        ready(name.map(Self).ok_or_else(missing))
    }
}

/// `{version}` of a path.
pub struct PathVersion(pub VersionNumber);

impl FromRequest for PathVersion {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let version = segment(request, "version", |version| version.parse().ok());
        let missing = || Problem::new(Code::VersionNotFound, "the key has no such version");
        ready(version.map(Self).ok_or_else(missing))
    }
}

/// Bytes, as standard base64 in JSON; zeroized when dropped.
#[derive(Clone, utoipa::ToSchema)]
#[schema(value_type = String, format = Byte)]
pub struct Base64(pub Zeroizing<Vec<u8>>);

impl Base64 {
    /// Takes bytes.
    #[must_use]
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self(Zeroizing::new(bytes.into()))
    }
}

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        serializer.serialize_str(&STANDARD.encode(&*self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(OfText)
    }
}

/// Reads the text where it is: a copy would be one more to make, and to wipe.
struct OfText;

impl Visitor<'_> for OfText {
    type Value = Base64;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("standard base64")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Base64, E> {
        use base64::{Engine as _, engine::general_purpose::STANDARD};
        let bytes = STANDARD.decode(text);
        bytes.map(Base64::new).map_err(|_| E::custom("binary values are standard base64"))
    }

    fn visit_string<E: serde::de::Error>(self, text: String) -> Result<Base64, E> {
        self.visit_str(&Zeroizing::new(text))
    }
}

/// The revision that must still be there when the change is made (RFC 9110 §13.1.1); `current` is absent when nothing is there.
pub(super) fn if_match(
    request: &HttpRequest,
    current: Option<u64>,
    what: &str,
) -> Result<Option<u64>, Problem> {
    let Some(value) = request.headers().get(header::IF_MATCH) else { return Ok(None) };
    let tags = value.to_str().map_err(|_| Problem::invalid("If-Match must hold entity tags"))?;
    let is_named = |revision: &u64| {
        let tag = format!("\"{revision}\"");
        tags.split(',').map(str::trim).any(|given| given == "*" || given == tag)
    };
    let stale = || {
        let detail = format!("the {what} has changed since the ETag that If-Match names; read it again");
        Problem::new(Code::PreconditionFailed, detail)
    };
    current.filter(is_named).map(Some).ok_or_else(stale)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Sample {
        #[serde(default)]
        a: Option<String>,
        #[serde(default)]
        n: u32,
        #[serde(default, deserialize_with = "json::strict")]
        any: Option<Value>,
        #[serde(default, deserialize_with = "json::strict_object")]
        map: serde_json::Map<String, Value>,
    }

    impl Direct for Sample {}

    fn slowly(body: &[u8]) -> Result<Sample, Problem> {
        value(body).and_then(typed)
    }

    #[test]
    fn what_two_parsers_could_read_differently_is_not_read_in_one_go() {
        for body in [
            r#"{"a":"x","a":"y"}"#,
            r#"{"any":{"b":1,"b":2}}"#,
            r#"{"map":{"b":[{"c":1,"c":2}]}}"#,
            r#"{"any":{"b":1,"\u0062":2}}"#,
            r#"{"b":1}"#,
            r#"{"a":"x"} {}"#,
            r#"["x",1]"#,
            r#"{"map":[]}"#,
            r#"{"n":-1}"#,
            "",
            "{",
        ] {
            assert_eq!(direct::<Sample>(body.as_bytes()), None, "{body}");
        }
        let deep = format!(r#"{{"any":{}1{}}}"#, "[".repeat(32), "]".repeat(32));
        assert_eq!(direct::<Sample>(deep.as_bytes()), None);
        assert!(direct::<Sample>(br#" {"a":null,"any":null,"map":{"b":[1.5]},"n":7} "#).is_some());
        let refused = |body: &str| {
            let problem = slowly(body.as_bytes()).unwrap_err();
            serde_json::to_value(problem.body(None)).unwrap()["detail"].clone()
        };
        assert_eq!(refused(r#"{"map":[]}"#), "the body has a member of the wrong form; expected a map");
        assert_eq!(refused(r#"{"any":{"b":1,"b":2}}"#), "an object in the body has a duplicate member");
    }

    fn any_value() -> impl Strategy<Value = String> {
        let leaf =
            prop_oneof![Just("null"), Just("1"), Just("-2.5"), Just("\"x\""), Just("true"), Just("1e400")];
        leaf.prop_map(str::to_owned).prop_recursive(3, 12, 3, |inner| {
            let member = ("[bc]", inner.clone()).prop_map(|(name, value)| format!("\"{name}\":{value}"));
            prop_oneof![
                proptest::collection::vec(inner, 0..3).prop_map(|items| format!("[{}]", items.join(","))),
                proptest::collection::vec(member, 0..3)
                    .prop_map(|members| format!("{{{}}}", members.join(","))),
            ]
        })
    }

    proptest! {
        /// Whichever way a body is read, it is the same, and what one refuses the other refuses.
        #[test]
        fn both_ways_agree(
            members in proptest::collection::vec(("(a|n|any|map|x)", any_value()), 0..5),
            cut in 0..400_usize,
        ) {
            let members: Vec<_> = members.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
            let body = format!("{{{}}}", members.join(", "));
            for body in [body.as_bytes(), body.as_bytes().get(..cut).unwrap_or(body.as_bytes())] {
                let (direct, slowly) = (direct::<Sample>(body), slowly(body).ok());
                // An empty body stands for an empty object.
                prop_assert!(body.is_empty() || direct == slowly, "{direct:?} {slowly:?}");
            }
        }
    }
}
