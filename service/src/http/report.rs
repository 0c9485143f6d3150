//! `GET /v1/report`: what an auditor asks of a deployment, in one answer.

use actix_web::{HttpResponse, web::Data};
use chrono::{DateTime, Utc};
use claviger_actors::{
    alerts::Matter,
    audit::BackupSubject,
    keyring::{RingFailure, Snapshot, policy, record::Key},
    store::EventFilter,
};
use claviger_entity::{HumanDuration, KeyName, KeyState, KeyType, Tier, Usage};
use claviger_policy::{Permission, PrincipalRef, ResourceRef, Target};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{
    alerts::AlertView, incidents::IncidentSummary, problem::Problem, seal, slice::Slice, state::AppState,
};

/// Principals that are listed at most.
const PRINCIPALS_MAX: usize = 1_000;
/// Incidents that are listed, the latest ones.
const INCIDENTS: u64 = 100;
/// Alerts that are listed, the latest ones.
const ALERTS: u64 = 200;
/// Backups that are listed, and tests of some: the latest ones.
const BACKUPS: u64 = 20;

/// A deployment as auditors look at it.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ComplianceReport)]
pub struct ReportAnswer {
    generated_at: DateTime<Utc>,
    node: String,
    /// Which deployment it is, whatever it is called: backups are of one.
    deployment: Uuid,
    issuer: String,
    epoch: u64,
    keys: Vec<ReportKey>,
    /// Rows that were changed outside the service.
    quarantined: usize,
    principals: Vec<ReportPrincipal>,
    /// The last checkpoint of each node's audit log that the database has.
    checkpoints: Vec<ReportCheckpoint>,
    incidents: Vec<IncidentSummary>,
    /// The latest 200 of those that are open or were within the last 90 days, newest first.
    alerts: Vec<AlertView>,
    backups: ReportBackups,
    master: seal::MasterView,
}

/// Whether what is lost would come back.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ReportBackups {
    /// When the schedule's next one is due, or was; null = there is no schedule on this node, or it is not known yet.
    due_at: Option<DateTime<Utc>>,
    /// That has passed.
    overdue: bool,
    /// When the last one of the schedule was finished.
    scheduled_at: Option<DateTime<Utc>>,
    /// The latest 20 of which the events of 90 days tell.
    made: Vec<ReportBackup>,
    /// The latest 20 that were put on record (`claviger restore --check --record`).
    tested: Vec<ReportBackupTest>,
}

/// A backup was made.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ReportBackup {
    at: DateTime<Utc>,
    by: String,
}

/// A backup was read to its end.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ReportBackupTest {
    at: DateTime<Utc>,
    by: String,
    /// Epoch at which that backup was made.
    epoch: u64,
    /// When that backup was made.
    made_at: DateTime<Utc>,
}

/// An event about backups, as it is on record.
#[derive(Deserialize)]
struct OfBackup {
    ts: DateTime<Utc>,
    #[serde(default)]
    actor: String,
    #[serde(flatten)]
    which: Option<BackupSubject>,
}

impl ReportBackups {
    async fn of(state: &AppState, now: DateTime<Utc>) -> Result<Self, Problem> {
        let due_at = state.backups.standing().map(|standing| standing.due_at);
        let last = state.ring.last_backup().await.map_err(RingFailure::Storage)?;
        let made = Self::events(state, "backup_created").await?;
        let made = made.into_iter().map(|one| ReportBackup { at: one.ts, by: one.actor });
        let tested = Self::events(state, "backup_tested").await?;
        let tested = tested.into_iter().filter_map(|one| {
            let BackupSubject { backup_epoch: epoch, backup_made_at: made_at } = one.which?;
            Some(ReportBackupTest { at: one.ts, by: one.actor, epoch, made_at })
        });
        Ok(Self {
            due_at,
            overdue: due_at.is_some_and(|due| due < now),
            scheduled_at: last.and_then(DateTime::from_timestamp_millis),
            made: made.collect(),
            tested: tested.collect(),
        })
    }

    async fn events(state: &AppState, event: &str) -> Result<Vec<OfBackup>, Problem> {
        let (event, outcome) = (Some(event.to_owned()), Some("ok".to_owned()));
        let filter = EventFilter { event, outcome, ..EventFilter::default() };
        let found = state.ring.audit_events(&filter, None, BACKUPS).await.map_err(RingFailure::Storage)?;
        Ok(found.iter().filter_map(|row| serde_json::from_str(row.record()).ok()).collect())
    }
}

/// A key and its cryptoperiod.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ReportKey {
    name: KeyName,
    #[serde(rename = "type")]
    key_type: KeyType,
    usage: Usage,
    tier: Tier,
    /// Seconds after which the primary is replaced; null = by a calendar, or never.
    cryptoperiod_seconds: Option<u64>,
    /// Since when there has been this primary; null = there is none.
    active_since: Option<DateTime<Utc>>,
    next_rotation_at: Option<DateTime<Utc>>,
    /// That has passed.
    overdue: bool,
    versions: usize,
    compromised: usize,
    deletion_at: Option<DateTime<Utc>>,
}

