//! What a caller may be told of.

use std::sync::Arc;

use actix_web::web::Data;
use claviger_actors::events::{Seen, Sight};
use claviger_policy::Permission;

use super::Identity;
use crate::http::state::AppState;

/// Asks the policies about every event, by the ring as it is when the event is handed out.
#[must_use]
pub fn sight(state: &Data<AppState>, identity: Arc<Identity>) -> Sight {
    let state = state.clone();
    Arc::new(move |snapshot, seen| {
        let on_deployment = |permission| state.authorizer.permits_deployment(snapshot, &identity, permission);
        match seen {
            Seen::Key(key) => state.authorizer.permits_key(snapshot, &identity, Permission::KeyRead, key),
            Seen::Health => true,
            Seen::Presence | Seen::Alerts => on_deployment(Permission::ClusterRead),
            // Whose tokens were revoked is for those who may revoke whosoever's.
            Seen::Tokens => on_deployment(Permission::TokenRevokeAny),
            Seen::Devices => on_deployment(Permission::DeviceRead),
            Seen::Damaged => identity.is_admin(),
        }
    })
}
