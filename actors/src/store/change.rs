//! One change of the ring, one transaction.

use claviger_crypto::digest;
use claviger_entity::{
    PolicyName,
    tables::{change, key, key_version, policy, principal, ring_meta},
};
use sea_orm::{
    ActiveModelTrait as _, ColumnTrait as _, ConnectionTrait, EntityTrait as _, IntoActiveModel as _,
    QueryFilter as _, Set, TransactionTrait as _, sea_query::Expr,
};
use uuid::Uuid;

use super::{Database, IdempotencyRecord, StoreError, idempotency, meta, rows};
use crate::{
    access::{Manifest, PolicyRecord, PrincipalRecord},
    keyring::{
        Epoch,
        core::{Event, Subject},
        record::{KeyRecord, Time, VersionRecord},
    },
    seal::Keychain,
};

/// Everything that one change writes.
pub struct ChangeSet {
    /// The epoch it was decided on; a database that is elsewhere refuses it.
    pub before: Epoch,
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
    pub const fn new(before: Epoch, at: Time, actor: String, audit: serde_json::Value) -> Self {
        Self {
            before,
            key: None,
            versions: Vec::new(),
            principal: None,
            policy: None,
            manifest: None,
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

impl Database {
    /// Writes a change, all or nothing.
    ///
    /// # Errors
    /// [`StoreError::Conflict`] when the database is not where the change was decided; otherwise see [`StoreError`]. After any error
    /// but a conflict the caller can't know whether the change was written.
    pub async fn commit(&self, keychain: &Keychain, set: &ChangeSet) -> Result<(), StoreError> {
        let transaction = self.connection.begin().await?;
        let head = advance(&transaction, set).await?;
        if let Some((record, is_new)) = &set.key {
            let row = rows::key_row(keychain, record)?.into_active_model();
            if *is_new {
                key::Entity::insert(row).exec_without_returning(&transaction).await?;
            } else {
                row.reset_all().update(&transaction).await?;
            }
        }
        for write in in_safe_order(&set.versions) {
            let row = rows::version_row(keychain, write.key_id, &write.record).into_active_model();
            if write.is_new {
                key_version::Entity::insert(row).exec_without_returning(&transaction).await?;
            } else {
                row.reset_all().update(&transaction).await?;
            }
        }
        if let Some((record, is_new)) = &set.principal {
            let row = rows::principal_row(keychain, record)?.into_active_model();
            if *is_new {
                principal::Entity::insert(row).exec_without_returning(&transaction).await?;
            } else {
                row.reset_all().update(&transaction).await?;
            }
        }
        if let Some(write) = &set.policy {
            write_policy(&transaction, keychain, write).await?;
        }
        if let Some(manifest) = &set.manifest {
            meta::keep_manifest(&transaction, keychain, manifest).await?;
        }
        log(&transaction, set, &head).await?;
        if let Some(record) = &set.idempotency {
            idempotency::insert(&transaction, keychain, record).await?;
        }
        transaction.commit().await?;
        Ok(())
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

/// Moves counter and head hash, if the database is where the change was decided.
async fn advance(connection: &impl ConnectionTrait, set: &ChangeSet) -> Result<Vec<u8>, StoreError> {
    let meta = ring_meta::Entity::find_by_id(1).one(connection).await?.ok_or(StoreError::Conflict)?;
    if Epoch::of_row(meta.incarnation, meta.counter) != Some(set.before) {
        return Err(StoreError::Conflict);
    }
    let audit = serde_json::to_vec(&set.audit)?;
    let head = digest::sha256(&[&meta.head_hash, audit.as_slice()].concat()).to_vec();
    let moved = ring_meta::Entity::update_many()
        .col_expr(ring_meta::Column::Counter, Expr::value(meta.counter + 1))
        .col_expr(ring_meta::Column::HeadHash, Expr::value(head.clone()))
        .filter(ring_meta::Column::Id.eq(1))
        .filter(ring_meta::Column::Counter.eq(meta.counter))
        .exec(connection)
        .await?;
    if moved.rows_affected == 1 { Ok(head) } else { Err(StoreError::Conflict) }
}

async fn log(connection: &impl ConnectionTrait, set: &ChangeSet, head: &[u8]) -> Result<(), StoreError> {
    let epoch = i64::try_from(set.before.0 + 1).unwrap_or(i64::MAX);
    let record = serde_json::to_string(&set.audit)?;
    for (ordinal, line) in set.lines.iter().enumerate() {
        let subject = line.subject.as_ref();
        let row = change::ActiveModel {
            epoch: Set(epoch),
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
            record: Set(record.clone()),
            head_hash: Set(head.to_vec()),
        };
        change::Entity::insert(row).exec_without_returning(connection).await?;
    }
    Ok(())
}
