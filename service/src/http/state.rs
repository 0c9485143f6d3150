//! What every handler may reach.

use std::{
    cell::{Cell, OnceCell, RefCell},
    ops::Deref,
    path::PathBuf,
    rc::Rc,
    sync::{
        Arc, Mutex, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
};

use actix_web::web::Bytes;
use chrono::{SecondsFormat, TimeDelta};
use claviger_actors::{
    alerts::AlertsHandle,
    audit::{AuditHandle, Floods, Subject, keeper::AuditKeeper},
    clock::Clock,
    cluster::ClusterHandle,
    events::EventsHandle,
    incidents::IncidentsHandle,
    keyring::{ChangeContext, Confirmed, IdempotencyTicket, KeyRingHandle, Snapshot, StillMay},
    masters::MastersHandle,
    quotas::QuotasHandle,
    rotation::RotationHandle,
    stores::StoresHandle,
    tokens::TokensHandle,
};
use claviger_config::{AuditLevel, Doors, TokenTimes};
use claviger_entity::{HumanDuration, KeyName};
use tokio::sync::Semaphore;

use super::{
    body::Awaited,
    door::unsure,
    patience::Patience,
    problem::{Code, Problem},
    quota::Rates,
    record::Tally,
    table::Route,
    ws::Sessions,
};
use crate::{
    auth::{Addresses, Authorizer, Identity, Issuers, Known, Limiter, MeshIdentity, Password},
    backup::Backups,
    connections::Connections,
    metrics::Metrics,
    providers::Providers,
    telemetry::{Context, Spans},
    tls::Clients,
};

/// What a worker reaches, and through it what all of them share. Each has one of its own: whatever counts who holds it is touched with
/// every request, and two processors that touch the same wait for each other.
pub struct AppState {
    shared: Arc<Shared>,
    /// Who may do what.
    pub authorizer: Authorizer,
}

impl Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.shared
    }
}

/// Shared by all workers.
pub struct Shared {
    /// The key ring.
    pub ring: KeyRingHandle,
    /// Masters.
    pub masters: MastersHandle,
    /// What is known of tokens after their issue.
    pub tokens: TokensHandle,
    /// How long tokens live.
    pub token_times: TokenTimes,
    /// The other nodes.
    pub cluster: ClusterHandle,
    /// What happens, and who is connected.
    pub events: EventsHandle,
    /// Longest time without word from the database for which this node goes on.
    pub max_staleness: std::time::Duration,
    /// Issuers elsewhere whose tokens are credentials.
    pub issuers: Issuers,
    /// Incidents.
    pub incidents: IncidentsHandle,
    /// Alerts.
    pub alerts: AlertsHandle,
    /// What is stored for others.
    pub stores: StoresHandle,
    /// Where tokens of users come from.
    pub providers: Arc<Providers>,
    /// The schedule.
    pub rotation: RotationHandle,
    /// Backups.
    pub backups: Arc<Backups>,
    /// What is counted for whoever watches.
    pub metrics: Metrics,
    /// Where spans go.
    pub spans: Spans,
    /// The audit log.
    pub audit: AuditHandle,
    /// Its folder.
    pub audit_dir: PathBuf,
    /// One look at the whole of it at a time.
    pub verifying: Arc<Semaphore>,
    /// What of it is kept in the database.
    pub keeper: AuditKeeper,
    /// What is recorded.
    pub audit_level: AuditLevel,
    /// Uses and looks that are only counted.
    pub tally: Tally,
    /// Failures of people that nobody knows.
    pub floods: Mutex<Floods>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// This node's name.
    pub node: String,
    /// `iss` of tokens; set once the address is known.
    pub issuer: OnceLock<String>,
    /// Key that signs when a request names none.
    pub signing_key: KeyName,
    /// Key that encrypts tokens when a request names none.
    pub encryption_key: KeyName,
    /// Waiting period of a deletion.
    pub deletion_waiting_period: HumanDuration,
    /// Longest request body.
    pub body_limit: usize,
    /// Longest time for a request.
    pub request_timeout: std::time::Duration,
    /// No new work: the node is leaving.
    pub draining: AtomicBool,
    /// Whom the doors recognise beside holders of credentials.
    pub doors: Doors,
    /// Where requests come from.
    pub addresses: Addresses,
    /// Who judges certificates of clients, where they are asked for.
    pub clients: Option<Arc<Clients>>,
    /// Who has failed too often.
    pub limiter: Limiter,
    /// Strangers who wait for their refusals.
    pub patience: Patience,
    /// Connections of the first listener.
    pub connections: Arc<Connections>,
    /// Room for bodies that have come in part.
    pub awaited: Awaited,
    /// How much may be asked for.
    pub quotas: QuotasHandle,
    /// A mesh that knows its members.
    pub mesh: Option<Box<dyn MeshIdentity>>,
    /// What WebSocket clients may know instead of a credential.
    pub password: Option<Password>,
    /// WebSocket sessions.
    pub sessions: Sessions,
}

