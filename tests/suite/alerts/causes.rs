//! Each default rule, caused really on three nodes: told once on each of them, and cleared.

use std::{
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use chrono::{Datelike as _, TimeDelta};
use claviger_tests::{
    Client, Node, Postgres, Proxy, Redis,
    cluster::{self, at_once},
    process,
};
use serde_json::json;

use super::{Ears, LONG, alerts, in_state, quick, receivers::Receivers};
use crate::{audit::disks::Disk, cluster::redis::status};

struct Three {
    postgres: Postgres,
    redis: Redis,
    /// The way of the third node to the database.
    way: Proxy,
    /// Where the second node's audit log lies.
    disk: Disk,
    /// Where the certificate of the fourth is.
    folder: tempfile::TempDir,
    /// Who is told.
    receivers: Receivers,
    /// Three that are asked, …
    nodes: Vec<Node>,
    /// … and one behind TLS.
    _guarded: Node,
}

/// A pair that ends in so many days.
fn certificate(folder: &Path, days: i64) {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut parameters = rcgen::CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let end = (super::now() + TimeDelta::days(days)).date_naive();
    let (month, day) = (u8::try_from(end.month()).unwrap(), u8::try_from(end.day()).unwrap());
    parameters.not_after = rcgen::date_time_ymd(end.year(), month, day);
    let made = parameters.self_signed(&key).unwrap();
    std::fs::write(folder.join("key.pem"), key.serialize_pem()).unwrap();
    std::fs::write(folder.join("cert.pem"), made.pem()).unwrap();
}

impl Three {
    fn start() -> Self {
        let (postgres, redis) = (Postgres::start(), Redis::start());
        let way = Proxy::to(postgres.address());
        let (disk, folder) = (Disk::freezable(), tempfile::tempdir().unwrap());
        certificate(folder.path(), 5);
        let receivers = Receivers::start();
        let channels = receivers.channels();
        let (hints, audit, quick) = (redis.url(), disk.audit(), quick());
        let (cert, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        let start = |index: usize| {
            let url = if index == 2 { postgres.url_via(way.port()) } else { postgres.url() };
            let mut environment = vec![
                ("CLAVIGER_REDIS__URL", hints.as_str()),
                ("CLAVIGER_CLUSTER__MAX_STALENESS", "16s"),
                ("CLAVIGER_TOKENS__ISSUER", "http://127.0.0.1:1"),
                ("CLAVIGER_CHANNELS", &channels),
            ];
            environment.extend(quick.iter().map(|(name, value)| (*name, value.as_str())));
            if index == 1 {
                environment.push(("CLAVIGER_AUDIT__DIR", &audit));
            }
            if index == 3 {
                environment.push(("CLAVIGER_TLS__CERT", cert.to_str().unwrap()));
                environment.push(("CLAVIGER_TLS__KEY", key.to_str().unwrap()));
            }
            cluster::node(&url, index, &environment)
        };
        let mut nodes = at_once(4, start);
        let guarded = nodes.pop().unwrap();
        for node in &nodes {
            status(node, "connected");
        }
        Self { nodes, redis, way, disk, folder, postgres, receivers, _guarded: guarded }
    }

    fn client(&self, node: usize) -> Client {
        self.nodes[node].client()
    }
}

/// A failing verifier, a slowed and a stopped disk, a stopped Redis, blocked rotations, a node without the database, certificates and keys that
/// end, and somebody who tries.
#[test]
fn each_default_alert_is_told_once_and_cleared() {
    let mut three = Three::start();
    let mut ears = Ears::of(&three.nodes);
    certificates(&three, &mut ears);
    redis(&mut three, &mut ears);
    verifier(&three, &mut ears);
    denied(&three, &mut ears);
    keys_that_end(&three, &mut ears);
    slow_disk(&three, &mut ears);
    stopped_disk(&three, &mut ears);
    cut_off(&three, &mut ears);
    rotations(&three, &mut ears);
    // Nobody has told of anything else.
    let client = three.client(0);
    let open = client.get("/v1/alerts?state=open").expect(200);
    assert_eq!(open["items"], json!([]));
    let recorded = |event: &str| {
        let found = client.get(&format!("/v1/audit?event={event}&limit=1000")).expect(200);
        found["items"].as_array().unwrap().len()
    };
    let all = client.get("/v1/alerts?limit=1000").expect(200)["items"].as_array().unwrap().clone();
    assert_eq!((recorded("alert_raised"), recorded("alert_cleared")), (all.len(), all.len()));
    for alert in &all {
        three.receivers.got(alert);
    }
}

/// It is raised and told on each node once; then the cause goes, and it is cleared and told likewise.
#[track_caller]
fn told(three: &Three, ears: &mut Ears, about: (&str, &str), cease: impl FnOnce()) {
    let raised = in_state(&three.client(0), about, "open");
    ears.heard("alert.raised", about, 1);
    cease();
    let cleared = in_state(&three.client(1), about, "cleared");
    assert_eq!(raised["id"], cleared["id"]);
    ears.heard("alert.cleared", about, 1);
    ears.heard("alert.raised", about, 1);
}

fn certificates(three: &Three, ears: &mut Ears) {
    let client = three.client(0);
    let found = || alerts(&client, "certificate_expiry").into_iter().next();
    let alert = process::until(LONG, found).expect("the certificate ends in five days");
    let subject = alert["subject"].as_str().unwrap().to_owned();
    // It may have been raised before anybody listened.
    certificate(three.folder.path(), 300);
    in_state(&client, ("certificate_expiry", &subject), "cleared");
    ears.heard("alert.cleared", ("certificate_expiry", &subject), 1);
}

fn redis(three: &mut Three, ears: &mut Ears) {
    three.redis.kill();
    let about = ("publication_lag", "");
    in_state(&three.client(0), about, "open");
    three.redis.restart();
    told_after(three, ears, about);
}

#[track_caller]
fn told_after(three: &Three, ears: &mut Ears, about: (&str, &str)) {
    ears.heard("alert.raised", about, 1);
    in_state(&three.client(1), about, "cleared");
    ears.heard("alert.cleared", about, 1);
}

fn verifier(three: &Three, ears: &mut Ears) {
    let client = three.client(1);
    let token = client.post("/v1/tokens", &json!({})).expect(201)["token"].as_str().unwrap().to_owned();
    let (rest, _) = token.rsplit_once('.').unwrap();
    let forged = format!("{rest}.{}", "A".repeat(86));
    let verify = |token: &str| client.post("/v1/tokens/verify", &json!({"token": token})).expect(200);
    for round in 0..120 {
        let verdict = verify(if round % 10 == 0 { &forged } else { &token });
        assert_eq!(verdict["valid"], round % 10 != 0, "{verdict}");
    }
    told(three, ears, ("verification_failures", ""), || {});
}

fn denied(three: &Three, ears: &mut Ears) {
    let key = json!({"name": "curious", "roles": ["verifier"]});
    let secret = three.client(0).post("/v1/api-keys", &key).expect(201)["secret"].clone();
    let curious = three.client(2).with_token(secret.as_str());
    for _ in 0..120 {
        curious.get("/v1/cluster").refused(403, "forbidden");
    }
    told(three, ears, ("denied_attempts", ""), || {});
}

fn keys_that_end(three: &Three, ears: &mut Ears) {
    let client = three.client(0);
    let end = (super::now() + TimeDelta::days(20)).to_rfc3339();
    let key = json!({"name": "ending", "roles": ["verifier"], "expires_at": end});
    let made = client.post("/v1/api-keys", &key).expect(201);
    let id = made["id"].as_str().unwrap().to_owned();
    let subject = format!("api_key {}", id.replace('-', ""));
    told(three, ears, ("key_expiry", &subject), || {
        client.send("DELETE", &format!("/v1/api-keys/{id}"), None, &[]).expect(204);
    });
}

/// The disk stands still for a fifth of a second again and again: less than a write may take, and more than a signature should.
fn slow_disk(three: &Three, ears: &mut Ears) {
    let stop = AtomicBool::new(false);
    let client = three.client(1);
    let is_raised = || alerts(&three.client(0), "slow_operations").first().cloned();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                three.disk.freeze();
                process::pause(Duration::from_millis(250));
                three.disk.thaw();
                process::pause(Duration::from_millis(50));
            }
        });
        for _ in 0..8 {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let _late = client.try_post("/v1/tokens", &json!({}));
                }
            });
        }
        let raised = process::until(LONG, is_raised);
        stop.store(true, Ordering::Relaxed);
        assert!(raised.is_some(), "a slow disk is an alert");
    });
    told_after(three, ears, ("slow_operations", ""));
}

