//! Who is told of alerts, and how.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use claviger_crypto::json;
use claviger_entity::ProviderName;
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use crate::{
    issuers::Problems,
    providers::{endpoint, overlaid, spelled, visible},
    settings::Judge,
};

const SETTING: &str = "channels";
const CHANNELS_MAX: usize = 32;
/// Levels of brackets in the map.
const DEPTH: usize = 4;
/// Of whatever kind.
const COMMON: [&str; 3] = ["type", "least", "escalations_only"];
/// Receivers of one mail.
const TO_MAX: usize = 20;
const TEXT_MAX_BYTES: usize = 1_024;
const TEMPLATE_MAX_BYTES: usize = 8_192;
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
    /// E-mail.
    Email(Email),
    /// Whatever takes a text over HTTP, such as a gateway of short messages.
    Gateway(Gateway),
}

/// A mail server, and who writes to whom.
#[derive(Clone, PartialEq, Eq)]
pub struct Email {
    /// The server.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How it is spoken to.
    pub tls: EmailTls,
    /// User and password.
    pub login: Option<(String, Zeroizing<String>)>,
    /// Who writes.
    pub from: String,
    /// To whom.
    pub to: Vec<String>,
}

/// How a mail server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EmailTls {
    /// TLS from the first byte.
    Tls,
    /// TLS after STARTTLS, which is not optional.
    StartTls,
    /// In clear, on this machine.
    None,
}

/// What is posted to a gateway.
#[derive(Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Where it is; may be a secret.
    pub url: Zeroizing<String>,
    /// Type of the body.
    pub content_type: String,
    /// The header `Authorization`.
    pub authorization: Option<Zeroizing<String>>,
    /// The body, with `{text}` where the text goes.
    pub body: Zeroizing<String>,
}

impl ChannelKind {
    /// The text form.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Webhook { .. } => "webhook",
            Self::Slack { .. } => "slack",
            Self::Email(_) => "email",
            Self::Gateway(_) => "sms",
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
    let kind = members.get("type").and_then(Value::as_str);
    let own: &[&str] = match kind {
        Some("webhook") => &["url", "secret"],
        Some("slack") => &["url"],
        Some("email") => &["host", "port", "tls", "username", "password", "from", "to"],
        Some("sms") => &["url", "content_type", "authorization", "body"],
        _ => {
            problems.add("type", "must be \"webhook\", \"slack\", \"email\" or \"sms\"");
            return None;
        }
    };
    let is_known = |member: &str| COMMON.contains(&member) || own.contains(&member);
    if members.keys().any(|member| !is_known(member)) {
        let known = [&COMMON[..], own].concat().join(", ");
        problems.add("", &format!("has a member that is none of {known}"));
    }
    let severity = |text: &str| matches!(text, "warning" | "critical").then(|| text.to_owned());
    let least = problems.text(members, "least", "must be \"warning\" or \"critical\"", severity);
    let escalations_only = flag(members, "escalations_only", problems);
    let kind = match kind {
        Some("webhook") => webhook(members, problems),
        Some("slack") => url(members, problems).map(|url| ChannelKind::Slack { url }),
        Some("email") => email(members, problems).map(ChannelKind::Email),
        _ => gateway(members, problems).map(ChannelKind::Gateway),
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

fn email(members: &Map<String, Value>, problems: &mut Problems<'_>) -> Option<Email> {
    needs(members, &["host", "from", "to"], problems);
    let host = |text: &str| {
        let is_host = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b':');
        ((1..=253).contains(&text.len()) && text.bytes().all(is_host)).then(|| text.to_owned())
    };
    let host = problems.text(members, "host", "must be the name or the address of a mail server", host);
    let tls = problems.text(members, "tls", "must be \"tls\", \"starttls\" or \"none\"", |text| match text {
        "tls" => Some(EmailTls::Tls),
        "starttls" => Some(EmailTls::StartTls),
        "none" => Some(EmailTls::None),
        _ => None,
    });
    let tls = tls.unwrap_or(EmailTls::Tls);
    let is_local =
        host.as_ref().is_none_or(|host| matches!(host.as_str(), "localhost" | "127.0.0.1" | "::1"));
    if tls == EmailTls::None && !is_local {
        problems.add("tls", "must be \"tls\" or \"starttls\" but for a mail server on this machine");
    }
    let given = members.get("port").map(|given| given.as_u64().or_else(|| given.as_str()?.parse().ok()));
    let port = match given {
        None => Some(if tls == EmailTls::Tls { 465 } else { 587 }),
        Some(port) => port.and_then(|port| u16::try_from(port).ok()).filter(|port| *port > 0),
    };
    if port.is_none() {
        problems.add("port", "must be a port");
    }
    let text = "must be 1 to 1024 bytes without control characters";
    let username = problems.text(members, "username", text, visible);
    let password = problems.text(members, "password", text, visible).map(Zeroizing::new);
    if members.contains_key("username") != members.contains_key("password") {
        problems.add("username", "and password belong together");
    }
    let from = problems.text(members, "from", "must be an address such as claviger@example.com", address);
    let all = |text: &str| {
        let all: Option<Vec<String>> = text.split(',').map(|one| address(one.trim())).collect();
        all.filter(|all| all.len() <= TO_MAX)
    };
    let to = problems.text(members, "to", "must be addresses, at most 20, with commas between them", all);
    Some(Email { host: host?, port: port?, tls, login: username.zip(password), from: from?, to: to? })
}

/// Near enough: whoever sends it judges it again.
fn address(text: &str) -> Option<String> {
    let (local, domain) = text.rsplit_once('@')?;
    let fits =
        text.len() <= 254 && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"<>,;\"".contains(&byte));
    (fits && !local.is_empty() && !domain.is_empty()).then(|| text.to_owned())
}

