//! Who is told of alerts, and how.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use claviger_crypto::json;
use claviger_entity::ProviderName;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::{
    issuers::Problems,
    providers::{endpoint, overlaid, spelled},
    settings::Judge,
};

const SETTING: &str = "channels";
const CHANNELS_MAX: usize = 32;
/// Levels of brackets in the map.
const DEPTH: usize = 4;
const MEMBERS: [&str; 5] = ["type", "url", "secret", "least", "escalations_only"];
const URL: &str = "must be an https URL, or an http URL on loopback, without # and @";
/// Secrets of a webhook at a time.
const SECRETS_MAX: usize = 4;

/// A way to tell people. No `Debug`: it holds secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Channel {
    /// What it is called.
    pub name: String,
    /// How.
    pub kind: ChannelKind,
    /// What is less bad is not told over it: `warning` or `critical`.
    pub least: String,
    /// It is used only for what nobody has taken up.
    pub escalations_only: bool,
}

/// How people are told.
#[derive(Clone, PartialEq, Eq)]
pub enum ChannelKind {
    /// A webhook, signed by each of these secrets (Standard Webhooks).
    Webhook {
        /// Where it is; often a secret.
        url: Zeroizing<String>,
        /// Newest first.
        secrets: Vec<Zeroizing<Vec<u8>>>,
    },
    /// A webhook that takes what Slack takes.
    Slack {
        /// Where it is, which is a secret.
        url: Zeroizing<String>,
    },
}

impl ChannelKind {
    /// The text form.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Slack { .. } => "slack",
        }
    }
}

impl Judge<'_> {
    pub(crate) fn channels(&mut self) -> Vec<Channel> {
        let given = self.layers.get(SETTING);
        let origin = given.map_or(SETTING, |given| &given.origin);
        let map =
            given.map_or_else(|| Ok(Map::new()), |given| json::parse_object(given.text.as_bytes(), DEPTH));
        let Ok(mut map) = map else {
            self.problem(origin, "must be a JSON object of channels by name, no member twice");
            return Vec::new();
        };
        overlaid(&mut map, self.layers.members(SETTING));
        if map.len() > CHANNELS_MAX {
            self.problem(origin, "names more than 32 channels");
        }
        let mut names = BTreeMap::new();
        let mut channels = Vec::new();
        for (name, members) in map.iter().take(CHANNELS_MAX) {
            if name.parse::<ProviderName>().is_err() {
                self.problem(origin, "has a channel whose name is not 1-128 of A-Z a-z 0-9 . _ -");
                continue;
            }
            let mut problems = Problems { section: SETTING, origin, name, found: Vec::new() };
            if let Some(other) = names.insert(spelled(name), name.clone()) {
                problems.add("", &format!("is spelled like {other} in variables; choose another name"));
            }
            match members.as_object() {
                Some(members) => channels.extend(channel(name, members, &mut problems)),
                None => problems.add("", "must be a table: type, url, …"),
            }
            self.problems.append(&mut problems.found);
        }
        channels
    }
}

/// `None` with at least one problem.
fn channel(name: &str, members: &Map<String, Value>, problems: &mut Problems<'_>) -> Option<Channel> {
    if members.keys().any(|member| !MEMBERS.contains(&member.as_str())) {
        problems.add("", &format!("has a member that is none of {}", MEMBERS.join(", ")));
    }
    let severity = |text: &str| matches!(text, "warning" | "critical").then(|| text.to_owned());
    let least = problems.text(members, "least", "must be \"warning\" or \"critical\"", severity);
    let escalations_only = flag(members, "escalations_only", problems);
    let kind = match members.get("type").and_then(Value::as_str) {
        Some("webhook") => webhook(members, problems),
        Some("slack") => slack(members, problems),
        _ => {
            problems.add("type", "must be \"webhook\" or \"slack\"");
            None
        }
    };
    Some(Channel {
        name: name.to_owned(),
        kind: kind?,
        least: least.unwrap_or_else(|| "warning".to_owned()),
        escalations_only,
    })
}

fn flag(members: &Map<String, Value>, member: &str, problems: &mut Problems<'_>) -> bool {
    let Some(given) = members.get(member) else { return false };
    // A variable is a text.
    let flag = given.as_bool().or_else(|| given.as_str()?.parse().ok());
    if flag.is_none() {
        problems.add(member, "must be true or false");
    }
    flag.unwrap_or(false)
}

fn url(members: &Map<String, Value>, problems: &mut Problems<'_>) -> Option<Zeroizing<String>> {
    needs(members, &["url"], problems);
    problems.text(members, "url", URL, endpoint).map(Zeroizing::new)
}

fn needs(members: &Map<String, Value>, needed: &[&str], problems: &mut Problems<'_>) {
    for member in needed.iter().filter(|member| !members.contains_key(**member)) {
        problems.add(member, "is missing");
    }
}

