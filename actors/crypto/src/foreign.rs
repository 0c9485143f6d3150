//! Keys and tokens of somebody else: JWK sets (RFC 7517) and compact JWS (RFC 7515) of an issuer that is trusted.
//!
//! A key says which algorithm it is for, and only that one is accepted; of the header of a token nothing is believed but the `kid`, by
//! which the key is looked up among those of the one issuer. Symmetric keys are not even read: whoever knows one could sign with it.

use aws_lc_rs::{
    encoding::{AsDer, PublicKeyX509Der},
    signature::{
        ECDSA_P256_SHA256_FIXED, ECDSA_P384_SHA384_FIXED, ED25519, ParsedPublicKey, RsaPublicKeyComponents,
        VerificationAlgorithm,
    },
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use claviger_entity::KeyType;
use serde_json::{Map, Value};

use crate::{TokenError, json, jws, public::PublicKey, token::MAX_TOKEN_BYTES};

/// Most keys of a set.
pub const MAX_KEYS: usize = 64;
/// Longest `kid` of somebody else's.
const KID_MAX_BYTES: usize = 256;

/// A set of keys that is not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// It is no JWK set.
    #[error("it is no JWK set: an object with a list of objects as keys")]
    Malformed,
    /// It holds too many keys.
    #[error("it holds more than 64 keys")]
    TooMany,
    /// Two of its keys go by one `kid`.
    #[error("two of its keys have the same kid")]
    DuplicateKid,
}

/// A key of a set.
pub struct ForeignKey {
    /// Its name.
    pub kid: String,
    /// What it verifies.
    pub public: PublicKey,
}

/// The keys of a set that can verify tokens. Others are passed over: those for encryption, of unknown types, without `kid`, symmetric
/// ones, and such as give away their private half.
///
/// # Errors
/// See [`KeySetError`].
pub fn key_set(set: &Map<String, Value>) -> Result<Vec<ForeignKey>, KeySetError> {
    let listed = set.get("keys").and_then(Value::as_array).ok_or(KeySetError::Malformed)?;
    if listed.len() > MAX_KEYS {
        return Err(KeySetError::TooMany);
    }
    let mut keys: Vec<ForeignKey> = Vec::new();
    for jwk in listed {
        let Some(key) = key(jwk.as_object().ok_or(KeySetError::Malformed)?) else { continue };
        if keys.iter().any(|other| other.kid == key.kid) {
            return Err(KeySetError::DuplicateKid);
        }
        keys.push(key);
    }
    Ok(keys)
}

fn key(jwk: &Map<String, Value>) -> Option<ForeignKey> {
    let kid = jwk.get("kid").and_then(Value::as_str).filter(|kid| is_kid(kid))?;
    let signs = jwk.get("use").is_none_or(|usage| usage == "sig")
        && jwk
            .get("key_ops")
            .is_none_or(|ops| ops.as_array().is_some_and(|ops| ops.iter().any(|op| op == "verify")));
    if !signs || jwk.contains_key("d") || jwk.contains_key("k") {
        return None;
    }
    let key_type = key_type(jwk)?;
    let der = spki(key_type, jwk)?;
    let public = PublicKey::from_spki(key_type, &der).ok()?;
    Some(ForeignKey { kid: kid.to_owned(), public })
}

fn is_kid(kid: &str) -> bool {
    (1..=KID_MAX_BYTES).contains(&kid.len()) && kid.bytes().all(|byte| byte.is_ascii_graphic())
}

