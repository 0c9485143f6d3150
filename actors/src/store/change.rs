//! One change of the ring, one transaction.

use claviger_entity::{
    DeviceId, PolicyName,
    tables::{change, key, key_version, policy, principal, ring_meta},
};
use sea_orm::{
    ActiveModelTrait as _, ConnectionTrait, DatabaseTransaction, EntityTrait as _, IntoActiveModel as _,
    QuerySelect as _, Set, SqliteTransactionMode, TransactionOptions, TransactionTrait as _,
};
use uuid::Uuid;

use super::{
    Database, EventRow, IdempotencyRecord, IncidentWrite, StoreError, audit,
    follow::{self, Followed},
    idempotency, incidents, meta, pairing, retry, rows, slow,
};
use crate::{
    access::{Manifest, PolicyRecord, PrincipalRecord},
    devices::{Device, Settled},
    incidents::StepRecord,
    keyring::{
        Position,
        core::{Event, Subject},
        record::{KeyRecord, Time, VersionRecord},
    },
    seal::Keychain,
};

/// Everything that one change writes.
pub struct ChangeSet {
    /// The key, and whether its row is new.
    pub key: Option<(KeyRecord, bool)>,
    /// Versions.
    pub versions: Vec<VersionWrite>,
    /// A principal, and whether its row is new.
    pub principal: Option<(PrincipalRecord, bool)>,
    /// A policy.
    pub policy: Option<PolicyWrite>,
    /// The policies that there are to be, where that changes.
    pub manifest: Option<Manifest>,
    /// The deployment has its first administrator now.
    pub bootstrapped: bool,
    /// A device.
    pub device: Option<DeviceWrite>,
    /// Pairing requests that this ends.
    pub settled: Option<Settled>,
    /// A restored deployment serves as usual from now on.
    pub released: bool,
    /// An incident.
    pub incident: Option<IncidentWrite>,
    /// What came of a step of an incident: this very change, as a rule.
    pub incident_step: Option<StepRecord>,
    /// Lines of the change log.
    pub lines: Vec<LogLine>,
    /// The audit record, part of the transaction so that no change goes unrecorded.
    pub audit: serde_json::Value,
    /// When.
    pub at: Time,
    /// Who.
    pub actor: String,
    /// The answer to keep for a retry.
    pub idempotency: Option<IdempotencyRecord>,
}

/// What happens to a policy's row.
pub enum PolicyWrite {
    /// It is written; a damaged one too.
    Put(Box<PolicyRecord>),
    /// It goes.
    Delete(PolicyName),
}

/// What happens to a device's row.
pub enum DeviceWrite {
    /// It is written; a damaged one too.
    Put(Box<Device>),
    /// It goes.
    Delete(DeviceId),
}

/// A line of the change log.
pub struct LogLine {
    kind: &'static str,
    object: Option<String>,
    subject: Option<Subject>,
    previous_version: Option<claviger_entity::VersionNumber>,
    reason: Option<String>,
}

impl LogLine {
    /// About a version of a key.
    #[must_use]
    pub fn of_key(event: &Event) -> Self {
        Self {
            kind: event.kind,
            object: None,
            subject: Some(event.subject.clone()),
            previous_version: event.previous_version,
            reason: event.reason.clone(),
        }
    }

    /// About anything else.
    #[must_use]
    pub const fn of(kind: &'static str, object: String) -> Self {
        Self { kind, object: Some(object), subject: None, previous_version: None, reason: None }
    }
}

impl ChangeSet {
    /// A change that writes nothing yet.
    #[must_use]
    pub const fn new(at: Time, actor: String, audit: serde_json::Value) -> Self {
        Self {
            key: None,
            versions: Vec::new(),
            principal: None,
            policy: None,
            manifest: None,
            bootstrapped: false,
            device: None,
            settled: None,
            released: false,
            incident: None,
            incident_step: None,
            lines: Vec::new(),
            audit,
            at,
            actor,
            idempotency: None,
        }
    }
}

/// A version to insert or update.
pub struct VersionWrite {
    /// Its key.
    pub key_id: Uuid,
    /// The version, sealed.
    pub record: VersionRecord,
    /// Its row is new.
    pub is_new: bool,
}

