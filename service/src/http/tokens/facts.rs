//! What of a token decides whether it is revoked.

use chrono::{DateTime, Utc};
use claviger_actors::{
    keyring::{Snapshot, Usable},
    tokens::{Facts, TokensHandle, begun},
};
use claviger_crypto::digest;
use serde_json::{Map, Value};

/// The claim that names the family of a token.
pub(crate) const FAMILY: &str = "fid";

/// A token of which everything else has been checked is revoked.
pub(crate) fn is_revoked(
    tokens: &TokensHandle,
    snapshot: &Snapshot,
    (usable, token): (&Usable<'_>, &str),
    claims: &Map<String, Value>,
    now: DateTime<Utc>,
) -> bool {
    if !tokens.knows_any() {
        return false;
    }
    let (family, jti) = (text(claims, FAMILY), text(claims, "jti"));
    let issued = begun(None, jti, claims.get("iat").and_then(seconds));
    let facts = Facts {
        key: usable.key.record.id,
        kid: usable.version.kid.as_str(),
        jti: &name(claims, token),
        family,
        subject: text(claims, "sub"),
        begun: family.map_or(issued, |family| begun(Some(family), jti, Some(issued.div_euclid(1_000)))),
        issued,
    };
    tokens.is_revoked(snapshot, &facts, now)
}

/// The token's `jti`. What was issued elsewhere may have none: then what it was signed over stands for it, or all of it if it is encrypted.
/// Neither can be written in another way.
pub(super) fn name<'a>(claims: &'a Map<String, Value>, token: &str) -> std::borrow::Cow<'a, str> {
    if let Some(jti) = text(claims, "jti") {
        return jti.into();
    }
    let signed =
        if token.split('.').count() == 3 { token.rsplit_once('.').map(|(signed, _)| signed) } else { None };
    let hash = digest::sha256(signed.unwrap_or(token).as_bytes());
    let hex = hash.iter().fold("sha256:".to_owned(), |mut text, byte| {
        text.extend([byte >> 4, byte & 15].map(|digit| char::from_digit(digit.into(), 16).unwrap_or('0')));
        text
    });
    hex.into()
}

pub(super) fn text<'a>(claims: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    claims.get(name).and_then(Value::as_str)
}

/// A NumericDate in whole seconds.
#[expect(clippy::cast_possible_truncation, reason = "claims were checked: it is a date near now")]
pub(super) fn seconds(date: &Value) -> Option<i64> {
    date.as_i64().or_else(|| date.as_f64().map(|date| date.floor() as i64))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn tokens_without_jti_go_by_what_was_signed() {
        let Value::Object(with) = json!({"jti": "j"}) else { unreachable!() };
        let without = Map::new();
        assert_eq!(name(&with, "a.b.c"), "j");
        assert_eq!(name(&without, "a.b.c"), name(&without, "a.b.d"));
        assert_ne!(name(&without, "a.b.c"), name(&without, "a.x.c"));
        assert_ne!(name(&without, "a..b.c.d"), name(&without, "a..b.c.e"));
        assert!(name(&without, "a.b.c").starts_with("sha256:") && name(&without, "a.b.c").len() == 71);
    }

    #[test]
    fn dates_may_have_fractions() {
        assert_eq!(
            [json!(5), json!(5.9), json!(-0.5), json!("5")].map(|date| seconds(&date)),
            [Some(5), Some(5), Some(-1), None]
        );
    }
}
