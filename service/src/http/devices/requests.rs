//! Devices that wait for an approval.

use std::collections::BTreeSet;

use actix_web::{HttpRequest, HttpResponse, web::Data};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{DateTime, Utc};
use claviger_actors::{
    access::Handed,
    devices::{Approval, Devices, PairingRecord},
};
use claviger_entity::{DeviceId, DeviceRole, RoleName, Scope};
use claviger_policy::PrincipalRef;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ClientView, DeviceView, note_device, session, shown, within_session};
use crate::http::{
    api_keys::may_hand_on,
    body::{StrictJson, StrictQuery, segment},
    page::{self, from_cursor, limit, page},
    problem::{Code, Problem},
    state::{AppState, Caller},
};

/// What an approval gives.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApprovePairing {
    /// Some of the scopes that the device asks for; all of them unless given. Scopes that it was given before it keeps.
    #[serde(default)]
    scopes: Option<Vec<Scope>>,
    /// Roles that the device is in when it calls by its own token: those called as the scopes unless given; at most 16. Roles that it
    /// was given before it keeps.
    #[serde(default)]
    #[schema(max_items = 16)]
    roles: Option<Vec<RoleName>>,
}

/// A device that waits for an approval.
#[derive(Debug, Serialize, utoipa::ToSchema)]
#[schema(as = PairingRequest)]
pub struct PairingRequestView {
    id: Uuid,
    device_id: DeviceId,
    /// Ed25519 public key, base64url without padding.
    public_key: String,
    role: DeviceRole,
    /// What it asks for.
    scopes: BTreeSet<Scope>,
    /// What it was given before for this role; null = nothing yet.
    granted_scopes: Option<BTreeSet<Scope>>,
    client: ClientView,
    /// Where it connected from.
    address: Option<String>,
    /// Id of the principal whose credential it presented.
    requested_by: String,
    created_at: DateTime<Utc>,
    expires_at: DateTime<Utc>,
}

/// A page of requests, oldest first.
#[derive(Serialize, utoipa::ToSchema)]
pub struct PairingRequestPage {
    items: Vec<PairingRequestView>,
    /// Absent on the last page.
    next_cursor: Option<String>,
}

impl PairingRequestView {
    fn new(request: &PairingRecord, devices: &Devices) -> Self {
        let before = devices.find(&request.device).and_then(|device| device.grants.get(&request.role));
        Self {
            id: request.id,
            device_id: request.device,
            public_key: URL_SAFE_NO_PAD.encode(request.public_key),
            role: request.role,
            scopes: request.scopes.clone(),
            granted_scopes: before.map(|grant| grant.scopes.clone()),
            client: ClientView::new(&request.client),
            address: request.address.clone(),
            requested_by: request.requested_by.clone(),
            created_at: request.created_at,
            expires_at: request.expires_at,
        }
    }
}

/// Lists the requests of devices that wait for an approval, whichever node they came to.
///
/// # Errors
/// `invalid_request`.
#[utoipa::path(get, path = "/v1/devices/requests", tag = "devices", params(page::Listing), responses(
    (status = 200, description = "A page", body = PairingRequestPage),
))]
pub async fn list(
    state: Data<AppState>,
    StrictQuery(listing): StrictQuery<page::Listing>,
) -> Result<HttpResponse, Problem> {
    let limit = limit(listing.limit)?;
    let after: Option<Uuid> = listing.cursor.as_deref().map(from_cursor).transpose()?;
    let all = state.ring.pairing_requests(state.clock.now()).await?;
    let snapshot = state.ring.snapshot();
    let is_wanted = |request: &&PairingRecord| after.is_none_or(|after| request.id > after);
    let view = |request: &&PairingRecord| PairingRequestView::new(request, snapshot.devices());
    let (items, next_cursor) =
        page(all.iter(), is_wanted, limit, view, |request| request.id.to_string()).await;
    Ok(HttpResponse::Ok().json(PairingRequestPage { items, next_cursor }))
}

/// Approves a request. Callers who are not administrators give at most what they hold: only roles of theirs, and nothing that a policy
/// gives or takes by id or kind. A session gives at most scopes that it has, and never those that its own device asks for.
///
/// # Errors
/// `not_found` once it was settled or has expired, `invalid_request`, `forbidden`.
#[utoipa::path(post, path = "/v1/devices/requests/{id}/approve", tag = "devices", params(("id" = Uuid, Path)), request_body = ApprovePairing, responses(
    (status = 200, description = "The device", body = DeviceView),
))]
pub async fn approve(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    StrictJson(given): StrictJson<ApprovePairing>,
) -> Result<HttpResponse, Problem> {
    let waiting = waiting(&request, &state).await?;
    // What the device has by now is given with the rest.
    state.catch_up().await;
    let scopes = given.scopes.map(BTreeSet::from_iter);
    let approval = Approval { scopes, roles: given.roles };
    let mut judged = Vec::new();
    if let Some(waiting) = &waiting {
        let snapshot = state.ring.snapshot();
        let before = snapshot.devices().find(&waiting.device).map(AsRef::as_ref);
        judged = approval.roles(waiting, before)?;
        let principal = PrincipalRef::Device { id: waiting.device, roles: &judged };
        may_hand_on(&state, &caller, &Handed { principal, expires_at: None })?;
        if session(&request).is_some_and(|session| session.device() == Some(&waiting.device)) {
            let detail = "a device does not approve what it asks for itself; somebody else must";
            return Err(Problem::new(Code::Forbidden, detail));
        }
        let had = before.and_then(|device| device.grants.get(&waiting.role)).map(|grant| &grant.scopes);
        let given = approval.scopes(waiting)?;
        let new = given.iter().filter(|scope| had.is_none_or(|had| !had.contains(scope)));
        within_session(&request, new)?;
    }
    let approved = state.ring.approve_pairing(caller.context(), waiting, approval, judged).await?;
    shown(&request, &state, approved.subject.id)
}

/// Rejects a request.
///
/// # Errors
/// `not_found` once it was settled or has expired.
#[utoipa::path(post, path = "/v1/devices/requests/{id}/reject", tag = "devices", params(("id" = Uuid, Path)), responses(
    (status = 204, description = "Rejected"),
))]
pub async fn reject(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
) -> Result<HttpResponse, Problem> {
    let waiting = waiting(&request, &state).await?;
    let rejected = state.ring.reject_pairing(caller.context(), waiting).await?;
    note_device(&request, rejected.subject.id);
    Ok(HttpResponse::NoContent().finish())
}

/// The request that the path names, if it waits. What has become of one that does not is for the ring to say: it knows the answer of
/// before to whoever asks twice.
async fn waiting(request: &HttpRequest, state: &AppState) -> Result<Option<PairingRecord>, Problem> {
    let missing = || Problem::new(Code::NotFound, "there is no such pairing request");
    let id = segment(request, "id", |id| id.parse::<Uuid>().ok()).ok_or_else(missing)?;
    Ok(state.ring.pairing_request(id, state.clock.now()).await?)
}
