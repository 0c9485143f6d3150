//! `hello-ok`: what a client learns when it is let in.

use claviger_actors::{
    events::{EventName, Presence},
    session::{
        TICK,
        core::{Claim, FRAME_MAX_BYTES, PROTOCOL_VERSION},
        methods::Method,
        outbox::WAITING_MAX_BYTES,
        scopes::{Role, Scope, Scopes},
    },
};
use claviger_entity::DeviceId;
use claviger_policy::Permission;
use serde_json::{Value, json};

use super::{listening, opening::Opening};
use crate::{auth::Identity, http::health};

/// Sessions that are named at once; `presence.list` names more. A greater hello would leave every idle connection with a greater buffer.
const PRESENT_MAX: usize = 8;

/// The session as others see it.
pub(super) fn presence(opening: &Opening, claim: &Claim, device: Option<DeviceId>) -> Presence {
    let client_id = claim.connect.client.id.chars().filter(|letter| !letter.is_control()).take(64).collect();
    Presence {
        conn_id: opening.id,
        node: opening.state.node.clone(),
        role: claim.role.as_str().to_owned(),
        client_id,
        device_id: device.map(|device| device.to_string()),
        since: opening.state.clock.now(),
    }
}

/// The payload, but for the token of a device.
pub(super) fn payload(opening: &Opening, identity: &Identity, (role, granted): (Role, Scopes)) -> Value {
    let state = &opening.state;
    let methods: Vec<&str> = Method::open_to(role, granted).map(|method| method.name).collect();
    let scopes: Vec<&str> = granted.iter().map(Scope::as_str).collect();
    let present = if granted.covers(Scope::OperatorRead) { present(opening, identity) } else { Vec::new() };
    let (_, health) = health::standing_now(state);
    json!({
        "type": "hello-ok",
        "server": {
            "version": env!("CARGO_PKG_VERSION"),
            "protocolVersion": PROTOCOL_VERSION,
            "connId": opening.id,
            "node": state.node,
        },
        "methods": methods,
        "events": events(role, granted),
        "snapshot": { "presence": present, "health": health, "epoch": state.ring.position().epoch.0 },
        "policy": {
            "payload": { "maxBytes": FRAME_MAX_BYTES },
            "buffer": { "maxBytes": WAITING_MAX_BYTES },
            "tick": { "intervalMs": TICK.as_millis() },
        },
        "auth": { "role": role.as_str(), "scopes": scopes },
    })
}

/// This session itself, and some of the others who are connected if the client may know of them.
fn present(opening: &Opening, identity: &Identity) -> Vec<Presence> {
    let state = &opening.state;
    let may_know =
        state.authorizer.permits_deployment(&state.ring.snapshot(), identity, Permission::ClusterRead);
    state.events.presence_beside(opening.id, if may_know { PRESENT_MAX } else { 1 })
}

/// Events that such a session may be told of.
fn events(role: Role, granted: Scopes) -> Vec<&'static str> {
    let may_listen = listening::is_open_to(role, granted);
    let is_told = |name: &EventName| match name {
        EventName::Tick => true,
        EventName::KeyCreated
        | EventName::KeyRotated
        | EventName::KeySuspended
        | EventName::KeyResumed
        | EventName::KeyCompromised
        | EventName::KeyDestroyed
        | EventName::RingSync => may_listen,
        EventName::TokenRevoked
        | EventName::AlertRaised
        | EventName::AlertCleared
        | EventName::Presence
        | EventName::Health => may_listen && role == Role::Operator,
        EventName::DevicePairRequested | EventName::DevicePairResolved => {
            may_listen && granted.covers(Scope::OperatorPairing)
        }
    };
    EventName::ALL.iter().filter(|name| is_told(name)).map(|name| name.as_str()).collect()
}
