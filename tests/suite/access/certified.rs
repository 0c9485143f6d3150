//! Sessions and streams over connections that show a certificate, and what ends them.

use std::{
    fs,
    io::{BufRead as _, BufReader, Lines, Write as _},
    process::{Child, ChildStdout, Stdio},
    time::{Duration, Instant},
};

use claviger_tests::{Authority, Client, Node, node, process};
use serde_json::json;
use tempfile::TempDir;

use super::certificates::{APP, LONG, RELOADED, ROLES};
use crate::ws;

/// What a session is told when its credential is gone.
const REVOKED: &str = "1008 credential revoked";

struct Deployment {
    /// Of the server, and of clients to begin with.
    authority: Authority,
    node: Node,
    folder: TempDir,
    keys: usize,
}

impl Deployment {
    /// One whose authorities of clients, and list of what they have revoked, are files that can be replaced.
    fn start() -> Self {
        let (authority, folder) = (Authority::local(), tempfile::tempdir().unwrap());
        let at = |name: &str| folder.path().join(name).display().to_string();
        fs::copy(authority.file(), at("clients.pem")).unwrap();
        fs::write(at("clients.crl"), authority.revoking(&[])).unwrap();
        let tls = authority.tls();
        let node = Node::with(&[
            ("CLAVIGER_TLS__CERT", &tls.certificate.display().to_string()),
            ("CLAVIGER_TLS__KEY", &tls.key.display().to_string()),
            ("CLAVIGER_TLS__CLIENT_CA", &at("clients.pem")),
            ("CLAVIGER_TLS__CLIENT_CRL", &at("clients.crl")),
            ("CLAVIGER_TLS__CLIENT_ROLES", ROLES),
        ]);
        let mut this = Self { authority, node, folder, keys: 0 };
        let spec = json!({"name": "k", "type": "aes256-gcm"});
        this.admin(&this.authority.client(&[], 1, LONG)).post("/v1/keys", &spec).expect(201);
        this.keys += 1;
        this
    }

    fn client(&self, certificate: &str, token: Option<&str>) -> Client {
        let trusted = fs::read_to_string(self.authority.file()).unwrap();
        Client::over_tls(format!("https://{}", self.node.address()), &trusted, certificate, token)
    }

    fn admin(&self, certificate: &str) -> Client {
        self.client(certificate, Some(node::TOKEN))
    }

    /// Something that everybody hears of.
    fn happens(&mut self, admin: &Client) {
        self.keys += 1;
        let spec = json!({"name": format!("k{}", self.keys), "type": "aes256-gcm"});
        admin.post("/v1/keys", &spec).expect(201);
    }

    /// Replaces a file at once, as whoever renews them does.
    fn replace(&self, name: &str, text: &str) {
        let new = self.folder.path().join("new");
        fs::write(&new, text).unwrap();
        fs::rename(new, self.folder.path().join(name)).unwrap();
    }

    /// A session and a stream, each over a connection of its own with this certificate.
    fn holder(&self, certificate: &str, token: &str) -> Holder {
        let file = self.folder.path().join("client.pem");
        fs::write(&file, certificate).unwrap();
        let mut command = ws::script("certificates.py", &self.node);
        command
            .env("CLAVIGER_URL", format!("https://{}", self.node.address()))
            .env("CLAVIGER_TOKEN", token)
            .env("CLAVIGER_CA", self.authority.file())
            .env("CLAVIGER_CERTIFICATE", &file);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut holder = Holder { child, lines };
        assert_eq!(holder.line(), "begun operator.write");
        holder
    }
}

struct Holder {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
}

impl Drop for Holder {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

impl Holder {
    fn line(&mut self) -> String {
        self.lines.next().expect("it fails with what stands on its standard error").unwrap()
    }

    fn told(&mut self, what: &str) {
        writeln!(self.child.stdin.as_mut().unwrap(), "{what}").unwrap();
    }

