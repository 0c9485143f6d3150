//! `events.subscribe`, and what a session hears of without asking.

use std::{rc::Rc, sync::Arc};

use claviger_actors::{
    events::{EventsError, Mark, Seen, Sight, Topics},
    keyring::Epoch,
    session::{
        close::{Close, Failure},
        methods::Method,
        scopes::{Role, Scope, Scopes},
    },
};
use claviger_policy::Permission;
use serde_json::{Map, Value, json};

use super::{
    opening::{Opening, Wish, stale},
    record, watch,
};
use crate::auth::{Identity, sight};

/// Everything that happens to keys.
const OF_KEYS: [&str; 6] =
    ["key.created", "key.rotated", "key.suspended", "key.resumed", "key.compromised", "key.destroyed"];

/// What a node is told of unless it asks for something else.
pub(super) fn key_events() -> Topics {
    Topics::parse(Some(&OF_KEYS.map(str::to_owned))).unwrap_or_else(|_| Topics::all())
}

/// A session with these scopes may be told of events, as far as its policies go.
pub(super) fn is_open_to(role: Role, granted: Scopes) -> bool {
    Method::find("events.subscribe").is_some_and(|method| method.is_open_to(role, granted))
}

/// What policies show, narrowed by what the session is.
fn sight_of(opening: &Opening, identity: Identity, (role, granted): (Role, Scopes)) -> Sight {
    let sight = sight(&opening.state, Arc::new(identity));
    Arc::new(move |snapshot, seen| {
        let is_for = match seen {
            Seen::Key(_) | Seen::Damaged => true,
            Seen::Health | Seen::Presence | Seen::Alerts | Seen::Tokens => role == Role::Operator,
            Seen::Devices => granted.covers(Scope::OperatorPairing),
        };
        is_for && sight(snapshot, seen)
    })
}

/// Has an identity listen, and puts on record that it does or was not let.
async fn let_listen(opening: &Opening, identity: &Identity) -> Result<(), Failure> {
    let permits = watch::may_listen(&opening.state, &opening.state.ring.snapshot(), identity);
    record::subscribed(opening, identity, if permits { "ok" } else { "forbidden" }).await?;
    let needed = Permission::EventsRead.as_str();
    if permits {
        Ok(())
    } else {
        Err(Failure::new("forbidden", format!("this needs the permission {needed}")))
    }
}

/// Begins what a session hears of without asking: its topic, or what happens to keys. One that can't hear what it believes to hear ends.
pub(super) async fn begin(opening: Rc<Opening>, role: Role, granted: Scopes) {
    let topics = match (&opening.wish, role) {
        (Wish::Topics(topics), _) => topics.clone(),
        // A node that asked for no scope has asked for no events.
        (Wish::Nothing, Role::Node) if is_open_to(role, granted) => key_events(),
        (Wish::Nothing, Role::Node | Role::Operator) => return,
    };
    if let Err(close) = tell_of(&opening, topics, (role, granted)).await {
        opening.voice.outbox().close(close);
    }
}

async fn tell_of(opening: &Rc<Opening>, topics: Topics, session: (Role, Scopes)) -> Result<(), Close> {
    let (role, granted) = session;
    if !is_open_to(role, granted) {
        let needed = if role == Role::Node { Scope::NodeSync } else { Scope::OperatorRead };
        return Err(Close::policy(format!("forbidden: events need the scope {}", needed.as_str())));
    }
    // A node that can't tell, or can't write it down, is not the one to ask.
    let identity = opening.identity().ok_or_else(Close::restart)?;
    let_listen(opening, &identity).await.map_err(|failure| match failure.code.as_ref() {
        "forbidden" => Close::policy(format!("forbidden: {}", failure.message)),
        _unavailable => Close::restart(),
    })?;
    let sight = sight_of(opening, identity, session);
    // First to listen, then to look: nothing that happens in between is missed, and nothing comes twice.
    let subscription = opening.state.events.subscribe(topics.clone(), None, Arc::clone(&sight)).await;
    let subscription = subscription.map_err(|_| Close::restart())?;
    let mut after = 0;
    if role == Role::Node {
        let sync = opening.state.events.ring_sync(&topics, &sight).await;
        let epoch = sync.epoch.map(|epoch| epoch.0);
        after = epoch.unwrap_or(0);
        let _ended = opening.voice.tell_in_time(sync.name.as_str(), &sync.payload, epoch).await;
    }
    opening.listen(subscription, after);
    Ok(())
}

/// Subscribes, in place of the subscription before.
///
/// # Errors
/// `invalid_request`, `forbidden`, `overloaded`; `audit_unavailable` when it can't be put on record.
pub(super) async fn subscribe(opening: &Rc<Opening>, params: Map<String, Value>) -> Result<Value, Failure> {
    let (topics, since) = read(&params)?;
    let identity = opening.identity().ok_or_else(stale)?;
    let session = opening.client.get().map(|client| (client.role, client.granted)).ok_or_else(stale)?;
    let topics = match (topics, session.0) {
        (None, Role::Node) => key_events(),
        (topics, Role::Node | Role::Operator) => {
            Topics::parse(topics.as_deref()).map_err(|error| Failure::invalid(error.to_string()))?
        }
    };
    let_listen(opening, &identity).await?;
    let sight = sight_of(opening, identity, session);
    let subscription = opening.state.events.subscribe(topics, since.map(Mark::from), sight).await;
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