fn stopped_disk(three: &Three, ears: &mut Ears) {
    three.disk.freeze();
    let client = three.client(1);
    let waiting = thread::spawn(move || client.try_post("/v1/tokens", &json!({})));
    told(three, ears, ("audit_unavailable", "node-1"), || three.disk.thaw());
    drop(waiting.join().unwrap());
}

fn cut_off(three: &Three, ears: &mut Ears) {
    three.way.cut();
    let about = ("staleness", "node-2");
    in_state(&three.client(0), about, "open");
    three.way.heal();
    in_state(&three.client(1), about, "cleared");
    ears.heard("alert.cleared", about, 1);
}

/// The database refuses to change versions.
fn rotations(three: &Three, ears: &mut Ears) {
    let client = three.client(0);
    let names: Vec<String> = (0..22).map(|number| format!("quick-{number:02}")).collect();
    for name in &names {
        let rotation = json!({"every": "10s", "lead": "5s"});
        let key = json!({"name": name, "type": "aes256-gcm", "rotation": rotation});
        client.post("/v1/keys", &key).expect(201);
    }
    let _done = three.postgres.psql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$; \
         CREATE TRIGGER refused BEFORE UPDATE ON key_versions FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    in_state(&client, ("rotation_failures", ""), "open");
    in_state(&client, ("rotation_overdue", "quick-00"), "open");
    // So many are alerts of their own, the others one together.
    in_state(&client, ("rotation_overdue", "*"), "open");
    let all = || (alerts(&client, "rotation_overdue").len() == 21).then_some(());
    process::until(LONG, all).expect("so many, and one for the rest");
    ears.heard("alert.raised", ("rotation_overdue", "quick-00"), 1);
    let _done = three.postgres.psql("DROP TRIGGER refused ON key_versions");
    in_state(&client, ("rotation_overdue", "quick-00"), "cleared");
    let over =
        || alerts(&client, "rotation_overdue").iter().all(|alert| alert["state"] == "cleared").then_some(());
    process::until(LONG, over).expect("all of them are rotated");
    in_state(&client, ("rotation_overdue", "*"), "cleared");
    in_state(&client, ("rotation_failures", ""), "cleared");
    ears.heard("alert.cleared", ("rotation_overdue", "quick-00"), 1);
    ears.heard("alert.cleared", ("rotation_failures", ""), 1);
    ears.heard("alert.raised", ("rotation_failures", ""), 1);
}
