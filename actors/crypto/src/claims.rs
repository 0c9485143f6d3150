//! What claims must say (RFC 7519 §4.1), judged at a given moment.
//!
//! `exp` has no leeway, `iat` and `nbf` have 60 s: a verifier's clock may be behind the issuer's, but an expired token is expired.

use serde_json::{Map, Number, Value};

/// How far in the future `iat` and `nbf` may be.
const LEEWAY_SECONDS: f64 = 60.0;

/// What is asked of a token.
#[derive(Debug, Clone)]
pub struct Expectation<'a> {
    /// Seconds since the epoch.
    pub now: i64,
    /// Our own issuer.
    pub issuer: &'a str,
    /// Issuers accepted besides.
    pub extra_issuers: &'a [String],
    /// An absent `iss` is accepted (imported versions).
    pub allow_missing_iss: bool,
    /// The audience of whoever asks.
    pub audience: Option<&'a str>,
    /// Claims that must be there.
    pub required: &'a [String],
    /// An absent `exp` is accepted (tokens from before a migration).
    pub allow_missing_exp: bool,
}

/// Claims that are not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ClaimsError {
    /// `exp` is now or was before.
    #[error("the token has expired")]
    Expired,
    /// Another rule is broken.
    #[error("{0}")]
    Invalid(&'static str),
}

/// Judges claims.
///
/// # Errors
/// See [`ClaimsError`].
pub fn check(claims: &Map<String, Value>, expected: &Expectation<'_>) -> Result<(), ClaimsError> {
    let now = seconds(expected.now);
    match date(claims, "exp")? {
        Some(exp) if exp <= now => return Err(ClaimsError::Expired),
        None if !expected.allow_missing_exp => return Err(ClaimsError::Invalid("exp is missing")),
        Some(_) | None => {}
    }
    for (name, rule) in [("iat", "iat is in the future"), ("nbf", "nbf is in the future")] {
        if date(claims, name)?.is_some_and(|at| at > now + LEEWAY_SECONDS) {
            return Err(ClaimsError::Invalid(rule));
        }
    }
    issuer(claims, expected)?;
    audience(claims, expected.audience)?;
    if !expected.required.iter().all(|name| claims.contains_key(name)) {
        return Err(ClaimsError::Invalid("a required claim is missing"));
    }
    Ok(())
}

fn issuer(claims: &Map<String, Value>, expected: &Expectation<'_>) -> Result<(), ClaimsError> {
    match claims.get("iss") {
        None if expected.allow_missing_iss => Ok(()),
        None => Err(ClaimsError::Invalid("iss is missing")),
        Some(Value::String(iss)) if iss == expected.issuer || expected.extra_issuers.contains(iss) => Ok(()),
        Some(_) => Err(ClaimsError::Invalid("iss is not accepted for this key")),
    }
}

fn audience(claims: &Map<String, Value>, expected: Option<&str>) -> Result<(), ClaimsError> {
    let fits = match (claims.get("aud"), expected) {
        (None, None) => true,
        (Some(Value::String(aud)), Some(expected)) => aud == expected,
        (Some(Value::Array(list)), Some(expected)) => {
            list.iter().all(Value::is_string) && list.iter().any(|aud| aud.as_str() == Some(expected))
        }
        (None, Some(_)) | (Some(_), None) => false,
        (Some(Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_)), Some(_)) => false,
    };
    if fits { Ok(()) } else { Err(ClaimsError::Invalid("aud is not the expected audience")) }
}

/// A NumericDate (RFC 7519 §2), which may have a fraction.
fn date(claims: &Map<String, Value>, name: &'static str) -> Result<Option<f64>, ClaimsError> {
    match claims.get(name) {
        None => Ok(None),
        Some(Value::Number(number)) => Ok(Number::as_f64(number)),
        Some(Value::Null | Value::Bool(_) | Value::String(_) | Value::Array(_) | Value::Object(_)) => {
            Err(ClaimsError::Invalid("exp, iat and nbf must be numbers"))
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "seconds are exact in a double for 285 million years")]
const fn seconds(at: i64) -> f64 {
    at as f64
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn judge(claims: Value, audience: Option<&str>) -> Result<(), ClaimsError> {
        let Value::Object(claims) = claims else { unreachable!() };
        let expectation = Expectation {
            now: 1_000,
            issuer: "https://us",
            extra_issuers: &["https://them".to_owned()],
            allow_missing_iss: false,
            audience,
            required: &["sub".to_owned()],
            allow_missing_exp: false,
        };
        check(&claims, &expectation)
    }

    #[test]
    fn table() {
        let good = |extra: Value| {
            let mut claims = json!({"iss": "https://us", "exp": 1_001, "sub": "s"});
            for (name, value) in extra.as_object().unwrap() {
                if value.is_null() {
                    claims.as_object_mut().unwrap().remove(name);
                } else {
                    claims[name] = value.clone();
                }
            }
            claims
        };
        let invalid = |result| matches!(result, Err(ClaimsError::Invalid(_)));
        assert_eq!(judge(good(json!({})), None), Ok(()));
        assert_eq!(judge(good(json!({"exp": 1_000})), None), Err(ClaimsError::Expired));
        assert_eq!(judge(good(json!({"exp": 1_000.5})), None), Ok(()));
        assert_eq!(judge(good(json!({"exp": -1e300})), None), Err(ClaimsError::Expired));
        assert_eq!(judge(good(json!({"iat": 1_060, "nbf": 1_060})), None), Ok(()));
        assert_eq!(judge(good(json!({"iss": "https://them"})), None), Ok(()));
        assert_eq!(judge(good(json!({"aud": ["a", "b"]})), Some("b")), Ok(()));
        for (extra, audience) in [
            (json!({"exp": null}), None),
            (json!({"exp": "1001"}), None),
            (json!({"iat": 1_061}), None),
            (json!({"nbf": 1_061}), None),
            (json!({"iss": null}), None),
            (json!({"iss": "https://evil"}), None),
            (json!({"iss": ["https://us"]}), None),
            (json!({"aud": "a"}), None),
            (json!({"aud": "a"}), Some("b")),
            (json!({}), Some("b")),
            (json!({"aud": ["b", 1]}), Some("b")),
            (json!({"aud": {"b": 1}}), Some("b")),
            (json!({"sub": null}), None),
        ] {
            assert!(invalid(judge(good(extra.clone()), audience)), "{extra}");
        }
    }
}
