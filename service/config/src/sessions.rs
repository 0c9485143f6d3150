//! Whom the doors recognise beside holders of credentials, and how WebSocket sessions begin.

use std::{path::PathBuf, time::Duration};

use claviger_crypto::json;
use claviger_entity::RoleName;

use crate::{
    Network, SubjectPattern,
    issuers::{Problems, roles},
    settings::{Judge, SECONDS, bounded, duration, path},
};

/// Settings of the doors.
#[derive(Debug, Clone)]
pub struct Doors {
    /// Proxies whose word on where a request comes from counts.
    pub trusted_proxies: Vec<Network>,
    /// Header in which they name whom they have recognised, in lower case.
    pub proxy_user_header: Option<String>,
    /// Failed attempts of one address within a minute after which others fail at once; 0 = never.
    pub failed_attempts: usize,
    /// Who else may say who calls.
    pub mesh: Option<Mesh>,
    /// Origins of pages that may open sessions, besides the own host.
    pub cors_origins: Vec<String>,
    /// Pages of this machine may call over HTTP, whatever their port.
    pub local_origins: bool,
    /// Password of WebSocket clients.
    pub password_file: Option<PathBuf>,
    /// Every session needs a device.
    pub require_device: bool,
    /// A local direct request may be signed without a nonce.
    pub local_without_nonce: bool,
    /// Longest time from the upgrade to the hello.
    pub handshake_timeout: Duration,
    /// Sessions of one principal on a node.
    pub sessions_per_principal: usize,
}

/// A mesh network that knows its members.
#[derive(Debug, Clone)]
pub struct Mesh {
    /// Unix socket of its local API.
    pub socket: PathBuf,
    /// Roles by login.
    pub roles: Vec<(SubjectPattern, Vec<RoleName>)>,
}

impl Mesh {
    /// Every role that a pattern gives to the login.
    #[must_use]
    pub fn roles_of(&self, login: &str) -> Vec<RoleName> {
        SubjectPattern::roles_of(&self.roles, login)
    }
}

const LIST_MAX: usize = 256;
const DEPTH: usize = 4;

impl Judge<'_> {
    pub(crate) fn doors(&mut self, development: bool) -> Doors {
        let proxies = self.parse(
            "auth.trusted_proxies",
            "must be addresses or networks such as 10.0.0.0/8, between commas",
            |text| list(text, Network::parse),
        );
        let header = self.parse("auth.proxy_user_header", "must be the name of a header", header_name);
        let trusted_proxies = proxies.unwrap_or_default();
        if header.is_some() && trusted_proxies.is_empty() {
            self.problem("auth.proxy_user_header", "needs auth.trusted_proxies: nobody else may name a user");
        }
        let mut is_true =
            |setting| self.parse(setting, "must be true or false", |text| text.parse().ok()).unwrap_or(false);
        let (require_device, local_without_nonce) =
            (is_true("ws.require_device"), is_true("ws.local_without_nonce"));
        Doors {
            trusted_proxies,
            proxy_user_header: header,
            failed_attempts: self
                .parse("auth.failed_attempts", "must be a whole number from 0 to 10", |text| {
                    bounded(text, 0, 10)
                })
                .unwrap_or(10),
            mesh: self.mesh(),
            cors_origins: self
                .parse(
                    "http.cors_origins",
                    "must be origins such as https://console.example, between commas",
                    |text| list(text, origin),
                )
                .unwrap_or_default(),
            password_file: self.parse("ws.password_file", "must be a path", path),
            require_device,
            local_without_nonce,
            local_origins: development,
            handshake_timeout: self
                .parse("ws.handshake_timeout", SECONDS, duration)
                .unwrap_or(Duration::from_secs(10)),
            sessions_per_principal: self
                .parse("ws.sessions_per_principal", "must be a whole number from 1 to 20000", |text| {
                    bounded(text, 1, 20_000)
                })
                .unwrap_or(2_000),
        }
    }

    fn mesh(&mut self) -> Option<Mesh> {
        let given = self.layers.get("auth.mesh")?;
        let origin = given.origin.clone();
        let Ok(members) = json::parse_object(given.text.as_bytes(), DEPTH) else {
            self.problem(origin, "must be {\"socket\": \"/path\", \"roles\": {\"login\": [\"role\"]}}");
            return None;
        };
        let mut problems = Problems { section: "auth", origin: &origin, name: "mesh", found: Vec::new() };
        if members.keys().any(|member| !matches!(member.as_str(), "socket" | "roles")) {
            problems.add("", "has a member that is none of socket, roles");
        }
        if !members.contains_key("socket") {
            problems.add("socket", "is missing");
        }
        let absolute = |text: &str| text.starts_with('/').then(|| PathBuf::from(text));
        let socket = problems.text(&members, "socket", "must be the path of a Unix socket", absolute);
        let roles = members.get("roles").map_or_else(Vec::new, |given| roles(given, &mut problems));
        let mut found = problems.found;
        self.problems.append(&mut found);
        Some(Mesh { socket: socket?, roles })
    }
}

/// Items between commas; empty ones are a mistake.
fn list<T>(text: &str, parse: impl Fn(&str) -> Option<T>) -> Option<Vec<T>> {
    if text.is_empty() {
        return Some(Vec::new());
    }
    let items: Option<Vec<T>> = text.split(',').map(|item| parse(item.trim())).collect();
    items.filter(|items| items.len() <= LIST_MAX)
}

