//! Refresh tokens: made, found, exchanged.

use std::time::Duration;

use claviger_crypto::{digest, random, secret::SecretBytes};
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{
    Kind, Mark, Outcome, Revocation, Telling, TokenFailure, TokensHandle, begun,
    core::{Grant, Verdict},
};
use crate::{
    audit::Subject,
    clock::Clock as _,
    keyring::{ChangeContext, internal, record::Time},
    seal::SealError,
    store::{Database, Exchange, ExchangeOutcome, IdempotencyRecord, RefreshRecord, StoreError},
};

/// Random bytes of a refresh token's secret.
const SECRET_BYTES: usize = 32;
/// Longest text that is looked at.
const TEXT_MAX: usize = 128;
const PREFIX: &str = "clvr_";

/// A refresh token that somebody presents. No `Debug`: it is a secret.
pub struct RefreshToken {
    id: Uuid,
    text: Zeroizing<String>,
}

impl RefreshToken {
    /// Reads `clvr_<id>_<secret>`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (id, secret) = text.strip_prefix(PREFIX).filter(|_| text.len() <= TEXT_MAX)?.split_once('_')?;
        let parsed = Uuid::try_parse(id).ok()?;
        let is_exact = parsed.simple().to_string() == id && !secret.is_empty();
        is_exact.then(|| Self { id: parsed, text: Zeroizing::new(text.to_owned()) })
    }
}

/// A refresh token of ours that was presented.
pub struct Found {
    /// Identity.
    pub id: Uuid,
    /// Its family.
    pub family: Uuid,
    /// The key of its access tokens.
    pub key: Uuid,
    /// When it was issued.
    pub issued_at: Time,
    /// When it ends.
    pub expires_at: Time,
    /// It has been used.
    pub is_spent: bool,
    /// What is issued for it.
    pub grant: Grant,
}

/// A fresh refresh token.
pub struct NewRefresh {
    /// `clvr_<id>_<secret>`, for the answer.
    pub text: Zeroizing<String>,
    /// When it ends.
    pub expires_at: Time,
    record: RefreshRecord,
}

/// What follows a refresh token, made before it is known whether it counts.
pub struct Successor {
    /// The next refresh token.
    pub refresh: NewRefresh,
    /// The whole answer.
    pub answer: SecretBytes,
    /// The answer, for a retry.
    pub idempotency: Option<IdempotencyRecord>,
    /// When the family can have no valid token any more, should it end now.
    pub family_until: Time,
    /// What the record says.
    pub subject: Subject,
}

/// What became of a refresh token.
pub enum Exchanged {
    /// The new pair counts.
    Refreshed,
    /// This pair was given before.
    Repeated(SecretBytes),
    /// It had been spent; the family has ended.
    Reused,
    /// Its family or subject was revoked.
    Revoked,
    /// Its time is over.
    Expired,
    /// The `Idempotency-Key` was used for another request.
    Mismatch,
}

impl TokensHandle {
    /// Makes a refresh token, of a new family or of an old one. Nothing is written yet.
    ///
    /// # Errors
    /// [`TokenFailure::Primitive`].
    pub fn new_refresh(
        &self,
        (family, key): (Uuid, Uuid),
        grant: &Grant,
        (issued_at, lifetime): (Time, Duration),
    ) -> Result<NewRefresh, TokenFailure> {
        let id = self.new_id();
        let secret = Zeroizing::new(random::text(SECRET_BYTES).map_err(|_| TokenFailure::Primitive)?);
        let text = Zeroizing::new(format!("{PREFIX}{}_{}", id.simple(), secret.as_str()));
        let token_hash = self.hash(&text)?;
        let lifetime_of_access = i64::try_from(grant.lifetime).ok().and_then(chrono::TimeDelta::try_seconds);
        let lifetime_of_access = lifetime_of_access.unwrap_or_default();
        let grant =
            serde_json::to_vec(grant).map_err(|error| TokenFailure::Storage(StoreError::Encoding(error)))?;
        let expires_at = issued_at + chrono::TimeDelta::from_std(lifetime).unwrap_or_default();
        let record = RefreshRecord {
            id,
            family,
            key,
            token_hash,
            issued_at,
            expires_at,
            ends_at: expires_at.max(issued_at + lifetime_of_access),
            spent_at: None,
            grant: grant.into(),
            answer: None,
        };
        Ok(NewRefresh { text, expires_at, record })
    }

    /// Writes the first refresh token of a family.
    ///
    /// # Errors
    /// See [`TokenFailure`].
    pub async fn begin_family(&self, new: &NewRefresh) -> Result<(), TokenFailure> {
        let _permit = self.0.permit()?;
        let (keychain, record) = (self.0.keychain(), new.record.clone());
        let write = move |database: Database| async move { database.add_refresh(&keychain, &record).await };
        self.0.ring.database().at_home(write).await.map_err(TokenFailure::Storage)
    }