/// A change under way: until it is committed or dropped, nobody else on any node can make one. What is decided meanwhile is decided on
/// the ring as it stands, so that it never has to be taken back.
pub struct Turn {
    pub(super) transaction: DatabaseTransaction,
    pub(super) meta: ring_meta::Model,
    position: Position,
}

impl Database {
    /// Waits for its turn to change the ring.
    ///
    /// # Errors
    /// See [`StoreError`]. Nothing has been written.
    pub async fn take_turn(&self, keychain: &Keychain) -> Result<Turn, StoreError> {
        retry::retried(|| async {
            let transaction = self.connection.begin_with_options(Self::writing()).await?;
            let meta = ring_meta::Entity::find_by_id(1).lock_exclusive().one(&transaction).await?;
            let meta = meta.ok_or(StoreError::MetaDamaged)?;
            let position = meta::position(keychain, &meta)?;
            Ok(Turn { transaction, meta, position })
        })
        .await
    }

    /// SQLite takes the lock at once; PostgreSQL with the row.
    pub(super) const fn writing() -> TransactionOptions {
        TransactionOptions {
            isolation_level: None,
            access_mode: None,
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
        }
    }
}

impl Turn {
    /// Where the ring stands.
    #[must_use]
    pub const fn position(&self) -> Position {
        self.position
    }

    /// The deployment has had its first administrator.
    #[must_use]
    pub const fn bootstrapped(&self) -> bool {
        self.meta.bootstrapped
    }

    /// What others have changed since a position.
    ///
    /// # Errors
    /// The database failed.
    pub async fn follow(&self, keychain: &Keychain, from: &Position) -> Result<Followed, StoreError> {
        follow::follow(&self.transaction, keychain, &self.meta, from).await
    }

    pub(super) const fn transaction(&self) -> &DatabaseTransaction {
        &self.transaction
    }

    /// The answer given under an `Idempotency-Key`, while it is remembered.
    ///
    /// # Errors
    /// The database failed or the row was edited.
    pub async fn find_idempotent(
        &self,
        keychain: &Keychain,
        scope: &str,
        key: &str,
        now: Time,
    ) -> Result<Option<IdempotencyRecord>, StoreError> {
        idempotency::find(&self.transaction, keychain, scope, key, now).await
    }

    /// Fixes the issuer of the deployment unless it is; answers with the one that holds.
    ///
    /// # Errors
    /// The database failed.
    pub async fn fix_issuer(mut self, keychain: &Keychain, issuer: &str) -> Result<String, StoreError> {
        if let Some(issuer) = self.meta.issuer {
            return Ok(issuer);
        }
        self.meta.issuer = Some(issuer.to_owned());
        meta::write(&self.transaction, keychain, self.meta).await?;
        slow::commit(self.transaction).await?;
        Ok(issuer.to_owned())
    }

