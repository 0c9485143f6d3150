//! Issuers of other deployments and clusters whose tokens are credentials here.
//!
//! Who somebody is comes from a token, what they may do from here: roles are given to subjects by pattern, and by nothing that an issuer
//! could write into a token.

use std::{path::PathBuf, time::Duration};

use claviger_crypto::json;
use claviger_entity::{KeyName, RoleName};
use serde_json::{Map, Value};

use crate::{
    ConfigError,
    settings::{Judge, duration, outgoing, path},
};

/// An issuer whose tokens are credentials.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustedIssuer {
    /// What it is called here.
    pub name: String,
    /// `iss` of its tokens, to the letter.
    pub issuer: String,
    /// What `aud` of its tokens must contain.
    pub audience: String,
    /// Where its keys are; absent = as its discovery document says.
    pub jwks_uri: Option<String>,
    /// A file with a bearer token for `jwks_uri`, read anew for each look-up.
    pub token_file: Option<PathBuf>,
    /// Roles by subject.
    pub roles: Vec<(SubjectPattern, Vec<RoleName>)>,
    /// How long its keys are used while it is away.
    pub max_stale: Duration,
    /// Shortest time between two look-ups.
    pub cooldown: Duration,
}

impl TrustedIssuer {
    /// Every role that a pattern gives to the subject.
    #[must_use]
    pub fn roles_of(&self, subject: &str) -> Vec<RoleName> {
        SubjectPattern::roles_of(&self.roles, subject)
    }
}

/// A subject, or all below one: `*` stands only at the end and only after a separator, so that no pattern reaches beyond the part of a name
/// that it spells out (`system:serviceaccount:pay*` would have let in `payroll` with `payments`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SubjectPattern {
    /// This one.
    Exactly(String),
    /// Those that go on after this.
    Below(String),
}

const PATTERN: &str =
    "may hold exact subjects, and such that end in * right after one of : / | (or are * alone)";
const SUBJECT_MAX_BYTES: usize = 255;

impl SubjectPattern {
    fn parse(text: &str) -> Option<Self> {
        let known = (1..=SUBJECT_MAX_BYTES).contains(&text.len()) && !text.chars().any(char::is_control);
        match text.strip_suffix('*') {
            _ if !known => None,
            None => (!text.contains('*')).then(|| Self::Exactly(text.to_owned())),
            Some(prefix) => ((prefix.is_empty() || prefix.ends_with([':', '/', '|']))
                && !prefix.contains('*'))
            .then(|| Self::Below(prefix.to_owned())),
        }
    }

    /// Every role that one of the patterns gives to the subject.
    pub(crate) fn roles_of(patterns: &[(Self, Vec<RoleName>)], subject: &str) -> Vec<RoleName> {
        let mut given: Vec<RoleName> = Vec::new();
        for role in patterns.iter().filter(|(pattern, _)| pattern.fits(subject)).flat_map(|(_, roles)| roles)
        {
            if !given.contains(role) {
                given.push(role.clone());
            }
        }
        given
    }

    fn fits(&self, subject: &str) -> bool {
        match self {
            Self::Exactly(text) => text == subject,
            Self::Below(prefix) => subject.strip_prefix(prefix.as_str()).is_some_and(|rest| !rest.is_empty()),
        }
    }
}

impl std::fmt::Display for SubjectPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exactly(text) => f.write_str(text),
            Self::Below(prefix) => write!(f, "{prefix}*"),
        }
    }
}

const MEMBERS: [&str; 7] = ["issuer", "audience", "jwks_uri", "token_file", "roles", "max_stale", "cooldown"];
const ISSUERS_MAX: usize = 64;
const PATTERNS_MAX: usize = 256;
const ROLES_MAX: usize = 16;
const AUDIENCE_MAX_BYTES: usize = 255;
/// Levels of brackets in the map.
const DEPTH: usize = 8;
const DAY: Duration = Duration::from_secs(86_400);