fn gateway(members: &Map<String, Value>, problems: &mut Problems<'_>) -> Option<Gateway> {
    needs(members, &["body"], problems);
    let url = url(members, problems);
    let text = "must be 1 to 1024 bytes without control characters";
    let content_type = problems.text(members, "content_type", text, visible);
    let authorization = problems.text(members, "authorization", text, header).map(Zeroizing::new);
    let template = |text: &str| {
        (text.len() <= TEMPLATE_MAX_BYTES && text.contains("{text}")).then(|| Zeroizing::new(text.to_owned()))
    };
    let rule = "must be a text of at most 8192 bytes with {text} where the text goes";
    let body = problems.text(members, "body", rule, template);
    let content_type = content_type.unwrap_or_else(|| "application/json".to_owned());
    Some(Gateway { url: url?, content_type, authorization, body: body? })
}

fn header(text: &str) -> Option<String> {
    let fits = (1..=TEXT_MAX_BYTES).contains(&text.len());
    let is_clean = text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    (fits && is_clean).then(|| text.to_owned())
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
            Some("/password") => Ok("mail-secret\n".to_owned()),
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
    fn mail_and_short_messages() {
        let mail = r#"{"m": {"type": "email", "host": "127.0.0.1", "tls": "none", "from": "a@b", "to": "c@d, e@f", "username": "u"}}"#;
        let given = [("CLAVIGER_CHANNELS", mail), ("CLAVIGER_CHANNELS__M__PASSWORD_FILE", "/password")];
        let mail = load(None, &given).unwrap();
        let ChannelKind::Email(mail) = &mail[0].kind else { panic!("mail") };
        assert_eq!((mail.port, mail.to.len(), mail.login.is_some()), (587, 2, true));
        let sms = r#"{"s": {"type": "sms", "url": "https://a.example", "body": "{\"text\": \"{text}\"}"}}"#;
        let sms =
            load(None, &[("CLAVIGER_CHANNELS", sms), ("CLAVIGER_CHANNELS__S__AUTHORIZATION", "Bearer x")]);
        let sms = sms.unwrap();
        let ChannelKind::Gateway(sms) = &sms[0].kind else { panic!("sms") };
        assert_eq!((sms.content_type.as_str(), sms.authorization.is_some()), ("application/json", true));
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
            r#"{"type": "email", "from": "a@b", "to": "c@d"}"#,
            r#"{"type": "email", "host": "hunter2 x", "from": "a@b", "to": "c@d"}"#,
            r#"{"type": "email", "host": "m", "from": "hunter2", "to": "c@d"}"#,
            r#"{"type": "email", "host": "m", "from": "a@b", "to": "c@d, hunter2"}"#,
            r#"{"type": "email", "host": "m", "from": "a@b", "to": "c@d", "tls": "none"}"#,
            r#"{"type": "email", "host": "m", "from": "a@b", "to": "c@d", "port": 0}"#,
            r#"{"type": "email", "host": "m", "from": "a@b", "to": "c@d", "password": "hunter2"}"#,
            r#"{"type": "sms", "url": "https://a.example"}"#,
            r#"{"type": "sms", "url": "https://a.example", "body": "hunter2"}"#,
            r#"{"type": "sms", "url": "https://a.example", "body": "{text}", "authorization": "hunter2\n"}"#,
            r#"{"type": "sms", "url": "https://a.example", "body": "{text}", "secret": "hunter2"}"#,
            "\"hunter2\"",
        ] {
            let map = format!("{{\"a\": {channel}}}");
            let error = load(None, &[("CLAVIGER_CHANNELS", &map)]).err().expect(channel);
            assert_eq!(error.setting, "CLAVIGER_CHANNELS", "{channel}");
            assert!(!error.to_string().contains("hunter2"), "{error}");
        }
    }
}
