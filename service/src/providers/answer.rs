//! What providers answer, read with suspicion (RFC 6749 §5, RFC 7009 §2.2, RFC 7662 §2.2). Pure.
//!
//! JSON or a form, whatever they say of its type. Only one answer ends tokens: the grant is refused, with a status that goes with it. All
//! else that is not as it should be is a fault of the provider and passes.

use std::fmt;

use claviger_crypto::json;
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, MapAccess, Visitor},
};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use claviger_actors::stores::VALUE_MAX;

/// Deepest nesting of an answer.
const DEPTH: usize = 16;
/// Most fields of a form.
const FIELDS_MAX: usize = 64;
/// Members that mean something here.
const READ: [&str; 6] = [
    "error",
    "access_token",
    "refresh_token",
    "expires_in",
    "refresh_expires_in",
    "refresh_token_expires_in",
];
/// No token lives longer than ten years: who says so does not know what they say.
const LIFETIME_MAX: u32 = 315_360_000;

/// Why a provider did not do as asked, by its own word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The code or token is not, or no longer, good there.
    #[error("it refuses the grant")]
    Refused,
    /// It does not accept this deployment.
    #[error(
        "it does not accept this deployment as its client; look at client_id, client_secret and auth_style"
    )]
    Client,
    /// It does not accept the request.
    #[error("it does not accept the request")]
    Request,
    /// It failed.
    #[error("it answered with status {0}")]
    Status(u16),
    /// It makes no sense.
    #[error("its answer is none of its kind")]
    Malformed,
}

/// What it says of how long something lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lasts {
    /// Nothing.
    Unsaid,
    /// Something that can't be.
    Odd,
    /// So many seconds.
    Seconds(u32),
}

/// Tokens that were given. No `Debug`: they are secrets.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) access_token: Zeroizing<String>,
    /// Absent = the one before stays.
    pub(crate) refresh_token: Option<Zeroizing<String>>,
    pub(crate) access: Lasts,
    pub(crate) refresh: Lasts,
}

/// Reads the answer of a token endpoint.
pub(crate) fn granted(status: u16, content_type: Option<&str>, body: &[u8]) -> Result<Granted, Fault> {
    let members = members(content_type, body);
    if let Some(fault) = fault(status, members.as_ref()) {
        return Err(fault);
    }
    let members = members.ok_or(Fault::Malformed)?;
    let access_token = token(&members, "access_token")?.ok_or(Fault::Malformed)?;
    let refresh = match lasts(&members, "refresh_token_expires_in") {
        Lasts::Unsaid => lasts(&members, "refresh_expires_in"),
        said @ (Lasts::Odd | Lasts::Seconds(_)) => said,
    };
    Ok(Granted {
        access_token,
        refresh_token: token(&members, "refresh_token")?,
        access: lasts(&members, "expires_in"),
        refresh,
    })
}

/// Reads the answer of a revocation endpoint: a token that it does not know is revoked too.
pub(crate) fn revoked(status: u16, content_type: Option<&str>, body: &[u8]) -> Result<(), Fault> {
    if status == 200 || status == 204 {
        return Ok(());
    }
    let members = members(content_type, body);
    let code = members.as_ref().and_then(|members| members.get("error")).and_then(Value::as_str);
    if matches!(status, 400 | 401) && code == Some("invalid_token") {
        return Ok(());
    }
    Err(fault(status, members.as_ref()).unwrap_or(Fault::Status(status)))
}

/// Reads the answer of an introspection endpoint: what it says of the token, and whether it is active.
pub(crate) fn introspected(status: u16, body: &[u8]) -> Result<(bool, Map<String, Value>), Fault> {
    let members = json::parse_object(body, DEPTH).ok();
    if let Some(fault) = fault(status, members.as_ref()) {
        return Err(fault);
    }
    let members = members.ok_or(Fault::Malformed)?;
    let active = members.get("active").and_then(Value::as_bool).ok_or(Fault::Malformed)?;
    Ok((active, members))
}

