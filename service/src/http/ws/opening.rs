//! One session from its upgrade to its end: who it is, what it hears of, what it asks for.

use std::{
    cell::{OnceCell, RefCell},
    net::SocketAddr,
    rc::Rc,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use actix_web::{
    rt::task::JoinHandle,
    web::{Bytes, Data},
};
use async_trait::async_trait;
use claviger_actors::{
    events::{Gone, Present, Subscription, Topics},
    keyring::Snapshot,
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
    sessions::{Entry, Known, Place, Seat},
    watch,
};
use crate::{
    auth::{Identity, Standing},
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
    /// Until the first frame has come.
    pub(super) entrance: RefCell<Option<Box<Entrance>>>,
    pub(super) id: Uuid,
    pub(super) voice: Voice,
    pub(super) wish: Wish,
    pub(super) entry: Arc<Entry>,
    /// Until somebody was recognised.
    pub(super) place: RefCell<Option<Place>>,
    pub(super) client: OnceCell<Client>,
    pub(super) listener: RefCell<Option<JoinHandle<()>>>,
    /// Of whoever says what this session listens to: it becomes what was asked for last, not what took longest.
    pub(super) turns: Arc<tokio::sync::Mutex<()>>,
    pub(super) seat: RefCell<Option<Seat>>,
    pub(super) present: RefCell<Option<Present>>,
}

/// Whoever was recognised.
pub(super) struct Client {
    pub(super) caller: Caller,
    pub(super) role: Role,
    pub(super) granted: Scopes,
}

impl Opening {
    /// Recognises a client. Whoever hangs up meanwhile has tried all the same: it is counted, and on record.
    async fn recognise(self: &Rc<Self>, claim: &Rc<Claim>) -> Result<Standing, Refusal> {
        let (opening, claim) = (Rc::clone(self), Rc::clone(claim));
        let trial = actix_web::rt::spawn(async move {
            let auth = &claim.connect.auth;
            let recognised = authorization::authorize(&opening.state, &opening.came, auth).await;
            if let Err(refusal) = &recognised {
                record::refused(&opening, (None, None), refusal).await;
            }
            recognised
        });
        trial.await.unwrap_or_else(|_| Err(authorization::away()))
    }

    async fn judge(
        &self,
        claim: &Claim,
        entrance: &Entrance,
        standing: Standing,
    ) -> Result<Welcome, Refusal> {
        let state = &self.state;
        let now_ms = state.clock.now().timestamp_millis();
        let verify =
            |key: &[u8; 32], message: &[u8], signature: &[u8]| public::ed25519(key, message, signature);
        let proven = claim.prove(entrance, now_ms, &verify)?;
        let Paired { standing, approved, device } =
            pairing::pair(state, &self.came, claim, proven, standing).await?;
        let granted = approved.and(claim.requested);
        let standing = Arc::new(standing.held_to(granted));
        // From here on whatever is revoked ends the session; what was before is seen now.
        let identity = self.become_known(&standing, claim.role, granted)?;
        let seat = Seat::take(state, identity.id()).ok_or_else(|| {
            let reason = "too many sessions of this principal; close one, or try another node";
            let mut refusal = Refusal::new("rate_limited", Close::policy(reason));
            refusal.failure = refusal.failure.after(1_000);
            refusal
        })?;
        self.seat.replace(Some(seat));
        record::opened(self, &identity, &standing, (claim.role, granted)).await?;
        let presence = hello::presence(self, claim, device);
        self.present.replace(Some(state.events.enter(presence)));
        let payload = hello::payload(self, &identity, (claim.role, granted));
        let payload = pairing::with_first_token(state, &identity, device, claim.role, payload).await?;
        if payload.get("deviceToken").is_some() {
            record::token_issued(self, &identity, &standing).await;
        }
        let caller = Caller {
            state: state.clone(),
            inside: self.inside.clone(),
            standing,
            peer: SocketAddr::new(self.came.whence.client, self.came.peer.map_or(0, |peer| peer.port())),
        };
        let _first = self.client.set(Client { caller, role: claim.role, granted });
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
        let identity = self.identity_by(&self.state.ring.snapshot(), standing)?;
        let session = (role, granted);
        let known = Known {
            standing: Arc::clone(standing),
            principal: identity.api_key().cloned(),
            until: Mutex::new(standing.ends_at(&identity)),
            session,
            // Until it was looked at there is nothing that could be lost.
            has_rights: AtomicBool::new(false),
            listens: AtomicBool::new(false),
        };
        let known = self.entry.known.get_or_init(|| known);
        loop {
            // What was revoked or decided before the watch could see this session.
            let snapshot = self.state.ring.snapshot();
            let identity = self.identity_by(&snapshot, standing)?;
            let has_rights = watch::has_rights(&self.state, &snapshot, &identity, session);
            known.has_rights.store(has_rights, Ordering::Relaxed);
            if self.state.ring.snapshot().access_revision() == snapshot.access_revision() {
                return Ok(identity);
            }
        }
    }

    /// Who it is by this ring, which must be one of now.
    fn identity_by(&self, snapshot: &Snapshot, standing: &Standing) -> Result<Identity, Refusal> {
        self.state.is_current(snapshot.confirmed()).map_err(|_| authorization::away())?;
        let known = self.state.known(snapshot);
        let over = |_| Refusal::unauthorized("the credential was revoked meanwhile");
        standing.identity(known, self.state.clock.now()).map_err(over)
    }

    /// Who it is now.
    pub(super) fn identity(&self) -> Option<Identity> {
        let client = self.client.get()?;
        self.identity_by(&self.state.ring.snapshot(), &client.caller.standing).ok()
    }

    /// Tells what a subscription brings, in place of the one before.
    pub(super) fn listen(self: &Rc<Self>, mut subscription: Subscription, after: u64) {
        if self.voice.outbox().is_closed() {
            // Whoever tidies up after the session may have been here already.
            return;
        }
        let (voice, state) = (self.voice.clone(), self.state.clone());
        let telling = actix_web::rt::spawn(async move {
            loop {
                match subscription.next().await {
                    Ok(event) => {
                        let epoch = event.epoch.map(|epoch| epoch.0);
                        if epoch.is_some_and(|epoch| epoch <= after) {
                            continue;
                        }
                        if !voice.tell_in_time(event.name.as_str(), &event.payload, epoch).await {
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
        self.listens(true);
        // What was taken away before the watch could see that it listens.
        let may_listen = self
            .identity()
            .is_none_or(|identity| watch::may_listen(&self.state, &self.state.ring.snapshot(), &identity));
        if !may_listen {
            self.voice.outbox().cut(Close::revoked());
        }
    }

    fn listens(&self, listens: bool) {
        if let Some(known) = self.entry.known.get() {
            known.listens.store(listens, Ordering::SeqCst);
        }
    }

    async fn own(self: Rc<Self>, id: &str, own: Own, params: Map<String, Value>) -> String {
        let _turn = match own {
            Own::Subscribe | Own::Unsubscribe => Some(self.turns.lock().await),
            Own::Heartbeat => None,
        };
        let done = match own {
            Own::Subscribe => listening::subscribe(&self, params).await,
            Own::Unsubscribe => {
                if let Some(listener) = self.listener.take() {
                    listener.abort();
                }
                self.listens(false);
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
        let Some(entrance) = self.entrance.take() else {
            let refusal = Refusal::invalid("invalid handshake: connect comes once");
            return Err(Turned { id: None, refusal });
        };
        let claim = match entrance.first(&frame, &self.state.doors.cors_origins) {
            Ok(claim) => claim,
            Err(turned) => {
                record::refused(&self, (None, None), &turned.refusal).await;
                return Err(turned);
            }
        };
        let claim = Rc::new(claim);
        let turned = |refusal| Turned { id: Some(claim.id.as_str().into()), refusal };
        let standing = self.recognise(&claim).await.map_err(turned)?;
        let identity = self.identity_by(&self.state.ring.snapshot(), &standing).ok();
        match self.judge(&claim, &entrance, standing).await {
            Ok(welcome) => Ok(welcome),
            Err(refusal) => {
                // Whoever must be paired has proved to be the device that they name.
                let device =
                    claim.connect.device.as_ref().filter(|_| refusal.failure.code == "pairing_required");
                let device = device.map(|device| device.id.as_str());
                record::refused(&self, (identity.as_ref(), device), &refusal).await;
                Err(turned(refusal))
            }
        }
    }

    async fn turned_away(self: Rc<Self>) {
        record::refused(&self, (None, None), &Refusal::invalid("")).await;
    }

    fn welcomed(self: Rc<Self>) {
        if let Some(client) = self.client.get() {
            let turn = Arc::clone(&self.turns).try_lock_owned();
            let (opening, role, granted) = (Rc::clone(&self), client.role, client.granted);
            actix_web::rt::spawn(async move {
                listening::begin(opening, role, granted).await;
                drop(turn);
            });
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
        self.seat.take();
        // Its place among those who are not known goes with the last who works on its handshake.
        self.state.sessions.leave(self.id);
    }
}
