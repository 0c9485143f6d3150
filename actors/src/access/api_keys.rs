//! Changes of API keys.

use chrono::TimeDelta;
use claviger_entity::{ApiKeyName, HumanDuration, RoleName};
use claviger_policy::PrincipalRef;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{Access, AccessError, PreviousToken, PrincipalRecord};
use crate::keyring::record::Time;

/// Most roles of one API key.
const ROLES_MAX: usize = 16;
/// Longest time that a rotation lets both secrets in.
const OVERLAP_MAX: HumanDuration = HumanDuration::from_days(30);

/// What can happen to API keys. Secrets are drawn and hashed before a command is sent.
pub enum ApiKeyCommand {
    /// A new one.
    Create {
        /// Identity, drawn by the shell.
        id: Uuid,
        /// Name.
        name: ApiKeyName,
        /// Roles.
        roles: Vec<RoleName>,
        /// Expiry.
        expires_at: Option<Time>,
        /// Its secret.
        secret: NewSecret,
    },
    /// A new secret for it.
    Rotate {
        /// Which.
        id: Uuid,
        /// How long the old secret is accepted beside the new one.
        overlap: HumanDuration,
        /// The new secret.
        secret: NewSecret,
    },
    /// It is not accepted any more.
    Delete {
        /// Which.
        id: Uuid,
    },
}

/// A fresh credential. No `Debug`: it is a secret.
pub struct NewSecret {
    /// `clv_<id>_<secret>`, for the answer.
    pub text: Zeroizing<String>,
    /// Its keyed hash, for the row.
    pub hash: [u8; 32],
}

/// What a command does, decided but not yet written.
pub struct ApiKeyChange {
    /// The row as it will be.
    pub record: PrincipalRecord,
    /// The row does not exist yet.
    pub is_new: bool,
    /// Such as `api_key.created`.
    pub event: &'static str,
    /// The secret, for the answer.
    pub secret: Option<Zeroizing<String>>,
}

/// What an answer names. It is kept sealed for retries, so it may hold the secret.
#[derive(Clone, serde::Serialize, serde::Deserialize)]
pub struct ApiKeySubject {
    /// Which.
    pub id: Uuid,
    /// The secret, where there is a new one.
    pub secret: Option<Zeroizing<String>>,
}

impl ApiKeyCommand {
    /// Judges the command; nothing has changed yet.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub fn decide(self, access: &Access, now: Time) -> Result<ApiKeyChange, AccessError> {
        match self {
            Self::Create { id, name, roles, expires_at, secret } => {
                if roles.len() > ROLES_MAX {
                    return Err(AccessError::Invalid("roles must be at most 16"));
                }
                if expires_at.is_some_and(|expires_at| expires_at <= now) {
                    return Err(AccessError::Invalid("expires_at must be in the future"));
                }
                let record = PrincipalRecord {
                    id,
                    name,
                    token_hash: secret.hash,
                    previous: None,
                    roles,
                    created_at: now,
                    expires_at,
                    disabled_at: None,
                };
                Ok(ApiKeyChange { record, is_new: true, event: "api_key.created", secret: Some(secret.text) })
            }
            Self::Rotate { id, overlap, secret } => {
                let mut record = live(access, id)?;
                if overlap > OVERLAP_MAX {
                    return Err(AccessError::Invalid("overlap must be at most 30d"));
                }
                let until = now + TimeDelta::seconds(i64::try_from(overlap.as_secs()).unwrap_or(0));
                record.previous = (until > now).then_some(PreviousToken { hash: record.token_hash, until });
                record.token_hash = secret.hash;
                Ok(ApiKeyChange {
                    record,
                    is_new: false,
                    event: "api_key.rotated",
                    secret: Some(secret.text),
                })
            }
            Self::Delete { id } => {
                let mut record = live(access, id)?;
                if is_lasting_admin(&record)
                    && !access
                        .principals()
                        .any(|other| other.record.id != id && is_lasting_admin(&other.record))
                {
                    return Err(AccessError::LastAdministrator);
                }
                record.disabled_at = Some(now);
                record.previous = None;
                Ok(ApiKeyChange { record, is_new: false, event: "api_key.deleted", secret: None })
            }
        }
    }
}

fn live(access: &Access, id: Uuid) -> Result<PrincipalRecord, AccessError> {
    access.api_key(id).map(|principal| principal.record.clone()).ok_or(AccessError::ApiKeyNotFound)
}

fn is_lasting_admin(record: &PrincipalRecord) -> bool {
    let is_admin = PrincipalRef::is_admin(&record.as_policy_ref());
    is_admin && record.disabled_at.is_none() && record.expires_at.is_none()
}