/// A URL that is kept to the letter, since it is compared with what others say.
fn exact_url(text: &str) -> Option<String> {
    outgoing(text)
        .filter(|_| !text.contains(['\\', '"']) && text.bytes().all(|byte| byte.is_ascii_graphic()))?;
    Some(text.to_owned())
}

/// What differs in ways that people overlook is the same.
pub fn look_alike(one: &str, other: &str) -> bool {
    one.trim_end_matches('/').eq_ignore_ascii_case(other.trim_end_matches('/'))
}

impl Judge<'_> {
    pub(crate) fn issuers(&mut self) -> Vec<TrustedIssuer> {
        let Some(given) = self.layers.get("issuers") else { return Vec::new() };
        let Ok(map) = json::parse_object(given.text.as_bytes(), DEPTH) else {
            self.problem(given.origin.clone(), "must be a JSON object of issuers by name, no member twice");
            return Vec::new();
        };
        if map.len() > ISSUERS_MAX {
            self.problem(given.origin.clone(), "names more than 64 issuers");
        }
        let own = self.layers.get("tokens.issuer").map(|own| own.text.trim().to_owned());
        let mut trusted: Vec<TrustedIssuer> = Vec::new();
        for (name, members) in map.iter().take(ISSUERS_MAX) {
            if name.parse::<KeyName>().is_err() {
                self.problem(
                    given.origin.clone(),
                    "has an issuer whose name is not 1-128 of A-Z a-z 0-9 . _ -",
                );
                continue;
            }
            let mut problems = Problems { origin: &given.origin, name, found: Vec::new() };
            let issuer = members.as_object().and_then(|members| issuer(name, members, &mut problems));
            if !members.is_object() {
                problems.add("", "must be a table: issuer, audience, roles");
            }
            if let Some(issuer) = issuer {
                if own.as_ref().is_some_and(|own| look_alike(own, &issuer.issuer)) {
                    problems
                        .add("issuer", "is this deployment's own issuer; its tokens need no trust of others");
                }
                if trusted.iter().any(|other| look_alike(&other.issuer, &issuer.issuer)) {
                    problems.add("issuer", "is named twice; trust it once, under one name");
                }
                trusted.push(issuer);
            }
            self.problems.append(&mut problems.found);
        }
        trusted
    }
}

/// Takes down what is wrong with one issuer, under the name that the operator wrote.
pub(crate) struct Problems<'a> {
    pub(crate) origin: &'a str,
    pub(crate) name: &'a str,
    pub(crate) found: Vec<ConfigError>,
}

impl Problems<'_> {
    pub(crate) fn add(&mut self, member: &str, rule: &str) {
        let dot = if member.is_empty() { "" } else { "." };
        let Self { origin, name, .. } = *self;
        self.found.push(if origin == "issuers" {
            ConfigError::new(format!("issuers.{name}{dot}{member}"), rule)
        } else {
            ConfigError::new(origin, format!("{name}{dot}{member} {rule}"))
        });
    }

    /// A text that fits, if given.
    pub(crate) fn text<T>(
        &mut self,
        members: &Map<String, Value>,
        member: &str,
        rule: &str,
        parse: impl Fn(&str) -> Option<T>,
    ) -> Option<T> {
        let given = members.get(member)?;
        let parsed = given.as_str().and_then(parse);
        if parsed.is_none() {
            self.add(member, rule);
        }
        parsed
    }
}

const URL: &str = "must be an https URL, or an http URL on loopback, without ? # @";