fn fault(status: u16, members: Option<&Map<String, Value>>) -> Option<Fault> {
    let code = members.and_then(|members| members.get("error")).filter(|code| !is_none(code));
    match (status, code.and_then(Value::as_str)) {
        // Some say so under 200; none under 500 knows what it says.
        (200 | 400..=499, Some("invalid_grant" | "bad_refresh_token" | "bad_verification_code")) => {
            Some(Fault::Refused)
        }
        (
            200 | 400..=499,
            Some("invalid_client" | "unauthorized_client" | "incorrect_client_credentials"),
        ) => Some(Fault::Client),
        (429, _) => Some(Fault::Status(429)),
        (200 | 400..=499, Some(_)) => Some(Fault::Request),
        (200..=299, None) if code.is_some() => Some(Fault::Malformed),
        // The tokens beside it may be the only ones that are good by now.
        (200..=299, None) => None,
        (401, None) => Some(Fault::Client),
        (status, _) => Some(Fault::Status(status)),
    }
}

/// How some say that there is no error.
fn is_none(code: &Value) -> bool {
    match code {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Bool(true) | Value::Number(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

/// Puts a member there; `false` when it is there already and means something, but not this. Another one may well come twice.
fn put(members: &mut Map<String, Value>, name: String, value: Value) -> bool {
    let is_clear = members.get(&name).is_none_or(|before| *before == value || !READ.contains(&name.as_str()));
    members.insert(name, value);
    is_clear
}

/// Members of an object.
struct Members(Map<String, Value>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self(Map::new()))
    }
}

impl<'de> Visitor<'de> for Members {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut given: A) -> Result<Self, A::Error> {
        while let Some((name, value)) = given.next_entry()? {
            if !put(&mut self.0, name, value) {
                return Err(A::Error::custom("a member says two things"));
            }
        }
        Ok(self)
    }
}

/// Members of a JSON object, or fields of a form.
fn members(content_type: Option<&str>, body: &[u8]) -> Option<Map<String, Value>> {
    let kind =
        content_type.and_then(|kind| kind.split(';').next()).map(|kind| kind.trim().to_ascii_lowercase());
    if body.trim_ascii_start().starts_with(b"{") {
        let members = json::depth_within(body, DEPTH).then(|| serde_json::from_slice::<Members>(body).ok());
        return members.flatten().map(|members| members.0);
    }
    match kind.as_deref() {
        Some("application/x-www-form-urlencoded" | "text/plain") | None => form(body),
        Some(_) => None,
    }
}

/// Fields of a form.
fn form(body: &[u8]) -> Option<Map<String, Value>> {
    let text = std::str::from_utf8(body).ok()?.trim();
    let mut fields = Map::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.split_once('=')?;
        let (name, value) = (decoded(name)?, decoded(value)?);
        if fields.len() >= FIELDS_MAX || !put(&mut fields, name, Value::String(value)) {
            return None;
        }
    }
    (!fields.is_empty()).then_some(fields)
}

fn decoded(text: &str) -> Option<String> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => digit(rest.next()?)? << 4 | digit(rest.next()?)?,
            b'+' => b' ',
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

/// A token: visible ASCII (RFC 6749 appendix A.12), no longer than is stored. An empty one is none.
fn token(members: &Map<String, Value>, name: &str) -> Result<Option<Zeroizing<String>>, Fault> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) if text.is_empty() => Ok(None),
        Some(Value::String(text)) => {
            let fits = text.len() <= VALUE_MAX && text.bytes().all(|byte| matches!(byte, b' '..=b'~'));
            fits.then(|| Some(Zeroizing::new(text.clone()))).ok_or(Fault::Malformed)
        }
        Some(Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_)) => Err(Fault::Malformed),
    }
}