/// One algorithm a key. Where it names none it is the one of its curve, or of RSA that which everybody must know (OpenID Connect Core
/// §3.1.3.7); the choice is never the token's.
fn key_type(jwk: &Map<String, Value>) -> Option<KeyType> {
    let text = |name: &str| match jwk.get(name) {
        None => Some(None),
        Some(value) => value.as_str().map(Some),
    };
    match (text("kty")??, text("crv")?, text("alg")?) {
        ("RSA", None, None | Some("RS256")) => Some(KeyType::Rs256),
        ("RSA", None, Some("RS384")) => Some(KeyType::Rs384),
        ("RSA", None, Some("RS512")) => Some(KeyType::Rs512),
        ("RSA", None, Some("PS256")) => Some(KeyType::Ps256),
        ("RSA", None, Some("PS384")) => Some(KeyType::Ps384),
        ("RSA", None, Some("PS512")) => Some(KeyType::Ps512),
        ("EC", Some("P-256"), None | Some("ES256")) => Some(KeyType::Es256),
        ("EC", Some("P-384"), None | Some("ES384")) => Some(KeyType::Es384),
        ("OKP", Some("Ed25519"), None | Some("EdDSA")) => Some(KeyType::Eddsa),
        _ => None,
    }
}

/// The key in the one form that is read from outside.
fn spki(key_type: KeyType, jwk: &Map<String, Value>) -> Option<Vec<u8>> {
    let bytes = |name: &str| URL_SAFE_NO_PAD.decode(jwk.get(name)?.as_str()?).ok();
    match key_type {
        KeyType::Es256 => point(&ECDSA_P256_SHA256_FIXED, 32, bytes("x")?, bytes("y")?),
        KeyType::Es384 => point(&ECDSA_P384_SHA384_FIXED, 48, bytes("x")?, bytes("y")?),
        KeyType::Eddsa => {
            let x = bytes("x").filter(|x| x.len() == 32)?;
            der(&ParsedPublicKey::new(&ED25519, x).ok()?)
        }
        KeyType::Rs256
        | KeyType::Rs384
        | KeyType::Rs512
        | KeyType::Ps256
        | KeyType::Ps384
        | KeyType::Ps512 => der(&RsaPublicKeyComponents { n: bytes("n")?, e: bytes("e")? }),
        KeyType::Hs256 | KeyType::Hs384 | KeyType::Hs512 => None,
        KeyType::HmacSha256 | KeyType::Aes256Gcm | KeyType::Fernet => None,
    }
}

fn point(
    algorithm: &'static dyn VerificationAlgorithm,
    width: usize,
    x: Vec<u8>,
    y: Vec<u8>,
) -> Option<Vec<u8>> {
    // Shorter ones would be other numbers once they stand together.
    if x.len() != width || y.len() != width {
        return None;
    }
    der(&ParsedPublicKey::new(algorithm, [vec![4], x, y].concat()).ok()?)
}

fn der(key: &impl AsDer<PublicKeyX509Der<'static>>) -> Option<Vec<u8>> {
    Some(key.as_der().ok()?.as_ref().to_vec())
}

/// A signed token of somebody else, taken apart, nothing of it trusted.
pub struct ForeignToken<'a> {
    issuer: String,
    kid: String,
    algorithm: String,
    signing_input: &'a str,
    signature: Vec<u8>,
    claims: Map<String, Value>,
}

