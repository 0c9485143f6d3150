//! `claviger tokens inspect`: what a token says of itself, what the server says of it, and why.

use base64::{Engine as _, prelude::BASE64_URL_SAFE_NO_PAD};
use chrono::{DateTime, SecondsFormat, Utc};
use claviger_entity::HumanDuration;
use serde_json::{Map, Value, json};

/// What there is to judge a token by.
pub(super) struct Evidence<'a> {
    /// The token.
    pub(super) token: &'a str,
    /// What `POST /v1/tokens/verify` answered.
    pub(super) verdict: Value,
    /// What `GET /v1/ring` answered, where the caller may read it.
    pub(super) ring: Option<Value>,
    /// This machine's time.
    pub(super) now: DateTime<Utc>,
}

impl Evidence<'_> {
    /// The report: nothing in `header` and `claims` is more than what the token says of itself.
    pub(super) fn report(&self) -> Value {
        let segments: Vec<&str> = self.token.split('.').collect();
        let format = match segments.len() {
            3 => Some("jws"),
            5 => Some("jwe"),
            _ => None,
        };
        let header = segments.first().and_then(|segment| object(segment));
        let claims = segments.get(1).filter(|_| format == Some("jws")).and_then(|segment| object(segment));
        let kid = header.as_ref().and_then(|header| header.get("kid")).and_then(Value::as_str);
        let version = self.ring.as_ref().map(|ring| kid.and_then(|kid| version(ring, kid)));
        let mut findings = Vec::new();
        match format {
            None => {
                findings.push("a token has three segments (JWS) or five (JWE), set apart by dots".to_owned())
            }
            Some(_) if header.is_none() => {
                findings.push(
                    "the header is no JSON in base64url: the token was cut or changed on its way".to_owned(),
                );
            }
            Some(_) => findings.extend(of_key(kid, version.as_ref().map(Option::as_ref), &self.verdict)),
        }
        findings.extend(claims.as_ref().map(|claims| self.of_time(claims)).unwrap_or_default());
        json!({
            "format": format,
            "header": header,
            "claims": claims,
            "version": version,
            "verdict": self.verdict,
            "findings": findings,
        })
    }

    /// What the clock says; a token of one machine and a verifier with another clock do not agree.
    fn of_time(&self, claims: &Map<String, Value>) -> Vec<String> {
        let at = |name: &str| {
            let seconds = claims.get(name)?.as_f64()?;
            // Saturates; such a moment is no moment anyway.
            #[expect(clippy::cast_possible_truncation, reason = "whole seconds are what is shown")]
            DateTime::from_timestamp(seconds as i64, 0)
        };
        let distance = |moment: DateTime<Utc>| {
            let seconds = (self.now - moment).num_seconds().unsigned_abs();
            HumanDuration::from_secs(seconds).to_string()
        };
        let shown = |moment: DateTime<Utc>| moment.to_rfc3339_opts(SecondsFormat::Secs, true);
        let mut findings = Vec::new();
        if let Some(exp) = at("exp").filter(|exp| *exp <= self.now) {
            findings.push(format!(
                "exp is {}, {} ago by this machine's clock: get a new token",
                shown(exp),
                distance(exp)
            ));
        }
        if let Some(nbf) = at("nbf").filter(|nbf| *nbf > self.now) {
            findings.push(format!("nbf is {}, in {} by this machine's clock", shown(nbf), distance(nbf)));
        }
        if let Some(iat) = at("iat").filter(|iat| *iat > self.now) {
            findings.push(format!(
                "iat is {}, in {} by this machine's clock: one of the clocks is wrong",
                shown(iat),
                distance(iat)
            ));
        }
        findings
    }
}

/// A JSON object in base64url.
fn object(segment: &str) -> Option<Map<String, Value>> {
    serde_json::from_slice(&BASE64_URL_SAFE_NO_PAD.decode(segment).ok()?).ok()
}

/// The version of a `kid`, with the name of its key.
fn version(ring: &Value, kid: &str) -> Option<Value> {
    let keys = ring.get("keys")?.as_array()?;
    keys.iter().find_map(|key| {
        let versions = key.get("versions")?.as_array()?;
        let found = versions.iter().find(|version| version.get("kid").is_some_and(|its| its == kid))?;
        Some(json!({
            "key": key.get("name"),
            "version": found.get("version"),
            "state": found.get("state"),
            "is_primary": key.get("primary_version") == found.get("version"),
        }))
    })
}

