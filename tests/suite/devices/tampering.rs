//! Rows of devices that somebody else wrote: quarantined, not obeyed.

use claviger_entity::{DeviceRole, Scope};
use serde_json::{Value, json};

use super::{approve, device, gate, id, listed, pair};
use crate::tampered::{Tampered, changed, columns};

/// Prepares a node with two devices, and one that waits, runs SQL on its database, starts it again.
fn tampered(sql: &str) -> Tampered {
    let prepare = |node: &claviger_tests::Node| {
        let (admin, gate) = (node.client(), gate(node));
        for number in [1, 2] {
            pair(&admin, &gate, number, &[Scope::OperatorRead]);
            gate.take(device(number), DeviceRole::Operator).unwrap().unwrap();
        }
        gate.request(device(3), &[Scope::OperatorRead]).unwrap();
    };
    Tampered::with(&[sql.to_owned()], prepare)
}

/// Whatever is changed in the row of a device, it is named and nobody any more; the others go on. An approval mends it.
#[test]
fn an_edited_device_is_not_obeyed() {
    let victim = id(1);
    let wider = format!(
        "UPDATE devices SET grants = replace(grants, 'operator.read', 'operator.admin') WHERE id = '{victim}'"
    );
    let each = columns("devices").into_iter().filter(|(column, _)| column != "id").map(|(column, kind)| {
        format!("UPDATE devices SET {column} = {} WHERE id = '{victim}'", changed(&column, &kind))
    });
    for sql in each.chain([wider]) {
        let tampered = tampered(&sql);
        let found = tampered.quarantined();
        assert_eq!(found, [(format!("device {victim}"), None)], "{sql}");
        let admin = tampered.node.client();
        let known: Vec<Value> =
            listed(&admin, "/v1/devices").iter().map(|device| device["id"].clone()).collect();
        assert_eq!(known, [json!(id(2))], "{sql}");
        let path = format!("/v1/devices/{victim}/tokens/operator/rotate");
        admin.post(&path, &json!({})).refused(404, "not_found");
        let gate = gate(&tampered.node);
        assert!(gate.request(device(1), &[Scope::OperatorRead]).unwrap().is_new);
        pair(&admin, &gate, 1, &[Scope::OperatorRead]);
        admin.post(&path, &json!({})).expect(200);
    }
}

#[test]
fn a_damaged_device_can_be_removed() {
    let tampered = tampered(&format!("UPDATE devices SET mac = x'00' WHERE id = '{}'", id(1)));
    let admin = tampered.node.client();
    assert_eq!(admin.delete(&format!("/v1/devices/{}", id(1))).status, 204);
    admin.delete(&format!("/v1/devices/{}", id(1))).refused(404, "not_found");
    let folder = tampered.node.into_folder();
    let node = claviger_tests::Node::within(folder, &[]);
    assert_eq!(node.client().get("/health").expect(200)["status"], "healthy");
}

/// A request that was edited, or is the copy of another, is no request.
#[test]
fn an_edited_request_is_not_there() {
    for (column, kind) in columns("pairing_requests") {
        let sql = format!("UPDATE pairing_requests SET {column} = {}", changed(&column, &kind));
        let tampered = tampered(&sql);
        let admin = tampered.node.client();
        assert_eq!(listed(&admin, "/v1/devices/requests"), Vec::<Value>::new(), "{sql}");
        assert!(tampered.quarantined().is_empty(), "{sql}");
        // The device asks again, and that one counts.
        let gate = gate(&tampered.node);
        let asked = gate.request(device(3), &[Scope::OperatorRead]).unwrap();
        approve(&admin, &asked.request_id, &json!({})).expect(200);
    }
    let sql = format!(
        "INSERT INTO devices SELECT '{}', public_key, client, grants, created_at, updated_at, mac FROM devices WHERE id = '{}'",
        id(3),
        id(1)
    );
    let tampered = tampered(&sql);
    assert_eq!(tampered.quarantined(), [(format!("device {}", id(3)), None)]);
}

/// A database from before devices is brought up to date.
#[test]
fn a_database_of_before_devices_is_brought_up_to_date() {
    let undo = [
        "DROP TABLE devices",
        "DROP TABLE pairing_requests",
        "DELETE FROM seaql_migrations WHERE version = 'm20261129_000009_devices'",
    ];
    let tampered = Tampered::with(&undo.map(str::to_owned), |_| {});
    assert!(tampered.quarantined().is_empty());
    let (admin, gate) = (tampered.node.client(), gate(&tampered.node));
    pair(&admin, &gate, 1, &[]);
}
