//! Principals and resources as Cedar sees them.

use std::collections::HashSet;

use cedar_policy::{Entity, EntityId, EntityTypeName, EntityUid, RestrictedExpression};
use claviger_entity::{ApiKeyName, DeviceId, KeyName, KeyType, Owner, PolicyName, RoleName, Tier, Usage};
use uuid::Uuid;

use crate::schema::{ADMIN, Fixed, Types};

/// Who asks.
#[derive(Debug, Clone, Copy)]
pub enum PrincipalRef<'a> {
    /// The holder of an API key: `Claviger::ApiKey::"<id>"`, 32 hex digits.
    ApiKey {
        /// Identity.
        id: Uuid,
        /// Name.
        name: &'a ApiKeyName,
        /// Roles it was given.
        roles: &'a [RoleName],
    },
    /// The bearer of a token: `Claviger::Subject::"<issuer>#<subject>"`.
    Subject {
        /// `iss`.
        issuer: &'a str,
        /// `sub`.
        subject: &'a str,
        /// Roles that configuration maps the pair to.
        roles: &'a [RoleName],
    },
    /// A device that calls by its own token: `Claviger::Device::"<id>"`, 64 hex digits.
    Device {
        /// Identity.
        id: DeviceId,
        /// Roles it was given for what it is connected as.
        roles: &'a [RoleName],
    },
}

/// What is asked about.
#[derive(Debug, Clone, Copy)]
pub enum ResourceRef<'a> {
    /// A key: `Claviger::Key::"<name>"`, its labels as tags.
    Key(KeyFacts<'a>),
    /// An API key.
    ApiKey {
        /// Identity.
        id: Uuid,
        /// Name.
        name: &'a ApiKeyName,
        /// Roles.
        roles: &'a [RoleName],
    },
    /// A policy: `Claviger::Policy::"<name>"`.
    Policy(&'a PolicyName),
    /// A secret: `Claviger::Secret::"<owner>/<name>"`. An owner may hold a slash, a name can't, so no two are called alike.
    Secret {
        /// Whose.
        owner: &'a Owner,
        /// Name; empty when all secrets of the owner are meant.
        name: &'a str,
    },
    /// Tokens of a third party: `Claviger::AuthToken::"<user>/<provider>"`.
    AuthToken {
        /// Whose.
        owner: &'a Owner,
        /// Who issued them.
        provider: &'a str,
    },
    /// An offline token: `Claviger::OfflineToken::"<user>"`.
    OfflineToken {
        /// Whose.
        owner: &'a Owner,
    },
    /// The deployment.
    Deployment,
}

/// What policies may ask about a key.
#[derive(Debug, Clone, Copy)]
pub struct KeyFacts<'a> {
    /// Name.
    pub name: &'a KeyName,
    /// Type.
    pub key_type: KeyType,
    /// Usage.
    pub usage: Usage,
    /// Cryptoperiod class.
    pub tier: Tier,
    /// Labels.
    pub labels: &'a std::collections::BTreeMap<String, String>,
}

impl PrincipalRef<'_> {
    /// Holds the role that may do everything.
    #[must_use]
    pub fn is_admin(&self) -> bool {
        self.roles().iter().any(|role| role.as_str() == ADMIN)
    }

    /// Roles it was given.
    #[must_use]
    pub const fn roles(&self) -> &[RoleName] {
        match self {
            Self::ApiKey { roles, .. } | Self::Subject { roles, .. } | Self::Device { roles, .. } => roles,
        }
    }

    pub(crate) fn uid(&self, types: &Types) -> EntityUid {
        match self {
            Self::ApiKey { id, .. } => api_key(types, *id),
            Self::Subject { issuer, subject, .. } => of(&types.subject, &format!("{issuer}#{subject}")),
            Self::Device { id, .. } => of(&types.device, &id.to_string()),
        }
    }

    pub(crate) fn role_uids<'a>(&'a self, types: &'a Types) -> impl Iterator<Item = EntityUid> + 'a {
        self.roles().iter().map(|role| of(&types.role, role.as_str()))
    }

    pub(crate) fn entity(&self, types: &Types) -> Option<Entity> {
        let parents = self.role_uids(types).collect::<HashSet<_>>();
        let attributes = match self {
            Self::ApiKey { name, .. } => vec![("name", name.as_str())],
            Self::Subject { issuer, subject, .. } => vec![("issuer", *issuer), ("subject", *subject)],
            Self::Device { .. } => Vec::new(),
        };
        entity(self.uid(types), &attributes, parents, [])
    }
}

impl ResourceRef<'_> {
    pub(crate) fn uid(&self, fixed: &Fixed) -> EntityUid {
        let types = &fixed.types;
        match self {
            Self::Key(key) => of(&types.key, key.name.as_str()),
            Self::ApiKey { id, .. } => api_key(types, *id),
            Self::Policy(name) => of(&types.policy, name.as_str()),
            Self::Secret { owner, name } => of(&types.secret, &format!("{owner}/{name}")),
            Self::AuthToken { owner, provider } => of(&types.auth_token, &format!("{owner}/{provider}")),
            Self::OfflineToken { owner } => of(&types.offline_token, owner.as_str()),
            Self::Deployment => types.deployment.clone(),
        }
    }

    pub(crate) fn entity(&self, fixed: &Fixed) -> Option<Entity> {
        let uid = self.uid(fixed);
        match self {
            Self::Key(key) => {
                let attributes = [
                    ("name", key.name.as_str()),
                    ("type", key.key_type.as_str()),
                    ("usage", key.usage.as_str()),
                    ("tier", key.tier.as_str()),
                ];
                let labels = key.labels.iter().map(|(name, value)| (name.clone(), text(value)));
                entity(uid, &attributes, HashSet::new(), labels)
            }
            Self::ApiKey { id, name, roles } => {
                PrincipalRef::ApiKey { id: *id, name, roles }.entity(&fixed.types)
            }
            Self::Policy(name) => entity(uid, &[("name", name.as_str())], HashSet::new(), []),
            Self::Secret { owner, name } | Self::AuthToken { owner, provider: name } => {
                entity(uid, &[("owner", owner.as_str()), ("name", name)], HashSet::new(), [])
            }
            Self::OfflineToken { owner } => {
                entity(uid, &[("owner", owner.as_str()), ("name", "offline")], HashSet::new(), [])
            }
            Self::Deployment => entity(uid, &[("name", "deployment")], HashSet::new(), []),
        }
    }
}

fn api_key(types: &Types, id: Uuid) -> EntityUid {
    of(&types.api_key, &id.simple().to_string())
}

fn of(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn entity(
    uid: EntityUid,
    attributes: &[(&str, &str)],
    parents: HashSet<EntityUid>,
    tags: impl IntoIterator<Item = (String, RestrictedExpression)>,
) -> Option<Entity> {
    let attributes = attributes.iter().map(|(name, value)| ((*name).to_owned(), text(value)));
    Entity::new_with_tags(uid, attributes, parents, tags).ok()
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}
