//! Redis and PostgreSQL over TLS, with an authority that only `tls.ca_file` names.

use claviger_tests::{
    Node, Postgres, Redis, Sentinels, authority::Authority, cluster, cluster::at_once, node, postgres,
    process, sentinel,
};
use serde_json::{Value, json};

use super::redis::{LONG, status};

const CA: &str = "CLAVIGER_TLS__CA_FILE";
const REDIS: &str = "CLAVIGER_REDIS__URL";

/// A strong change is acknowledged over Redis.
fn works_over_redis(nodes: &[Node], key: &str) {
    nodes.iter().for_each(|node| status(node, "connected"));
    let client = nodes[0].client();
    client.post("/v1/keys", &json!({"name": key, "type": "aes256-gcm"})).expect(201);
    let fast = || {
        let body = json!({"force": true, "reason": "drill"});
        let rotated = client.post(&format!("/v1/keys/{key}/rotate"), &body).expect(200);
        (rotated["lagging"] == json!([]) && rotated["took_ms"].as_u64().unwrap() < 500).then_some(())
    };
    process::until(LONG, fast).expect("a change is acknowledged");
}

fn says(node: &Node, what: &str) {
    let said = || node.log().contains(what).then_some(());
    process::until(LONG, said).unwrap_or_else(|| panic!("{what}: {}", node.log()));
}

/// The commands that a server has seen.
fn commands(redis: &Redis) -> String {
    redis.cli(&["INFO", "commandstats"])
}

#[test]
fn redis_is_reached_over_tls() {
    let (authority, postgres) = (Authority::local(), Postgres::start());
    let redis = Redis::with_tls(authority.tls());
    let (url, hints) = (postgres.url(), redis.url());
    assert!(hints.starts_with("rediss://"), "{hints}");
    let environment = [(REDIS, hints.as_str()), (CA, authority.file())];
    let nodes = at_once(2, |index| cluster::node(&url, index, &environment));
    works_over_redis(&nodes, "k");
    assert!(commands(&redis).contains("cmdstat_xadd"), "{}", commands(&redis));
}

/// A server that shows another's certificate, or one for another name, is told nothing; the node says so and serves without.
#[test]
fn a_redis_that_is_not_believed_is_told_nothing() {
    let (authority, stranger) = (Authority::local(), Authority::local());
    let elsewhere = Authority::of(&["redis.example"]);
    for (speaks, trusts, said) in [
        (&authority, Some(&stranger), "invalid peer certificate"),
        (&authority, None, "invalid peer certificate"),
        (&elsewhere, Some(&elsewhere), "not valid for name"),
    ] {
        let redis = Redis::with_tls(speaks.tls());
        let hints = redis.url();
        let mut environment = vec![(REDIS, hints.as_str())];
        environment.extend(trusts.map(|authority| (CA, authority.file())));
        let node = Node::with(&environment);
        let client = node.client();
        let health = client.get("/health").expect(200);
        assert_eq!((&health["status"], &health["dependencies"]["redis"]["status"]), degraded(), "{health}");
        client.get("/readyz").expect(200);
        client.post("/v1/keys", &json!({"name": "k", "type": "es256"})).expect(201);
        says(&node, said);
        let commands = commands(&redis);
        assert!(!["xadd", "xread", "hello", "auth"].iter().any(|name| commands.contains(name)), "{commands}");
    }
}

fn degraded() -> (&'static Value, &'static Value) {
    static DEGRADED: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| json!("degraded"));
    (&DEGRADED, &DEGRADED)
}

