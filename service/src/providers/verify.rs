//! Whether a token is one of a provider's: by its own word (RFC 7662), or by its keys.

use claviger_actors::stores::Place;
use claviger_crypto::claims::{self, ClaimsError, Expectation};
use serde_json::{Map, Value};

use super::{CallError, Providers, call::Provider};
use crate::auth::KeyFailure;

/// What a token is not valid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotValid {
    /// As `/v1/tokens/verify` has it.
    pub code: &'static str,
    /// One sentence.
    pub detail: &'static str,
}

/// What came of a look at a token.
pub enum Judged {
    /// Nobody can tell: the provider is not configured, or has neither keys nor introspection.
    Unsupported,
    /// It is not valid.
    Not(NotValid),
    /// It is, and says this.
    Valid(Map<String, Value>),
}

const fn not(code: &'static str, detail: &'static str) -> Judged {
    Judged::Not(NotValid { code, detail })
}

impl Providers {
    /// Judges a token. The provider's own word counts where it gives one: only it knows what was revoked.
    ///
    /// # Errors
    /// The provider can't be asked.
    pub(crate) async fn verify(
        &self,
        place: &Place,
        token: &str,
        audience: Option<&str>,
    ) -> Result<Judged, CallError> {
        let Some(provider) = self.of(place) else { return Ok(Judged::Unsupported) };
        if provider.introspects() {
            let Some((active, claims)) = provider.introspect(token).await? else {
                return Ok(Judged::Unsupported);
            };
            if !active {
                return Ok(not("token_inactive", "the provider says that the token is not active"));
            }
            return Ok(self.judged(provider, claims, audience, true));
        }
        let Some(keys) = &provider.keys else { return Ok(Judged::Unsupported) };
        match keys.claims(token).await {
            Ok(claims) => Ok(self.judged(provider, claims, audience, false)),
            Err(KeyFailure::Malformed) => Ok(not("token_malformed", "it is no signed token with a kid")),
            Err(KeyFailure::UnknownKey) => Ok(not("key_not_found", "the provider has no key of this kid")),
            Err(KeyFailure::Signature) => {
                Ok(not("signature_invalid", "its signature or algorithm does not fit the key"))
            }
            Err(KeyFailure::Away) => Err(CallError::Keys),
        }
    }

    /// Judges claims: the provider may say that a token is active, and be wrong about the time or about whom it is for.
    fn judged(
        &self,
        provider: &Provider,
        claims: Map<String, Value>,
        audience: Option<&str>,
        is_introspected: bool,
    ) -> Judged {
        let settings = &provider.settings;
        let said = claims.get("iss").and_then(Value::as_str).unwrap_or_default().to_owned();
        let client = settings.client_id.as_str();
        // A token for somebody else's resource is ours all the same when it was given to this client.
        let is_clients = ["azp", "client_id"]
            .iter()
            .any(|claim| claims.get(*claim).and_then(Value::as_str) == Some(client));
        let wanted = audience.or(settings.audience.as_deref());
        let mut looked_at = claims.clone();
        if wanted.is_none() && (is_clients || is_introspected) {
            looked_at.remove("aud");
        }
        let expected = Expectation {
            now: self.now(),
            issuer: settings.issuer.as_deref().unwrap_or(&said),
            extra_issuers: &[],
            allow_missing_iss: is_introspected,
            audience: wanted.or_else(|| looked_at.contains_key("aud").then_some(client)),
            required: &[],
            allow_missing_exp: is_introspected,
        };
        match claims::check(&looked_at, &expected) {
            Ok(()) => Judged::Valid(claims),
            Err(ClaimsError::Expired) => not("token_expired", "the token has expired"),
            Err(ClaimsError::Invalid(rule)) => not("claims_invalid", rule),
        }
    }
}
