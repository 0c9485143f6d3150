//! Callers whom their certificate names.

use std::time::Duration;

use claviger_tests::{Answer, Authority, Client, Node, node, process};
use serde_json::json;

pub(super) const APP: &str = "spiffe://example.org/shop/api";
pub(super) const ROLES: &str = r#"{"uri:spiffe://example.org/shop/*": ["encrypter"], "dns:worker.example": ["verifier"], "email:ops@example.org": ["auditor"]}"#;
/// Files are looked at every ten seconds.
pub(super) const RELOADED: Duration = Duration::from_secs(60);

struct Deployment {
    authority: Authority,
    node: Node,
}

impl Deployment {
    fn start(more: &[(&str, &str)]) -> Self {
        let authority = Authority::local();
        let tls = authority.tls().clone();
        let (certificate, key) = (tls.certificate.display().to_string(), tls.key.display().to_string());
        let mut environment = vec![
            ("CLAVIGER_TLS__CERT", certificate.as_str()),
            ("CLAVIGER_TLS__KEY", key.as_str()),
            ("CLAVIGER_TLS__CLIENT_CA", authority.file()),
            ("CLAVIGER_TLS__CLIENT_ROLES", ROLES),
        ];
        environment.extend(more);
        let node = Node::with(&environment);
        let this = Self { node, authority };
        let admin = this.client(&this.authority.client(&[], 1, LONG), Some(node::TOKEN));
        admin.post("/v1/keys", &json!({"name": "k", "type": "aes256-gcm"})).expect(201);
        this
    }

    fn client(&self, certificate: &str, token: Option<&str>) -> Client {
        let trusted = std::fs::read_to_string(self.authority.file()).unwrap();
        Client::over_tls(format!("https://{}", self.node.address()), &trusted, certificate, token)
    }
}

pub(super) const LONG: Duration = Duration::from_secs(86_400);

fn encrypt(client: &Client) -> Answer {
    client.post("/v1/keys/k/encrypt", &json!({"plaintext": "aGVsbG8="}))
}

#[test]
fn a_certificate_names_its_holder_and_a_credential_beside_it_counts_alone() {
    let all = Deployment::start(&[]);
    let certificate = all.authority.client(&[&format!("uri:{APP}"), "dns:worker.example"], 2, LONG);
    let client = all.client(&certificate, None);
    encrypt(&client).expect(200);
    // By the roles of its name, and no others.
    client.post("/v1/keys", &json!({"name": "x", "type": "es256"})).refused(403, "forbidden");
    let policy = format!(
        "permit (principal == Claviger::Subject::\"certificate#uri:{APP}\", action == Claviger::Action::\"key.create\", resource);"
    );
    let admin = client.with_token(Some(node::TOKEN));
    admin.send("PUT", "/v1/policies/shop", Some(policy.into_bytes()), &[]).expect(201);
    client.post("/v1/keys", &json!({"name": "x", "type": "es256"})).expect(201);
    // The log says who it was.
    let name = format!("certificate:uri:{APP}");
    let records = all.node.records();
    assert!(records.iter().any(|record| record["actor"] == name && record["operation"] == "key.encrypt"));

    // A credential counts alone: a better one gives more, a wrong one nothing.
    admin.get("/v1/api-keys").expect(200);
    encrypt(&client.with_token(Some("clv_wrong"))).refused(401, "unauthorized");
    client.send("GET", "/v1/keys", None, &[("Authorization", "Basic YTpi")]).refused(401, "unauthorized");

    // Names of other kinds, and those that nobody knows.
    let worker = all.client(&all.authority.client(&["dns:Worker.example"], 3, LONG), None);
    encrypt(&worker).refused(403, "forbidden");
    worker.get("/v1/keys/k").expect(200);
    let ops = all.client(&all.authority.client(&["email:ops@example.org"], 4, LONG), None);
    ops.get("/v1/audit").expect(200);
    for unknown in [
        vec![],
        vec!["uri:spiffe://example.org/shop/"],
        vec!["dns:spiffe://example.org/shop/api"],
        vec!["dns:other.example"],
    ] {
        let unknown = all.client(&all.authority.client(&unknown, 5, LONG), None);
        unknown.get("/v1/keys").refused(401, "unauthorized");
        unknown.with_token(Some(node::TOKEN)).get("/v1/keys").expect(200);
    }

    // Browsers show certificates with whatever a page of somebody else asks for.
    for header in [("Origin", "https://evil.example"), ("Sec-Fetch-Site", "cross-site"), ("Origin", "null")] {
        client.send("GET", "/v1/keys", None, &[header]).refused(401, "unauthorized");
    }
    client.send("GET", "/v1/keys", None, &[("Sec-Fetch-Site", "none")]).expect(200);
}

