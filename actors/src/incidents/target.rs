//! What an incident is about, how sure somebody is, and what is shut out meanwhile.

use claviger_entity::{DeviceId, KeyName};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What is in other hands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// A key.
    Key(KeyName),
    /// The id of an API key, the id of a device, or the `sub` of tokens.
    Principal(String),
    /// An `iss`.
    Issuer(String),
    /// A node, by its name.
    Node(String),
    /// The whole store.
    All(bool),
}

/// A principal, by the looks of its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// The holder of an API key: 32 hex digits.
    ApiKey(Uuid),
    /// A device: 64 hex digits.
    Device(DeviceId),
    /// Anything else is the `sub` of tokens.
    Subject(String),
}

impl Principal {
    /// Reads a name.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let api_key = Uuid::try_parse(text).ok().filter(|id| id.simple().to_string() == text);
        match (api_key, text.parse::<DeviceId>()) {
            (Some(id), _) => Self::ApiKey(id),
            (None, Ok(id)) => Self::Device(id),
            (None, Err(_)) => Self::Subject(text.to_owned()),
        }
    }
}

impl Target {
    /// One word for records.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Key(_) => "key",
            Self::Principal(_) => "principal",
            Self::Issuer(_) => "issuer",
            Self::Node(_) => "node",
            Self::All(_) => "all",
        }
    }

    /// The key, if it is one.
    #[must_use]
    pub const fn key(&self) -> Option<&KeyName> {
        match self {
            Self::Key(name) => Some(name),
            Self::Principal(_) | Self::Issuer(_) | Self::Node(_) | Self::All(_) => None,
        }
    }
}

/// How sure somebody is; the configuration says what follows.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// It is so.
    #[default]
    High,
    /// It may be so.
    Medium,
    /// Something is odd.
    Low,
}

impl Level {
    /// The text form of the column.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::High => "high",
            Self::Medium => "medium",
            Self::Low => "low",
        }
    }

    /// Reads the column.
    #[must_use]
    pub fn from_row(text: &str) -> Option<Self> {
        [Self::High, Self::Medium, Self::Low].into_iter().find(|level| level.as_str() == text)
    }
}

/// What is shut out on every node from the moment that an incident acts until it is closed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Bar {
    /// A node: it serves nobody.
    Node(String),
    /// Credentials with this `iss`.
    Issuer(String),
    /// Credentials with this `sub`, whoever has issued them.
    Subject(String),
}