/// `None` with at least one problem.
fn issuer(name: &str, members: &Map<String, Value>, problems: &mut Problems<'_>) -> Option<TrustedIssuer> {
    if members.keys().any(|member| !MEMBERS.contains(&member.as_str())) {
        problems.add("", &format!("has a member that is none of {}", MEMBERS.join(", ")));
    }
    for needed in ["issuer", "audience"].into_iter().filter(|needed| !members.contains_key(*needed)) {
        problems.add(
            needed,
            "is missing: whoever is not named as audience could use tokens that are not for here",
        );
    }
    let audience = |text: &str| {
        let fits = (1..=AUDIENCE_MAX_BYTES).contains(&text.len()) && !text.chars().any(char::is_control);
        fits.then(|| text.to_owned())
    };
    let issuer = problems.text(members, "issuer", URL, exact_url);
    let audience = problems.text(members, "audience", "must be one audience, 1 to 255 bytes", audience);
    let jwks_uri = problems.text(members, "jwks_uri", URL, exact_url);
    let token_file = problems.text(members, "token_file", "must be a path", path);
    if token_file.is_some() && jwks_uri.is_none() {
        problems
            .add("token_file", "needs jwks_uri: the token goes nowhere but where this configuration says");
    }
    let time = "must be a duration such as \"30s\", from 1 s to 7 d";
    let bounded = |text: &str| duration(text).filter(|time| *time <= DAY * 7);
    let max_stale = problems.text(members, "max_stale", time, bounded).unwrap_or(DAY);
    let cooldown = problems.text(members, "cooldown", time, bounded).unwrap_or(Duration::from_secs(30));
    if cooldown > max_stale / 2 {
        problems.add(
            "cooldown",
            "must be at most half of max_stale, or its keys end before they can be asked for again",
        );
    }
    let roles = members.get("roles").map_or_else(Vec::new, |given| roles(given, problems));
    let (issuer, audience) = (issuer?, audience?);
    let name = name.to_owned();
    Some(TrustedIssuer { name, issuer, audience, jwks_uri, token_file, roles, max_stale, cooldown })
}

pub(crate) fn roles(given: &Value, problems: &mut Problems<'_>) -> Vec<(SubjectPattern, Vec<RoleName>)> {
    let Some(map) = given.as_object().filter(|map| map.len() <= PATTERNS_MAX) else {
        problems.add("roles", "must be a table of at most 256 subject patterns, each with a list of roles");
        return Vec::new();
    };
    let mut roles = Vec::new();
    for (pattern, names) in map {
        let names = names.as_array().filter(|names| (1..=ROLES_MAX).contains(&names.len()));
        let names: Option<Vec<RoleName>> = names.and_then(|names| {
            names.iter().map(|name| name.as_str().and_then(|name| name.parse().ok())).collect()
        });
        match (SubjectPattern::parse(pattern), names) {
            (None, _) => problems.add("roles", PATTERN),
            (_, None) => problems.add("roles", "must give each pattern a list of 1 to 16 names of roles"),
            (Some(SubjectPattern::Below(_)), Some(names))
                if names.iter().any(|role| role.as_str() == "admin") =>
            {
                problems.add("roles", "gives admin to a pattern; whoever the issuer names next would be one");
            }
            (Some(pattern), Some(names)) => roles.push((pattern, names)),
        }
    }
    roles
}

#[cfg(test)]
mod tests {
    use std::{io, path::Path};

    use super::*;
    use crate::Settings;

    fn load(file: Option<&str>, json: Option<&str>) -> Result<Vec<TrustedIssuer>, ConfigError> {
        let environment = json.map(|json| ("CLAVIGER_ISSUERS".to_owned(), json.to_owned()));
        let none = |_: &Path| Err(io::ErrorKind::NotFound.into());
        Settings::load(file, environment, none).map(|settings| settings.issuers)
    }

