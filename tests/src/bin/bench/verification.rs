//! How fast an audit log is verified that the service's own writer has written.

use std::{
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::{DateTime, TimeDelta, Utc};
use claviger_actors::audit::{
    log::{Log, Options},
    signed::{Signer, Signing},
    verify::{Trust, verify},
};
use claviger_crypto::{jwk, material::Material, prepared::PreparedKey};
use claviger_entity::KeyType;
use serde_json::json;

use crate::{
    figures::{Bound, Spread},
    settings::Settings,
    table::{Judge, Lines},
};

/// Bytes of a log in a run whose page is published, and in a shortened one.
const WHOLE: u64 = 1_000_000_000;
const SHORT: u64 = WHOLE / 10;
/// A gigabyte in 15 s, in MB/s.
const BOUND: f64 = 1_000.0 / 15.0;
/// Records that are written together.
const GROUP: u64 = 500;

struct OwnKey(Signing);

impl Signer for OwnKey {
    fn signing(&self) -> Option<Signing> {
        Some(self.0.clone())
    }
}

pub(crate) fn measure(settings: &Settings, lines: &mut Lines, judge: &mut Judge) {
    let folder = tempfile::tempdir().unwrap();
    let (bytes, records) = write(folder.path(), if settings.is_whole() { WHOLE } else { SHORT });
    let speeds = (0..settings.rounds).map(|_| {
        let began = Instant::now();
        let report = verify(folder.path(), &Trust::default(), |_, _| {}).unwrap();
        let took = began.elapsed().as_secs_f64();
        assert!(report.is_whole(), "{report:#?}");
        bytes as f64 / 1e6 / took
    });
    let spread = Spread::of(speeds).unwrap();
    let what = format!("verifying an audit log of {} MB, {records} records", bytes / 1_000_000);
    lines.add(
        judge,
        &what,
        (format!("{} MB/s", spread.told(0)), spread.median),
        Bound::AtLeast(BOUND.ceil()),
    );
}

/// Writes a log of about so many bytes, in records such as those of real requests: bytes and records.
fn write(folder: &Path, wanted: u64) -> (u64, u64) {
    let options = Options {
        directory: folder.to_owned(),
        node: "bench".to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        level: "full",
        segment_bytes: 64 << 20,
        checkpoint_lines: 10_000,
        checkpoint_interval: Duration::from_secs(5),
        sync: false,
    };
    let start: DateTime<Utc> = DateTime::from_timestamp(1_800_000_000, 0).unwrap();
    let mut log = Log::open(options, Arc::new(key()), None, start).unwrap();
    let (mut bytes, mut records) = (0, 0);
    while bytes < wanted {
        let now = start + TimeDelta::milliseconds(i64::try_from(records / 20).unwrap());
        let group: Vec<String> = (records..records + GROUP).map(|number| record(now, number)).collect();
        log.append(group.iter().map(String::as_bytes), now).unwrap();
        records += GROUP;
        bytes = size(folder);
    }
    log.checkpoint(start).unwrap();
    (size(folder), records)
}

/// Of the segments.
fn size(folder: &Path) -> u64 {
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap());
    let logs = files.filter(|file| file.file_name().to_string_lossy().ends_with(".log"));
    logs.map(|file| file.metadata().unwrap().len()).sum()
}

fn key() -> OwnKey {
    let material = Material::generate(KeyType::Eddsa, None).unwrap();
    let spki = material.public_spki.unwrap();
    OwnKey(Signing {
        kid: material.kid.as_str().into(),
        jwk: jwk::public_jwk(KeyType::Eddsa, &spki, &material.kid).unwrap().into(),
        key: Arc::new(PreparedKey::new(KeyType::Eddsa, &material.secret).unwrap()),
        epoch: 1,
    })
}

fn record(now: DateTime<Utc>, number: u64) -> String {
    json!({
        "ts": now,
        "event": "encrypt",
        "operation": "key.encrypt",
        "actor": "orders-service",
        "actor_id": "0193f5e2a1b87c3d9e4f5a6b7c8d9e0f",
        "address": "10.1.2.3",
        "key": "orders",
        "kid": "nWx3Zl0q8VJ2bT5yKcR1hA",
        "outcome": "ok",
        "status": 200,
        "request_id": format!("0193f5e2-a1b8-7c3d-9e4f-{number:012x}"),
        "node": "bench",
        "epoch": 4_294_967_300_u64 + number / 10_000,
        "duration_us": 57,
    })
    .to_string()
}
