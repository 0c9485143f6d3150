//! The recovery table: what is lost, and how long it may take until the service is as it was, by the steps of docs/recovery.md.

#![expect(clippy::print_stderr, reason = "whoever reads a failure needs the figures")]

use std::{
    fs,
    time::{Duration, Instant},
};

use claviger_tests::{
    Client, Cluster, Node, Postgres, Redis, Sentinels, cluster, cluster::at_once, node, process,
};
use serde_json::json;

use super::{Safe, check, populate, release};
use crate::{cli::run, cluster::redis::status};

const MINUTE: Duration = Duration::from_secs(60);

/// How long it took, against the time that there is.
fn within(what: &str, limit: Duration, work: impl FnOnce()) {
    let began = Instant::now();
    work();
    let took = began.elapsed();
    eprintln!("{what}: {took:?} of {limit:?}");
    assert!(took < limit, "{what}: {took:?}");
}

fn works(client: &Client) {
    let token = client.post("/v1/tokens", &json!({"key": "es"})).expect(201);
    let verified = client.post("/v1/tokens/verify", &json!({"token": token["token"]})).expect(200);
    assert_eq!(verified["valid"], true);
}

/// One instance is killed: the others go on, and it is back within five minutes.
#[test]
fn one_instance_is_lost() {
    let mut cluster = Cluster::start(3, &[]);
    let before = populate(&cluster.client(0));
    within("one instance", 5 * MINUTE, || {
        cluster.nodes[0].kill9();
        works(&cluster.client(1));
        works(&cluster.client(2));
        cluster.nodes[0].restart();
        process::until(MINUTE, || (cluster.client(0).get("/readyz").status == 200).then_some(())).unwrap();
        check(&cluster.client(0), &before);
        works(&cluster.client(0));
    });
}

/// Redis is killed with all that it holds: nobody notices but by the time that some changes take, and it is back within fifteen minutes.
#[test]
fn redis_is_lost() {
    let (postgres, mut redis) = (Postgres::start(), Redis::start());
    let (url, hints) = (postgres.url(), redis.url());
    let nodes = at_once(2, |index| cluster::node(&url, index, &[("CLAVIGER_REDIS__URL", hints.as_str())]));
    for node in &nodes {
        status(node, "connected");
    }
    let before = populate(&nodes[0].client());
    within("Redis", 15 * MINUTE, || {
        redis.kill();
        for node in &nodes {
            works(&node.client());
        }
        check(&nodes[1].client(), &before);
        redis.restart();
        for node in &nodes {
            status(node, "connected");
        }
    });
}

/// The Redis that leads is lost and Sentinel chooses another: nobody has to do anything.
#[test]
fn redis_is_lost_and_sentinel_chooses_another() {
    let (postgres, mut primary) = (Postgres::start(), Redis::start());
    let replica = Redis::replica_of(&primary);
    let sentinels = Sentinels::start(&primary, &[&replica]);
    let (url, hints) = (postgres.url(), sentinels.hints());
    let nodes = at_once(2, |index| cluster::node(&url, index, &[("CLAVIGER_REDIS__URL", hints.as_str())]));
    for node in &nodes {
        status(node, "connected");
    }
    let before = populate(&nodes[0].client());
    within("Redis with Sentinel", 15 * MINUTE, || {
        let _address = sentinels.failover(&mut primary);
        for node in &nodes {
            works(&node.client());
        }
        check(&nodes[1].client(), &before);
        for node in &nodes {
            status(node, "connected");
        }
    });
}

