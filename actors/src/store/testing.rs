//! A database for tests.

use chrono::TimeDelta;
use claviger_crypto::secret::SecretBytes;
use tempfile::TempDir;

use super::{Database, Place};
use crate::{
    keyring::record::Time,
    seal::{Keychain, MasterKeys},
};

/// One of a deployment, in a file, as long as the folder is there.
pub(super) async fn open() -> (TempDir, Database, Keychain) {
    let folder = tempfile::tempdir().unwrap();
    let database = Database::open(Place::File(&folder.path().join("test.db"))).await.unwrap();
    let masters = MasterKeys::new(vec![SecretBytes::new(vec![7; 32])]).unwrap();
    let deployment = database.open_deployment(&masters, at(0)).await.unwrap();
    (folder, database, deployment.keychain)
}

pub(super) fn at(seconds: i64) -> Time {
    Time::from_timestamp_millis(1_700_000_000_000).unwrap() + TimeDelta::seconds(seconds)
}