    /// Looks a refresh token up; `None` when it is none of ours.
    ///
    /// # Errors
    /// See [`TokenFailure`].
    pub async fn find(&self, token: &RefreshToken) -> Result<Option<Found>, TokenFailure> {
        let _permit = self.0.permit()?;
        let (hash, keychain, id) = (self.hash(&token.text)?, self.0.keychain(), token.id);
        let look = move |database: Database| async move { database.find_refresh(&keychain, id).await };
        let record = match self.0.ring.database().at_home(look).await {
            Ok(Some(record)) if digest::ct_eq(&record.token_hash, &hash) => record,
            // A row that was edited is nobody's.
            Ok(_) | Err(StoreError::Seal(SealError::Damaged)) => return Ok(None),
            Err(error) => return Err(TokenFailure::Storage(error)),
        };
        let grant = serde_json::from_slice(record.grant.expose())
            .map_err(|error| TokenFailure::Storage(StoreError::Encoding(error)))?;
        Ok(Some(Found {
            id: record.id,
            family: record.family,
            key: record.key,
            issued_at: record.issued_at,
            expires_at: record.expires_at,
            is_spent: record.spent_at.is_some(),
            grant,
        }))
    }

    /// The key of a family, and when the last of its tokens ends; `None` when nothing of it is left.
    ///
    /// # Errors
    /// See [`TokenFailure`].
    pub async fn family(&self, family: Uuid) -> Result<Option<(Uuid, Time)>, TokenFailure> {
        let _permit = self.0.permit()?;
        let keychain = self.0.keychain();
        let look = move |database: Database| async move { database.family(&keychain, family).await };
        self.0.ring.database().at_home(look).await.map_err(TokenFailure::Storage)
    }

    /// When the last refresh token of all ends; `None` when there is none.
    ///
    /// # Errors
    /// See [`TokenFailure`].
    pub async fn latest_end(&self) -> Result<Option<Time>, TokenFailure> {
        let _permit = self.0.permit()?;
        let look = |database: Database| async move { database.latest_refresh_end().await };
        self.0.ring.database().at_home(look).await.map_err(TokenFailure::Storage)
    }

    /// Exchanges a refresh token for its successor. Of all who present one, on whatever node, one gets a new pair.
    ///
    /// # Errors
    /// See [`TokenFailure`].
    pub async fn exchange(
        &self,
        found: &Found,
        successor: Successor,
        (leeway, context): (Duration, &ChangeContext),
    ) -> Result<Exchanged, TokenFailure> {
        let shared = &self.0;
        let _permit = shared.permit()?;
        let at = shared.clock.now();
        let marks = self.marks(found)?;
        let end = Revocation {
            kind: Kind::Family,
            mark: marks.first().copied().ok_or(TokenFailure::Primitive)?,
            cutoff: None,
            expires_at: successor.family_until.max(found.expires_at).timestamp_millis(),
            of: Some(found.key),
        };
        let telling = Telling::new(Kind::Family, &found.family.to_string());
        let told = telling.seal(&shared.ring.snapshot(), end.mark);
        let about = Subject { key: successor.subject.key.clone(), ..Subject::default() };
        let about = Subject { family: successor.subject.family.clone(), ..about };
        let exchange = Exchange {
            id: found.id,
            at,
            leeway,
            marks,
            begun: begun(Some(&found.family.to_string()), None, None),
            record: shared.record("token.refresh", context, successor.subject, at),
            end: (end, shared.record("token.revoke", context, about, at)),
            told,
            successor: successor.refresh.record,
            answer: successor.answer,
            idempotency: successor.idempotency,
        };
        let keychain = shared.keychain();
        let handle = self.clone();
        let write = move |database: Database| async move {
            let outcome = database.exchange(&keychain, &exchange).await?;
            if let ExchangeOutcome::Reused(end) = &outcome {
                // Whoever gives up waiting: what is in the database must be in memory too.
                handle.0.take_in(end, &telling);
            }
            Ok(outcome)
        };
        let outcome = shared.ring.database().at_home(write).await.map_err(|error| shared.failed(error))?;
        let (exchanged, counted) = match outcome {
            ExchangeOutcome::Spent => (Exchanged::Refreshed, Outcome::Refreshed),
            ExchangeOutcome::Repeated(answer) => (Exchanged::Repeated(answer), Outcome::Repeated),
            ExchangeOutcome::Reused(_) => (Exchanged::Reused, Outcome::Reused),
            ExchangeOutcome::Refused(Verdict::Revoked) => (Exchanged::Revoked, Outcome::Revoked),
            ExchangeOutcome::Refused(
                Verdict::Expired | Verdict::Spend | Verdict::Again | Verdict::Reused,
            ) => (Exchanged::Expired, Outcome::Expired),
            ExchangeOutcome::Mismatch => (Exchanged::Mismatch, Outcome::Invalid),
        };
        self.count(counted);
        Ok(exchanged)
    }

    /// By what a refresh token may be revoked; the family first.
    fn marks(&self, found: &Found) -> Result<Vec<Mark>, TokenFailure> {
        let marker = self.0.marker(&self.0.ring.snapshot()).ok_or(TokenFailure::Primitive)?;
        let family = marker.mark(Kind::Family, &found.family.to_string());
        let mut marks = vec![family, family.within(found.key), marker.families(found.key)];
        if let Some(subject) = found.grant.subject() {
            let subject = marker.mark(Kind::Subject, subject);
            marks.extend([subject, subject.within(found.key)]);
        }
        Ok(marks)
    }

    fn hash(&self, text: &str) -> Result<[u8; 32], TokenFailure> {
        let hash = internal::refresh_hash(&self.0.ring.snapshot(), text.as_bytes());
        hash.ok_or(TokenFailure::Primitive)
    }
}