fn header_name(text: &str) -> Option<String> {
    let fits = !text.is_empty()
        && text.len() <= 64
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'));
    let name = text.to_ascii_lowercase();
    // What every request has, or a client sends for itself, names nobody.
    let taken = [
        "authorization",
        "host",
        "origin",
        "connection",
        "upgrade",
        "cookie",
        "user-agent",
        "referer",
        "forwarded",
        "via",
        "x-real-ip",
        "x-request-id",
        "traceparent",
    ];
    let is_of_a_kind =
        ["accept", "sec-", "content-", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-host"];
    let is_taken = taken.contains(&name.as_str()) || is_of_a_kind.iter().any(|kind| name.starts_with(kind));
    (fits && !is_taken).then_some(name)
}

fn origin(text: &str) -> Option<String> {
    let (scheme, authority) = text.split_once("://")?;
    let authority = authority.trim_end_matches('/');
    let fits = matches!(scheme, "http" | "https")
        && !authority.is_empty()
        && authority
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !matches!(byte, b'/' | b'?' | b'#' | b'@' | b'*'));
    fits.then(|| format!("{scheme}://{}", authority.to_ascii_lowercase()))
}

#[cfg(test)]
mod tests {
    use std::{io, path::Path};

    use super::*;
    use crate::{ConfigError, Settings};

    fn load(file: Option<&str>, variables: &[(&str, &str)]) -> Result<Doors, ConfigError> {
        let none = |_: &Path| Err(io::ErrorKind::NotFound.into());
        let variables = variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Settings::load(file, variables, none).map(|settings| settings.doors)
    }

    #[test]
    fn nobody_is_trusted_unless_it_is_said() {
        let doors = load(None, &[]).unwrap();
        assert!(doors.trusted_proxies.is_empty() && doors.mesh.is_none() && doors.cors_origins.is_empty());
        assert!(doors.password_file.is_none() && !doors.require_device && !doors.local_without_nonce);
        assert_eq!((doors.failed_attempts, doors.handshake_timeout.as_secs()), (10, 10));
        assert_eq!(doors.sessions_per_principal, 2_000);
    }

    #[test]
    fn file_and_environment_say_the_same() {
        let file = "[auth]\ntrusted_proxies = \"10.0.0.0/8, ::1\"\nproxy_user_header = \"X-Forwarded-User\"\n\
            [auth.mesh]\nsocket = \"/run/mesh.sock\"\n[auth.mesh.roles]\n\"a@x.example\" = [\"signer\"]\n\
            [http]\ncors_origins = \"https://Console.example\"\n[ws]\nrequire_device = true\nhandshake_timeout = \"3s\"\n";
        let variables = [
            ("CLAVIGER_AUTH__TRUSTED_PROXIES", "10.0.0.0/8,::1"),
            ("CLAVIGER_AUTH__PROXY_USER_HEADER", "x-forwarded-user"),
            ("CLAVIGER_AUTH__MESH", r#"{"socket":"/run/mesh.sock","roles":{"a@x.example":["signer"]}}"#),
            ("CLAVIGER_HTTP__CORS_ORIGINS", "https://console.example/"),
            ("CLAVIGER_WS__REQUIRE_DEVICE", "true"),
            ("CLAVIGER_WS__HANDSHAKE_TIMEOUT", "3s"),
        ];
        for doors in [load(Some(file), &[]).unwrap(), load(None, &variables).unwrap()] {
            assert_eq!(doors.trusted_proxies.len(), 2);
            assert_eq!(doors.proxy_user_header.as_deref(), Some("x-forwarded-user"));
            assert_eq!(doors.cors_origins, ["https://console.example"]);
            assert!(doors.require_device);
            let mesh = doors.mesh.unwrap();
            assert_eq!(mesh.roles_of("a@x.example").first().map(RoleName::as_str), Some("signer"));
            assert!(mesh.roles_of("b@x.example").is_empty());
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (name, value) in [
            ("CLAVIGER_WS__SESSIONS_PER_PRINCIPAL", "0"),
            ("CLAVIGER_WS__SESSIONS_PER_PRINCIPAL", "20001"),
            ("CLAVIGER_AUTH__TRUSTED_PROXIES", "10.0.0.1/8"),
            ("CLAVIGER_AUTH__TRUSTED_PROXIES", "10.0.0.0/8,"),
            ("CLAVIGER_AUTH__PROXY_USER_HEADER", "a b"),
            ("CLAVIGER_AUTH__PROXY_USER_HEADER", "Authorization"),
            ("CLAVIGER_AUTH__FAILED_ATTEMPTS", "11"),
            ("CLAVIGER_AUTH__MESH", "[]"),
            ("CLAVIGER_AUTH__MESH", "{}"),
            ("CLAVIGER_AUTH__MESH", r#"{"socket":"mesh.sock"}"#),
            ("CLAVIGER_AUTH__MESH", r#"{"socket":"/m","roles":{"*":["admin"]}}"#),
            ("CLAVIGER_AUTH__MESH", r#"{"socket":"/m","other":1}"#),
            ("CLAVIGER_HTTP__CORS_ORIGINS", "console.example"),
            ("CLAVIGER_HTTP__CORS_ORIGINS", "*"),
            ("CLAVIGER_HTTP__CORS_ORIGINS", "https://a/path"),
            ("CLAVIGER_WS__REQUIRE_DEVICE", "yes"),
            ("CLAVIGER_WS__HANDSHAKE_TIMEOUT", "0s"),
        ] {
            let error = load(None, &[(name, value)]).expect_err(value);
            assert_eq!(error.setting, name, "{value}");
        }
        let alone = [("CLAVIGER_AUTH__PROXY_USER_HEADER", "x-user")];
        assert_eq!(load(None, &alone).expect_err("no proxies").setting, "auth.proxy_user_header");
    }
}