#[test]
fn sentinels_and_their_servers_are_reached_over_tls() {
    let (authority, stranger, postgres) = (Authority::local(), Authority::local(), Postgres::start());
    let mut primary = Redis::with_tls(authority.tls());
    let replica = Redis::replica_of(&primary);
    let sentinels = Sentinels::start(&primary, &[&replica]);
    let hosts: Vec<String> =
        sentinels.urls().iter().map(|url| url.trim_start_matches("rediss://").to_owned()).collect();
    let hints = format!("rediss+sentinel://{}/{}/0", hosts.join(","), sentinel::NAME);
    let url = postgres.url();
    let environment = |authority: &Authority| [(REDIS, hints.clone()), (CA, authority.file().to_owned())];
    let start = |index: usize, authority: &Authority| {
        let environment = environment(authority);
        let environment: Vec<(&str, &str)> =
            environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
        cluster::node(&url, index, &environment)
    };
    let nodes = at_once(2, |index| start(index, &authority));
    works_over_redis(&nodes, "before");
    let _address = sentinels.failover(&mut primary);
    works_over_redis(&nodes, "after");
    let deceived = start(3, &stranger);
    let health = deceived.client().get("/health").expect(200);
    assert_eq!(health["dependencies"]["redis"]["status"], "degraded", "{health}");
    says(&deceived, "Redis is not used until it answers");
}

/// The certificate is looked at, name and all; `sslrootcert` in the URL comes before the setting.
#[test]
fn postgres_is_reached_over_tls() {
    let (authority, stranger) = (Authority::local(), Authority::local());
    let postgres = Postgres::with_tls(authority.tls());
    let verified = format!("{}?sslmode=verify-full", postgres.url());
    let with_root = format!("{verified}&sslrootcert={}", authority.file());
    for (url, ca) in [(&verified, Some(&authority)), (&with_root, None), (&with_root, Some(&stranger))] {
        let environment: Vec<(&str, &str)> = ca.iter().map(|ca| (CA, ca.file())).collect();
        let node = cluster::node(url, 0, &environment);
        node.client().post("/v1/random", &json!({"bytes": 1})).expect(200);
        let encrypted = "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
                         WHERE application_name = 'claviger'";
        assert_eq!(postgres.admin(encrypted).trim(), "t");
    }
}

#[test]
fn a_postgres_that_is_not_believed_stops_the_start() {
    let (authority, stranger) = (Authority::local(), Authority::local());
    let elsewhere = Authority::of(&["db.example"]);
    let plain = Postgres::start();
    let (ours, other) = (Postgres::with_tls(authority.tls()), Postgres::with_tls(elsewhere.tls()));
    for (postgres, ca, said) in [
        (&ours, Some(&stranger), "invalid peer certificate"),
        (&ours, None, "invalid peer certificate"),
        (&other, Some(&elsewhere), "not valid for name"),
        (&plain, Some(&authority), "does not support TLS"),
    ] {
        let url = format!("{}?sslmode=verify-full", postgres.url());
        let folder = tempfile::tempdir().unwrap();
        let mut environment = vec![
            ("CLAVIGER_DATABASE__URL", url.as_str()),
            ("CLAVIGER_SEAL__MASTER_KEY", node::MASTER),
            ("CLAVIGER_BOOTSTRAP_TOKEN", node::TOKEN),
        ];
        environment.extend(ca.map(|ca| (CA, ca.file())));
        let (code, log) = node::refused_start(folder.path(), &environment);
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains("database.url") && log.contains(said), "{log}");
        assert!(log.lines().count() == 1 && !log.contains(postgres::PASSWORD), "{log}");
    }
}

/// A file that is none, or holds none, stops the start with a line that names the setting, wherever it would be used.
#[test]
fn a_bad_file_of_authorities_stops_the_start() {
    let folder = tempfile::tempdir().unwrap();
    let empty = folder.path().join("empty.pem");
    std::fs::write(&empty, "hunter2").unwrap();
    let key = Authority::local().tls().key.clone();
    for (path, said) in [
        ("/nowhere/ca.pem", "can't be read"),
        (empty.to_str().unwrap(), "holds no certificate"),
        (key.to_str().unwrap(), ""),
    ] {
        let (code, log) = node::refused_start(folder.path(), &[(CA, path)]);
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains("tls.ca_file") && log.contains(said) && !log.contains("hunter2"), "{log}");
        assert_eq!(log.lines().count(), 1, "{log}");
    }
}
