//! The end of tokens: revoked at their provider, then deleted here.

use std::sync::Arc;

use claviger_actors::{
    keyring::ChangeContext,
    stores::{Place, StoresFailure},
};

use super::{CallError, Providers, call::Provider};

/// How often it begins anew because the tokens were refreshed meanwhile.
const TRIES: usize = 4;

/// Why tokens are still there.
#[derive(Debug, thiserror::Error)]
pub enum LogoutFailure {
    /// There are none.
    #[error("there are no such tokens")]
    Missing,
    /// The provider has not revoked them.
    #[error(
        "the provider has not revoked the tokens, which are kept: try again, or delete them without it by force or DELETE"
    )]
    Provider(CallError),
    /// They change all the time.
    #[error("the tokens were changed meanwhile; try again")]
    Overtaken,
    /// The stores failed.
    #[error(transparent)]
    Stores(#[from] StoresFailure),
}

impl Providers {
    /// Has tokens revoked, and deletes them: `true` when the provider has revoked them. Tokens that it does not revoke stay, or nobody could ask for
    /// that again; `force` deletes them all the same.
    ///
    /// # Errors
    /// See [`LogoutFailure`].
    pub async fn logout(
        self: &Arc<Self>,
        asker: ChangeContext,
        place: Place,
        force: bool,
    ) -> Result<bool, LogoutFailure> {
        let work = |this: Arc<Self>| async move { this.log_out(&asker, &place, force).await };
        self.errand(work).await.unwrap_or(Err(LogoutFailure::Overtaken))
    }

    async fn log_out(
        &self,
        asker: &ChangeContext,
        place: &Place,
        force: bool,
    ) -> Result<bool, LogoutFailure> {
        for _ in 0..TRIES {
            let opened = self.stores.read(place).await?.ok_or(LogoutFailure::Missing)?;
            let pair = opened.tokens()?;
            let revoked = match self.of(place).filter(|provider| provider.revokes()) {
                None => false,
                Some(provider) => {
                    let refresh_token = pair.refresh_token.as_ref().map(|token| token.as_str());
                    match revoke(provider, &pair.access_token, refresh_token).await {
                        Ok(()) => true,
                        Err(_) if force => false,
                        Err(error) => return Err(LogoutFailure::Provider(error)),
                    }
                }
            };
            // A refresh may have brought others, which must be revoked too.
            let ending = ("auth_token.logout", &opened.revision, None);
            if self.stores.delete_auth_tokens(asker, place, ending).await? {
                return Ok(revoked);
            }
        }
        Err(LogoutFailure::Overtaken)
    }
}

/// The refresh token first: with it goes what was made from it (RFC 7009 §2.1), and a provider that fails then is asked for all of it again.
async fn revoke(provider: &Provider, access: &str, refresh: Option<&str>) -> Result<(), CallError> {
    if let Some(refresh) = refresh {
        provider.revoke(refresh, "refresh_token").await?;
    }
    provider.revoke(access, "access_token").await?;
    Ok(())
}
