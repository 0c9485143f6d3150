//! Tokens of third parties, for whoever keeps them fresh.

use chrono::DateTime;
use claviger_crypto::digest;
use uuid::{Builder, Uuid};
use zeroize::Zeroizing;

use super::{
    About, Change, Condition, Opened, Place, Refusal, Revision, StoresFailure, StoresHandle, Tags, TokenPair,
    Wanted, Write,
    lease::{Lease, LeaseRow, Purpose, Standing},
};
use crate::{
    keyring::{ChangeContext, internal, record::Time},
    store::Database,
};

/// Sets the hash of a code apart from those of requests.
const CODE: &[u8] = b"code of a provider v1";

/// Tokens of a user with a provider. No `Debug`: they are secrets.
#[derive(Clone)]
pub struct AuthTokens {
    /// The tokens.
    pub pair: TokenPair,
    /// End of the access token; absent = it does not end.
    pub access_expires_at: Option<Time>,
    /// End of the refresh token; absent = it does not end.
    pub refresh_expires_at: Option<Time>,
}

impl AuthTokens {
    /// What was read.
    ///
    /// # Errors
    /// They are no tokens.
    pub fn of(opened: &Opened) -> Result<Self, StoresFailure> {
        let time = |seconds: Option<i64>| seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        Ok(Self {
            pair: opened.tokens()?,
            access_expires_at: time(opened.about.access_expires_at),
            refresh_expires_at: time(opened.about.refresh_expires_at),
        })
    }

    /// What is kept in clear beside them.
    #[must_use]
    pub fn about(&self) -> About {
        About {
            description: None,
            access_expires_at: self.access_expires_at.map(|at| at.timestamp()),
            refresh_expires_at: self.refresh_expires_at.map(|at| at.timestamp()),
        }
    }
}

/// What came of asking for a lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It is ours.
    Taken(Lease),
    /// Not now.
    Not(Standing),
}

impl StoresHandle {
    /// Takes the lease on tokens, if it is to be had. Nothing is locked by that.
    ///
    /// # Errors
    /// The database failed.
    pub async fn claim(&self, tokens: &Revision, purpose: Purpose) -> Result<Claim, StoresFailure> {
        self.take(tokens.id, purpose).await
    }

    /// Takes the lease to exchange a code for tokens at a place, so that no two do at once. The database knows the code by a keyed hash.
    ///
    /// # Errors
    /// The database failed, or the key of the hash can't be used.
    pub async fn claim_code(&self, place: &Place, code: &str) -> Result<Claim, StoresFailure> {
        let mut bytes = Zeroizing::new(CODE.to_vec());
        for part in [place.owner().as_str(), place.name(), code] {
            bytes.extend_from_slice(&(part.len() as u64).to_be_bytes());
            bytes.extend_from_slice(part.as_bytes());
        }
        let hash = internal::request_hash(&self.ring.snapshot(), &digest::sha256(&bytes));
        let half = hash.and_then(|hash| hash.first_chunk::<16>().copied());
        let half = half.ok_or(StoresFailure::Behind)?;
        self.take(Builder::from_custom_bytes(half).into_uuid(), Purpose::Ask).await
    }

    async fn take(&self, token: Uuid, purpose: Purpose) -> Result<Claim, StoresFailure> {
        let (node, now) = (self.node.clone(), self.clock.now());
        let question = |database: Database| async move {
            let (before, now) = database.lease(token, now).await?;
            let after = match LeaseRow::taken(before.as_ref(), now, purpose) {
                Ok(after) => after,
                Err(standing) => return Ok(Claim::Not(standing)),
            };
            let is_ours = database.put_lease((token, &node), before.as_ref(), &after).await?;
            let is_inherited = before.is_some_and(|before| before.is_open());
            let lease = Lease { token, fence: after.fence, is_inherited };
            Ok(if is_ours { Claim::Taken(lease) } else { Claim::Not(Standing::Held) })
        };
        self.ask(question).await
    }