/// What the key has to do with it; `version` is `None` where nobody could look, and `Some(None)` where there is none.
fn of_key(kid: Option<&str>, version: Option<Option<&Value>>, verdict: &Value) -> Vec<String> {
    let mut findings = Vec::new();
    let Some(kid) = kid else {
        return vec!["the header has no kid: it names no key of this service".to_owned()];
    };
    match version {
        None => findings.push("you may not read the ring, so the version of the kid was not looked up".to_owned()),
        Some(None) => findings.push(format!(
            "no version with material has the kid {kid} as far as you may see: it is of another deployment, or was destroyed, or you lack key.read on its key"
        )),
        Some(Some(version)) => {
            let state = version.get("state").and_then(Value::as_str).unwrap_or_default();
            let key = version.get("key").and_then(Value::as_str).unwrap_or_default();
            if !matches!(state, "active" | "deactivated") {
                findings.push(format!("the version that made it, of {key}, is {state}"));
            }
        }
    }
    if verdict.get("valid") == Some(&Value::Bool(true)) {
        findings.push(
            "this deployment accepts it; whoever does not has an old JWKS, another audience or another clock"
                .to_owned(),
        );
    } else if let Some(detail) = verdict.get("detail").and_then(Value::as_str) {
        findings.push(detail.to_owned());
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(header: &Value, claims: &Value) -> String {
        let part = |value: &Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
        format!("{}.{}.c2ln", part(header), part(claims))
    }

    fn report(token: &str, verdict: &Value, ring: Option<Value>) -> (Value, String) {
        let now = DateTime::from_timestamp(1_000_000, 0).unwrap();
        let report = Evidence { token, verdict: verdict.clone(), ring, now }.report();
        let findings = report["findings"].as_array().unwrap();
        let findings: Vec<&str> = findings.iter().map(|finding| finding.as_str().unwrap()).collect();
        (report.clone(), findings.join("\n"))
    }

    #[test]
    fn what_is_wrong_is_named() {
        let ring = json!({"keys": [{"name": "orders", "primary_version": 2, "versions": [
            {"version": 1, "kid": "old", "state": "compromised"}, {"version": 2, "kid": "new", "state": "active"}]}]});
        let valid = json!({"valid": true});
        let invalid = |detail: &str| json!({"valid": false, "code": "c", "detail": detail});
        let of =
            |kid: &str, claims: Value| token(&json!({"alg": "ES256", "kid": kid, "typ": "JWT"}), &claims);
        for (token, verdict, expected) in [
            (of("new", json!({"exp": 2_000_000})), &valid, "this deployment accepts it"),
            (of("new", json!({"exp": 996_400})), &invalid("it is over"), "1h ago by this machine's clock"),
            (of("new", json!({"nbf": 1_003_600})), &invalid("early"), "nbf is 1970-01-12T14:46:40Z, in 1h"),
            (of("new", json!({"iat": 1_003_600})), &invalid("early"), "one of the clocks is wrong"),
            (
                of("old", json!({})),
                &invalid("the version may not"),
                "the version that made it, of orders, is compromised",
            ),
            (of("else", json!({})), &invalid("unknown"), "no version with material has the kid else"),
            (of("new", json!({})), &invalid("the audience is another"), "the audience is another"),
            (token(&json!({"alg": "ES256"}), &json!({})), &invalid("no kid"), "the header has no kid"),
            ("abc".to_owned(), &invalid("none"), "three segments"),
            ("!.e30.x".to_owned(), &invalid("none"), "cut or changed"),
        ] {
            let (report, findings) = report(&token, verdict, Some(ring.clone()));
            assert!(findings.contains(expected), "{expected}: {report:#}");
        }
    }

    #[test]
    fn whoever_may_not_look_is_told_so() {
        let token = token(&json!({"kid": "new"}), &json!({"exp": 2_000_000}));
        let (report, findings) = report(&token, &json!({"valid": false, "detail": "why"}), None);
        assert_eq!((&report["version"], &report["format"]), (&Value::Null, &json!("jws")));
        assert!(findings.contains("you may not read the ring") && findings.ends_with("why"), "{findings}");
    }

    /// A claim may hold any number.
    #[test]
    fn absurd_moments_are_none() {
        for exp in [json!(1e300), json!(-1e300), json!(i64::MAX), json!("soon"), json!(null)] {
            let token = token(&json!({"kid": "k"}), &json!({"exp": exp, "nbf": exp, "iat": exp}));
            let (report, _) = report(&token, &json!({"valid": true}), Some(json!({"keys": []})));
            assert!(report["claims"].is_object());
        }
    }
}
