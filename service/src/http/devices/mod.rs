//! Devices: those that were approved, and their tokens. Those that wait for it are in [`requests`].

pub mod requests;
mod view;

use std::sync::Arc;

use actix_web::{HttpMessage as _, HttpRequest, HttpResponse, web::Data};
use chrono::{DateTime, Utc};
use claviger_actors::{
    access::Handed,
    audit::Subject,
    devices::{ActingDevice, Device, DeviceError},
};
use claviger_entity::{DeviceId, DeviceRole, Scope};
use serde::Serialize;
use zeroize::Zeroizing;

pub use self::view::{ClientView, DeviceView, GrantView, TokenState, TokenView};
use super::{
    api_keys::may_hand_on,
    body::{StrictQuery, segment},
    keys::note,
    page::{self, from_cursor, limit, page},
    problem::{Code, Problem},
    state::{AppState, Caller},
};
use crate::auth::{InSession, Standing};

/// A page of devices, by id.
#[derive(Serialize, utoipa::ToSchema)]
pub struct DevicePage {
    items: Vec<DeviceView>,
    /// Absent on the last page.
    next_cursor: Option<String>,
}

/// A new token of a device.
#[derive(Serialize, utoipa::ToSchema)]
pub struct NewDeviceToken {
    device_id: DeviceId,
    role: DeviceRole,
    /// `clvd_<secret>`, for `auth.deviceToken` of the WebSocket. Shown this once.
    #[schema(value_type = String)]
    token: Zeroizing<String>,
    created_at: DateTime<Utc>,
}

/// Lists devices, with what each was given.
///
/// # Errors
/// `invalid_request`.
#[utoipa::path(get, path = "/v1/devices", tag = "devices", params(page::Listing), responses(
    (status = 200, description = "A page", body = DevicePage),
))]
pub async fn list(
    state: Data<AppState>,
    StrictQuery(listing): StrictQuery<page::Listing>,
) -> Result<HttpResponse, Problem> {
    let snapshot = state.ring.snapshot();
    let limit = limit(listing.limit)?;
    let after: Option<DeviceId> = listing.cursor.as_deref().map(from_cursor).transpose()?;
    let all = snapshot.devices().after(after.as_ref());
    let view = |device: &&Arc<Device>| DeviceView::new(device);
    let (items, next_cursor) = page(all, |_| true, limit, view, |device| device.id.to_string()).await;
    Ok(HttpResponse::Ok().json(DevicePage { items, next_cursor }))
}

/// Removes a device: its tokens are not accepted any more, its sessions end, and what it has asked for is forgotten. It may ask anew.
///
/// # Errors
/// `not_found`.
#[utoipa::path(delete, path = "/v1/devices/{id}", tag = "devices", params(("id" = DeviceId, Path)), responses(
    (status = 204, description = "Removed"),
))]
pub async fn remove(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
) -> Result<HttpResponse, Problem> {
    let id = device_id(&request)?;
    let removed = state.ring.remove_device(caller.context(), id).await?;
    note_device(&request, removed.subject.id);
    Ok(HttpResponse::NoContent().finish())
}

/// Gives a device a new token for one role, in place of the one before, also of one that was revoked. Callers who are not
/// administrators may do so for devices that hold at most what they hold themselves, and a session for those that reach no further than it.
///
/// # Errors
/// `not_found`, `forbidden`, `key_state_conflict` when the device was changed meanwhile.
#[utoipa::path(post, path = "/v1/devices/{id}/tokens/{role}/rotate", tag = "devices", params(("id" = DeviceId, Path), ("role" = DeviceRole, Path)), responses(
    (status = 200, description = "The token", body = NewDeviceToken),
))]
pub async fn rotate(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
) -> Result<HttpResponse, Problem> {
    let (id, role) = token_of(&request)?;
    state.catch_up().await;
    let judged = {
        let snapshot = state.ring.snapshot();
        let device = snapshot.devices().find(&id).ok_or(DeviceError::NotFound)?;
        let grant = device.grants.get(&role).ok_or(DeviceError::NotPaired)?;
        let is_own = |acting: ActingDevice| (acting.id, acting.role) == (id, role);
        if !caller.identity.acting_device().is_some_and(is_own) {
            let handed = Handed { principal: device.as_policy_ref(role), expires_at: None };
            may_hand_on(&state, &caller, &handed)?;
            within_session(&request, &grant.scopes)?;
        }
        grant.roles.clone()
    };
    let rotated = state.ring.rotate_device_token(caller.context(), (id, role), judged).await?;
    note_device(&request, id);
    let token = rotated.subject.secret.ok_or(DeviceError::Changed)?;
    let answer = NewDeviceToken { device_id: id, role, token, created_at: rotated.at };
    Ok(HttpResponse::Ok().json(answer))
}

/// Revokes the token of a device for one role. None is handed out in its place until it is rotated.
///
/// # Errors
/// `not_found`.
#[utoipa::path(post, path = "/v1/devices/{id}/tokens/{role}/revoke", tag = "devices", params(("id" = DeviceId, Path), ("role" = DeviceRole, Path)), responses(
    (status = 200, description = "The device", body = DeviceView),
))]
pub async fn revoke(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
) -> Result<HttpResponse, Problem> {
    let (id, role) = token_of(&request)?;
    let revoked = state.ring.revoke_device_token(caller.context(), id, role).await?;
    shown(&request, &state, revoked.subject.id)
}

/// The session that asks, if it is one.
fn session(request: &HttpRequest) -> Option<Arc<Standing>> {
    request.extensions().get::<InSession>().map(|session| Arc::clone(&session.0))
}

/// Scopes narrow a session, and so what it lets others have: a device could be its client's own.
fn within_session<'a>(
    request: &HttpRequest,
    scopes: impl IntoIterator<Item = &'a Scope>,
) -> Result<(), Problem> {
    if session(request).is_none_or(|session| session.may_give(scopes)) {
        return Ok(());
    }
    let detail = "a session gives only scopes that it has itself; ask for them at connect, or use HTTP";
    Err(Problem::new(Code::Forbidden, detail))
}

/// The device after a change.
fn shown(request: &HttpRequest, state: &AppState, id: DeviceId) -> Result<HttpResponse, Problem> {
    note_device(request, id);
    let snapshot = state.ring.snapshot();
    let device = snapshot.devices().find(&id).ok_or(DeviceError::NotFound)?;
    Ok(HttpResponse::Ok().json(DeviceView::new(device)))
}

fn device_id(request: &HttpRequest) -> Result<DeviceId, Problem> {
    Ok(segment(request, "id", |id| id.parse().ok()).ok_or(DeviceError::NotFound)?)
}

fn token_of(request: &HttpRequest) -> Result<(DeviceId, DeviceRole), Problem> {
    let role = segment(request, "role", |role| role.parse().ok());
    Ok((device_id(request)?, role.ok_or(DeviceError::NotPaired)?))
}

fn note_device(request: &HttpRequest, id: DeviceId) {
    note(request, Subject { device: Some(id.to_string()), ..Subject::default() });
}
