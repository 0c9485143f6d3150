//! The URL of a PostgreSQL database, as far as it is judged here; the driver reads the rest.

use std::{borrow::Cow, net::IpAddr};

/// The parts of a PostgreSQL URL that matter here. Parsed leniently: what the driver refuses may still hold a weak password.
#[derive(Default, PartialEq, Eq)]
pub struct PostgresUrl<'a> {
    /// User.
    pub user: Cow<'a, str>,
    /// Password.
    pub password: Option<Cow<'a, str>>,
    /// Hosts without their ports; a path is a socket.
    pub hosts: Vec<Cow<'a, str>>,
    /// Database.
    pub database: Cow<'a, str>,
    sslmode: Cow<'a, str>,
    names_root: bool,
}

impl<'a> PostgresUrl<'a> {
    /// `postgres://user:password@host:port,host/database?name=value`.
    #[must_use]
    pub fn parse(text: &'a str) -> Option<Self> {
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
            names_root: false,
        };
        for (name, value) in query.split('&').filter_map(|pair| pair.split_once('=')) {
            match name {
                "user" => url.user = decoded(value),
                "password" => url.password = Some(decoded(value)),
                "host" | "hostaddr" => url.hosts = value.split(',').map(decoded).collect(),
                "dbname" => url.database = decoded(value),
                "sslmode" | "ssl-mode" => url.sslmode = decoded(value),
                "sslrootcert" | "ssl-root-cert" | "ssl-ca" => url.names_root = true,
                _ => {}
            }
        }
        Some(url)
    }

    /// These modes speak in clear whenever somebody in between wants them to.
    #[must_use]
    pub fn is_clear(&self) -> bool {
        let clear = ["disable", "allow", "prefer"].iter().any(|mode| self.sslmode.eq_ignore_ascii_case(mode));
        clear && self.hosts.iter().any(|host| !is_local(host))
    }

    /// Whoever answers at another machine has shown a certificate for it.
    #[must_use]
    pub fn is_verified(&self) -> bool {
        let verified =
            ["verify-ca", "verify-full"].iter().any(|mode| self.sslmode.eq_ignore_ascii_case(mode));
        verified || self.hosts.iter().all(|host| is_local(host))
    }
}

/// A URL that trusts the authorities of a file, unless it names some of its own: the driver takes one file, beside its own list.
pub(crate) fn with_root(text: &str, root: Option<&str>) -> String {
    let names_root = PostgresUrl::parse(text).is_some_and(|url| url.names_root);
    let Some(root) = root.filter(|root| !root.is_empty() && !names_root) else { return text.to_owned() };
    let separator = if text.contains('?') { '&' } else { '?' };
    let mut url = format!("{text}{separator}sslrootcert=");
    for byte in root.bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-~".contains(&byte) {
            url.push(char::from(byte));
        } else {
            url.push_str(&format!("%{byte:02X}"));
        }
    }
    url
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn authorities_are_added_to_a_url_that_names_none() {
        let table = [
            ("postgres://h/d", "postgres://h/d?sslrootcert=/etc/a%20b%26c.pem"),
            (
                "postgres://h/d?sslmode=verify-full",
                "postgres://h/d?sslmode=verify-full&sslrootcert=/etc/a%20b%26c.pem",
            ),
            ("postgres://h/d?sslrootcert=x", "postgres://h/d?sslrootcert=x"),
            ("postgres://h/d?ssl-ca=x", "postgres://h/d?ssl-ca=x"),
        ];
        for (text, expected) in table {
            assert_eq!(with_root(text, Some("/etc/a b&c.pem")), expected);
            assert_eq!(with_root(text, None), text);
        }
    }
}