    /// Whether somebody has a lease, and the row that says so.
    ///
    /// # Errors
    /// The database failed.
    pub async fn standing(&self, token: Uuid) -> Result<(Standing, Option<LeaseRow>), StoresFailure> {
        let now = self.clock.now();
        let question = |database: Database| async move {
            let (row, now) = database.lease(token, now).await?;
            Ok((row.unwrap_or_default().standing(now), row))
        };
        self.ask(question).await
    }

    /// Ends a lease for which there was nothing to do.
    ///
    /// # Errors
    /// The database failed; it ends by itself.
    pub async fn release(&self, lease: Lease) -> Result<(), StoresFailure> {
        self.ask(|database: Database| async move { database.end_lease(&lease).await }).await
    }

    /// Goes on with a lease, if nobody else has had it.
    ///
    /// # Errors
    /// The database failed.
    pub async fn renew(&self, lease: Lease) -> Result<(), StoresFailure> {
        self.set_lease(lease, LeaseRow::renewed).await
    }

    /// Ends a lease under which a provider has failed, so that others don't try again too soon.
    ///
    /// # Errors
    /// The database failed; it ends by itself.
    pub async fn give_up(&self, lease: Lease) -> Result<(), StoresFailure> {
        self.set_lease(lease, LeaseRow::failed).await
    }

    async fn set_lease(
        &self,
        lease: Lease,
        after: impl Fn(&LeaseRow, i64) -> LeaseRow + Send + 'static,
    ) -> Result<(), StoresFailure> {
        let (node, now) = (self.node.clone(), self.clock.now());
        let question = |database: Database| async move {
            let (row, now) = database.lease(lease.token, now).await?;
            // Somebody else has had it, or has written the tokens meanwhile.
            let Some(row) = row.filter(|row| row.fence == lease.fence) else { return Ok(()) };
            database.put_lease((lease.token, &node), Some(&row), &after(&row, now)).await?;
            Ok(())
        };
        self.ask(question).await
    }

    /// Puts new tokens in the place of those that were in a state; the state afterwards, or `None` when somebody else has written them since.
    /// Whoever has a lease on them has none any more.
    ///
    /// # Errors
    /// See [`StoresFailure`].
    pub async fn replace_auth_tokens(
        &self,
        context: &ChangeContext,
        place: &Place,
        before: &Revision,
        tokens: &AuthTokens,
    ) -> Result<Option<Revision>, StoresFailure> {
        let write = Write::Put(tokens.pair.to_bytes(), tokens.about());
        self.on_state(context, ("auth_token.refresh", before, None), place, write).await
    }

    /// Deletes tokens that are in a state, by an operation, under the last lease if there is one; `false` when they are not any more.
    ///
    /// # Errors
    /// See [`StoresFailure`].
    pub async fn delete_auth_tokens(
        &self,
        context: &ChangeContext,
        place: &Place,
        (operation, before, lease): (&'static str, &Revision, Option<&Lease>),
    ) -> Result<bool, StoresFailure> {
        let deleted = self.on_state(context, (operation, before, lease), place, Write::Delete).await?;
        Ok(deleted.is_some())
    }

    async fn on_state(
        &self,
        context: &ChangeContext,
        (operation, before, lease): (&'static str, &Revision, Option<&Lease>),
        place: &Place,
        write: Write,
    ) -> Result<Option<Revision>, StoresFailure> {
        let condition = Condition::Match(Tags::These(vec![before.tag()]));
        let wanted = Wanted { operation, is_batch: false, context, still_may: None, opened_with: &[], lease };
        match self.change_one(wanted, Change { place: place.clone(), condition, write }).await? {
            Some(Ok(done)) => Ok(done.revision),
            Some(Err(Refusal::NotPermitted)) => Err(StoresFailure::NotPermitted),
            Some(Err(Refusal::Precondition | Refusal::Missing)) | None => Ok(None),
        }
    }
}
