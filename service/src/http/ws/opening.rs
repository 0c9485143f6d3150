//! One session from its upgrade to its end: who it is, what it hears of, what it asks for.

use std::{
    cell::{OnceCell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::{Arc, atomic::AtomicBool},
};

use actix_web::{
    rt::task::JoinHandle,
    web::{Bytes, Data},
};
use async_trait::async_trait;
use claviger_actors::{
    events::{Gone, Present, Subscription, Topics},
    session::{
        Backstage, Voice, Welcome,
        close::{Close, Failure, Refusal},
        core::{Claim, Conversation, Entrance, Turned},
        frame,
        methods::{Method, Own, Twin},
        scopes::{Role, Scopes},
    },
};
use claviger_crypto::public;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::{
    authorization::{self, Came},
    calls::Caller,
    hello,
    inside::Inside,
    listening,
    pairing::{self, Paired},
    record,
    sessions::{Entry, Known, Place},
};
use crate::{
    auth::{Identity, Standing, sight},
    http::state::AppState,
};

/// What a session is told from its beginning.
pub(super) enum Wish {
    /// What it asks for.
    Nothing,
    /// These.
    Topics(Topics),
}

/// The session behind the actor.
pub(super) struct Opening {
    pub(super) state: Data<AppState>,
    pub(super) inside: Inside,
    pub(super) came: Came,
    pub(super) entrance: Entrance,
    pub(super) id: Uuid,
    pub(super) voice: Voice,
    pub(super) wish: Wish,
    pub(super) entry: Arc<Entry>,
    /// Until somebody was recognised.
    pub(super) place: RefCell<Option<Place>>,
    pub(super) client: OnceCell<Client>,
    pub(super) listener: RefCell<Option<JoinHandle<()>>>,
    pub(super) present: RefCell<Option<Present>>,
}

/// Whoever was recognised.
pub(super) struct Client {
    pub(super) caller: Caller,
    pub(super) role: Role,
}

impl Opening {
    async fn judge(&self, claim: &Claim) -> Result<Welcome, Refusal> {
        let state = &self.state;
        let standing = authorization::authorize(state, &self.came, &claim.connect.auth).await?;
        let now_ms = state.clock.now().timestamp_millis();
        let verify =
            |key: &[u8; 32], message: &[u8], signature: &[u8]| public::ed25519(key, message, signature);
        let proven = claim.prove(&self.entrance, now_ms, &verify)?;
        let Paired { standing, approved, device } =
            pairing::pair(state, &self.came, claim, proven, standing).await?;
        let granted = approved.and(claim.requested);
        let standing = Arc::new(standing);
        // From here on whatever is revoked ends the session; what was before is seen now.
        let identity = self.become_known(&standing, claim.role, granted)?;
        record::opened(self, &identity).await?;
        let presence = hello::presence(self, claim, device);
        self.present.replace(Some(state.events.enter(presence)));
        let payload = hello::payload(self, claim.role, granted).await;
        let payload = pairing::with_first_token(state, &identity, device, claim.role, payload).await?;
        let caller = Caller {
            state: state.clone(),
            inside: self.inside.clone(),
            standing,
            peer: SocketAddr::new(self.came.whence.client, self.came.peer.map_or(0, |peer| peer.port())),
        };
        let _first = self.client.set(Client { caller, role: claim.role });
        self.place.take();
        let conversation = Conversation::new(claim.role, granted);
        Ok(Welcome { id: claim.id.clone(), payload: payload.to_string(), conversation })
    }

    fn become_known(
        &self,
        standing: &Arc<Standing>,
        role: Role,
        granted: Scopes,
    ) -> Result<Identity, Refusal> {
        let snapshot = self.state.ring.snapshot();
        let known = authorization::known(&self.state, &snapshot);
        let over = |_| Refusal::unauthorized("the credential was revoked meanwhile");
        let identity = standing.identity(known, self.state.clock.now()).map_err(over)?;
        let has_rights = super::watch::has_rights(&self.state, &snapshot, &identity, (role, granted));
        let _first = self.entry.known.set(Known {
            standing: Arc::clone(standing),
            principal: identity.api_key().cloned(),
            until: super::watch::until(standing, &identity),
            session: (role, granted),
            has_rights: AtomicBool::new(has_rights),
        });
        // What was revoked before the watch could see this session.
        let snapshot = self.state.ring.snapshot();
        let known = authorization::known(&self.state, &snapshot);
        standing.identity(known, self.state.clock.now()).map_err(over)
    }

    /// Who it is now.
    pub(super) fn identity(&self) -> Option<Identity> {
        let client = self.client.get()?;
        let snapshot = self.state.ring.snapshot();
        self.state.is_current(snapshot.confirmed()).ok()?;
        let known = authorization::known(&self.state, &snapshot);
        client.caller.standing.identity(known, self.state.clock.now()).ok()
    }

    /// Tells what a subscription brings, in place of the one before.
    pub(super) fn listen(self: &Rc<Self>, mut subscription: Subscription, after: u64) {
        let (voice, state) = (self.voice.clone(), self.state.clone());
        let telling = actix_web::rt::spawn(async move {
            loop {
                match subscription.next().await {
                    Ok(event) => {
                        let epoch = event.epoch.map(|epoch| epoch.0);
                        if epoch.is_some_and(|epoch| epoch <= after) {
                            continue;
                        }
                        if !voice.tell(event.name.as_str(), Some(&event.payload), epoch) {
                            return;
                        }
                    }
                    Err(Gone::Stopping) => {
                        voice.outbox().retire(Close::restart());
                        return;
                    }
                    Err(Gone::Unreadable) => {
                        tracing::warn!(node = %state.node, "what has happened can't be read; a session is ended, to begin anew");
                        voice.outbox().close(Close::restart());
                        return;
                    }
                }
            }
        });
        if let Some(before) = self.listener.replace(Some(telling)) {
            before.abort();
        }
    }

    async fn own(self: Rc<Self>, id: &str, own: Own, params: Map<String, Value>) -> String {
        let done = match own {
            Own::Subscribe => listening::subscribe(&self, params).await,
            Own::Unsubscribe => {
                if let Some(listener) = self.listener.take() {
                    listener.abort();
                }
                Ok(json!({}))
            }
            Own::Heartbeat => match self.identity() {
                Some(_) => Ok(json!({ "ts": self.now_ms(), "epoch": self.state.ring.position().epoch.0 })),
                None => Err(stale()),
            },
        };
        match done {
            Ok(payload) => frame::success(id, Some(&payload.to_string())),
            Err(failure) => frame::failure(id, &failure),
        }
    }

    /// What a session hears of without asking.
    async fn begin(self: Rc<Self>, role: Role) {
        let Some(identity) = self.identity() else { return };
        let sight = sight(&self.state, Arc::new(identity));
        let topics = match (&self.wish, role) {
            (Wish::Topics(topics), _) => topics.clone(),
            (Wish::Nothing, Role::Node) => listening::key_events(),
            (Wish::Nothing, Role::Operator) => return,
        };
        // First to listen, then to look: nothing that happens in between is missed, and nothing comes twice.
        let Ok(subscription) = self.state.events.subscribe(topics.clone(), None, Arc::clone(&sight)).await
        else {
            self.voice.outbox().close(Close::restart());
            return;
        };
        let mut after = 0;
        if role == Role::Node {
            let sync = self.state.events.ring_sync(&topics, &sight).await;
            after = sync.epoch.map_or(0, |epoch| epoch.0);
            let _ended =
                self.voice.tell(sync.name.as_str(), Some(&sync.payload), sync.epoch.map(|epoch| epoch.0));
        }
        self.listen(subscription, after);
    }
}

/// The credential is not good any more, or this node can't tell.
pub(super) fn stale() -> Failure {
    Failure::new("stale_node", "this node can't tell now what the credential is worth; try again")
        .after(1_000)
}

#[async_trait(?Send)]
impl Backstage for Opening {
    fn now_ms(&self) -> i64 {
        self.state.clock.now().timestamp_millis()
    }

    async fn greet(self: Rc<Self>, frame: Bytes) -> Result<Welcome, Turned> {
        let claim = match self.entrance.first(&frame, &self.state.doors.cors_origins) {
            Ok(claim) => claim,
            Err(turned) => {
                record::refused(&self, &turned.refusal).await;
                return Err(turned);
            }
        };
        match self.judge(&claim).await {
            Ok(welcome) => Ok(welcome),
            Err(refusal) => {
                record::refused(&self, &refusal).await;
                Err(Turned { id: Some(claim.id.into()), refusal })
            }
        }
    }

    fn welcomed(self: Rc<Self>) {
        if let Some(client) = self.client.get() {
            actix_web::rt::spawn(Rc::clone(&self).begin(client.role));
        }
    }

    async fn call(self: Rc<Self>, id: String, method: &'static Method, params: Map<String, Value>) -> String {
        let Some(client) = self.client.get() else { return frame::failure(&id, &stale()) };
        match method.twin {
            Twin::Rest { verb, pattern } => client.caller.call(&id, (verb, pattern), params).await,
            Twin::Own(own) => Rc::clone(&self).own(&id, own, params).await,
        }
    }

    fn ended(&self) {
        if let Some(listener) = self.listener.take() {
            listener.abort();
        }
        self.present.take();
        self.place.take();
        self.state.sessions.leave(self.id);
    }
}
