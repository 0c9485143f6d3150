//! Providers of tokens that are kept for users: where they are refreshed, revoked and verified.

use std::collections::BTreeMap;

use claviger_crypto::json;
use claviger_entity::ProviderName;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::{
    issuers::{Problems, URL, exact_url},
    layers::Member,
    settings::Judge,
};

/// How this deployment says to a provider who it is (RFC 6749 §2.3.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuthStyle {
    /// By members of the form.
    Post,
    /// By a header.
    Basic,
}

impl AuthStyle {
    /// The text form.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Post => "post",
            Self::Basic => "basic",
        }
    }
}

/// A provider of tokens. No `Debug`: it holds a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenProvider {
    /// What it is called here, and in paths.
    pub name: ProviderName,
    /// Where tokens are fetched and refreshed.
    pub token_endpoint: String,
    /// Who this deployment is there.
    pub client_id: String,
    /// What proves it.
    pub client_secret: Zeroizing<String>,
    /// How.
    pub auth_style: AuthStyle,
    /// Where tokens are revoked (RFC 7009).
    pub revocation_endpoint: Option<String>,
    /// Where it says what a token is (RFC 7662).
    pub introspection_endpoint: Option<String>,
    /// Where its keys are.
    pub jwks_uri: Option<String>,
    /// `iss` of its tokens; absent = any, since its keys are its own.
    pub issuer: Option<String>,
    /// What `aud` of its tokens must contain; absent = the client.
    pub audience: Option<String>,
}

const MEMBERS: [&str; 9] = [
    "token_endpoint",
    "client_id",
    "client_secret",
    "auth_style",
    "revocation_endpoint",
    "introspection_endpoint",
    "jwks_uri",
    "issuer",
    "audience",
];
const PROVIDERS_MAX: usize = 64;
const TEXT_MAX_BYTES: usize = 1_024;
/// Levels of brackets in the map.
const DEPTH: usize = 4;

/// Unlike an issuer's, an endpoint's URL may have a query (RFC 6749 §3.2).
pub(crate) fn endpoint(text: &str) -> Option<String> {
    let (base, query) = text.split_once('?').unwrap_or((text, ""));
    let clean = query.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'\\'));
    exact_url(base).filter(|_| clean && text.len() <= TEXT_MAX_BYTES)?;
    Some(text.to_owned())
}

pub(crate) fn visible(text: &str) -> Option<String> {
    let fits = (1..=TEXT_MAX_BYTES).contains(&text.len()) && !text.chars().any(char::is_control);
    fits.then(|| text.to_owned())
}

/// Names as variables can spell them.
pub(crate) fn spelled(name: &str) -> String {
    name.to_ascii_lowercase().replace(['-', '.'], "_")
}

/// Members that variables give stand in the place of those of the map.
pub(crate) fn overlaid<'a>(map: &mut Map<String, Value>, members: impl Iterator<Item = &'a Member>) {
    for member in members {
        let known = map.keys().find(|name| spelled(name) == spelled(&member.entry)).cloned();
        let entry = map.entry(known.unwrap_or_else(|| member.entry.clone()));
        if let Some(entry) = entry.or_insert_with(|| Value::Object(Map::new())).as_object_mut() {
            entry.insert(member.key.clone(), Value::String(member.text.to_string()));
        }
    }
}

impl Judge<'_> {
    pub(crate) fn providers(&mut self) -> Vec<TokenProvider> {
        const SETTING: &str = "providers";
        let given = self.layers.get(SETTING);
        let origin = given.map_or(SETTING, |given| &given.origin);
        let map =
            given.map_or_else(|| Ok(Map::new()), |given| json::parse_object(given.text.as_bytes(), DEPTH));
        let Ok(mut map) = map else {
            self.problem(origin, "must be a JSON object of providers by name, no member twice");
            return Vec::new();
        };
        overlaid(&mut map, self.layers.members(SETTING));
        if map.len() > PROVIDERS_MAX {
            self.problem(origin, "names more than 64 providers");
        }
        let mut names = BTreeMap::new();
        let mut providers = Vec::new();
        for (name, members) in map.iter().take(PROVIDERS_MAX) {
            let Ok(parsed) = name.parse::<ProviderName>() else {
                self.problem(origin, "has a provider whose name is not 1-128 of A-Z a-z 0-9 . _ -");
                continue;
            };
            let mut problems = Problems { section: SETTING, origin, name, found: Vec::new() };
            if let Some(other) = names.insert(spelled(name), name.clone()) {
                problems.add("", &format!("is spelled like {other} in variables; choose another name"));
            }
            match members.as_object() {
                Some(members) => providers.extend(provider(parsed, members, &mut problems)),
                None => problems.add("", "must be a table: token_endpoint, client_id, client_secret"),
            }
            self.problems.append(&mut problems.found);
        }
        providers
    }
}

