//! Revocation: in the database, then in memory, then answered. The others are told and need not be waited for.

use std::time::Duration;

use chrono::{DateTime, TimeDelta};
use uuid::Uuid;

use super::{
    Kind, Revocation, Telling, TokenFailure, TokensHandle,
    shares::{Room, room},
};
use crate::{
    audit::{RevocationSubject, Subject},
    clock::Clock as _,
    keyring::{ChangeContext, record::Time},
    store::Database,
};

/// Longest time that an answer waits for the clock.
const WAIT_MAX: Duration = Duration::from_millis(200);

/// What is to be revoked.
#[derive(Debug, Clone, Copy)]
pub struct Revoke<'a> {
    /// Of what.
    pub kind: Kind,
    /// Which: `jti`, family, `sub`, `kid`, or the name of the key whose families it concerns.
    pub value: &'a str,
    /// Among the tokens of this key only.
    pub key: Option<Uuid>,
    /// The key whose tokens it concerns, and for which it counts; `None` = those of any.
    pub of: Option<Uuid>,
    /// When nothing that it concerns can be valid any more.
    pub until: Time,
}

/// What was revoked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Revoked {
    /// Everything that began until then; `None` = whenever.
    pub before: Option<Time>,
    /// What is kept of it, for the record.
    pub kept: RevocationSubject,
}

impl TokensHandle {
    /// Revokes. Once this returns, this node refuses what is revoked; the others do as soon as they have read of it, and whatever is issued
    /// from now on is none of "all before".
    ///
    /// # Errors
    /// See [`TokenFailure`].
    pub async fn revoke(
        &self,
        revoke: Revoke<'_>,
        (context, subject): (&ChangeContext, Subject),
    ) -> Result<Revoked, TokenFailure> {
        let shared = &self.0;
        let _permit = shared.permit()?;
        let marker = shared.marker(&shared.ring.snapshot()).ok_or(TokenFailure::Primitive)?;
        let mark = match (revoke.kind, revoke.key) {
            (Kind::Families, Some(key)) => marker.families(key),
            (kind, Some(key)) => marker.mark(kind, revoke.value).within(key),
            (kind, None) => marker.mark(kind, revoke.value),
        };
        let now = shared.clock.now();
        // The latest moment that it may truly be: what was issued before, on whatever node, carries one that is not later.
        let error = shared.clock.error_ms();
        let cutoff = match revoke.kind {
            Kind::Token | Kind::Family => None,
            Kind::Subject | Kind::Version | Kind::Families => Some(now.timestamp_millis() + error),
        };
        let revocation = Revocation {
            kind: revoke.kind,
            mark,
            cutoff,
            expires_at: revoke.until.timestamp_millis(),
            of: revoke.of,
        };
        let revoked =
            Revoked { before: cutoff.and_then(DateTime::from_timestamp_millis), kept: kept(&revocation) };
        if shared.revocations.has(&revocation) {
            // What only memory knows is gone with the process: the database may have been put back to what it was before.
            if self.is_kept(&revocation).await? {
                return Ok(revoked);
            }
        } else if !shared.revocations.knows(&revocation) {
            let of_key = revoke.of.map_or(0, |key| shared.revocations.of_key(key));
            match room(&revocation, (shared.revocations.len(), of_key), shared.max()) {
                Room::Some => {}
                Room::NotForKey => return Err(TokenFailure::Crowded),
                Room::None => return Err(TokenFailure::Full),
            }
        }
        let telling = Telling::new(revoke.kind, revoke.value);
        let told = telling.seal(&shared.ring.snapshot(), mark);
        let subject = Subject { revocation: Some(Box::new(revoked.kept.clone())), ..subject };
        let record = shared.record("token.revoke", context, subject, now);
        let keychain = shared.keychain();
        let handle = self.clone();
        // To its end, whoever gives up waiting for it: what is in the database must be in memory too.
        let write = move |database: Database| async move {
            database.revoke(&keychain, (&revocation, told), (now, record)).await?;
            handle.0.take_in(&revocation, &telling);
            Ok(())
        };
        shared.ring.database().at_home(write).await.map_err(|error| shared.failed(error))?;
        if let Some(before) = revoked.before {
            self.outlive(before, error).await;
        }
        Ok(revoked)
    }

    async fn is_kept(&self, revocation: &Revocation) -> Result<bool, TokenFailure> {
        let (keychain, revocation) = (self.0.keychain(), *revocation);
        let look =
            move |database: Database| async move { database.has_revocation(&keychain, &revocation).await };
        self.0.ring.database().at_home(look).await.map_err(TokenFailure::Storage)
    }

    /// Waits until what is issued now is later than a moment, as far as clocks can tell.
    async fn outlive(&self, moment: Time, error_ms: i64) {
        let moment = moment + TimeDelta::milliseconds(error_ms);
        let began = tokio::time::Instant::now();
        while self.0.clock.now() <= moment && began.elapsed() < WAIT_MAX {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
}

fn kept(revocation: &Revocation) -> RevocationSubject {
    RevocationSubject {
        kind: revocation.kind.as_str().to_owned(),
        mark: revocation.mark.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect(),
        cutoff: revocation.cutoff,
        until: revocation.expires_at,
        of: revocation.of,
    }
}
