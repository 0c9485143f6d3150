//! Who calls.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use claviger_actors::{
    access::{Giver, Principal},
    devices::{ActingDevice, Device},
    keyring::Snapshot,
};
use claviger_crypto::digest;
use claviger_entity::{DeviceRole, RoleName};
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
    /// A device that called by its own token.
    Device {
        /// Derived from the device and what it is connected as.
        id: Uuid,
        /// Which, as it was when it came.
        device: Arc<Device>,
        /// As what it is connected.
        role: DeviceRole,
        /// Keyed hash of the token.
        token: [u8; 32],
        /// Name in records.
        name: String,
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
        let id = derived(&[issuer.as_bytes(), &[0], subject.as_bytes()].concat());
        Self::Subject { id, issuer, subject, name, roles }
    }

    /// Whom a trusted proxy has recognised. No issuer is called `proxy`.
    #[must_use]
    pub fn proxied(user: String) -> Self {
        let name = format!("proxy:{user}");
        Self::of("proxy".to_owned(), user, name, Vec::new())
    }

    /// Whoever knows the password. No issuer is called `password`.
    #[must_use]
    pub fn by_password() -> Self {
        Self::of("password".to_owned(), "password".to_owned(), "password".to_owned(), Vec::new())
    }

    /// Whom their certificate names, with the kind of the name. No issuer is called `certificate`.
    #[must_use]
    pub fn by_certificate(name: String, roles: Vec<RoleName>) -> Self {
        let known_as = format!("certificate:{name}");
        Self::of("certificate".to_owned(), name, known_as, roles)
    }

    /// A member of the mesh, as it names them. No issuer is called `mesh`.
    #[must_use]
    pub fn of_mesh(login: String, roles: Vec<RoleName>) -> Self {
        let name = format!("mesh:{login}");
        Self::of("mesh".to_owned(), login, name, roles)
    }

    /// A device that presented a token of its own, found by [`Devices::by_token`](claviger_actors::devices::Devices::by_token).
    #[must_use]
    pub fn device(device: Arc<Device>, role: DeviceRole, token: [u8; 32]) -> Self {
        // No issuer is called `device`, so this is nobody else's text.
        let id = derived(&[b"device\0", device.id.as_bytes().as_slice(), role.as_str().as_bytes()].concat());
        let name = format!("device:{}", device.id);
        Self::Device { id, device, role, token, name }
    }

    /// Identity within the deployment; scope of an `Idempotency-Key`.
    #[must_use]
    pub fn id(&self) -> Uuid {
        match self {
            Self::ApiKey { principal, .. } => principal.record.id,
            Self::Subject { id, .. } | Self::Device { id, .. } => *id,
        }
    }

    /// The API key, if it is one.
    #[must_use]
    pub const fn api_key(&self) -> Option<&Arc<Principal>> {
        match self {
            Self::ApiKey { principal, .. } => Some(principal),
            Self::Subject { .. } | Self::Device { .. } => None,
        }
    }

    /// It has called, now.
    pub fn used(&self, now: DateTime<Utc>) {
        if let Some(principal) = self.api_key() {
            principal.used(now);
        }
    }

    /// Until when its secret is accepted, if it is one that was replaced.
    #[must_use]
    pub const fn replaced_until(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::ApiKey { until, .. } => *until,
            Self::Subject { .. } | Self::Device { .. } => None,
        }
    }

    /// Name in records.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::ApiKey { principal, .. } => principal.record.name.as_str(),
            Self::Subject { name, .. } | Self::Device { name, .. } => name,
        }
    }

    /// Roles it was given.
    #[must_use]
    pub fn roles(&self) -> &[RoleName] {
        match self {
            Self::ApiKey { principal, .. } => &principal.record.roles,
            Self::Subject { roles, .. } => roles,
            Self::Device { device, role, .. } => {
                device.grants.get(role).map_or(&[], |grant| grant.roles.as_slice())
            }
        }
    }

    /// As policies see it.
    #[must_use]
    pub fn as_policy_ref(&self) -> PrincipalRef<'_> {
        match self {
            Self::ApiKey { principal, .. } => principal.record.as_policy_ref(),
            Self::Subject { issuer, subject, roles, .. } => PrincipalRef::Subject { issuer, subject, roles },
            Self::Device { device, role, .. } => device.as_policy_ref(*role),
        }
    }

    /// The device, if it called by its own token.
    #[must_use]
    pub fn acting_device(&self) -> Option<ActingDevice> {
        match self {
            Self::Device { device, role, token, .. } => {
                Some(ActingDevice { id: device.id, role: *role, token: Some(*token) })
            }
            Self::ApiKey { .. } | Self::Subject { .. } => None,
        }
    }

    /// As whoever would hand on a credential; bearers of tokens hand on none.
    #[must_use]
    pub fn as_giver(&self) -> Option<Giver<'_>> {
        match self {
            Self::ApiKey { principal, until } => Some(Giver::of_api_key(&principal.record, *until)),
            Self::Device { .. } => Some(Giver { principal: self.as_policy_ref(), ends_at: None }),
            Self::Subject { .. } => None,
        }
    }

    /// An incident shuts out whoever bears tokens of this issuer or subject.
    #[must_use]
    pub fn is_shut_out(&self, snapshot: &Snapshot) -> bool {
        match self {
            Self::Subject { issuer, subject, .. } => snapshot.standing().bars_bearer(issuer, subject),
            Self::ApiKey { .. } | Self::Device { .. } => false,
        }
    }

    /// Holds the role that may do everything.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.as_policy_ref().is_admin()
    }
}

/// An id that stands for whoever is known by such a text.
fn derived(text: &[u8]) -> Uuid {
    let mut id = [0; 16];
    id.iter_mut().zip(digest::sha256(text)).for_each(|(to, from)| *to = from);
    uuid::Builder::from_custom_bytes(id).into_uuid()
}
