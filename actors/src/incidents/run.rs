//! Doing steps. Each may be done by any node, and again by another one.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use chrono::TimeDelta;
use claviger_entity::{
    DeviceId, HumanDuration, KeyName, KeyState, Kid, VersionNumber, domain::claims::ClaimRules,
};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    InIncident, Incident, Principal, StepRecord, Target,
    actor::{holder, notice},
    command::IncidentCommand,
    core::{Ended, Move, Outcomes, Step},
    handle::Shared,
};
use crate::{
    access::{AccessError, ApiKeyCommand},
    audit::{AuditRecord, Subject, event_of},
    cluster::Acknowledged,
    devices::{DeviceCommand, DeviceError},
    keyring::{
        ChangeContext, RingFailure,
        core::{RingError, Rotate, Transition, TransitionKind},
        record::{Key, Origin, Time},
    },
    store::{Database, EventFilter, StoreError},
    tokens::{Kind, Revoke, TokenFailure},
};

/// For how long a node has an incident for itself.
const LEASE: Duration = Duration::from_secs(5);
/// Age at which the lease is renewed.
const RENEW: Duration = Duration::from_secs(1);
/// Longest time that the report waits for what the logs of live nodes say, since the incident was approved.
const GATHER_MAX: TimeDelta = TimeDelta::seconds(8);
/// API keys of one principal that are deleted.
const DEPENDENTS_MAX: u64 = 1_000;
/// How long tokens may live where nobody here has taken down what it was.
const UNKNOWN: HumanDuration = HumanDuration::from_days(366);
/// For clocks, and for what is being issued just now.
const MARGIN: TimeDelta = TimeDelta::minutes(5);

/// What came of a look at an incident.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ran {
    /// Its steps are over.
    Over,
    /// Another node runs it.
    Elsewhere,
    /// A step waits for something.
    Waits,
}