/// Somebody, and what policies permit them.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ReportPrincipal {
    /// `api_key` or `device`.
    kind: &'static str,
    id: String,
    name: String,
    roles: Vec<String>,
    expires_at: Option<DateTime<Utc>>,
    last_used_at: Option<DateTime<Utc>>,
    /// What they may do: to the deployment, or to at least one of what it is about unless a policy forbids it there.
    permissions: Vec<&'static str>,
}

/// How far a node's audit log is known to be whole.
#[derive(Serialize, utoipa::ToSchema)]
pub struct ReportCheckpoint {
    node: String,
    /// The chain.
    chain: String,
    /// Number of the checkpoint's record.
    records: u64,
    at: DateTime<Utc>,
}

impl ReportKey {
    fn new(key: &Key, now: DateTime<Utc>) -> Self {
        let record = &key.record;
        let next = policy::next_rotation_at(key);
        let period = record
            .rotation
            .cron
            .is_none()
            .then(|| record.rotation.every.unwrap_or_else(|| policy::tier_period(record.tier)));
        let compromised = key.versions.values().filter(|version| version.state == KeyState::Compromised);
        Self {
            name: record.name.clone(),
            key_type: record.key_type,
            usage: record.usage,
            tier: record.tier,
            cryptoperiod_seconds: period.filter(|_| next.is_some()).map(HumanDuration::as_secs),
            active_since: key.primary().and_then(|version| version.activated_at),
            next_rotation_at: next,
            overdue: next.is_some_and(|next| next <= now),
            versions: key.versions.len(),
            compromised: compromised.count(),
            deletion_at: record.delete_at,
        }
    }
}

/// Puts together what an auditor asks of a deployment: keys and their cryptoperiods, who may do what, how far audit logs are known to be whole,
/// incidents, alerts, and backups. Whether the log of a node is whole is asked by `POST /v1/audit/verify`.
///
/// # Errors
/// `overloaded` when the database does not answer.
#[utoipa::path(get, path = "/v1/report", tag = "operations", responses(
    (status = 200, description = "The report", body = ReportAnswer),
))]
pub async fn report(state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let now = state.clock.now();
    let status = seal::status(&state).await?;
    let anchors = state.ring.audit_anchors().await;
    let anchors = anchors.map_err(RingFailure::Storage)?;
    let incidents = state.incidents.list(None, INCIDENTS).await?;
    let alerts = AlertView::within(&state, Matter::Any, (DateTime::UNIX_EPOCH, None), ALERTS).await?;
    let backups = ReportBackups::of(&state, now).await?;
    let mut slice = Slice::begin();
    let snapshot = state.ring.snapshot();
    let mut keys = Vec::new();
    for key in snapshot.ring().keys() {
        slice.rest().await;
        if key.record.deleted_at.is_none() && !key.record.name.is_internal() {
            keys.push(ReportKey::new(key, now));
        }
    }
    let answer = ReportAnswer {
        generated_at: now,
        node: state.node.clone(),
        deployment: snapshot.keychain().deployment(),
        issuer: state.issuer().to_owned(),
        epoch: snapshot.epoch.0,
        keys,
        quarantined: snapshot.quarantined().len(),
        principals: principals(&snapshot, &mut slice).await,
        checkpoints: anchors
            .iter()
            .map(|anchor| ReportCheckpoint {
                node: anchor.node.clone(),
                chain: anchor.anchor.chain.to_string(),
                records: anchor.anchor.seq,
                at: anchor.anchor.at,
            })
            .collect(),
        incidents: incidents.iter().map(IncidentSummary::new).collect(),
        alerts,
        backups,
        master: seal::MasterView::new(&status),
    };
    Ok(HttpResponse::Ok().json(answer))
}

async fn principals(snapshot: &Snapshot, slice: &mut Slice) -> Vec<ReportPrincipal> {
    let mut principals = Vec::new();
    for principal in snapshot.access().api_keys_after(None).take(PRINCIPALS_MAX) {
        slice.rest().await;
        let record = &principal.record;
        principals.push(ReportPrincipal {
            kind: "api_key",
            id: record.id.simple().to_string(),
            name: record.name.as_str().to_owned(),
            roles: record.roles.iter().map(ToString::to_string).collect(),
            expires_at: record.expires_at,
            last_used_at: principal.last_used_at(),
            permissions: permissions(snapshot, &record.as_policy_ref()),
        });
    }
    for device in snapshot.devices().after(None).take(PRINCIPALS_MAX) {
        slice.rest().await;
        for (role, grant) in &device.grants {
            principals.push(ReportPrincipal {
                kind: "device",
                id: device.id.to_string(),
                name: role.as_str().to_owned(),
                roles: grant.roles.iter().map(ToString::to_string).collect(),
                expires_at: None,
                last_used_at: None,
                permissions: permissions(snapshot, &device.as_policy_ref(*role)),
            });
        }
    }
    principals
}

fn permissions(snapshot: &Snapshot, principal: &PrincipalRef<'_>) -> Vec<&'static str> {
    let engine = snapshot.access().engine();
    let may = |permission: &Permission| match permission.target() {
        Target::Deployment => engine.permits(principal, *permission, &ResourceRef::Deployment),
        Target::Key
        | Target::ApiKey
        | Target::Policy
        | Target::Secret
        | Target::AuthToken
        | Target::OfflineToken => engine.might(principal, *permission),
    };
    Permission::ALL.iter().copied().filter(may).map(Permission::as_str).collect()
}
