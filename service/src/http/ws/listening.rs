//! `events.subscribe`.

use std::{rc::Rc, sync::Arc};

use claviger_actors::{
    events::{EventsError, Mark, Topics},
    keyring::Epoch,
    session::{close::Failure, scopes::Role},
};
use claviger_policy::Permission;
use serde_json::{Map, Value, json};

use super::{
    opening::{Opening, stale},
    record,
};
use crate::auth::sight;

/// Everything that happens to keys.
const OF_KEYS: [&str; 6] =
    ["key.created", "key.rotated", "key.suspended", "key.resumed", "key.compromised", "key.destroyed"];

/// What a node is told of unless it asks for something else.
pub(super) fn key_events() -> Topics {
    Topics::parse(Some(&OF_KEYS.map(str::to_owned))).unwrap_or_else(|_| Topics::all())
}

/// Subscribes, in place of the subscription before.
///
/// # Errors
/// `invalid_request`, `forbidden`, `overloaded`; `audit_unavailable` when it can't be put on record.
pub(super) async fn subscribe(opening: &Rc<Opening>, params: Map<String, Value>) -> Result<Value, Failure> {
    let (topics, since) = read(&params)?;
    let identity = opening.identity().ok_or_else(stale)?;
    let state = &opening.state;
    let role = opening.client.get().map(|client| client.role);
    let topics = match (topics, role) {
        (None, Some(Role::Node)) => key_events(),
        (topics, _) => {
            Topics::parse(topics.as_deref()).map_err(|error| Failure::invalid(error.to_string()))?
        }
    };
    let permission = Permission::EventsRead;
    let permits = state.authorizer.permits_deployment(&state.ring.snapshot(), &identity, permission);
    record::subscribed(opening, &identity, if permits { "ok" } else { "forbidden" }).await?;
    if !permits {
        return Err(Failure::new("forbidden", format!("this needs the permission {}", permission.as_str())));
    }
    let sight = sight(state, Arc::new(identity));
    let subscription = state.events.subscribe(topics, since.map(Mark::from), sight).await;
    let subscription = subscription.map_err(|error| {
        let code = match error {
            EventsError::Full | EventsError::Stopping => "overloaded",
            EventsError::Stale => "stale_node",
        };
        Failure::new(code, error.to_string()).after(1_000)
    })?;
    let epoch = subscription.epoch().0;
    opening.listen(subscription, 0);
    Ok(json!({ "epoch": epoch }))
}

type Wanted = (Option<Vec<String>>, Option<Epoch>);

fn read(params: &Map<String, Value>) -> Result<Wanted, Failure> {
    let unfit = |rule: &str| Failure::invalid(rule.to_owned());
    let topics = match params.get("topics") {
        None | Some(Value::Null) => None,
        Some(Value::Array(topics)) => {
            let texts: Option<Vec<String>> =
                topics.iter().map(|topic| topic.as_str().map(str::to_owned)).collect();
            Some(texts.ok_or_else(|| unfit("topics must be a list of texts"))?)
        }
        Some(Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Object(_)) => {
            return Err(unfit("topics must be a list of texts"));
        }
    };
    let since = match params.get("sinceEpoch") {
        None | Some(Value::Null) => None,
        Some(epoch) => Some(Epoch(epoch.as_u64().ok_or_else(|| unfit("sinceEpoch must be a whole number"))?)),
    };
    Ok((topics, since))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wanted_is_read_and_what_is_unknown_is_ignored() {
        let read = |params: Value| read(params.as_object().unwrap()).map_err(|failure| failure.message);
        assert_eq!(read(json!({})), Ok((None, None)));
        let wanted = read(json!({"topics": ["a", "*"], "sinceEpoch": 7, "other": 1}));
        assert_eq!(wanted, Ok((Some(vec!["a".to_owned(), "*".to_owned()]), Some(Epoch(7)))));
        for wrong in [
            json!({"topics": "a"}),
            json!({"topics": [1]}),
            json!({"sinceEpoch": "7"}),
            json!({"sinceEpoch": -1}),
        ] {
            assert!(read(wrong.clone()).is_err(), "{wrong}");
        }
    }
}