/// `None` with at least one problem.
fn provider(
    name: ProviderName,
    members: &Map<String, Value>,
    problems: &mut Problems<'_>,
) -> Option<TokenProvider> {
    if members.keys().any(|member| !MEMBERS.contains(&member.as_str())) {
        problems.add("", &format!("has a member that is none of {}", MEMBERS.join(", ")));
    }
    for needed in ["token_endpoint", "client_id", "client_secret"] {
        if !members.contains_key(needed) {
            problems.add(needed, "is missing");
        }
    }
    let text = "must be 1 to 1024 bytes without control characters";
    let style = |text: &str| match text {
        "post" => Some(AuthStyle::Post),
        "basic" => Some(AuthStyle::Basic),
        _ => None,
    };
    let token_endpoint = problems.text(members, "token_endpoint", URL, endpoint);
    let client_id = problems.text(members, "client_id", text, visible);
    let client_secret = problems.text(members, "client_secret", text, visible).map(Zeroizing::new);
    let auth_style = problems.text(members, "auth_style", "must be \"post\" or \"basic\"", style);
    let revocation_endpoint = problems.text(members, "revocation_endpoint", URL, endpoint);
    let introspection_endpoint = problems.text(members, "introspection_endpoint", URL, endpoint);
    let jwks_uri = problems.text(members, "jwks_uri", URL, endpoint);
    let issuer = problems.text(members, "issuer", text, visible);
    let audience = problems.text(members, "audience", text, visible);
    Some(TokenProvider {
        name,
        token_endpoint: token_endpoint?,
        client_id: client_id?,
        client_secret: client_secret?,
        auth_style: auth_style.unwrap_or(AuthStyle::Post),
        revocation_endpoint,
        introspection_endpoint,
        jwks_uri,
        issuer,
        audience,
    })
}

#[cfg(test)]
mod tests {
    use std::{io, path::Path};

    use super::*;
    use crate::{ConfigError, Settings};

    fn load(file: Option<&str>, environment: &[(&str, &str)]) -> Result<Vec<TokenProvider>, ConfigError> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let read = |path: &Path| match path.to_str() {
            Some("/secret") => Ok("from-a-file\n".to_owned()),
            Some("/map") => Ok(GOOD.to_owned()),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        Settings::load(file, environment, read).map(|settings| settings.providers)
    }

    const GOOD: &str = r#"{"git.hub": {"token_endpoint": "https://a.example/token?p=1", "client_id": "us", "client_secret": "s"}}"#;

