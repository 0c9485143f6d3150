//! Devices at the door: whether one is paired for what it asks, and what it is told when it is not.

use std::{rc::Rc, sync::Arc};

use actix_web::web::Data;
use claviger_actors::{
    devices::{ActingDevice, ClientFacts, DeviceError, PairingRequest, REQUEST_STAYS},
    events::{Event, EventName},
    keyring::RingFailure,
    session::{
        close::{Close, Refusal},
        core::Claim,
        device::Proven,
        scopes::{Role, Scopes},
    },
};
use claviger_entity::DeviceId;
use serde_json::{Value, json};
use uuid::Uuid;

use super::authorization::Came;
use crate::{
    auth::{Identity, Standing},
    http::state::{AppState, Caller},
};

/// How far a client may go by what was approved.
pub(super) struct Paired {
    pub(super) standing: Standing,
    pub(super) approved: Scopes,
    pub(super) device: Option<DeviceId>,
}

/// What was approved for a client that is known, and for its device.
///
/// # Errors
/// What it is told.
pub(super) async fn pair(
    state: &Data<AppState>,
    came: &Came,
    claim: &Claim,
    proven: Option<Proven>,
    standing: Standing,
) -> Result<Paired, Refusal> {
    let role = claim.role;
    let identity = {
        let snapshot = state.ring.snapshot();
        let known = state.known(&snapshot);
        let over = |_| Refusal::unauthorized("the credential was revoked meanwhile");
        standing.identity(known, state.clock.now()).map_err(over)?
    };
    let by_token = identity.acting_device();
    if let Some(acting) = &by_token {
        if acting.role != role {
            return Err(Refusal::unauthorized("the device token is of another role"));
        }
        if proven.as_ref().is_some_and(|proven| proven.id != acting.id) {
            return Err(Refusal::invalid("device identity mismatch"));
        }
    }
    let Some(id) = proven.as_ref().map(|proven| proven.id).or(by_token.map(|acting| acting.id)) else {
        // Nobody approves those who need no device: their policies say what they may do.
        return Ok(Paired { standing, approved: Scopes::of_role(role), device: None });
    };
    let requested = claim.requested.and(Scopes::of_role(role));
    let mut approved = approved_for(state, &id, role);
    if !covers(approved, requested) {
        // An approval on another node may not be known here.
        state.catch_up().await;
        approved = approved_for(state, &id, role);
    }
    let Some(approved) = approved.filter(|approved| approved.holds_all(requested) || proven.is_none()) else {
        return Err(match proven {
            Some(proven) => ask(state, came, claim, &proven, identity).await,
            None => Refusal::unauthorized("the device token is not valid"),
        });
    };
    let acting = ActingDevice { id, role, token: None };
    let standing = standing.bound_to(acting, approved.and(requested));
    Ok(Paired { standing, approved, device: Some(id) })
}

/// With the lesser ones that greater ones have: to ask for less than was approved needs nobody's approval.
fn approved_for(state: &AppState, id: &DeviceId, role: Role) -> Option<Scopes> {
    let snapshot = state.ring.snapshot();
    let device = snapshot.devices().find(id)?;
    Some(device.grants.get(&role)?.approved())
}

fn covers(approved: Option<Scopes>, requested: Scopes) -> bool {
    approved.is_some_and(|approved| approved.holds_all(requested))
}

/// Leaves a request for whoever approves devices.
async fn ask(
    state: &Data<AppState>,
    came: &Came,
    claim: &Claim,
    proven: &Proven,
    identity: Identity,
) -> Refusal {
    let client = &claim.connect.client;
    let request = PairingRequest {
        public_key: proven.public_key,
        role: claim.role,
        scopes: claim.requested.and(Scopes::of_role(claim.role)).set(),
        client: ClientFacts::new(
            &client.id,
            &client.version,
            &client.platform,
            client.device_family.as_deref(),
            &client.mode,
        ),
        address: Some(came.whence.client),
    };
    match state.ring.request_pairing(context(identity), request, state.clock.now()).await {
        Ok(pending) => {
            let request_id = pending.request_id.hyphenated().to_string();
            if pending.is_new {
                let payload = json!({
                    "requestId": request_id,
                    "deviceId": proven.id.to_string(),
                    "role": claim.role.as_str(),
                    "scopes": claim.requested.iter().map(claviger_entity::Scope::as_str).collect::<Vec<_>>(),
                    "expiresAt": pending.expires_at,
                });
                state.events.announce(Event::announced(EventName::DevicePairRequested, None, &payload));
            }
            Refusal::pairing_required(&request_id)
        }
        Err(error) => {
            if let RingFailure::Device(_) = &error {
                tracing::debug!(%error, "a device could not leave a request");
            } else {
                tracing::warn!(%error, "a device could not leave a request");
            }
            let reason = "pairing required; the request could not be left now, try again later";
            let mut refusal = Refusal::new("pairing_required", Close::policy(reason));
            let is_early = matches!(&error, RingFailure::Device(DeviceError::StillWaits));
            let stays = REQUEST_STAYS.num_milliseconds().unsigned_abs();
            let retry_after = if is_early { stays } else { 60_000 };
            refusal.failure = refusal.failure.after(retry_after);
            refusal
        }
    }
}

fn context(identity: Identity) -> claviger_actors::keyring::ChangeContext {
    let id = Uuid::now_v7().hyphenated().to_string();
    Caller::of(Arc::new(identity), Rc::from(id)).context()
}

/// With the first token of the device, which is handed out once: last, when all else is right.
///
/// # Errors
/// Nobody can tell whether it was taken, so nothing is handed out.
pub(super) async fn with_first_token(
    state: &Data<AppState>,
    identity: &Identity,
    device: Option<DeviceId>,
    role: Role,
    mut payload: Value,
) -> Result<Value, Refusal> {
    let Some(id) = device else { return Ok(payload) };
    let taken = state.ring.take_first_token(context(identity.clone()), id, role).await;
    match (taken, payload.as_object_mut()) {
        (Ok(Some(token)), Some(hello)) => {
            hello.insert("deviceToken".to_owned(), token.as_str().into());
        }
        (Ok(_), _) => {}
        (Err(error), _) => {
            tracing::warn!(%error, "the token of a device could not be handed out");
            let mut refusal = Refusal::new("overloaded", Close::policy("unauthorized: try again"));
            refusal.failure = refusal.failure.after(1_000);
            return Err(refusal);
        }
    }
    Ok(payload)
}
