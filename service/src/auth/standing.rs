//! Who holds a session, judged anew for every call and whenever something was revoked.

use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use claviger_actors::{devices::ActingDevice, session::scopes::Scopes};
use claviger_entity::{DeviceId, Scope};
use zeroize::Zeroizing;

use super::{Identity, Known, Peer, Refusal, authenticate::judge};

/// By what a session was let in. No `Debug`: it holds credentials.
pub struct Standing {
    credential: Credential,
    /// The certificate of its connection, which ends with that whatever else was shown.
    connection: Option<Arc<Peer>>,
    /// The device that the session is bound to, and the scopes that it has by its approval.
    device: Option<(ActingDevice, Scopes)>,
    /// What the session was granted.
    granted: Scopes,
}

enum Credential {
    /// An API key or a token.
    Bearer(Zeroizing<String>),
    /// The token of a device, by its keyed hash.
    Device([u8; 32]),
    /// The certificate of the connection.
    Certificate(Arc<Peer>),
    /// Whom somebody else has recognised, or who knew the password.
    Named(Arc<Identity>),
}

impl Standing {
    /// By an API key or a token.
    #[must_use]
    pub const fn bearer(credential: Zeroizing<String>) -> Self {
        Self::of(Credential::Bearer(credential))
    }

    /// By the token of a device.
    #[must_use]
    pub const fn device_token(hash: [u8; 32]) -> Self {
        Self::of(Credential::Device(hash))
    }

    /// By the word of somebody who is trusted.
    #[must_use]
    pub fn named(identity: Identity) -> Self {
        Self::of(Credential::Named(Arc::new(identity)))
    }

    /// By the certificate of the connection.
    #[must_use]
    pub const fn certificate(peer: Arc<Peer>) -> Self {
        Self::of(Credential::Certificate(peer))
    }

    const fn of(credential: Credential) -> Self {
        Self { credential, connection: None, device: None, granted: Scopes::NONE }
    }

    /// Only as long as the certificate of this connection holds, if it has one.
    #[must_use]
    pub fn over(self, connection: Option<Arc<Peer>>) -> Self {
        Self { connection, ..self }
    }

    /// It came over a connection that has a certificate.
    #[must_use]
    pub const fn has_certificate(&self) -> bool {
        self.connection.is_some()
    }

    /// Held to these scopes; before, to none.
    #[must_use]
    pub fn held_to(self, granted: Scopes) -> Self {
        Self { granted, ..self }
    }

    /// May let others have all of these scopes.
    #[must_use]
    pub fn may_give<'a>(&self, scopes: impl IntoIterator<Item = &'a Scope>) -> bool {
        scopes.into_iter().all(|scope| self.granted.may_give(*scope))
    }

    /// The device that the session is bound to.
    #[must_use]
    pub fn device(&self) -> Option<&DeviceId> {
        self.device.as_ref().map(|(device, _)| &device.id)
    }

    /// Only as long as this device is paired for these scopes.
    #[must_use]
    pub fn bound_to(self, device: ActingDevice, scopes: Scopes) -> Self {
        Self { device: Some((device, scopes)), ..self }
    }

    /// It is bound to a device.
    #[must_use]
    pub const fn is_bound(&self) -> bool {
        self.device.is_some()
    }

    /// The API key or token.
    #[must_use]
    pub fn credential(&self) -> Option<&str> {
        match &self.credential {
            Credential::Bearer(credential) => Some(credential),
            Credential::Device(_) | Credential::Named(_) | Credential::Certificate(_) => None,
        }
    }

    /// It is a token, which may be revoked or expire without a change of the ring.
    #[must_use]
    pub fn is_token(&self) -> bool {
        self.credential().is_some_and(|credential| credential.contains('.'))
    }

    /// When the credential of this identity ends by itself, or the connection does.
    #[must_use]
    pub fn ends_at(&self, identity: &Identity) -> Option<DateTime<Utc>> {
        let connection = self.connection.as_ref().map(|peer| peer.ends_at());
        [connection, self.credential_ends_at(identity)].into_iter().flatten().min()
    }

    fn credential_ends_at(&self, identity: &Identity) -> Option<DateTime<Utc>> {
        match identity.api_key() {
            Some(principal) => {
                let ends = [principal.record.expires_at, identity.replaced_until()];
                ends.into_iter().flatten().min()
            }
            None => match &self.credential {
                Credential::Certificate(peer) => Some(peer.ends_at()),
                Credential::Bearer(token) => expiry(token),
                Credential::Device(_) | Credential::Named(_) => None,
            },
        }
    }

    /// Who it is, if they still are. That is asked whether or not they do anything, so it is no use of their credential.
    ///
    /// # Errors
    /// See [`Refusal`].
    pub fn identity(&self, known: Known<'_>, now: DateTime<Utc>) -> Result<Identity, Refusal> {
        if let Some(peer) = &self.connection {
            peer.still(now)?;
        }
        let devices = known.snapshot.devices();
        if let Some((device, scopes)) = &self.device {
            let grant = devices.still(device).ok_or(Refusal::Revoked)?;
            if !grant.approved().holds_all(*scopes) {
                return Err(Refusal::Revoked);
            }
        }
        match &self.credential {
            Credential::Bearer(credential) => judge(known, credential, now),
            Credential::Device(hash) => {
                let (device, role) = devices.by_token(hash).ok_or(Refusal::Revoked)?;
                Ok(Identity::device(Arc::clone(device), role, *hash))
            }
            Credential::Certificate(peer) => {
                peer.still(now)?;
                let identity = peer.identity().ok_or(Refusal::Unknown)?;
                if identity.is_shut_out(known.snapshot) {
                    Err(Refusal::Revoked)
                } else {
                    Ok(Identity::clone(identity))
                }
            }
            Credential::Named(identity) if identity.is_shut_out(known.snapshot) => Err(Refusal::Revoked),
            Credential::Named(identity) => Ok(Identity::clone(identity)),
        }
    }
}

/// Marks a request that a session has made: only code of this process can put it there.
#[derive(Clone)]
pub struct InSession(pub Arc<Standing>);

/// `exp` of a token, which has been verified.
fn expiry(token: &str) -> Option<DateTime<Utc>> {
    let payload = URL_SAFE_NO_PAD.decode(token.split('.').nth(1)?).ok()?;
    let claims: serde_json::Value = serde_json::from_slice(&payload).ok()?;
    let exp = claims.get("exp")?;
    #[expect(clippy::cast_possible_truncation, reason = "it was checked: it is a date near now")]
    let seconds = exp.as_i64().or_else(|| exp.as_f64().map(|exp| exp.floor() as i64))?;
    DateTime::from_timestamp(seconds, 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expiry_is_read() {
        let token = |claims: &str| format!("e30.{}.x", URL_SAFE_NO_PAD.encode(claims));
        assert_eq!(expiry(&token("{\"exp\":5}")).map(|at| at.timestamp()), Some(5));
        assert_eq!(expiry(&token("{\"exp\":5.9}")).map(|at| at.timestamp()), Some(5));
        assert_eq!(expiry(&token("{}")), None);
        assert_eq!(expiry("clv_a_b"), None);
    }
}
