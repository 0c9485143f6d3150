//! What should be there and is not: a standby, and the backup of a schedule.

use std::fs;

use claviger_tests::{Client, Cluster, process};
use serde_json::{Value, json};

use super::{Ears, LONG, alerts, in_state, quick, receivers::Receivers};

/// The database takes no new versions, and the folder of backups is a file: both are told once in the cluster, over every channel, and over
/// once they are mended.
#[test]
fn a_standby_and_a_backup_that_are_missing_are_told() {
    let (receivers, folder) = (Receivers::start(), tempfile::tempdir().unwrap());
    let directory = folder.path().join("backups");
    fs::write(&directory, "in the way").unwrap();
    let recipient = age::x25519::Identity::generate().to_public().to_string();
    let rules = json!({"standby_missing": {"hold": "4s"}, "backup_overdue": {"raise": 5, "hold": "0s"}});
    let mut environment = quick();
    environment.retain(|(name, _)| *name != "CLAVIGER_ALERTS__RULES");
    environment.extend([
        ("CLAVIGER_ALERTS__RULES", rules.to_string()),
        ("CLAVIGER_CHANNELS", receivers.channels()),
        ("CLAVIGER_BACKUP__SCHEDULE", "* * * * *".to_owned()),
        ("CLAVIGER_BACKUP__DIRECTORY", directory.display().to_string()),
        ("CLAVIGER_BACKUP__RECIPIENT", recipient),
    ]);
    let environment: Vec<(&str, &str)> =
        environment.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let cluster = Cluster::start(3, &environment);
    let mut ears = Ears::of(&cluster.nodes);
    let client = cluster.client(0);
    let alert = standby(&cluster, &mut ears);
    receivers.got(&alert);
    // Some node has taken the backup on at once and could not make it; since a minute later it is overdue.
    in_state(&client, ("backup_overdue", ""), "open");
    ears.heard("alert.raised", ("backup_overdue", ""), 1);
    let failed = alerts(&client, "backup_failed");
    assert!(!failed.is_empty() && failed.iter().all(|alert| alert["state"] == "open"), "{failed:?}");
    fs::remove_file(&directory).unwrap();
    in_state(&cluster.client(2), ("backup_overdue", ""), "cleared");
    assert!(fs::read_dir(&directory).unwrap().count() > 0);
    ears.heard("alert.cleared", ("backup_overdue", ""), 1);
    let over = || {
        let open = client.get("/v1/alerts?state=open").expect(200);
        (open["items"] == json!([])).then_some(())
    };
    process::until(LONG, over).expect("nothing is open");
    for alert in every(&client) {
        let about = (alert["rule"].as_str().unwrap(), alert["subject"].as_str().unwrap());
        ears.heard("alert.cleared", about, 1);
        receivers.got(&alert);
    }
}

fn every(client: &Client) -> Vec<Value> {
    client.get("/v1/alerts?limit=1000").expect(200)["items"].as_array().unwrap().clone()
}

/// A key that lost its standby while it was to be deleted gets none when it is wanted again.
fn standby(cluster: &Cluster, ears: &mut Ears) -> Value {
    let (client, about) = (cluster.client(0), ("standby_missing", "bare"));
    client
        .post("/v1/keys", &json!({"name": "bare", "type": "aes256-gcm", "deletion_allowed": true}))
        .expect(201);
    client.delete("/v1/keys/bare?after=1h").expect(200);
    let body = json!({"reason": "drill"});
    client.post("/v1/keys/bare/versions/2/compromise", &body).expect(200);
    let _done = cluster.postgres.psql(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'no'; END $$; \
         CREATE TRIGGER refused BEFORE INSERT ON key_versions FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    client.post("/v1/keys/bare/restore", &json!({})).expect(200);
    let raised = in_state(&cluster.client(1), about, "open");
    ears.heard("alert.raised", about, 1);
    let _done = cluster.postgres.psql("DROP TRIGGER refused ON key_versions");
    let cleared = in_state(&cluster.client(2), about, "cleared");
    assert_eq!(raised["id"], cleared["id"]);
    ears.heard("alert.cleared", about, 1);
    cleared
}