#[test]
fn the_certificate_of_a_proxy_names_nobody_who_comes_through_it() {
    let all = Deployment::start(&[("CLAVIGER_AUTH__TRUSTED_PROXIES", "127.0.0.1")]);
    let proxy = all.client(&all.authority.client(&[&format!("uri:{APP}")], 2, LONG), None);
    encrypt(&proxy).refused(401, "unauthorized");
    encrypt(&proxy.with_token(Some(node::TOKEN))).expect(200);
}

#[test]
fn a_connection_ends_with_its_certificate() {
    let all = Deployment::start(&[]);
    let brief = all.authority.client(&[&format!("uri:{APP}")], 2, Duration::from_secs(8));
    let client = all.client(&brief, None);
    encrypt(&client).expect(200);
    let ended = process::until(RELOADED, || {
        let answer = client.try_send("GET", "/v1/keys", None, &[]).expect("the connection is kept");
        (answer.status != 200).then_some(answer)
    });
    let problem = ended.expect("it ends").refused(401, "unauthorized");
    assert!(problem["detail"].as_str().unwrap().contains("certificate of this connection"), "{problem}");
    // Nor does a credential help there.
    let token = client.with_token(Some(node::TOKEN));
    let answer = token.try_send("GET", "/v1/keys", None, &[]);
    assert!(answer.is_none_or(|answer| answer.status == 401));
    // A new connection is not even made.
    let is_refused =
        || all.client(&brief, None).try_send("GET", "/healthz", None, &[]).is_none().then_some(());
    process::until(process::PATIENCE, is_refused).expect("the second in which it ends is over");
}

#[test]
fn revoked_certificates_and_their_connections_are_turned_away() {
    let folder = tempfile::tempdir().unwrap();
    let list = folder.path().join("clients.crl");
    let authority = Authority::local();
    std::fs::write(&list, authority.revoking(&[])).unwrap();
    let tls = authority.tls().clone();
    let (certificate, key) = (tls.certificate.display().to_string(), tls.key.display().to_string());
    let node = Node::with(&[
        ("CLAVIGER_TLS__CERT", certificate.as_str()),
        ("CLAVIGER_TLS__KEY", key.as_str()),
        ("CLAVIGER_TLS__CLIENT_CA", authority.file()),
        ("CLAVIGER_TLS__CLIENT_CRL", list.to_str().unwrap()),
        ("CLAVIGER_TLS__CLIENT_ROLES", ROLES),
    ]);
    let all = Deployment { authority, node };
    let [bad, good] = [7, 8].map(|serial| all.authority.client(&[&format!("uri:{APP}")], serial, LONG));
    let (connected, other) = (all.client(&bad, None), all.client(&good, None));
    connected.get("/v1/keys").expect(200);
    // What can't be read is not used.
    std::fs::write(&list, "nonsense").unwrap();
    process::until(RELOADED, || all.node.log().contains("are not used").then_some(())).expect("it is said");
    connected.get("/v1/keys").expect(200);
    std::fs::write(&list, all.authority.revoking(&[7])).unwrap();
    let turned_away = process::until(RELOADED, || {
        let answer = connected.try_send("GET", "/v1/keys", None, &[]);
        // Had the connection been lost, a new one would not be made.
        answer.is_none_or(|answer| answer.status == 401).then_some(())
    });
    turned_away.expect("its connection is of no use any more");
    assert!(all.client(&bad, None).try_send("GET", "/healthz", None, &[]).is_none());
    other.get("/v1/keys").expect(200);
    all.client(&good, None).get("/v1/keys").expect(200);
}
