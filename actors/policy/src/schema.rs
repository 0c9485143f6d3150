//! The schema and the shipped roles, parsed once.

use std::{collections::HashMap, str::FromStr as _, sync::LazyLock};

use cedar_policy::{Entities, EntityTypeName, EntityUid, PolicySet, Schema};

use crate::permission::{Permission, Permissions};

/// The role that may do everything.
pub const ADMIN: &str = "admin";
/// Roles with a shipped meaning.
pub const SHIPPED_ROLES: [&str; 13] = [
    ADMIN,
    "operator",
    "signer",
    "verifier",
    "encrypter",
    "auditor",
    "custodian",
    "owner",
    "operator.read",
    "operator.write",
    "operator.admin",
    "operator.pairing",
    "node.sync",
];
/// What names of shipped policies start with; nobody else's may.
pub const SHIPPED_PREFIX: &str = "claviger.";

const SCHEMA: &str = include_str!("schema.cedarschema");
const ROLES: &str = include_str!("roles.cedar");

/// The schema as text, for whoever writes policies.
#[must_use]
pub const fn schema_text() -> &'static str {
    SCHEMA
}

/// The shipped policies as text.
#[must_use]
pub const fn roles_text() -> &'static str {
    ROLES
}

/// Everything that is fixed with the release.
pub(crate) struct Fixed {
    pub(crate) schema: Schema,
    pub(crate) roles: PolicySet,
    /// The actions with their groups.
    pub(crate) actions: Entities,
    /// Action of each permission, by index.
    pub(crate) uids: Vec<EntityUid>,
    /// Permissions that an action or a group stands for.
    pub(crate) members: HashMap<EntityUid, Permissions>,
    pub(crate) types: Types,
}

/// Names of entity types.
pub(crate) struct Types {
    pub(crate) api_key: EntityTypeName,
    pub(crate) subject: EntityTypeName,
    pub(crate) device: EntityTypeName,
    pub(crate) role: EntityTypeName,
    pub(crate) key: EntityTypeName,
    pub(crate) policy: EntityTypeName,
    pub(crate) secret: EntityTypeName,
    pub(crate) auth_token: EntityTypeName,
    pub(crate) offline_token: EntityTypeName,
    pub(crate) deployment: EntityUid,
}

/// `None` only if the release itself were broken, which a test excludes; then everything is denied.
pub(crate) fn fixed() -> Option<&'static Fixed> {
    static FIXED: LazyLock<Option<Fixed>> = LazyLock::new(build);
    FIXED.as_ref()
}

fn build() -> Option<Fixed> {
    let (schema, _) = Schema::from_cedarschema_str(SCHEMA).ok()?;
    let actions = schema.action_entities().ok()?;
    let action = |permission: &Permission| uid("Action", permission.as_str());
    let uids = Permission::ALL.iter().map(action).collect::<Option<Vec<_>>>()?;
    let mut members: HashMap<EntityUid, Permissions> = HashMap::new();
    for (permission, uid) in Permission::ALL.iter().zip(&uids) {
        for group in actions.ancestors(uid)?.chain([uid]) {
            members.entry(group.clone()).or_default().insert(*permission);
        }
    }
    let name = |text| EntityTypeName::from_str(text).ok();
    Some(Fixed {
        roles: PolicySet::from_str(ROLES).ok()?,
        schema,
        actions,
        uids,
        members,
        types: Types {
            api_key: name("Claviger::ApiKey")?,
            subject: name("Claviger::Subject")?,
            device: name("Claviger::Device")?,
            role: name("Claviger::Role")?,
            key: name("Claviger::Key")?,
            policy: name("Claviger::Policy")?,
            secret: name("Claviger::Secret")?,
            auth_token: name("Claviger::AuthToken")?,
            offline_token: name("Claviger::OfflineToken")?,
            deployment: uid("Deployment", "this")?,
        },
    })
}

fn uid(kind: &str, id: &str) -> Option<EntityUid> {
    let kind = EntityTypeName::from_str(&format!("Claviger::{kind}")).ok()?;
    Some(EntityUid::from_type_name_and_id(kind, cedar_policy::EntityId::new(id)))
}