/// Seconds, as a number or its text. What can't be does not spoil the tokens beside it: they may be the only ones that are good by now.
fn lasts(members: &Map<String, Value>, name: &str) -> Lasts {
    let seconds = match members.get(name) {
        None | Some(Value::Null) => return Lasts::Unsaid,
        Some(Value::String(text)) if text.is_empty() => return Lasts::Unsaid,
        Some(Value::String(text)) => text.parse::<u32>().ok(),
        Some(Value::Number(number)) => number.as_u64().and_then(|number| u32::try_from(number).ok()),
        Some(Value::Bool(_) | Value::Array(_) | Value::Object(_)) => None,
    };
    seconds.filter(|seconds| *seconds <= LIFETIME_MAX).map_or(Lasts::Odd, Lasts::Seconds)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const JSON: Option<&str> = Some("application/json; charset=utf-8");
    const FORM: Option<&str> = Some("application/x-www-form-urlencoded");
    const HTML: Option<&str> = Some("text/html");

    fn of(status: u16, kind: Option<&str>, body: &str) -> Result<(String, Option<String>, Lasts), Fault> {
        granted(status, kind, body.as_bytes()).map(|granted| {
            let refresh = granted.refresh_token.map(|token| token.to_string());
            (granted.access_token.to_string(), refresh, granted.access)
        })
    }

    #[test]
    fn tokens_are_read_from_json_and_forms() {
        let both = Ok(("a".to_owned(), Some("r".to_owned()), Lasts::Seconds(60)));
        for (kind, body) in [
            (JSON, r#"{"access_token":"a","refresh_token":"r","expires_in":60,"token_type":"bearer"}"#),
            (HTML, r#" {"access_token":"a","refresh_token":"r","expires_in":"60"}"#),
            (None, r#"{"access_token":"a","refresh_token":"r","expires_in":60}"#),
            (FORM, "access_token=a&refresh_token=r&expires_in=60&scope="),
            (Some("text/plain"), "access_token=%61&refresh_token=r&expires_in=60\n"),
            // Whoever has given them keeps no others.
            (JSON, r#"{"error":null,"access_token":"a","refresh_token":"r","expires_in":60}"#),
            (JSON, r#"{"error":"","access_token":"a","refresh_token":"r","expires_in":60}"#),
            (JSON, r#"{"error":false,"access_token":"a","refresh_token":"r","expires_in":60}"#),
            (JSON, r#"{"scope":"x","access_token":"a","refresh_token":"r","expires_in":60,"scope":["y"]}"#),
            (JSON, r#"{"access_token":"a","refresh_token":"r","expires_in":60,"access_token":"a"}"#),
            (JSON, r#"{"access_token":"a","refresh_token":"r","expires_in":60,"more":{"b":1,"b":2}}"#),
            (FORM, "error=&scope=x&access_token=a&refresh_token=r&expires_in=60&scope=y"),
        ] {
            for status in [200, 201, 203, 299] {
                assert_eq!(of(status, kind, body), both, "{status} {body}");
            }
        }
        let alone = |lasts| Ok(("a".to_owned(), None, lasts));
        for (body, lasts) in [
            (r#"{"access_token":"a"}"#, Lasts::Unsaid),
            (r#"{"access_token":"a","refresh_token":null,"expires_in":null}"#, Lasts::Unsaid),
            (r#"{"access_token":"a","refresh_token":"","expires_in":""}"#, Lasts::Unsaid),
            (r#"{"access_token":"a","expires_in":0}"#, Lasts::Seconds(0)),
            (r#"{"access_token":"a","expires_in":-1}"#, Lasts::Odd),
            (r#"{"access_token":"a","expires_in":1e99}"#, Lasts::Odd),
            (r#"{"access_token":"a","expires_in":315360001}"#, Lasts::Odd),
            (r#"{"access_token":"a","expires_in":99999999999999999999}"#, Lasts::Odd),
            (r#"{"access_token":"a","expires_in":"soon"}"#, Lasts::Odd),
            (r#"{"access_token":"a","expires_in":[60]}"#, Lasts::Odd),
        ] {
            assert_eq!(of(200, JSON, body), alone(lasts), "{body}");
        }
        let refresh = |body: &str| granted(200, JSON, body.as_bytes()).map(|granted| granted.refresh);
        for (member, lasts) in [
            (r#""refresh_expires_in":5"#, Lasts::Seconds(5)),
            (r#""refresh_token_expires_in":"7""#, Lasts::Seconds(7)),
            (r#""refresh_token_expires_in":{},"refresh_expires_in":5"#, Lasts::Odd),
        ] {
            assert_eq!(refresh(&format!(r#"{{"access_token":"a",{member}}}"#)).ok(), Some(lasts), "{member}");
        }
    }

    #[test]
    fn only_a_refused_grant_ends_tokens() {
        let error = |code: &str| format!(r#"{{"error":"{code}","error_description":"x"}}"#);
        for (status, kind, body, fault) in [
            (400, JSON, error("invalid_grant"), Fault::Refused),
            (401, JSON, error("invalid_grant"), Fault::Refused),
            (200, JSON, error("bad_refresh_token"), Fault::Refused),
            (200, FORM, "error=invalid_grant".to_owned(), Fault::Refused),
            (500, JSON, error("invalid_grant"), Fault::Status(500)),
            (503, JSON, error("invalid_grant"), Fault::Status(503)),
            (201, JSON, error("invalid_grant"), Fault::Status(201)),
            (201, JSON, r#"{"error":"x","access_token":"a"}"#.to_owned(), Fault::Status(201)),
            (204, None, String::new(), Fault::Malformed),
            (302, JSON, r#"{"access_token":"a"}"#.to_owned(), Fault::Status(302)),
            (400, JSON, r#"{"error":null,"access_token":"a"}"#.to_owned(), Fault::Status(400)),
            (
                200,
                JSON,
                r#"{"error":"invalid_grant","access_token":"a","error":null}"#.to_owned(),
                Fault::Malformed,
            ),
            (
                200,
                JSON,
                r#"{"refresh_token":"a","access_token":"a","refresh_token":"b"}"#.to_owned(),
                Fault::Malformed,
            ),
            (200, JSON, r#"{"access_token":"a"} {}"#.to_owned(), Fault::Malformed),
            (302, JSON, error("invalid_grant"), Fault::Status(302)),
            (400, HTML, "<html>invalid_grant</html>".to_owned(), Fault::Status(400)),
            (400, JSON, r#"{"error":["invalid_grant"]}"#.to_owned(), Fault::Status(400)),
            (400, JSON, r#"{"error":"invalid_grant","error":"x"}"#.to_owned(), Fault::Status(400)),
            (400, JSON, error("INVALID_GRANT"), Fault::Request),
            (401, JSON, error("invalid_client"), Fault::Client),
            (400, JSON, error("unauthorized_client"), Fault::Client),
            (401, None, String::new(), Fault::Client),
            (400, JSON, error("invalid_request"), Fault::Request),
            (429, JSON, error("slow_down"), Fault::Status(429)),
            (200, JSON, "{}".to_owned(), Fault::Malformed),
            (200, JSON, r#"{"error":7,"access_token":"a"}"#.to_owned(), Fault::Malformed),
            (200, HTML, "<html>access_token=a</html>".to_owned(), Fault::Malformed),
            (200, HTML, "access_token=a".to_owned(), Fault::Malformed),
            (200, JSON, "[".repeat(100_000), Fault::Malformed),
            (200, JSON, r#"{"access_token":"a","access_token":"b"}"#.to_owned(), Fault::Malformed),
            (200, JSON, r#"{"access_token":1}"#.to_owned(), Fault::Malformed),
            (200, JSON, r#"{"access_token":""}"#.to_owned(), Fault::Malformed),
            (200, JSON, r#"{"access_token":"a\nb"}"#.to_owned(), Fault::Malformed),
            (200, JSON, r#"{"access_token":"a","refresh_token":{}}"#.to_owned(), Fault::Malformed),
            (200, JSON, format!(r#"{{"access_token":"{}"}}"#, "x".repeat(65_537)), Fault::Malformed),
            (200, FORM, "access_token=a&access_token=b".to_owned(), Fault::Malformed),
            (200, FORM, "access_token=%zz".to_owned(), Fault::Malformed),
        ] {
            assert_eq!(of(status, kind, &body), Err(fault), "{status} {body:.80}");
        }
    }

    #[test]
    fn revocations_and_introspections_are_read() {
        assert_eq!(revoked(200, None, b"<html>"), Ok(()));
        assert_eq!(revoked(400, JSON, br#"{"error":"invalid_token"}"#), Ok(()));
        assert_eq!(revoked(400, JSON, br#"{"error":"unsupported_token_type"}"#), Err(Fault::Request));
        assert_eq!(revoked(503, None, b""), Err(Fault::Status(503)));
        assert_eq!(revoked(302, None, b""), Err(Fault::Status(302)));
        let active = |body: &str| introspected(200, body.as_bytes()).map(|(active, _)| active);
        assert_eq!(active(r#"{"active":true,"sub":"s"}"#), Ok(true));
        assert_eq!(active(r#"{"active":false}"#), Ok(false));
        for lie in ["{}", r#"{"active":"true"}"#, r#"{"active":1}"#, "true", "<html>", ""] {
            assert_eq!(active(lie), Err(Fault::Malformed), "{lie}");
        }
        assert_eq!(introspected(401, b"{}").err(), Some(Fault::Client));
    }

    proptest! {
        /// No bytes make it panic, and none without the word end tokens.
        #[test]
        fn nonsense_ends_nothing(status in 100..600_u16, body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let kinds = [JSON, FORM, HTML, None];
            for kind in kinds {
                let read = granted(status, kind, &body);
                prop_assert!(read.err() != Some(Fault::Refused));
            }
        }
    }
}