impl AppState {
    /// For the first who reaches it.
    #[must_use]
    pub fn new(shared: Shared) -> Self {
        Self { shared: Arc::new(shared), authorizer: Authorizer::default() }
    }

    /// For another worker.
    #[must_use]
    pub fn of_another_worker(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), authorizer: Authorizer::default() }
    }

    /// `iss` of tokens.
    #[must_use]
    pub fn issuer(&self) -> &str {
        self.issuer.get().map_or("", String::as_str)
    }

    /// Whoever is known by this ring.
    #[must_use]
    pub fn known<'a>(&'a self, snapshot: &'a Snapshot) -> Known<'a> {
        Known { snapshot, tokens: &self.tokens, issuer: self.issuer(), issuers: &self.issuers }
    }

    /// The ring; read anew from the database if it lacks a key that another node may have made a moment ago.
    ///
    /// # Errors
    /// `stale_node` when the database can't be asked: nobody is told that a key is not there by a node that can't know.
    pub async fn snapshot_with(&self, name: &KeyName) -> Result<Arc<Snapshot>, Problem> {
        {
            let snapshot = self.ring.snapshot();
            if snapshot.key(name).is_ok() || !self.cluster.is_shared() {
                return Ok(snapshot);
            }
            // Let go of it: nobody may wait for this request while it waits.
        }
        // Rare, and large: not to be carried about with every request.
        if Box::pin(self.cluster.refresh()).await { Ok(self.ring.snapshot()) } else { Err(unsure()) }
    }

    /// Takes in what other nodes have changed, as far as it can: a change is judged in its turn all the same.
    pub async fn catch_up(&self) {
        if self.cluster.is_shared() {
            self.cluster.refresh().await;
        }
    }

    /// What this ring says still holds, as far as this node can know.
    ///
    /// # Errors
    /// `stale_node`, `sealed`.
    pub fn is_current(&self, confirmed: &Confirmed) -> Result<(), Problem> {
        if self.ring.is_rewound() {
            let detail = "the database has lost changes that this node knows; see the log of the node";
            return Err(Problem::new(Code::StaleNode, detail));
        }
        if self.masters.is_locked() {
            let detail =
                "this node lacks the master key in use; start it with that on a line of seal.master_key";
            return Err(Problem::new(Code::Sealed, detail));
        }
        if self.ring.shuts_out(&self.node) {
            let detail = "this node is shut out by an incident; use another one";
            return Err(Problem::new(Code::StaleNode, detail));
        }
        let age = confirmed.age();
        if age <= self.max_staleness {
            return Ok(());
        }
        let since = self.clock.now() - TimeDelta::from_std(age).unwrap_or(TimeDelta::MAX);
        let since = since.to_rfc3339_opts(SecondsFormat::Secs, true);
        let detail = format!("this node has had no word from the database since {since}; try another one");
        Err(Problem::new(Code::StaleNode, detail).with("since", since))
    }

    /// The node is leaving.
    #[must_use]
    pub fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Relaxed)
    }
}

/// A request at its route: what the door and the handler tell each other. It outlives a request that is lost with its handler.
#[derive(Clone)]
pub struct Arrival(Rc<Arrived>);

struct Arrived {
    route: &'static Route,
    id: Rc<str>,
    noted: Noted,
    caller: OnceCell<Caller>,
    body: OnceCell<Bytes>,
    rates: OnceCell<Rates>,
}

impl Arrival {
    /// Of a request that nobody has looked at.
    pub(crate) fn new(route: &'static Route, context: &Context) -> Self {
        let id = Rc::clone(&context.id);
        Self(Rc::new(Arrived {
            route,
            id,
            noted: Noted::default(),
            caller: OnceCell::new(),
            body: OnceCell::new(),
            rates: OnceCell::new(),
        }))
    }