/// Why a step was not done; it is tried again.
#[derive(Debug, thiserror::Error)]
pub(super) enum Stuck {
    /// The ring.
    #[error(transparent)]
    Ring(#[from] RingFailure),
    /// Tokens.
    #[error(transparent)]
    Tokens(#[from] TokenFailure),
    /// The database.
    #[error(transparent)]
    Storage(#[from] StoreError),
    /// People could not be told.
    #[error("people could not be told: {0}")]
    Notify(String),
}

/// What came of a step.
enum Came {
    /// This, and it is to be recorded.
    Of(Ended, Value),
    /// It is recorded with what it has changed.
    Recorded,
    /// Nothing yet.
    Waits,
}

fn done(outcome: Value) -> Result<Came, Stuck> {
    Ok(Came::Of(Ended::Done, outcome))
}

/// Runs what can be run of an incident. What has come of its steps is read once: whoever overtakes this node makes its next change of the ring
/// fail, and everything else may be done twice.
pub(super) async fn run(shared: &Shared, id: Uuid) -> Result<Ran, Stuck> {
    // Whoever ran it before may have changed the ring a moment ago.
    shared.ring.catch_up().await?;
    if !lease(shared, id, LEASE).await? {
        return Ok(if shared.is_running(id) { Ran::Elsewhere } else { Ran::Over });
    }
    let mut renewed = Instant::now();
    let Some(incident) = shared.load(id).await? else { return Ok(Ran::Over) };
    let (mut over, mut from) = (incident.outcomes(), 0);
    while shared.is_running(id) {
        if renewed.elapsed() > RENEW {
            if !lease(shared, id, LEASE).await? {
                return Ok(Ran::Elsewhere);
            }
            renewed = Instant::now();
        }
        let Some((place, step)) = incident.record.plan.next(&over, from) else {
            // Somebody else may go on meanwhile, should this node die.
            lease(shared, id, Duration::ZERO).await?;
            return Ok(Ran::Waits);
        };
        // Everything before has been looked at, and nothing of it waits for what comes now.
        from = place;
        let running = Running { shared, incident: &incident, place };
        let ended = match running.carry_out(step, &over).await? {
            Came::Of(ended, outcome) => {
                running.record(step, ended, outcome).await?;
                ended
            }
            Came::Recorded => Ended::Done,
            Came::Waits => {
                from = place + 1;
                continue;
            }
        };
        running.log(step, ended).await;
        over.insert(place, ended);
        shared.moved.send_modify(|moved| *moved += 1);
    }
    Ok(Ran::Over)
}

/// Takes or renews the lease; for no time at all, ends it.
async fn lease(shared: &Shared, id: Uuid, time: Duration) -> Result<bool, StoreError> {
    let (holder, now) = (holder(shared), shared.clock.now());
    let question =
        move |database: Database| async move { database.lease_incident(id, &holder, time, now).await };
    shared.ring.database().at_home(question).await
}

/// A step that is being done.
struct Running<'a> {
    shared: &'a Shared,
    incident: &'a Incident,
    place: usize,
}

impl Running<'_> {
    fn context(&self) -> ChangeContext {
        ChangeContext::system(format!("incident-{}", self.incident.record.id))
    }

    fn reason(&self) -> String {
        self.incident.record.reason.clone()
    }

    fn outcome(&self, ended: Ended, outcome: Value) -> StepRecord {
        StepRecord {
            incident: self.incident.record.id,
            place: self.place,
            ended,
            outcome,
            node: self.shared.settings.node.clone(),
            at: self.shared.clock.now(),
        }
    }

    async fn carry_out(&self, step: &Step, over: &Outcomes) -> Result<Came, Stuck> {
        match step {
            Step::Suspend { key, version } => self.leave_state(key, *version, TransitionKind::Suspend).await,
            Step::Compromise { key, version, exposure } => {
                self.leave_state(key, *version, TransitionKind::Compromise(*exposure)).await
            }
            Step::DeleteApiKey { api_key } => self.delete_api_key(*api_key).await,
            Step::RemoveDevice { device } => self.remove_device(*device).await,
            Step::Spread => self.spread().await,
            Step::Promote { key } => self.promote(key).await,
            Step::RevokeVersion { key, kid } => self.revoke_version(key, kid).await,
            Step::RevokeFamilies { key } => self.revoke_families(key).await,
            Step::RevokeSubject { subject } => self.revoke_subject(subject).await,
            Step::RevokeDependents { principal } => self.revoke_dependents(principal).await,
            Step::ClusterKey => Ok(Came::Of(
                Ended::Skipped,
                json!({ "why": "nodes know each other by a key that follows from the one that hashes credentials, so it can't be replaced without them; replace the node's password of the database, and the master with claviger seal rotate" }),
            )),
            Step::Rewrap { kid } => self.rewrap(kid).await,
            Step::Notify => self.notify().await,
            Step::Report => self.report(over).await,
        }
    }

    /// Suspends or compromises a version, unless it is at least that already.
    async fn leave_state(
        &self,
        key: &KeyName,
        version: VersionNumber,
        kind: TransitionKind,
    ) -> Result<Came, Stuck> {
        let state = {
            let snapshot = self.shared.ring.snapshot();
            let key = snapshot.ring().key(key).ok();
            key.and_then(|key| key.versions.get(&version)).map(|version| version.state)
        };
        let Some(state) = state else {
            return Ok(Came::Of(Ended::Failed, json!({ "why": "the version is not there, or damaged" })));
        };
        let is_there = match state {
            KeyState::PreActivation | KeyState::Active | KeyState::Deactivated => false,
            KeyState::Suspended => matches!(kind, TransitionKind::Suspend),
            KeyState::Retired | KeyState::Compromised | KeyState::Destroyed => true,
        };
        if is_there {
            return done(json!({ "state": state }));
        }
        let transition = Transition { name: key.clone(), version, kind, reason: self.reason() };
        let step = self.outcome(Ended::Done, json!({ "before": state }));
        match self.shared.ring.transition_in(self.context(), transition, step).await {
            Ok(_) => Ok(Came::Recorded),
            Err(RingFailure::Refused(
                error @ (RingError::KeyNotFound | RingError::VersionNotFound | RingError::Quarantined),
            )) => Ok(Came::Of(Ended::Failed, json!({ "why": error.to_string() }))),
            // Somebody else has moved it a moment ago: it is looked at again.
            Err(failure) => Err(failure.into()),
        }
    }

    async fn delete_api_key(&self, id: Uuid) -> Result<Came, Stuck> {
        let step = self.outcome(Ended::Done, json!({ "api_key": id.simple().to_string() }));
        let command = InIncident { command: ApiKeyCommand::Delete { id }, step };
        match self.shared.ring.apply(self.context(), command).await {
            Ok(_) => Ok(Came::Recorded),
            Err(RingFailure::Access(AccessError::ApiKeyNotFound)) => {
                done(json!({ "api_key": id.simple().to_string(), "was": "deleted before" }))
            }
            Err(RingFailure::Access(error)) => {
                Ok(Came::Of(Ended::Failed, json!({ "why": error.to_string() })))
            }
            Err(failure) => Err(failure.into()),
        }
    }

    async fn remove_device(&self, id: DeviceId) -> Result<Came, Stuck> {
        let step = self.outcome(Ended::Done, json!({ "device": id }));
        let command = InIncident { command: DeviceCommand::Remove { id }, step };
        match self.shared.ring.apply(self.context(), command).await {
            Ok(_) => Ok(Came::Recorded),
            Err(RingFailure::Device(DeviceError::NotFound)) => done(json!({ "was": "removed before" })),
            Err(failure) => Err(failure.into()),
        }
    }

    async fn spread(&self) -> Result<Came, Stuck> {
        let began = self.shared.clock.now();
        let epoch = self.shared.ring.position().epoch;
        let Acknowledged { by, lagging, longest } = self.shared.cluster.barrier(epoch).await;
        let at = self.shared.clock.now();
        let error = TimeDelta::milliseconds(self.shared.cluster.clock_error_ms());
        let effective_by =
            if lagging.is_empty() { at } else { began + TimeDelta::milliseconds(longest) + error };
        let mut cordoned = None;
        if let Target::Node(name) = &self.incident.record.target {
            // It is not waited for any more, but whether it knows is worth saying.
            let view = self.shared.cluster.view().await?;
            let mut starts = view.members.iter().filter(|node| node.name == *name);
            cordoned = Some(starts.all(|node| node.applied >= epoch.0));
        }
        let outcome = json!({
            "epoch": epoch,
            "acknowledged_by": by,
            "lagging": lagging,
            "effective_by": effective_by,
            "took_ms": (at - began).num_milliseconds(),
            "cordoned": cordoned,
        });
        done(outcome)
    }

    /// The key has a primary: as a rule its standby has become that already.
    async fn promote(&self, key: &KeyName) -> Result<Came, Stuck> {
        let primary = {
            let snapshot = self.shared.ring.snapshot();
            let Ok(key) = snapshot.ring().key(key) else {
                return Ok(Came::Of(Ended::Skipped, json!({ "why": "the key is gone" })));
            };
            key.primary().map(|version| json!({ "version": version.version, "kid": version.kid, "published_at": version.created_at }))
        };
        if let Some(primary) = primary {
            return done(primary);
        }
        let rotate = Rotate { name: key.clone(), force: true, reason: Some(self.reason()), expected: None };
        let step = self.outcome(Ended::Done, json!({ "was": "without a primary" }));
        match self.shared.ring.rotate_in(self.context(), rotate, step).await {
            Ok(_) => Ok(Came::Recorded),
            Err(RingFailure::Refused(error @ (RingError::StateConflict(_) | RingError::Unsupported(_)))) => {
                Ok(Came::Of(Ended::Failed, json!({ "why": error.to_string() })))
            }
            Err(failure) => Err(failure.into()),
        }
    }

    async fn revoke_version(&self, key: &KeyName, kid: &Kid) -> Result<Came, Stuck> {
        let Some((id, until)) = self.of_key(key) else {
            return Ok(Came::Of(Ended::Skipped, json!({ "why": "the key is gone" })));
        };
        let revoke = Revoke { kind: Kind::Version, value: kid.as_str(), key: None, of: Some(id), until };
        let subject =
            Subject { key: Some(key.to_string()), kid: Some(kid.to_string()), ..Subject::default() };
        let revoked = self.shared.tokens.revoke(revoke, (&self.context(), subject)).await?;
        done(json!({ "before": revoked.before }))
    }

    async fn revoke_families(&self, key: &KeyName) -> Result<Came, Stuck> {
        let Some((id, until)) = self.of_key(key) else {
            return Ok(Came::Of(Ended::Skipped, json!({ "why": "the key is gone" })));
        };
        let until = self.until_refreshed(until).await?;
        let now = self.shared.clock.now();
        let count = move |database: Database| async move { database.live_refresh(&[id], now).await };
        let refresh_tokens = self.shared.ring.database().at_home(count).await?;
        let revoke = Revoke { kind: Kind::Families, value: key.as_str(), key: Some(id), of: Some(id), until };
        let subject = Subject { key: Some(key.to_string()), ..Subject::default() };
        let revoked = self.shared.tokens.revoke(revoke, (&self.context(), subject)).await?;
        done(json!({ "before": revoked.before, "refresh_tokens": refresh_tokens }))
    }

    async fn revoke_subject(&self, subject: &str) -> Result<Came, Stuck> {
        let (until, hash) = {
            let snapshot = self.shared.ring.snapshot();
            let now = self.shared.clock.now();
            let until = snapshot.ring().keys().map(|key| until_of(key, now)).max();
            (until.unwrap_or(now), snapshot.audit_hash(subject))
        };
        let until = self.until_refreshed(until).await?;
        let revoke = Revoke { kind: Kind::Subject, value: subject, key: None, of: None, until };
        let about = Subject { sub_hash: hash, ..Subject::default() };
        let revoked = self.shared.tokens.revoke(revoke, (&self.context(), about)).await?;
        done(json!({ "before": revoked.before }))
    }

    /// When the last refresh token of now has ended too.
    async fn until_refreshed(&self, until: Time) -> Result<Time, Stuck> {
        let latest = self.shared.tokens.latest_end().await?;
        let ttl = TimeDelta::from_std(self.shared.settings.refresh_ttl).unwrap_or(TimeDelta::zero());
        let next = self.shared.clock.now() + ttl + MARGIN;
        Ok(until.max(next).max(latest.unwrap_or(until)))
    }

    fn of_key(&self, name: &KeyName) -> Option<(Uuid, Time)> {
        let snapshot = self.shared.ring.snapshot();
        let key = snapshot.ring().key(name).ok()?;
        Some((key.record.id, until_of(key, self.shared.clock.now())))
    }

    /// Deletes API keys that the principal has made since then, and those that these have made.
    async fn revoke_dependents(&self, principal: &str) -> Result<Came, Stuck> {
        let since = self.incident.record.since;
        let made = self.shared.made_by(principal, Some(since)).await?;
        if since == Time::UNIX_EPOCH {
            // A principal that has been one for years has made what everybody lives on.
            let made: Vec<String> = made.iter().map(|id| id.simple().to_string()).collect();
            let why = "nobody has said since when, so what the principal has made is left alone";
            return Ok(Came::Of(Ended::Skipped, json!({ "why": why, "kept": made })));
        }
        let (mut deleted, mut kept) = (Vec::new(), Vec::new());
        for id in made {
            let text = id.simple().to_string();
            match self.shared.ring.delete_api_key(self.context(), id).await {
                Ok(_) => deleted.push(text),
                Err(RingFailure::Access(AccessError::ApiKeyNotFound)) => {}
                Err(RingFailure::Access(_)) => kept.push(text),
                Err(failure) => return Err(failure.into()),
            }
        }
        let ended = if kept.is_empty() { Ended::Done } else { Ended::Failed };
        Ok(Came::Of(ended, json!({ "api_keys": deleted, "kept": kept })))
    }

    /// Rows move by themselves as soon as the key has another primary, on every node; here it is only said how many there are.
    async fn rewrap(&self, kid: &Kid) -> Result<Came, Stuck> {
        let kids = vec![kid.to_string()];
        let count = move |database: Database| async move { database.stored_under(&kids).await };
        let pending = self.shared.ring.database().at_home(count).await?;
        done(json!({ "kid": kid, "pending": pending }))
    }

    async fn notify(&self) -> Result<Came, Stuck> {
        let told = self.shared.notify.tell(&notice(&self.incident.record)).await.map_err(Stuck::Notify)?;
        done(json!({ "channels": told, "events": "alert.raised, token.revoked" }))
    }

    /// Waits for what the nodes' logs say, and ends the incident.
    async fn report(&self, over: &Outcomes) -> Result<Came, Stuck> {
        let live = self.shared.live_nodes().await?;
        let known = self.shared.load(self.incident.record.id).await?;
        let known: Vec<String> =
            known.into_iter().flat_map(|known| known.uses).map(|uses| uses.node).collect();
        let has = |node: &&String| known.contains(node);
        let missing: Vec<&String> = live.iter().filter(|node| !has(node)).collect();
        let since = self.incident.record.approved_at.unwrap_or(self.incident.record.opened_at);
        if !missing.is_empty() && self.shared.clock.now() - since < GATHER_MAX {
            return Ok(Came::Waits);
        }
        let has_failed = over.values().any(|ended| *ended == Ended::Failed);
        let outcome = json!({ "nodes": live, "missing": missing });
        let command = IncidentCommand::Move {
            id: self.incident.record.id,
            to: Move::Finish(has_failed),
            by: "system".to_owned(),
            step: Some(self.outcome(Ended::Done, outcome)),
        };
        self.shared.ring.apply(self.context(), command).await?;
        Ok(Came::Recorded)
    }

    /// Keeps what came of a step that is no change of the ring, with its audit record.
    async fn record(&self, step: &Step, ended: Ended, outcome: Value) -> Result<(), Stuck> {
        let record = self.outcome(ended, outcome);
        let audit = self.audit_record(step, &record);
        let keychain = Arc::clone(self.shared.ring.snapshot().keychain());
        let written = record.clone();
        let text = audit.to_string();
        let write =
            move |database: Database| async move { database.record_step(&keychain, &written, text).await };
        self.shared.ring.database().at_home(write).await?;
        Ok(())
    }

    /// Puts a step into the log of this node too. The database has its record; a full disk must not hold up an emergency.
    async fn log(&self, step: &Step, ended: Ended) {
        let subject = Subject { key: step.key().map(ToString::to_string), ..Subject::default() };
        let line = AuditRecord {
            ts: self.shared.clock.now(),
            event: event_of("incident.step"),
            operation: "incident.step",
            actor: "system",
            actor_id: None,
            address: None,
            subject: &subject,
            outcome: if ended == Ended::Failed { "failed" } else { "ok" },
            status: None,
            request_id: &self.context().request_id,
            node: &self.shared.settings.node,
            epoch: self.shared.ring.position().epoch.0,
            duration_us: 0,
            times: None,
        };
        if self.shared.audit.append(&line, true).await.is_err() {
            tracing::warn!("a step of an incident is recorded in the database only");
        }
    }

    fn audit_record(&self, step: &Step, record: &StepRecord) -> Value {
        json!({
            "ts": record.at,
            "event": event_of("incident.step"),
            "operation": "incident.step",
            "actor": "system",
            "request_id": self.context().request_id,
            "node": record.node,
            "epoch": self.shared.ring.position().epoch,
            "outcome": if record.ended == Ended::Failed { "failed" } else { "ok" },
            "incident": record.incident,
            "incident_step": record.place,
            "step": step.as_str(),
            "ended": record.ended,
            "result": record.outcome,
        })
    }
}

impl Shared {
    /// API keys that a principal has made since a moment, and those that these have made in turn.
    pub(super) async fn made_by(
        &self,
        principal: &str,
        since: Option<Time>,
    ) -> Result<Vec<Uuid>, RingFailure> {
        let (mut made, mut makers) = (Vec::<Uuid>::new(), vec![principal.to_owned()]);
        while let Some(maker) = makers.pop() {
            let actor = match Principal::of(&maker) {
                Principal::Device(id) => format!("device:{id}"),
                Principal::ApiKey(_) | Principal::Subject(_) => maker,
            };
            let filter = EventFilter {
                event: Some("api_key_created".to_owned()),
                actor: Some(actor),
                outcome: Some("ok".to_owned()),
                since,
                ..EventFilter::default()
            };
            let found = self.ring.audit_events(&filter, None, DEPENDENTS_MAX).await;
            for row in found.map_err(RingFailure::Storage)? {
                let id = serde_json::from_str::<Made>(row.record()).ok().and_then(|made| made.api_key);
                let id = id.and_then(|id| Uuid::try_parse(&id).ok());
                if let Some(id) = id.filter(|id| !made.contains(id)) {
                    made.push(id);
                    makers.push(id.simple().to_string());
                }
            }
        }
        let snapshot = self.ring.snapshot();
        made.retain(|id| snapshot.access().api_key(*id).is_some());
        Ok(made)
    }
}

#[derive(serde::Deserialize)]
struct Made {
    api_key: Option<String>,
}

/// When no token that a key has made until now can be valid any more.
fn until_of(key: &Key, now: Time) -> Time {
    let rules = &key.record.claims;
    if rules.allow_missing_exp {
        return Time::MAX_UTC;
    }
    let mut longest = ClaimRules::DEFAULT_MAX_TTL.max(rules.max_ttl());
    longest = longest.max(key.record.longest_ttl().unwrap_or(UNKNOWN));
    if key.versions.values().any(|version| version.origin == Origin::Imported) {
        longest = longest.max(UNKNOWN);
    }
    (now + longest.to_delta()).checked_add_signed(MARGIN).unwrap_or(Time::MAX_UTC)
}