    fn does(&mut self, what: &str) -> String {
        self.told(what);
        self.line()
    }
}

#[test]
fn sessions_and_streams_by_certificate_end_when_it_is_revoked() {
    let mut all = Deployment::start();
    let admin = all.admin(&all.authority.client(&[], 1, LONG));
    let [bad, good] = [7, 8].map(|serial| all.authority.client(&[&format!("uri:{APP}")], serial, LONG));
    let mut others = all.holder(&good, "");
    // A credential is no better than the connection that it came over.
    let mut ended = [all.holder(&bad, ""), all.holder(&bad, node::TOKEN)];
    all.happens(&admin);
    for holder in ended.iter_mut().chain([&mut others]) {
        assert_eq!(holder.does("hear"), "heard");
        assert_eq!(holder.does("encrypt"), "encrypted");
    }
    // By the roles of its name, and no others.
    assert_eq!(others.does("sign"), "forbidden");
    let actor = format!("certificate:uri:{APP}");
    let opened =
        |record: &serde_json::Value| record["operation"] == "session.open" && record["actor"] == actor;
    assert!(all.node.records().iter().any(opened));

    all.replace("clients.crl", &all.authority.revoking(&[7]));
    for holder in &mut ended {
        holder.told("end");
        assert_eq!(holder.line(), REVOKED);
    }
    // Neither of them has asked for anything, and nothing has happened meanwhile.
    assert!(all.client(&bad, None).try_send("GET", "/healthz", None, &[]).is_none());
    all.happens(&admin);
    assert_eq!(others.does("hear"), "heard");
    assert_eq!(others.does("encrypt"), "encrypted");
}

#[test]
fn other_authorities_let_in_others_without_a_restart() {
    let mut all = Deployment::start();
    let (theirs, name) = (Authority::local(), format!("uri:{APP}"));
    let (before, after) = (all.authority.client(&[&name], 2, LONG), theirs.client(&[&name], 2, LONG));
    let is_let_in = |all: &Deployment, certificate: &str| {
        let answer = all.client(certificate, None).try_send("GET", "/v1/keys/k", None, &[]);
        answer.is_some_and(|answer| answer.status == 200)
    };
    assert!(is_let_in(&all, &before) && !is_let_in(&all, &after));
    let (mut holder, kept) = (all.holder(&before, ""), all.client(&before, None));
    kept.get("/v1/keys/k").expect(200);

    // Both, while certificates are renewed.
    let both = [all.authority.file(), theirs.file()].map(|file| fs::read_to_string(file).unwrap()).concat();
    all.replace("clients.pem", &both);
    process::until(RELOADED, || is_let_in(&all, &after).then_some(())).expect("the new one is let in");
    let admin = all.admin(&after);
    all.happens(&admin);
    assert_eq!(holder.does("hear"), "heard");

    all.replace("clients.pem", &fs::read_to_string(theirs.file()).unwrap());
    assert_eq!(holder.does("end"), REVOKED);
    assert!(!is_let_in(&all, &before) && is_let_in(&all, &after));
    assert!(kept.try_send("GET", "/v1/keys/k", None, &[]).is_none_or(|answer| answer.status == 401));
    let mut holder = all.holder(&after, "");
    all.happens(&admin);
    assert_eq!(holder.does("hear"), "heard");

    // What can't be read changes nothing.
    all.replace("clients.pem", "nonsense");
    process::until(RELOADED, || all.node.log().contains("are not used").then_some(())).expect("it is said");
    assert!(is_let_in(&all, &after));
    assert_eq!(holder.does("encrypt"), "encrypted");
}

#[test]
fn sessions_and_streams_end_with_their_certificate() {
    let all = Deployment::start();
    let began = Instant::now();
    let lifetime = Duration::from_secs(20);
    let brief = all.authority.client(&[&format!("uri:{APP}")], 2, lifetime);
    let mut holder = all.holder(&brief, "");
    assert_eq!(holder.does("encrypt"), "encrypted");
    assert_eq!(holder.does("end"), REVOKED);
    let lasted = began.elapsed();
    assert!(lasted > lifetime - Duration::from_secs(2) && lasted < lifetime * 2, "{lasted:?}");
}