    /// Where it goes.
    #[must_use]
    pub fn route(&self) -> &'static Route {
        self.0.route
    }

    /// `X-Request-Id`.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.0.id
    }

    /// The same, to be kept.
    #[must_use]
    pub fn id_shared(&self) -> Rc<str> {
        Rc::clone(&self.0.id)
    }

    /// For the record.
    #[must_use]
    pub fn noted(&self) -> &Noted {
        &self.0.noted
    }

    /// The door has recognised the caller, and taken this body for the handler.
    pub(super) fn enter(&self, caller: Caller, body: Bytes) {
        // Once, by the door.
        let _first = (self.0.caller.set(caller), self.0.body.set(body));
    }

    /// Who asks, if they were recognised; they need not have been let in.
    #[must_use]
    pub fn caller(&self) -> Option<&Caller> {
        self.0.caller.get()
    }

    /// The whole body, if the door has read one.
    #[must_use]
    pub fn body(&self) -> Option<&Bytes> {
        self.0.body.get()
    }

    /// What the answer is to say of quotas.
    pub(super) fn rate(&self, rates: Rates) {
        let _first = self.0.rates.set(rates);
    }

    /// What was left of quotas when the request came.
    pub(super) fn rates(&self) -> Option<&Rates> {
        self.0.rates.get()
    }

    /// The permission of the route has been asked about.
    pub(super) fn is_decided(&self) -> bool {
        self.0.caller.get().is_some_and(Caller::is_decided)
    }
}

/// What a handler tells the door for the audit record.
#[derive(Debug, Default)]
pub struct Noted(RefCell<Subject>);

impl Noted {
    /// What was noted last.
    #[must_use]
    pub fn subject(&self) -> Subject {
        self.0.borrow().clone()
    }

    /// Looks at what was noted last.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Subject) -> T) -> T {
        look(&self.0.borrow())
    }

    /// Replaces what was noted.
    pub fn note(&self, subject: Subject) {
        self.0.replace(subject);
    }
}

/// Marks the internal listener: loopback or the network of the deployment.
#[derive(Debug, Clone, Copy)]
pub struct Internal;

/// The listener speaks TLS.
#[derive(Debug, Clone, Copy)]
pub struct OverTls(pub bool);

/// Who calls, once the door has let them in.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Who.
    pub identity: Arc<Identity>,
    /// The request.
    pub request_id: Rc<str>,
    /// Set on a request with `Idempotency-Key`.
    pub idempotency: Option<IdempotencyTicket>,
    /// The judgement of the door, for whoever has to make it again.
    pub still_may: Option<StillMay>,
    /// The key that the path names, where keys have a quota.
    pub(super) key: Option<uuid::Uuid>,
    /// The permission of the route has been asked about.
    decided: Rc<Cell<bool>>,
}

impl Caller {
    /// A caller for whom nothing has been decided yet.
    #[must_use]
    pub fn new(identity: Identity, request_id: Rc<str>) -> Self {
        Self::of(Arc::new(identity), request_id)
    }

    /// The same, for an identity that is shared.
    #[must_use]
    pub fn of(identity: Arc<Identity>, request_id: Rc<str>) -> Self {
        Self { identity, request_id, idempotency: None, still_may: None, key: None, decided: Rc::default() }
    }

    /// The permission of the route has been asked about.
    #[must_use]
    pub fn is_decided(&self) -> bool {
        self.decided.get()
    }

    /// Says that it has been.
    pub(super) fn decided(&self) {
        self.decided.set(true);
    }

    /// Who asks for a change.
    #[must_use]
    pub fn context(&self) -> ChangeContext {
        ChangeContext {
            actor: self.identity.name().to_owned(),
            actor_id: Some(self.identity.id().simple().to_string()),
            api_key: self.identity.api_key().map(|principal| principal.record.id),
            device: self.identity.acting_device(),
            still_may: self.still_may.clone(),
            request_id: self.request_id.to_string(),
            idempotency: self.idempotency.clone(),
        }
    }

    /// As [`Self::context`], for a change that is only part of the request.
    #[must_use]
    pub fn context_of_part(&self) -> ChangeContext {
        ChangeContext { idempotency: None, ..self.context() }
    }
}

impl actix_web::FromRequest for Caller {
    type Error = Problem;
    type Future = std::future::Ready<Result<Self, Self::Error>>;

    fn from_request(request: &actix_web::HttpRequest, _: &mut actix_web::dev::Payload) -> Self::Future {
        use actix_web::HttpMessage as _;
        // Only the door puts a caller there, so a handler that asks for one can't be reached without.
        let caller =
            request.extensions().get::<Arrival>().and_then(|arrival| arrival.0.caller.get().cloned());
        std::future::ready(
            caller.ok_or_else(|| Problem::new(Code::Unauthorized, "this route needs a credential")),
        )
    }
}
