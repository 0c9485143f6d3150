//! Devices as callers see them.

use std::collections::BTreeSet;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use claviger_actors::devices::{ClientFacts, Device, DeviceToken, Grant};
use claviger_entity::{DeviceId, DeviceRole, RoleName, Scope};
use serde::Serialize;

/// A device.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = Device)]
pub struct DeviceView {
    id: DeviceId,
    /// Ed25519 public key, base64url without padding.
    public_key: String,
    client: ClientView,
    /// What it was given, at most once a role.
    grants: Vec<GrantView>,
    /// First approval.
    created_at: DateTime<Utc>,
    /// Last change.
    updated_at: DateTime<Utc>,
}

/// What a device says of itself. Nobody has checked it.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = DeviceClient)]
pub struct ClientView {
    id: String,
    version: String,
    platform: String,
    device_family: Option<String>,
    mode: String,
}

/// What a device was given for one role.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = DeviceGrant)]
pub struct GrantView {
    role: DeviceRole,
    /// How far its sessions reach.
    scopes: BTreeSet<Scope>,
    /// Roles that it is in when it calls by its own token.
    roles: Vec<RoleName>,
    /// Last approval.
    approved_at: DateTime<Utc>,
    approved_by: String,
    token: TokenView,
}

/// Where the token of a device is.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = DeviceTokenState)]
pub struct TokenView {
    state: TokenState,
    /// When it was handed out.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    #[serde(skip_serializing_if = "Option::is_none")]
    revoked_at: Option<DateTime<Utc>>,
}

/// `awaited`: the device gets it when it connects next. `issued`: it was handed out, once. `revoked`: until it is rotated.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenState {
    /// The device gets it when it connects next.
    Awaited,
    /// It was handed out, once.
    Issued,
    /// Until it is rotated.
    Revoked,
}

impl DeviceView {
    /// Of a device.
    #[must_use]
    pub fn new(device: &Device) -> Self {
        Self {
            id: device.id,
            public_key: URL_SAFE_NO_PAD.encode(device.public_key),
            client: ClientView::new(&device.client),
            grants: device.grants.iter().map(|(role, grant)| GrantView::new(*role, grant)).collect(),
            created_at: device.created_at,
            updated_at: device.updated_at,
        }
    }
}

impl ClientView {
    /// Of what it says.
    #[must_use]
    pub fn new(client: &ClientFacts) -> Self {
        Self {
            id: client.id().to_owned(),
            version: client.version().to_owned(),
            platform: client.platform().to_owned(),
            device_family: client.device_family().map(str::to_owned),
            mode: client.mode().to_owned(),
        }
    }
}

impl GrantView {
    fn new(role: DeviceRole, grant: &Grant) -> Self {
        Self {
            role,
            scopes: grant.scopes.clone(),
            roles: grant.roles.clone(),
            approved_at: grant.approved_at,
            approved_by: grant.approved_by.clone(),
            token: TokenView::new(&grant.token),
        }
    }
}

impl TokenView {
    const fn new(token: &DeviceToken) -> Self {
        let (state, created_at, revoked_at) = match token {
            DeviceToken::Awaited => (TokenState::Awaited, None, None),
            DeviceToken::Issued { created_at, .. } => (TokenState::Issued, Some(*created_at), None),
            DeviceToken::Revoked { revoked_at } => (TokenState::Revoked, None, Some(*revoked_at)),
        };
        Self { state, created_at, revoked_at }
    }
}
