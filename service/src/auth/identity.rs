//! Who calls.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use claviger_actors::access::Principal;
use claviger_crypto::digest;
use claviger_entity::RoleName;
use claviger_policy::PrincipalRef;
use uuid::Uuid;

/// A caller that was recognised.
#[derive(Debug, Clone)]
pub enum Identity {
    /// The holder of an API key.
    ApiKey {
        /// Who.
        principal: Arc<Principal>,
        /// Until when the secret is accepted, if it is one that was replaced.
        until: Option<DateTime<Utc>>,
    },
    /// The bearer of a token: of one that this service issued as a credential for itself, or of one of an issuer that is trusted.
    Subject {
        /// Derived from the two others.
        id: Uuid,
        /// `iss`.
        issuer: String,
        /// `sub`.
        subject: String,
        /// Name in records.
        name: String,
        /// Roles that the configuration gives.
        roles: Vec<RoleName>,
    },
}

impl Identity {
    /// The bearer of a token of our own.
    #[must_use]
    pub fn subject(issuer: String, subject: String) -> Self {
        let name = subject.clone();
        Self::of(issuer, subject, name, Vec::new())
    }

    /// The bearer of a token of another issuer, who is put on record with it: a subject there may be called as anybody here.
    #[must_use]
    pub fn elsewhere(issuer: String, subject: String, roles: Vec<RoleName>) -> Self {
        let name = format!("{issuer}#{subject}");
        Self::of(issuer, subject, name, roles)
    }

    fn of(issuer: String, subject: String, name: String, roles: Vec<RoleName>) -> Self {
        let digest = digest::sha256(&[issuer.as_bytes(), &[0], subject.as_bytes()].concat());
        let mut id = [0; 16];
        id.iter_mut().zip(digest).for_each(|(to, from)| *to = from);
        Self::Subject { id: uuid::Builder::from_custom_bytes(id).into_uuid(), issuer, subject, name, roles }
    }

    /// Identity within the deployment; scope of an `Idempotency-Key`.
    #[must_use]
    pub fn id(&self) -> Uuid {
        match self {
            Self::ApiKey { principal, .. } => principal.record.id,
            Self::Subject { id, .. } => *id,
        }
    }

    /// The API key, if it is one.
    #[must_use]
    pub const fn api_key(&self) -> Option<&Arc<Principal>> {
        match self {
            Self::ApiKey { principal, .. } => Some(principal),
            Self::Subject { .. } => None,
        }
    }

    /// Until when its secret is accepted, if it is one that was replaced.
    #[must_use]
    pub const fn replaced_until(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::ApiKey { until, .. } => *until,
            Self::Subject { .. } => None,
        }
    }

    /// Name in records.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::ApiKey { principal, .. } => principal.record.name.as_str(),
            Self::Subject { name, .. } => name,
        }
    }

    /// Roles it was given.
    #[must_use]
    pub fn roles(&self) -> &[RoleName] {
        match self {
            Self::ApiKey { principal, .. } => &principal.record.roles,
            Self::Subject { roles, .. } => roles,
        }
    }

    /// As policies see it.
    #[must_use]
    pub fn as_policy_ref(&self) -> PrincipalRef<'_> {
        match self {
            Self::ApiKey { principal, .. } => principal.record.as_policy_ref(),
            Self::Subject { issuer, subject, roles, .. } => PrincipalRef::Subject { issuer, subject, roles },
        }
    }

    /// Holds the role that may do everything.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.as_policy_ref().is_admin()
    }
}