impl<'a> ForeignToken<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// It is none, names no issuer or no key, or is of a kind that is no credential.
    pub fn parse(token: &'a str) -> Result<Self, TokenError> {
        let malformed = TokenError::Malformed;
        if token.len() > MAX_TOKEN_BYTES {
            return Err(malformed("the token is longer than 64 KiB"));
        }
        let mut segments = token.split('.');
        let mut next = || segments.next();
        let (Some(header), Some(payload), Some(signature), None) = (next(), next(), next(), next()) else {
            return Err(malformed("a signed token has three segments"));
        };
        let header = jws::header_of(header)?;
        let kid = jws::text_member(&header, "kid")?.filter(|kid| is_kid(kid));
        let kid = kid.ok_or(malformed("the header has no kid"))?.to_owned();
        let algorithm =
            jws::text_member(&header, "alg")?.ok_or(malformed("the header has no alg"))?.to_owned();
        if !jws::text_member(&header, "typ")?.is_none_or(is_credential) {
            return Err(malformed("the token is not of a type that is a credential"));
        }
        let claims = json::parse_object(&jws::decode(payload)?, jws::CLAIMS_DEPTH)
            .map_err(|_| malformed("the claims are no strict JSON object"))?;
        let issuer = claims.get("iss").and_then(Value::as_str);
        let issuer = issuer.ok_or(malformed("the token names no issuer"))?.to_owned();
        let signing_input = token.rsplit_once('.').map_or("", |(input, _)| input);
        Ok(Self { issuer, kid, algorithm, signing_input, signature: jws::decode(signature)?, claims })
    }

    /// Whose it says it is.
    #[must_use]
    pub fn issuer(&self) -> &str {
        &self.issuer
    }

    /// The key it wants to be verified by.
    #[must_use]
    pub fn kid(&self) -> &str {
        &self.kid
    }

    /// The claims, once algorithm and signature fit the key.
    ///
    /// # Errors
    /// They do not.
    pub fn verify(self, key: &PublicKey) -> Result<Map<String, Value>, TokenError> {
        let fits = key.key_type().algorithm().is_some_and(|algorithm| algorithm.as_str() == self.algorithm);
        if fits && key.verify(self.signing_input.as_bytes(), &self.signature) {
            Ok(self.claims)
        } else {
            Err(TokenError::SignatureInvalid)
        }
    }
}

