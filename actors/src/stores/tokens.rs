//! Tokens of third parties, for whoever keeps them fresh.

use chrono::DateTime;
use claviger_entity::{Owner, ProviderName};

use super::{
    About, Change, Condition, Place, Refusal, Revision, StoresFailure, StoresHandle, Tags, TokenPair, Wanted,
    Write,
};
use crate::keyring::{ChangeContext, record::Time};

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
    /// The access token ends before this moment.
    #[must_use]
    pub fn ends_before(&self, moment: Time) -> bool {
        self.access_expires_at.is_some_and(|end| end < moment)
    }
}

impl StoresHandle {
    /// The tokens of a user with a provider, and their state.
    ///
    /// # Errors
    /// See [`StoresFailure`].
    pub async fn auth_tokens(
        &self,
        user: &Owner,
        provider: &ProviderName,
    ) -> Result<Option<(AuthTokens, Revision)>, StoresFailure> {
        let Some(opened) = self.read(&Place::auth_token(user.clone(), provider)).await? else {
            return Ok(None);
        };
        let time = |seconds: Option<i64>| seconds.and_then(|seconds| DateTime::from_timestamp(seconds, 0));
        let tokens = AuthTokens {
            pair: opened.tokens()?,
            access_expires_at: time(opened.about.access_expires_at),
            refresh_expires_at: time(opened.about.refresh_expires_at),
        };
        Ok(Some((tokens, opened.revision)))
    }

    /// Puts tokens in the place of those that were in a state; the state afterwards, or `None` when somebody else was first.
    ///
    /// # Errors
    /// See [`StoresFailure`].
    pub async fn replace_auth_tokens(
        &self,
        context: &ChangeContext,
        (user, provider): (&Owner, &ProviderName),
        before: &Revision,
        tokens: &AuthTokens,
    ) -> Result<Option<Revision>, StoresFailure> {
        let about = About {
            description: None,
            access_expires_at: tokens.access_expires_at.map(|at| at.timestamp()),
            refresh_expires_at: tokens.refresh_expires_at.map(|at| at.timestamp()),
        };
        let write = Write::Put(tokens.pair.to_bytes(), about);
        self.on_state(context, ("auth_token.write", before), Place::auth_token(user.clone(), provider), write)
            .await
    }

    /// Deletes tokens that are in a state; `false` when they are not any more.
    ///
    /// # Errors
    /// See [`StoresFailure`].
    pub async fn delete_auth_tokens(
        &self,
        context: &ChangeContext,
        (user, provider): (&Owner, &ProviderName),
        before: &Revision,
    ) -> Result<bool, StoresFailure> {
        let place = Place::auth_token(user.clone(), provider);
        let deleted = self.on_state(context, ("auth_token.delete", before), place, Write::Delete).await?;
        Ok(deleted.is_some())
    }

    async fn on_state(
        &self,
        context: &ChangeContext,
        (operation, before): (&'static str, &Revision),
        place: Place,
        write: Write,
    ) -> Result<Option<Revision>, StoresFailure> {
        let condition = Condition::Match(Tags::These(vec![before.tag()]));
        let wanted = Wanted { operation, is_batch: false, context, still_may: None, opened_with: &[] };
        match self.change_one(wanted, Change { place, condition, write }).await? {
            Some(Ok(done)) => Ok(done.revision),
            Some(Err(Refusal::NotPermitted)) => Err(StoresFailure::NotPermitted),
            Some(Err(Refusal::Precondition | Refusal::Missing)) | None => Ok(None),
        }
    }
}
