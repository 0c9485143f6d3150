//! The words of the domain and the tables that hold them.
//!
//! [`domain`] is plain data: validated newtypes and small enums whose text forms are the ones of the public contract. It builds
//! without a database (`default-features = false`), so that parsers and their fuzz targets stay light. [`tables`] are the
//! sea-orm entities. Their columns are plain text, integers and bytes on purpose: a row that someone edited must come out of a
//! `SELECT` as it is, fail its MAC and be quarantined by name, not fail the whole query in a typed conversion.

pub mod domain;
#[cfg(feature = "orm")]
pub mod tables;

pub use domain::{
    Algorithm, ApiKeyName, DeviceId, DeviceRole, InvalidValue, KeyName, KeyState, KeyType, Kid, Owner,
    PolicyName, ProviderName, RoleName, Scope, SecretName, Tier, Usage, VersionNumber,
    duration::HumanDuration, rotation::RotationPolicy,
};