/// Tokens of other types (log-outs, events, proofs of possession) are signed by the same keys and mean something else (RFC 8725 §3.11).
fn is_credential(typ: &str) -> bool {
    let typ = typ.to_ascii_lowercase();
    matches!(typ.strip_prefix("application/").unwrap_or(&typ), "jwt" | "at+jwt")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{material::Material, prepared::PreparedKey};

    fn of(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn made(key_type: KeyType, kid: &str) -> (PreparedKey, Value) {
        let material = Material::generate(key_type, None).unwrap();
        let jwk =
            crate::jwk::public_jwk(key_type, material.public_spki.as_ref().unwrap(), &kid.parse().unwrap())
                .unwrap();
        (PreparedKey::new(key_type, &material.secret).unwrap(), jwk)
    }

    fn signed(key: &PreparedKey, header: &Value, claims: &str) -> String {
        let input =
            format!("{}.{}", URL_SAFE_NO_PAD.encode(header.to_string()), URL_SAFE_NO_PAD.encode(claims));
        let signature = key.sign(input.as_bytes()).unwrap();
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(signature))
    }

    #[test]
    fn keys_of_every_kind_verify_what_was_signed_for_their_one_algorithm() {
        for (key_type, alg, other) in [
            (KeyType::Rs256, "RS256", "PS256"),
            (KeyType::Ps384, "PS384", "RS384"),
            (KeyType::Es256, "ES256", "HS256"),
            (KeyType::Es384, "ES384", "ES256"),
            (KeyType::Eddsa, "EdDSA", "none"),
        ] {
            let (key, jwk) = made(key_type, "k");
            let set = key_set(&of(json!({"keys": [jwk]}))).unwrap();
            let claims = r#"{"iss":"https://a","sub":"s"}"#;
            let verify = |alg: &str| {
                let token = signed(&key, &json!({"alg": alg, "kid": "k"}), claims);
                let token = ForeignToken::parse(&token).map(|token| token.verify(&set[0].public));
                token.unwrap().map(|claims| claims["sub"].clone())
            };
            assert_eq!(verify(alg), Ok(json!("s")), "{alg}");
            assert_eq!(verify(other), Err(TokenError::SignatureInvalid), "{other}");
            assert_eq!(verify(&alg.to_lowercase()), Err(TokenError::SignatureInvalid));
        }
    }

    #[test]
    fn what_can_not_verify_is_passed_over_and_what_is_no_set_is_refused() {
        let (_, good) = made(KeyType::Es256, "good");
        let (_, rsa) = made(KeyType::Rs256, "rsa");
        let with = |jwk: &Value, member: &str, value: Value| {
            let mut jwk = jwk.clone();
            jwk[member] = value;
            jwk
        };
        let mut bare = rsa.clone();
        bare.as_object_mut().unwrap().remove("alg");
        let bare = key_set(&of(json!({"keys": [bare]}))).unwrap();
        assert_eq!(bare[0].public.key_type(), KeyType::Rs256, "RSA without alg is for RS256 alone");
        let useless = [
            json!({"kty": "oct", "kid": "o", "k": "AAAA", "alg": "HS256"}),
            with(&good, "alg", json!("HS256")),
            with(&good, "alg", json!("none")),
            with(&good, "alg", json!(1)),
            with(&good, "alg", json!("ES384")),
            with(&good, "use", json!("enc")),
            with(&good, "key_ops", json!(["sign"])),
            with(&good, "d", json!("AAAA")),
            with(&good, "kid", json!("")),
            with(&good, "kid", json!("a b")),
            with(&good, "kid", json!("k".repeat(257))),
            with(&good, "x", json!("AAAA")),
            with(&good, "y", good["x"].clone()),
            with(&good, "crv", json!("P-521")),
            with(&rsa, "n", json!("AQAB")),
            with(&rsa, "alg", json!("RSA-OAEP")),
            json!({}),
        ];
        for jwk in useless {
            let set = key_set(&of(json!({"keys": [jwk.clone(), with(&good, "kid", json!("other"))]})));
            let kids: Vec<String> = set.unwrap().into_iter().map(|key| key.kid).collect();
            assert_eq!(kids, ["other"], "{jwk}");
        }
        let error = |set: Value| key_set(&of(set)).err();
        assert_eq!(error(json!({"keys": [good.clone(), good.clone()]})), Some(KeySetError::DuplicateKid));
        assert_eq!(error(json!({"keys": vec![json!({}); 65]})), Some(KeySetError::TooMany));
        for malformed in [json!({}), json!({"keys": {}}), json!({"keys": [1]}), json!({"keys": null})] {
            assert_eq!(error(malformed), Some(KeySetError::Malformed));
        }
        assert_eq!(error(json!({"keys": []})), None);
    }

    #[test]
    fn tokens_that_two_parsers_could_read_differently_or_that_mean_something_else_are_refused() {
        let (key, _) = made(KeyType::Es256, "k");
        let claims = r#"{"iss":"https://a","sub":"s"}"#;
        let good = json!({"alg": "ES256", "kid": "k"});
        assert!(ForeignToken::parse(&signed(&key, &good, claims)).is_ok());
        for typ in ["JWT", "at+jwt", "application/at+JWT"] {
            assert!(
                ForeignToken::parse(&signed(&key, &json!({"alg": "ES256", "kid": "k", "typ": typ}), claims))
                    .is_ok()
            );
        }
        for header in [
            json!({"alg": "ES256"}),
            json!({"kid": "k"}),
            json!({"alg": ["ES256"], "kid": "k"}),
            json!({"alg": "ES256", "kid": 1}),
            json!({"alg": "ES256", "kid": "k", "crit": ["exp"]}),
            json!({"alg": "ES256", "kid": "k", "b64": false}),
            json!({"alg": "ES256", "kid": "k", "zip": "DEF"}),
            json!({"alg": "ES256", "kid": "k", "typ": "logout+jwt"}),
            json!({"alg": "ES256", "kid": "k", "typ": "dpop+jwt"}),
            json!({"alg": "ES256", "kid": "k", "typ": 1}),
        ] {
            assert!(ForeignToken::parse(&signed(&key, &header, claims)).is_err(), "{header}");
        }
        for claims in ["{}", "[]", r#"{"iss":1}"#, r#"{"iss":"https://a","iss":"https://b"}"#, "nonsense"] {
            assert!(ForeignToken::parse(&signed(&key, &good, claims)).is_err(), "{claims}");
        }
        let token = signed(&key, &good, claims);
        for bad in [format!("{token}="), format!("{token}.a"), token.replacen('.', "..", 1), "a.b".to_owned()]
        {
            assert!(ForeignToken::parse(&bad).is_err(), "{bad}");
        }
    }
}
