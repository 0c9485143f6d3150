//! The database URL: its password, and whether it travels in clear.

use std::{borrow::Cow, net::IpAddr};

use super::{
    Examiner, Files, Finding,
    words::{Guessable, Rule},
};

/// What the password of a database must have.
const PASSWORD: Rule = Rule { length: 12, distinct: 5, rest: 8 };

impl<F: Files> Examiner<'_, F> {
    pub(super) fn database(&mut self) {
        let Some(given) = self.survey.layers.get("database.url") else { return };
        let Some(url) = Url::parse(given.text.trim()) else { return };
        if let Some((code, detail)) = url.weak_password() {
            self.found.push(Finding::error(code, &given.origin, detail));
        }
        if url.is_clear() {
            self.found.push(Finding::error(
                "database-without-tls",
                &given.origin,
                "lets passwords and data travel in clear to another machine; use sslmode=verify-full",
            ));
        }
    }
}

/// The URL holds a password.
pub(super) fn holds_password(url: &str) -> bool {
    Url::parse(url.trim()).is_some_and(|url| url.password.is_some_and(|password| !password.is_empty()))
}

/// The parts of a PostgreSQL URL that matter here. Parsed leniently: what the driver refuses may still hold a weak password.
#[derive(Debug, Default, PartialEq, Eq)]
struct Url<'a> {
    user: Cow<'a, str>,
    password: Option<Cow<'a, str>>,
    hosts: Vec<Cow<'a, str>>,
    database: Cow<'a, str>,
    sslmode: Cow<'a, str>,
}

impl<'a> Url<'a> {
    /// `postgres://user:password@host:port,host/database?name=value`.
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        if !scheme.to_ascii_lowercase().starts_with("postgres") {
            return None;
        }
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (user, rest),
            None => ("", rest),
        };
        let (user, password) = match user.split_once(':') {
            Some((user, password)) => (user, Some(password)),
            None => (user, None),
        };
        let (hosts, database) = rest.split_once('/').unwrap_or((rest, ""));
        let mut url = Self {
            user: decoded(user),
            password: password.map(decoded),
            hosts: hosts.split(',').filter(|host| !host.is_empty()).map(|host| decoded(name(host))).collect(),
            database: decoded(database),
            sslmode: Cow::Borrowed(""),
        };
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "user" => url.user = decoded(value),
                "password" => url.password = Some(decoded(value)),
                "host" | "hostaddr" => url.hosts = value.split(',').map(decoded).collect(),
                "dbname" => url.database = decoded(value),
                "sslmode" | "ssl-mode" => url.sslmode = decoded(value),
                _ => {}
            }
        }
        Some(url)
    }

    /// Code and detail of what is wrong with the password.
    fn weak_password(&self) -> Option<(&'static str, &'static str)> {
        let password = self.password.as_deref().unwrap_or_default();
        if password.is_empty() {
            // Over a socket the system vouches for the user.
            let socket = self.hosts.iter().all(|host| host.starts_with('/'));
            let missing = "has no password; give the user one";
            return (!socket).then_some(("database-password-missing", missing));
        }
        let weak = "database-password-weak";
        if password.eq_ignore_ascii_case(&self.user) {
            return Some((weak, "has the user's name for a password; choose a random one"));
        }
        if password.eq_ignore_ascii_case(&self.database) {
            return Some((weak, "has the database's name for a password; choose a random one"));
        }
        match PASSWORD.judge(password)? {
            Guessable::Known => Some((weak, "has a password of known words; choose a random one")),
            Guessable::Monotonous => {
                Some((weak, "has a password of few different characters; choose a random one"))
            }
            Guessable::Short => {
                Some((weak, "has a password shorter than 12 characters; choose a longer one"))
            }
        }
    }

    /// These modes speak in clear whenever somebody in between wants them to.
    fn is_clear(&self) -> bool {
        let clear = ["disable", "allow", "prefer"].iter().any(|mode| self.sslmode.eq_ignore_ascii_case(mode));
        clear && self.hosts.iter().any(|host| !is_local(host))
    }
}

/// A host without its port.
fn name(host: &str) -> &str {
    let bracketed = host.strip_prefix('[').and_then(|host| host.split_once(']'));
    bracketed.map_or_else(|| host.rsplit_once(':').map_or(host, |(name, _)| name), |(name, _)| name)
}

fn is_local(host: &str) -> bool {
    host.starts_with('/')
        || host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

/// Percent-encoding undone; what is none stays as it is.
fn decoded(text: &str) -> Cow<'_, str> {
    if !text.contains('%') {
        return Cow::Borrowed(text);
    }
    let (mut bytes, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((first, tail)) = rest.split_first() {
        let code = tail.get(..2).and_then(|code| std::str::from_utf8(code).ok());
        let code = code.and_then(|code| u8::from_str_radix(code, 16).ok()).filter(|_| *first == b'%');
        bytes.push(code.unwrap_or(*first));
        rest = if code.is_some() { tail.get(2..).unwrap_or_default() } else { tail };
    }
    Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
}
