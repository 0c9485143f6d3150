//! Where something is stored, out of a path.
//!
//! The path is taken as it came: the router decodes all but slashes and per cent signs, and what is decoded twice names somebody else. Each
//! segment is decoded once, strictly, so that a place has few spellings and no two places share one.

use claviger_actors::stores::{Place, Store};
use claviger_entity::{Owner, ProviderName, SecretName};
use claviger_policy::Target;

use crate::http::{
    problem::{Code, Problem},
    table,
};

/// The place that a path names.
///
/// # Errors
/// `invalid_request`: it names none.
pub(crate) fn of_path(target: Target, pattern: &str, raw: &str) -> Result<Place, Problem> {
    match target {
        Target::AuthToken => {
            let user = part::<Owner>(pattern, raw, "user")?;
            Ok(Place::auth_token(user, &part::<ProviderName>(pattern, raw, "provider")?))
        }
        Target::OfflineToken => Ok(Place::offline_token(part(pattern, raw, "user")?)),
        Target::Secret | Target::Key | Target::ApiKey | Target::Policy | Target::Deployment => {
            Ok(Place::secret(owner(pattern, raw)?, &part::<SecretName>(pattern, raw, "name")?))
        }
    }
}

/// The owner that a path names.
///
/// # Errors
/// `invalid_request`: it names none.
pub(crate) fn owner(pattern: &str, raw: &str) -> Result<Owner, Problem> {
    part(pattern, raw, "owner")
}

/// There is nothing of this store at a place, as far as the caller may know.
pub(crate) fn missing(store: Store) -> Problem {
    Problem::new(
        Code::NotFound,
        match store {
            Store::Secrets => "there is no such secret",
            Store::AuthTokens => "there are no such tokens",
            Store::OfflineTokens => "there is no such token",
        },
    )
}

fn part<T>(pattern: &str, raw: &str, name: &str) -> Result<T, Problem>
where
    T: std::str::FromStr<Err = claviger_entity::InvalidValue>,
{
    const UNFIT: &str = "a segment of the path is not valid: encode it by RFC 3986, as UTF-8";
    let segment = table::segment(pattern, raw, name).and_then(decoded);
    let text = segment.ok_or_else(|| Problem::invalid(UNFIT))?;
    text.parse::<T>().map_err(|error| Problem::invalid(error.to_string()))
}

/// Decodes a segment once (RFC 3986 §2.1); `None` when it is not valid.
fn decoded(segment: &str) -> Option<String> {
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let (mut bytes, mut rest) = (Vec::with_capacity(segment.len()), segment.bytes());
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => digit(rest.next()?)? << 4 | digit(rest.next()?)?,
            byte => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_decoded_once_and_strictly() {
        for (segment, expected) in [
            ("alice", Some("alice")),
            ("%61lice", Some("alice")),
            ("%2561lice", Some("%61lice")),
            ("%252e%252e", Some("%2e%2e")),
            ("a%2Fb", Some("a/b")),
            ("a%2fb", Some("a/b")),
            ("a+b", Some("a+b")),
            ("%C3%A9", Some("é")),
            ("%", None),
            ("%6", None),
            ("%zz", None),
            ("%+1", None),
            ("%%34%31", None),
            ("%FF", None),
            ("%C0%AE", None),
        ] {
            assert_eq!(decoded(segment).as_deref(), expected, "{segment}");
        }
    }

    #[test]
    fn a_path_names_one_place_or_none() {
        let place = |raw| of_path(Target::Secret, "/v1/secrets/{owner}/{name}", raw);
        let named = place("/v1/secrets/alice%2Fx/key").unwrap();
        assert_eq!((named.owner().as_str(), named.name()), ("alice/x", "key"));
        for raw in [
            "/v1/secrets/%2e%2e/key",
            "/v1/secrets/../key",
            "/v1/secrets/./key",
            "/v1/secrets/alice%00/key",
            "/v1/secrets/alice/..",
            "/v1/secrets/alice/a%2Fb",
            "/v1/secrets//key",
        ] {
            assert!(place(raw).is_err(), "{raw}");
        }
    }
}
