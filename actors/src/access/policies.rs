//! Changes of policies.

use claviger_entity::PolicyName;
use claviger_policy::{PolicyDocument, SHIPPED_PREFIX};

use super::{Access, AccessError, Expected, Manifest, PolicyRecord};
use crate::keyring::record::Time;

/// Most policies of a deployment.
const POLICIES_MAX: usize = 4_096;
const DESCRIPTION_MAX_BYTES: usize = 1_024;

/// What can happen to policies.
pub enum PolicyCommand {
    /// Write one, new or anew.
    Put {
        /// Name.
        name: PolicyName,
        /// Cedar text.
        text: String,
        /// The text, read and held against the schema.
        document: Box<PolicyDocument>,
        /// What it is for.
        description: Option<String>,
        /// Revision that the caller saw.
        if_match: Option<u64>,
    },
    /// Remove one.
    Delete {
        /// Name.
        name: PolicyName,
        /// Revision that the caller saw.
        if_match: Option<u64>,
    },
}

/// What a command does, decided but not yet written.
pub struct PolicyChange {
    /// Which.
    pub name: PolicyName,
    /// The row as it will be; `None` = it goes.
    pub record: Option<PolicyRecord>,
    /// The row does not exist yet.
    pub is_new: bool,
    /// The manifest as it will be.
    pub manifest: Manifest,
}

/// What an answer names.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PolicySubject {
    /// Which.
    pub name: PolicyName,
    /// There was none of this name before.
    pub is_new: bool,
}

impl PolicyCommand {
    /// Judges the command; nothing has changed yet. `revision` is one that no policy has had: with a count of its own, a policy that
    /// was deleted and written anew could carry the `ETag` of the one before.
    ///
    /// # Errors
    /// See [`AccessError`].
    pub fn decide(self, access: &Access, revision: u64, now: Time) -> Result<PolicyChange, AccessError> {
        let mut manifest = access.manifest().clone();
        match self {
            Self::Put { name, text, document, description, if_match } => {
                if name.as_str().starts_with(SHIPPED_PREFIX) {
                    return Err(AccessError::Invalid(
                        "names that start with claviger. are those of the shipped roles; choose another",
                    ));
                }
                if description.as_ref().is_some_and(|text| text.len() > DESCRIPTION_MAX_BYTES) {
                    return Err(AccessError::Invalid("description must be at most 1024 bytes"));
                }
                let before = access.policy(&name);
                if if_match.is_some() && if_match != before.map(|policy| policy.revision) {
                    return Err(AccessError::RevisionMismatch);
                }
                // A damaged row is overwritten, that is how it is mended; only a name that was never written is new.
                let expected = Expected { forbids: document.forbids(), revision };
                let is_new = manifest.insert(name.as_str().to_owned(), expected).is_none();
                if manifest.len() > POLICIES_MAX {
                    return Err(AccessError::Invalid("a deployment has at most 4096 policies"));
                }
                let record = PolicyRecord {
                    name: name.clone(),
                    text,
                    document: *document,
                    description,
                    created_at: before.map_or(now, |policy| policy.created_at),
                    updated_at: now,
                    revision,
                };
                Ok(PolicyChange { name, record: Some(record), is_new, manifest })
            }
            Self::Delete { name, if_match } => {
                if if_match.is_some() && if_match != access.policy(&name).map(|policy| policy.revision) {
                    return Err(AccessError::RevisionMismatch);
                }
                if manifest.remove(name.as_str()).is_none() && !access.strays().contains(&name) {
                    return Err(AccessError::PolicyNotFound);
                }
                Ok(PolicyChange { name, record: None, is_new: false, manifest })
            }
        }
    }
}

impl PolicyChange {
    /// Such as `policy.written`.
    #[must_use]
    pub const fn event(&self) -> &'static str {
        if self.record.is_some() { "policy.written" } else { "policy.deleted" }
    }
}
