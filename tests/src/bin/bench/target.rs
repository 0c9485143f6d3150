//! The servers that are compared, each ready to be asked for the same.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use claviger_tests::{Client, OpenBao, node};
use serde_json::json;
use tempfile::TempDir;

use crate::{
    launch::{self, Launched},
    operation::Operation,
    peer, rest,
    settings::Settings,
};

/// The application whose API key is used may use the measured keys, and do nothing else.
const POLICY: &str = r#"permit (
  principal in Claviger::Role::"bench",
  action in [Claviger::Action::"encrypting", Claviger::Action::"signing"],
  resource
) when { resource.name like "bench-*" };"#;
/// Keys beside those that are measured, so that there are about a hundred.
const FURTHER_KEYS: usize = 90;

/// Who answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// Bare handlers.
    Ceiling,
    /// Claviger as it is.
    Claviger,
    /// Claviger built without its audit log.
    Unaudited,
    /// The peer.
    OpenBao,
}

/// A request that is sent over and over.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) body: Option<String>,
}

impl Request {
    pub(crate) fn post(path: &str, body: &serde_json::Value) -> Self {
        Self { method: "POST", path: path.to_owned(), body: Some(body.to_string()) }
    }

    pub(crate) fn get(path: &str) -> Self {
        Self { method: "GET", path: path.to_owned(), body: None }
    }
}

enum Server {
    Ours(Launched, TempDir),
    Theirs(OpenBao),
}

/// A running server.
pub(crate) struct Target {
    pub(crate) kind: Kind,
    server: Server,
    token: Option<String>,
    requests: BTreeMap<Operation, Request>,
}

impl Target {
    /// Claviger on SQLite, with an API key of an application and about a hundred keys.
    pub(crate) fn claviger(kind: Kind, binary: &Path, settings: &Settings) -> Self {
        Self::claviger_in(tempfile::tempdir().unwrap(), kind, binary, settings)
    }

    /// The same, in a folder that may hold a database already.
    pub(crate) fn claviger_in(folder: TempDir, kind: Kind, binary: &Path, settings: &Settings) -> Self {
        Self::claviger_by(&mut launch::command(binary), folder, kind, settings)
    }

    /// The same, by a command that is to serve.
    pub(crate) fn claviger_by(
        command: &mut Command,
        folder: TempDir,
        kind: Kind,
        settings: &Settings,
    ) -> Self {
        command.arg("serve").env("CLAVIGER_SERVER__WORKERS", settings.workers.to_string());
        let launched = Launched::start(command, folder.path());
        let admin = Client::new(format!("http://{}", launched.address), Some(node::TOKEN.to_owned()));
        make_keys(&admin);
        let policy = admin.send("PUT", "/v1/policies/bench", Some(POLICY.into()), &[]);
        assert!(policy.status < 300, "{}", policy.text);
        let made = admin.post("/v1/api-keys", &json!({"name": "bench", "roles": ["bench"]})).expect(201);
        let token = made["secret"].as_str().unwrap().to_owned();
        Self::ready(kind, Server::Ours(launched, folder), Some(token), settings)
    }

    /// The bare handlers, which publish the same key set.
    pub(crate) fn ceiling(jwks: &str, settings: &Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("jwks.json");
        fs::write(&file, jwks).unwrap();
        let mut command = launch::command(&launch::ceiling());
        command.arg(settings.workers.to_string()).arg(&file);
        let launched = Launched::start(&mut command, folder.path());
        Self::ready(Kind::Ceiling, Server::Ours(launched, folder), None, settings)
    }

    /// OpenBao, asked in the way in which it answers fastest.
    pub(crate) fn peer(program: &Path, settings: &Settings) -> Self {
        let server = OpenBao::start(program, &peer::KEYS);
        let token = server.token.clone();
        Self::ready(Kind::OpenBao, Server::Theirs(server), Some(token), settings)
    }

    /// A server that is asked for something of its own.
    pub(crate) fn launched(kind: Kind, launched: Launched, folder: TempDir, token: Option<String>) -> Self {
        Self { kind, server: Server::Ours(launched, folder), token, requests: BTreeMap::new() }
    }

    /// One answer of each operation is right before any is measured.
    fn ready(kind: Kind, server: Server, token: Option<String>, settings: &Settings) -> Self {
        let mut target = Self { kind, server, token, requests: BTreeMap::new() };
        let client = target.client();
        for operation in Operation::ALL.into_iter().filter(|operation| settings.wants(operation.name())) {
            let request = match kind {
                Kind::Ceiling | Kind::Claviger | Kind::Unaudited => Some(rest::request(&client, operation)),
                Kind::OpenBao => peer::request(&client, operation),
            };
            target.requests.extend(request.map(|request| (operation, request)));
        }
        target
    }

    /// A client with the credential of the measurement.
    pub(crate) fn client(&self) -> Client {
        Client::new(format!("http://{}", self.address()), self.token.clone())
    }

    /// A client with all rights.
    pub(crate) fn admin(&self) -> Client {
        Client::new(format!("http://{}", self.address()), Some(node::TOKEN.to_owned()))
    }

    /// How it is asked for an operation, if it knows it.
    pub(crate) fn request(&self, operation: Operation) -> Option<&Request> {
        self.requests.get(&operation)
    }

    pub(crate) fn address(&self) -> &str {
        match &self.server {
            Server::Ours(launched, _) => &launched.address,
            Server::Theirs(server) => server.address(),
        }
    }

    pub(crate) fn token(&self) -> Option<&str> {
        self.token.as_deref()
    }

    /// Ends one of ours in order.
    pub(crate) fn end(self) {
        match self.server {
            Server::Ours(launched, _folder) => launched.end(),
            Server::Theirs(_) => {}
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        match &self.server {
            Server::Ours(launched, _) => launched.pid(),
            Server::Theirs(server) => server.pid(),
        }
    }
}

fn make_keys(admin: &Client) {
    for (name, kind, usage) in rest::KEYS {
        admin.post("/v1/keys", &json!({"name": name, "type": kind, "usage": usage})).expect(201);
    }
    for index in 0..FURTHER_KEYS {
        // As the ring of ten thousand keys is mixed; a few of them publish their public halves.
        let (kind, usage) = match index % 20 {
            0..7 => ("aes256-gcm", "encrypt"),
            7..14 => ("hs256", "token"),
            14..18 => ("es256", "sign"),
            18 => ("es256", "token"),
            _ => ("rs256", "sign"),
        };
        let body = json!({"name": format!("further-{index}"), "type": kind, "usage": usage});
        admin.post("/v1/keys", &body).expect(201);
    }
}
