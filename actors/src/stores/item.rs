//! What is stored, and where it belongs.

use claviger_entity::{Kid, Owner, ProviderName, SecretName};
use uuid::Uuid;

use crate::keyring::record::Time;

/// Which of the stores.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Store {
    /// Secrets of owners.
    Secrets,
    /// Access and refresh tokens of third parties.
    AuthTokens,
    /// Offline tokens.
    OfflineTokens,
}

impl Store {
    /// The text form: the name of the table.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Secrets => "secrets",
            Self::AuthTokens => "auth_tokens",
            Self::OfflineTokens => "offline_tokens",
        }
    }
}

/// Where a value belongs. It is sealed in its place and opens in no other.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    store: Store,
    owner: Owner,
    name: String,
}

impl Place {
    /// A secret.
    #[must_use]
    pub fn secret(owner: Owner, name: &SecretName) -> Self {
        Self { store: Store::Secrets, owner, name: name.as_str().to_owned() }
    }

    /// The tokens of a user with a provider.
    #[must_use]
    pub fn auth_token(user: Owner, provider: &ProviderName) -> Self {
        Self { store: Store::AuthTokens, owner: user, name: provider.as_str().to_owned() }
    }

    /// The offline token of a user.
    #[must_use]
    pub const fn offline_token(user: Owner) -> Self {
        Self { store: Store::OfflineTokens, owner: user, name: String::new() }
    }

    /// Which store.
    #[must_use]
    pub const fn store(&self) -> Store {
        self.store
    }

    /// Whose.
    #[must_use]
    pub const fn owner(&self) -> &Owner {
        &self.owner
    }

    /// Name of a secret, provider of tokens, nothing for an offline token.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// What is kept in clear beside a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// What a secret is for.
    pub description: Option<String>,
    /// End of an access token, in seconds since the epoch.
    pub access_expires_at: Option<i64>,
    /// End of a refresh token, in seconds since the epoch.
    pub refresh_expires_at: Option<i64>,
}

/// A sealed value as its row holds it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Item {
    /// Identity from creation to deletion: one that comes after under the same name is another.
    pub id: Uuid,
    /// Where it belongs.
    pub place: Place,
    /// Grows by one with each change.
    pub version: u64,
    /// Version of the key that it is sealed under.
    pub kid: Kid,
    /// The value, sealed.
    pub sealed: Vec<u8>,
    /// What is in clear.
    pub about: About,
    /// Creation.
    pub created_at: Time,
    /// Last change.
    pub updated_at: Time,
}

/// A state of a value, told from every other that it had or will have, also after a deletion: its entity tag (RFC 9110 §8.8.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Revision {
    /// Identity of the value.
    pub id: Uuid,
    /// Its version.
    pub version: u64,
}

impl Revision {
    /// The entity tag, quoted.
    #[must_use]
    pub fn tag(&self) -> String {
        format!("\"{}.{}\"", self.version, self.id.simple())
    }
}

impl Item {
    /// Its state.
    #[must_use]
    pub const fn revision(&self) -> Revision {
        Revision { id: self.id, version: self.version }
    }
}