    #[test]
    fn file_environment_and_single_variables_say_the_same() {
        let file = "[providers.\"git.hub\"]\ntoken_endpoint = \"https://a.example/token?p=1\"\nclient_id = \"us\"\nclient_secret = \"s\"\n";
        let file = load(Some(file), &[]).unwrap();
        assert!(file == load(None, &[("CLAVIGER_PROVIDERS", GOOD)]).unwrap());
        assert!(file == load(None, &[("CLAVIGER_PROVIDERS_FILE", "/map")]).unwrap());
        let [provider] = file.as_slice() else { panic!("one provider") };
        assert_eq!((provider.auth_style, provider.client_secret.as_str()), (AuthStyle::Post, "s"));
        let overlaid = load(
            None,
            &[
                ("CLAVIGER_PROVIDERS", GOOD),
                ("CLAVIGER_PROVIDERS__GIT_HUB__AUTH_STYLE", "basic"),
                ("CLAVIGER_PROVIDERS__GIT_HUB__CLIENT_SECRET_FILE", "/secret"),
            ],
        );
        let overlaid = overlaid.unwrap();
        assert_eq!(overlaid.len(), 1);
        assert_eq!(
            (overlaid[0].auth_style, overlaid[0].client_secret.as_str()),
            (AuthStyle::Basic, "from-a-file")
        );
        let single = load(
            None,
            &[
                ("CLAVIGER_PROVIDERS__IDP__TOKEN_ENDPOINT", "http://127.0.0.1:1/token"),
                ("CLAVIGER_PROVIDERS__IDP__CLIENT_ID", "us"),
                ("CLAVIGER_PROVIDERS__IDP__CLIENT_SECRET", "s"),
            ],
        );
        assert_eq!(single.unwrap()[0].name.as_str(), "idp");
        assert!(load(None, &[]).unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_is_named_and_not_repeated() {
        let with = |member: &str, value: &str| {
            let mut members = vec![
                ("token_endpoint", "\"https://a.example\""),
                ("client_id", "\"us\""),
                ("client_secret", "\"hunter2\""),
            ];
            members.retain(|(name, _)| *name != member);
            if !value.is_empty() {
                members.push((member, value));
            }
            let members: Vec<_> =
                members.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
            format!("{{\"a\": {{{}}}}}", members.join(", "))
        };
        assert!(load(None, &[("CLAVIGER_PROVIDERS", &with("x", ""))]).is_ok());
        for (member, value) in [
            ("token_endpoint", ""),
            ("token_endpoint", "\"http://hunter2.example\""),
            ("token_endpoint", "\"https://u:hunter2@a.example\""),
            ("token_endpoint", "\"https://a.example/?x#hunter2\""),
            ("token_endpoint", "\"file:///hunter2\""),
            ("token_endpoint", "7"),
            ("client_id", ""),
            ("client_id", "\"\""),
            ("client_secret", ""),
            ("client_secret", "[\"hunter2\"]"),
            ("client_secret", "\"hunter2\\n\""),
            ("auth_style", "\"hunter2\""),
            ("revocation_endpoint", "\"http://10.0.0.1/hunter2\""),
            ("introspection_endpoint", "\"hunter2\""),
            ("jwks_uri", "\"http://localhost.hunter2.example\""),
            ("audience", "\"\""),
        ] {
            let json = with(member, value);
            let error =
                load(None, &[("CLAVIGER_PROVIDERS", &json)]).err().unwrap_or_else(|| panic!("{json}"));
            assert_eq!(error.setting, "CLAVIGER_PROVIDERS", "{json}");
            assert!(error.rule.starts_with(&format!("a.{member} ")), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        for (json, rule) in [
            (with("hunter2", "1"), "a has a member"),
            ("{\"a\": 1}".to_owned(), "a must be a table"),
            ("{\"hunter 2\": {}}".to_owned(), "has a provider whose name"),
            ("hunter2".to_owned(), "must be a JSON object"),
        ] {
            let error =
                load(None, &[("CLAVIGER_PROVIDERS", &json)]).err().unwrap_or_else(|| panic!("{json}"));
            assert!(error.rule.starts_with(rule), "{error}");
        }
    }

    #[test]
    fn variables_of_members_are_named() {
        for (environment, named) in [
            (&[("CLAVIGER_PROVIDERS__A__NONSENSE", "x")][..], "CLAVIGER_PROVIDERS__A__NONSENSE"),
            (&[("CLAVIGER_PROVIDERS__A", "x")], "CLAVIGER_PROVIDERS__A"),
            (
                &[("CLAVIGER_PROVIDERS__A__CLIENT_ID_FILE", "/secret")],
                "CLAVIGER_PROVIDERS__A__CLIENT_ID_FILE",
            ),
            (
                &[("CLAVIGER_PROVIDERS__A__CLIENT_SECRET_FILE", "/none")],
                "CLAVIGER_PROVIDERS__A__CLIENT_SECRET_FILE",
            ),
            (
                &[
                    ("CLAVIGER_PROVIDERS__A__CLIENT_SECRET_FILE", "/secret"),
                    ("CLAVIGER_PROVIDERS__A__CLIENT_SECRET", "x"),
                ],
                "CLAVIGER_PROVIDERS__A__CLIENT_SECRET_FILE",
            ),
        ] {
            assert_eq!(load(None, environment).err().map(|error| error.setting).as_deref(), Some(named));
        }
    }
}