    #[test]
    fn file_and_environment_say_the_same() {
        let file = "[issuers.prod]\nissuer = \"https://id.example/\"\naudience = \"claviger\"\ncooldown = \"10s\"\n\
            [issuers.prod.roles]\n\"system:serviceaccount:payments:*\" = [\"signer\"]\n\"x\" = [\"admin\", \"ops\"]\n";
        let json = r#"{"prod": {"issuer": "https://id.example/", "audience": "claviger", "cooldown": "10s",
            "roles": {"system:serviceaccount:payments:*": ["signer"], "x": ["admin", "ops"]}}}"#;
        let (file, json) = (load(Some(file), None).unwrap(), load(None, Some(json)).unwrap());
        assert_eq!(file, json);
        let [prod] = file.as_slice() else { panic!("one issuer") };
        assert_eq!(prod.issuer, "https://id.example/", "to the letter");
        assert_eq!((prod.cooldown.as_secs(), prod.max_stale), (10, DAY));
        let roles = |subject| prod.roles_of(subject).iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(roles("system:serviceaccount:payments:api"), ["signer"]);
        assert_eq!(roles("x"), ["admin", "ops"]);
        for other in
            ["system:serviceaccount:payments:", "system:serviceaccount:payments", "X", "x ", "xx", ""]
        {
            assert!(roles(other).is_empty(), "{other}");
        }
        assert!(load(None, None).unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_is_named_and_not_repeated() {
        let with = |member: &str, value: &str| {
            let mut members = vec![("issuer", "\"https://a.example\""), ("audience", "\"claviger\"")];
            members.retain(|(name, _)| *name != member);
            if !value.is_empty() {
                members.push((member, value));
            }
            let members: Vec<_> =
                members.iter().map(|(name, value)| format!("\"{name}\": {value}")).collect();
            format!("{{\"a\": {{{}}}}}", members.join(", "))
        };
        for (member, value) in [
            ("issuer", ""),
            ("issuer", "\"http://hunter2.example\""),
            ("issuer", "\"https://hunter2.example?x\""),
            ("issuer", "\"https://a#hunter2\""),
            ("issuer", "\"kubernetes/hunter2\""),
            ("issuer", "[]"),
            ("audience", ""),
            ("audience", "\"\""),
            ("audience", "[\"hunter2\"]"),
            ("jwks_uri", "\"http://10.0.0.1/hunter2\""),
            ("token_file", "\"/hunter2\""),
            ("max_stale", "\"0s\""),
            ("max_stale", "\"8d\""),
            ("cooldown", "30"),
            ("cooldown", "\"13h\""),
            ("roles", "[]"),
            ("roles", r#"{"hunter2*": ["signer"]}"#),
            ("roles", r#"{"*hunter2": ["signer"]}"#),
            ("roles", r#"{"a:*:hunter2": ["signer"]}"#),
            ("roles", r#"{"": ["signer"]}"#),
            ("roles", r#"{"a": "signer"}"#),
            ("roles", r#"{"a": []}"#),
            ("roles", r#"{"a": ["no role hunter2"]}"#),
            ("roles", r#"{"a:*": ["admin"]}"#),
            ("roles", r#"{"*": ["signer", "admin"]}"#),
        ] {
            let error = load(None, Some(&with(member, value))).expect_err(value);
            assert_eq!(error.setting, "CLAVIGER_ISSUERS", "{value}");
            assert!(error.rule.starts_with(&format!("a.{member} ")), "{error}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
        for whole in ["", "[]", "{\"a\": 1}", "{\"a b\": {}}", &with("hunter2", "1"), "{\"a\":{},\"a\":{}}"] {
            let error = load(None, Some(whole)).expect_err(whole);
            assert!(error.setting == "CLAVIGER_ISSUERS" && !error.rule.contains("hunter2"), "{error}");
        }
        let file = "[issuers.a]\nissuer = \"https://a.example\"\n";
        assert_eq!(load(Some(file), None).expect_err("no audience").setting, "issuers.a.audience");
    }

    #[test]
    fn no_issuer_is_another_one_or_this_one() {
        let two = |one: &str, other: &str| {
            format!(
                r#"{{"a": {{"issuer": "{one}", "audience": "x"}}, "b": {{"issuer": "{other}", "audience": "x"}}}}"#
            )
        };
        assert_eq!(load(None, Some(&two("https://a", "https://b"))).unwrap().len(), 2);
        for other in ["https://a", "https://a/", "https://A"] {
            let error = load(None, Some(&two("https://a", other))).expect_err(other);
            assert!(error.rule.starts_with("b.issuer "), "{error}");
        }
        let file = "[tokens]\nissuer = \"https://a/\"\n";
        let error = load(Some(file), Some(&two("https://b", "https://a"))).expect_err("ours");
        assert!(error.rule.starts_with("b.issuer is this deployment's own"), "{error}");
    }
}
