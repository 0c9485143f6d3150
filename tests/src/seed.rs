//! A big ring, written straight into a database.

use std::{path::Path, sync::Arc};

use chrono::{DateTime, Utc};
use claviger_actors::{
    keyring::{
        core::{Event, Subject},
        record::{KeyRecord, Origin, VersionRecord},
    },
    seal::{Binding, Keychain, MasterKeys, mac_of_row},
    store::{ChangeSet, Database, LogLine, Place, VersionWrite},
    tokens::{Kind, Marker},
};
use claviger_crypto::{material::Material, secret::SecretBytes};
use claviger_entity::{
    KeyName, KeyState, KeyType, RotationPolicy, VersionNumber, domain::claims::ClaimRules, tables::revocation,
};
use sea_orm::{EntityTrait as _, IntoActiveModel as _};
use uuid::Uuid;

use crate::node::MASTER;

/// Rows of one statement.
const ROWS: usize = 500;

/// Writes `keys` keys of three versions: 70 % symmetric, 25 % elliptic-curve, 5 % RSA.
pub async fn seed(path: &Path, keys: usize, now: DateTime<Utc>) {
    seed_at(Place::File(path), keys, now).await;
}

/// The same, anywhere.
pub async fn seed_at(place: Place<'_>, keys: usize, now: DateTime<Utc>) {
    let database = Database::open(place).await.unwrap();
    let masters = MasterKeys::new(vec![SecretBytes::new(MASTER.as_bytes().to_vec())]).unwrap();
    let deployment = database.open_deployment(&masters, now).await.unwrap();
    let rsa = Material::generate(KeyType::Rs256, None).unwrap();
    for index in 0..keys {
        let key_type = match index % 20 {
            0..7 => KeyType::Aes256Gcm,
            7..14 => KeyType::Hs256,
            14..19 => KeyType::Es256,
            _ => KeyType::Rs256,
        };
        let set = change_set(&deployment.keychain, index, key_type, &rsa, now);
        let turn = database.take_turn(&deployment.keychain).await.unwrap();
        turn.commit(&deployment.keychain, &set).await.unwrap();
    }
    database.close().await;
}

/// Live revocations of nobody's tokens, half of them of single ones and half of subjects.
pub async fn revocations(path: &Path, live: usize, now: DateTime<Utc>) {
    let database = Database::open(Place::File(path)).await.unwrap();
    let masters = MasterKeys::new(vec![SecretBytes::new(MASTER.as_bytes().to_vec())]).unwrap();
    let keychain = database.open_deployment(&masters, now).await.unwrap().keychain;
    database.close().await;
    let connection = sea_orm::Database::connect(format!("sqlite://{}", path.display())).await.unwrap();
    let marker = Marker::new(b"nobody's");
    let row = |number: usize| {
        let kind = if number.is_multiple_of(2) { Kind::Token } else { Kind::Subject };
        let mut row = revocation::Model {
            id: Uuid::now_v7().to_string(),
            kind: kind.as_str().to_owned(),
            mark: marker.mark(kind, &number.to_string()).as_bytes().to_vec(),
            cutoff: (kind == Kind::Subject).then(|| now.timestamp_millis()),
            expires_at: (now + chrono::TimeDelta::days(1)).timestamp_millis(),
            created_at: now.timestamp_millis(),
            xid: 0,
            key_id: None,
            told: None,
            mac: Vec::new(),
        };
        row.mac = mac_of_row(&keychain, "revocations", &row).to_vec();
        row.into_active_model()
    };
    for first in (0..live).step_by(ROWS) {
        let rows = (first..live.min(first + ROWS)).map(row);
        revocation::Entity::insert_many(rows).exec_without_returning(&connection).await.unwrap();
    }
    connection.close().await.unwrap();
}

fn change_set(
    keychain: &Keychain,
    index: usize,
    key_type: KeyType,
    rsa: &Material,
    now: DateTime<Utc>,
) -> ChangeSet {
    let id = Uuid::now_v7();
    let name: KeyName = format!("seed-{index:05}").parse().unwrap();
    let versions: Vec<VersionWrite> = [KeyState::Deactivated, KeyState::Active, KeyState::PreActivation]
        .into_iter()
        .zip(1..)
        .map(|(state, number)| VersionWrite {
            key_id: id,
            record: version(keychain, id, key_type, rsa, state, VersionNumber::new(number).unwrap(), now),
            is_new: true,
        })
        .collect();
    let kid = versions[1].record.kid.clone();
    let subject =
        Subject { name: name.clone(), version: VersionNumber::new(2).unwrap(), kid, state: KeyState::Active };
    let event = Event { kind: "key.created", subject, previous_version: None, reason: None };
    ChangeSet {
        key: Some((key(id, name, key_type, now), true)),
        versions,
        lines: vec![LogLine::of_key(&event)],
        ..ChangeSet::new(now, "seed".to_owned(), serde_json::json!({ "event": "seed" }))
    }
}

pub(crate) fn key(id: Uuid, name: KeyName, key_type: KeyType, now: DateTime<Utc>) -> KeyRecord {
    KeyRecord {
        id,
        name,
        key_type,
        bits: key_type.is_rsa().then_some(2_048),
        usage: key_type.default_usage(),
        tier: key_type.default_tier(),
        description: None,
        rotation: RotationPolicy::default(),
        claims: ClaimRules::default(),
        temporary: None,
        exportable: false,
        deletion_allowed: false,
        labels: std::collections::BTreeMap::new(),
        min_decryption_version: VersionNumber::FIRST,
        created_at: now,
        updated_at: now,
        delete_at: None,
        deleted_at: None,
        revision: 1,
        latest_version: VersionNumber::new(3).unwrap(),
        longest_ttl: None,
    }
}

fn version(
    keychain: &Keychain,
    id: Uuid,
    key_type: KeyType,
    rsa: &Material,
    state: KeyState,
    number: VersionNumber,
    now: DateTime<Utc>,
) -> VersionRecord {
    // Thousands of RSA keys would take an hour to make; one, under many ids, takes as long to load and to parse.
    let material = if key_type.is_rsa() {
        Material {
            kid: Uuid::new_v4().to_string().parse().unwrap(),
            secret: rsa.secret.clone(),
            public_spki: rsa.public_spki.clone(),
            bits: rsa.bits,
        }
    } else {
        Material::generate(key_type, None).unwrap()
    };
    let binding = Binding::material(keychain.deployment(), id, number, key_type);
    let (dek_id, sealed) = keychain.seal(&binding, &material.secret).unwrap();
    VersionRecord {
        version: number,
        kid: material.kid,
        state,
        origin: Origin::Generated,
        created_at: now,
        activated_at: (state != KeyState::PreActivation).then_some(now),
        deactivated_at: (state == KeyState::Deactivated).then_some(now),
        verify_until: None,
        changed_at: now,
        reason: None,
        alias_hash: None,
        public_spki: material.public_spki.map(Arc::from),
        sealed: Some(Arc::from(sealed)),
        dek_id,
    }
}