/// The database is lost with all that it holds: restored from the last backup, with what the audit logs say came after it, within thirty minutes.
#[test]
fn the_database_is_lost() {
    let safe = Safe::new();
    let mut cluster = Cluster::start(2, &[]);
    let client = cluster.client(0);
    let before = populate(&client);
    let url = cluster.postgres.url();
    safe.backup(cluster.nodes[0].folder(), &[("CLAVIGER_DATABASE__URL", &url)], "last");
    let token = client.post("/v1/tokens", &json!({"key": "hs"})).expect(201);
    client.post("/v1/tokens/revoke", &json!({"token": token["token"]})).expect(200);
    within("the database", 30 * MINUTE, || {
        cluster.postgres.kill();
        for node in &mut cluster.nodes {
            assert!(node.terminate().success());
        }
        let postgres = Postgres::start();
        let url = postgres.url();
        let database = [("CLAVIGER_DATABASE__URL", url.as_str())];
        let audit: Vec<String> =
            cluster.nodes.iter().map(|node| node.folder().join("data/audit").display().to_string()).collect();
        let folder = cluster.nodes[0].folder();
        let more: Vec<&str> = audit.iter().flat_map(|audit| ["--audit-dir", audit.as_str()]).collect();
        let ran = safe.restore(folder, &database, ("last", &more));
        assert_eq!(ran.code, Some(0), "{}", ran.error);
        for node in &mut cluster.nodes {
            node.set("CLAVIGER_DATABASE__URL", &url);
            node.restart();
        }
        for node in &cluster.nodes {
            check(&node.client(), &before);
            let verified = node.client().post("/v1/tokens/verify", &json!({"token": token["token"]}));
            assert_eq!(verified.expect(200)["valid"], false);
        }
        release(&cluster.client(0));
        process::until(MINUTE, || {
            (cluster.client(1).post("/v1/tokens", &json!({"key": "es"})).status == 201).then_some(())
        })
        .unwrap();
        for node in &cluster.nodes {
            works(&node.client());
        }
        // The old server is not to be mistaken for the new one.
        drop(postgres);
    });
}

/// The whole site is lost: from a file and shares of the master, on new machines, within an hour.
#[test]
fn the_site_is_lost() {
    let safe = Safe::new();
    let (before, shares) = {
        let cluster = Cluster::start(3, &[]);
        let before = populate(&cluster.client(2));
        let url = cluster.postgres.url();
        safe.backup(cluster.nodes[0].folder(), &[("CLAVIGER_DATABASE__URL", &url)], "site");
        let split = ["seal", "split", "--shares", "3", "--threshold", "2"];
        let shares = run(cluster.nodes[0].folder(), &split, b"", &[super::MASTER]);
        (before, shares.text().to_owned())
    };
    within("the site", 60 * MINUTE, || {
        let folder = tempfile::tempdir().unwrap();
        let two: Vec<&str> = shares.lines().skip(1).collect();
        let combine = ["seal", "combine", "--output", "master.key"];
        run(folder.path(), &combine, two.join("\n").as_bytes(), &[]).json();
        let key = folder.path().join("master.key").display().to_string();
        assert_eq!(fs::read_to_string(&key).unwrap().trim(), node::MASTER);
        let postgres = Postgres::start();
        let url = postgres.url();
        let (file, passphrase) = (safe.file("site"), safe.file("passphrase"));
        let restore = ["restore", "--input", &file, "--passphrase-file", &passphrase];
        let environment =
            [("CLAVIGER_SEAL__MASTER_KEY_FILE", key.as_str()), ("CLAVIGER_DATABASE__URL", url.as_str())];
        run(folder.path(), &restore, b"", &environment).json();
        let given = [("CLAVIGER_SEAL__MASTER_KEY", ""), ("CLAVIGER_SEAL__MASTER_KEY_FILE", key.as_str())];
        let nodes: Vec<Node> = at_once(3, |index| cluster::node(&url, index, &given));
        for node in &nodes {
            check(&node.client(), &before);
        }
        release(&nodes[0].client());
        for node in &nodes {
            let issued =
                || (node.client().post("/v1/tokens", &json!({"key": "es"})).status == 201).then_some(());
            process::until(MINUTE, issued).unwrap();
            works(&node.client());
        }
    });
}