fn webhook(members: &Map<String, Value>, problems: &mut Problems<'_>) -> Option<ChannelKind> {
    needs(members, &["secret"], problems);
    let url = url(members, problems);
    let rule = "must be whsec_ and base64 of 24 to 64 bytes; several, newest first, with spaces or line breaks between them";
    let secrets = problems.text(members, "secret", rule, secrets);
    Some(ChannelKind::Webhook { url: url?, secrets: secrets? })
}

fn slack(members: &Map<String, Value>, problems: &mut Problems<'_>) -> Option<ChannelKind> {
    if members.contains_key("secret") {
        problems.add("secret", "is for webhooks that are signed; for Slack the URL is the secret");
    }
    Some(ChannelKind::Slack { url: url(members, problems)? })
}

/// One of Standard Webhooks, or several.
fn secrets(text: &str) -> Option<Vec<Zeroizing<Vec<u8>>>> {
    let one = |text: &str| {
        let bytes = Zeroizing::new(BASE64_STANDARD.decode(text.strip_prefix("whsec_")?).ok()?);
        (24..=64).contains(&bytes.len()).then_some(bytes)
    };
    let secrets: Option<Vec<_>> = text.split_ascii_whitespace().map(one).collect();
    secrets.filter(|secrets| (1..=SECRETS_MAX).contains(&secrets.len()))
}

#[cfg(test)]
mod tests {
    use std::{io, path::Path};

    use super::*;
    use crate::{ConfigError, Settings};

    const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn load(file: Option<&str>, environment: &[(&str, &str)]) -> Result<Vec<Channel>, ConfigError> {
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let read = |path: &Path| match path.to_str() {
            Some("/secret") => Ok(format!("{SECRET}\n{SECRET}\n")),
            _ => Err(io::ErrorKind::NotFound.into()),
        };
        Settings::load(file, environment, read).map(|settings| settings.channels)
    }

    #[test]
    fn file_environment_and_single_variables_say_the_same() {
        let file = format!(
            "[channels.on-call]\ntype = \"webhook\"\nurl = \"https://a.example/x?y\"\nsecret = \"{SECRET}\"\nescalations_only = true\nleast = \"critical\"\n"
        );
        let map = format!(
            r#"{{"on-call": {{"type": "webhook", "url": "https://a.example/x?y", "secret": "{SECRET}", "escalations_only": true, "least": "critical"}}}}"#
        );
        let file = load(Some(&file), &[]).unwrap();
        assert!(file == load(None, &[("CLAVIGER_CHANNELS", &map)]).unwrap());
        let overlaid = load(
            None,
            &[("CLAVIGER_CHANNELS", &map), ("CLAVIGER_CHANNELS__ON_CALL__SECRET_FILE", "/secret")],
        );
        let overlaid = overlaid.unwrap();
        let ChannelKind::Webhook { secrets, .. } = &overlaid[0].kind else { panic!("a webhook") };
        assert_eq!((overlaid.len(), secrets.len(), secrets[0].len()), (1, 2, 24));
        let single = [
            ("CLAVIGER_CHANNELS__CHAT__TYPE", "slack"),
            ("CLAVIGER_CHANNELS__CHAT__URL", "http://127.0.0.1:9/x"),
            ("CLAVIGER_CHANNELS__CHAT__ESCALATIONS_ONLY", "true"),
        ];
        let single = load(None, &single).unwrap();
        assert_eq!((single[0].name.as_str(), single[0].escalations_only), ("chat", true));
        assert!(load(None, &[]).unwrap().is_empty());
    }

    #[test]
    fn what_is_wrong_is_named_and_not_repeated() {
        for channel in [
            r#"{"url": "https://hunter2.example"}"#,
            r#"{"type": "pigeon", "url": "https://hunter2.example"}"#,
            r#"{"type": "slack"}"#,
            r#"{"type": "slack", "url": "http://hunter2.example"}"#,
            r#"{"type": "slack", "url": "https://a.example/#hunter2"}"#,
            r#"{"type": "slack", "url": "https://a.example", "secret": "hunter2"}"#,
            r#"{"type": "slack", "url": "https://a.example", "least": "hunter2"}"#,
            r#"{"type": "slack", "url": "https://a.example", "escalations_only": "hunter2"}"#,
            r#"{"type": "slack", "url": "https://a.example", "hunter2": 1}"#,
            r#"{"type": "webhook", "url": "https://a.example"}"#,
            r#"{"type": "webhook", "url": "https://a.example", "secret": "hunter2"}"#,
            r#"{"type": "webhook", "url": "https://a.example", "secret": "whsec_aHVudGVyMg=="}"#,
            r#"{"type": "webhook", "url": "https://a.example", "secret": ""}"#,
            "\"hunter2\"",
        ] {
            let map = format!("{{\"a\": {channel}}}");
            let error = load(None, &[("CLAVIGER_CHANNELS", &map)]).err().expect(channel);
            assert_eq!(error.setting, "CLAVIGER_CHANNELS", "{channel}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