    /// Writes a change, all or nothing; answers with where the ring stands now.
    ///
    /// # Errors
    /// See [`StoreError`]. Of an error at the very end the caller can't know whether the change was written.
    pub async fn commit(mut self, keychain: &Keychain, set: &ChangeSet) -> Result<Position, StoreError> {
        if set.bootstrapped && self.meta.bootstrapped {
            return Err(StoreError::Conflict);
        }
        let transaction = &self.transaction;
        let record = serde_json::to_string(&set.audit)?;
        let position = self.position.after(&record);
        if let Some((record, is_new)) = &set.key {
            let row = rows::key_row(keychain, record)?.into_active_model();
            if *is_new {
                key::Entity::insert(row).exec_without_returning(transaction).await?;
            } else {
                row.reset_all().update(transaction).await?;
            }
        }
        for write in in_safe_order(&set.versions) {
            let row = rows::version_row(keychain, write.key_id, &write.record).into_active_model();
            if write.is_new {
                key_version::Entity::insert(row).exec_without_returning(transaction).await?;
            } else {
                row.reset_all().update(transaction).await?;
            }
        }
        if let Some((record, is_new)) = &set.principal {
            let row = rows::principal_row(keychain, record)?.into_active_model();
            if *is_new {
                principal::Entity::insert(row).exec_without_returning(transaction).await?;
            } else {
                row.reset_all().update(transaction).await?;
            }
        }
        if let Some(write) = &set.policy {
            write_policy(transaction, keychain, write).await?;
        }
        if let Some(write) = &set.device {
            pairing::write_device(transaction, keychain, write).await?;
        }
        if let Some(settled) = set.settled {
            pairing::settle(transaction, settled).await?;
        }
        if let Some(write) = &set.incident {
            incidents::write(transaction, keychain, write).await?;
        }
        if let Some(step) = &set.incident_step {
            incidents::add_step(transaction, keychain, step).await?;
        }
        log(transaction, set, &position, &record).await?;
        // A record of ours that is none would be a fault of ours, and no reason to refuse the change: the change log has it.
        let event = EventRow::read(record);
        audit::insert(transaction, event.as_slice()).await?;
        if let Some(record) = &set.idempotency {
            idempotency::insert(transaction, keychain, record).await?;
        }
        self.meta.counter += 1;
        self.meta.head_hash = position.head.to_vec();
        self.meta.bootstrapped |= set.bootstrapped;
        if let Some(manifest) = &set.manifest {
            self.meta.policies = Some(serde_json::to_string(manifest)?);
        }
        if set.released {
            self.meta.restored = None;
        }
        meta::write(&self.transaction, keychain, self.meta).await?;
        slow::commit(self.transaction).await?;
        Ok(position)
    }
}

/// A policy's row is replaced whole, so that a damaged one is mended by writing it anew.
async fn write_policy(
    connection: &impl ConnectionTrait,
    keychain: &Keychain,
    write: &PolicyWrite,
) -> Result<(), StoreError> {
    let name = match write {
        PolicyWrite::Put(record) => &record.name,
        PolicyWrite::Delete(name) => name,
    };
    policy::Entity::delete_by_id(name.as_str()).exec(connection).await?;
    if let PolicyWrite::Put(record) = write {
        let row = rows::policy_row(keychain, record).into_active_model();
        policy::Entity::insert(row).exec_without_returning(connection).await?;
    }
    Ok(())
}

/// The index "one active a key" holds after each statement, so whoever leaves the state goes first.
fn in_safe_order(versions: &[VersionWrite]) -> impl Iterator<Item = &VersionWrite> {
    use claviger_entity::KeyState;
    let rank = |write: &&VersionWrite| match write.record.state {
        KeyState::Deactivated
        | KeyState::Retired
        | KeyState::Suspended
        | KeyState::Compromised
        | KeyState::Destroyed => 0,
        KeyState::Active => 1,
        KeyState::PreActivation => 2,
    };
    let mut ordered: Vec<&VersionWrite> = versions.iter().collect();
    ordered.sort_by_key(rank);
    ordered.into_iter()
}

async fn log(
    connection: &impl ConnectionTrait,
    set: &ChangeSet,
    position: &Position,
    record: &str,
) -> Result<(), StoreError> {
    // Whoever follows the log finds every change by a line of its own.
    let unnamed = [LogLine::of("ring.changed", String::new())];
    let lines = if set.lines.is_empty() { unnamed.as_slice() } else { set.lines.as_slice() };
    for (ordinal, line) in lines.iter().enumerate() {
        let subject = line.subject.as_ref();
        let row = change::ActiveModel {
            epoch: Set(rows::epoch(position.epoch)),
            ordinal: Set(i32::try_from(ordinal).unwrap_or(i32::MAX)),
            at: Set(rows::millis(set.at)),
            kind: Set(line.kind.to_owned()),
            object: Set(line.object.clone()),
            key_name: Set(subject.map(|subject| subject.name.as_str().to_owned())),
            version: Set(subject.map(|subject| subject.version.number().into())),
            kid: Set(subject.map(|subject| subject.kid.as_str().to_owned())),
            state: Set(subject.map(|subject| subject.state.as_str().to_owned())),
            previous_version: Set(line.previous_version.map(|version| version.number().into())),
            reason: Set(line.reason.clone()),
            actor: Set(set.actor.clone()),
            record: Set(record.to_owned()),
            head_hash: Set(position.head.to_vec()),
        };
        change::Entity::insert(row).exec_without_returning(connection).await?;
    }
    Ok(())
}
