//! Incidents as answers show them.

use chrono::{DateTime, Utc};
use claviger_actors::{
    alerts::Matter,
    incidents::{
        Bar, Incident, IncidentRecord, Level, Principal, Target, UseLine,
        core::{Ended, Planned, State, Step},
    },
    store::EventFilter,
};
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::prevention;
use crate::http::{alerts::AlertView, problem::Problem, state::AppState};

/// Events that a report shows, newest first.
const EVENTS: u64 = 200;
/// Alerts that it shows, newest first.
const ALERTS: u64 = 100;

/// An incident.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Incident)]
pub struct IncidentView {
    #[serde(flatten)]
    summary: IncidentSummary,
    /// What is done, in order, and what came of it.
    steps: Vec<StepView>,
    report: ReportView,
}

/// An incident in short.
#[derive(Serialize, utoipa::ToSchema)]
pub struct IncidentSummary {
    id: Uuid,
    /// What is in other hands: `{"key": …}`, `{"principal": …}`, `{"issuer": …}`, `{"node": …}` or `{"all": true}`.
    #[schema(value_type = Object)]
    target: Target,
    level: Level,
    state: State,
    reason: String,
    since: DateTime<Utc>,
    opened_by: String,
    opened_at: DateTime<Utc>,
    approved_by: Option<String>,
    /// When its playbook was begun, for the last time.
    approved_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
    closed_at: Option<DateTime<Utc>>,
    progress: ProgressView,
    /// What is shut out now.
    shut_out: Vec<Bar>,
}

/// Steps that are over, of all.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = IncidentProgress)]
pub struct ProgressView {
    over: usize,
    of: usize,
}

/// A page of incidents, newest first.
#[derive(Serialize, utoipa::ToSchema)]
pub struct IncidentsPage {
    pub(super) items: Vec<IncidentSummary>,
    /// Absent on the last page.
    pub(super) next_cursor: Option<String>,
}

/// A step of a plan.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = IncidentPlanned)]
pub struct PlannedView {
    /// Place in the order.
    place: usize,
    /// Its name.
    step: &'static str,
    /// What it is done to.
    #[schema(value_type = Object)]
    to: Map<String, Value>,
    /// Places of steps that must be over before.
    needs: Vec<usize>,
}

/// A step, and what came of it.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = IncidentStep)]
pub struct StepView {
    #[serde(flatten)]
    planned: PlannedView,
    /// Null = not over.
    state: Option<Ended>,
    /// Null = not over.
    #[schema(value_type = Option<Object>)]
    outcome: Option<Value>,
    /// The node that did it.
    node: Option<String>,
    at: Option<DateTime<Utc>>,
}

/// What is known of who used what the incident is about.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = IncidentReport)]
pub struct ReportView {
    /// Its steps are over, and every node that was live then has said what its log has.
    complete: bool,
    /// Nodes whose logs were not read.
    missing: Vec<String>,
    /// Uses by what the log of each node has, the most frequent first.
    nodes: Vec<NodeUsesView>,
    /// Changes and refusals from `GET /v1/audit`, newest first; at most 200. Empty where the incident is neither about a key nor about a principal.
    #[schema(value_type = Vec<Object>)]
    events: Vec<Value>,
    /// Alerts about it that were open at some time between `since` and when it was closed, newest first; at most 100. Empty where it is about an issuer,
    /// a device or the `sub` of tokens, which alerts do not name.
    alerts: Vec<AlertView>,
    /// Stored rows that are still sealed under a version that is in other hands; they move by themselves.
    stored_rows_left: u64,
    /// What to do so that it does not happen again.
    prevention: Vec<&'static str>,
}

/// What the log of a node has.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = IncidentNodeUses)]
pub struct NodeUsesView {
    node: String,
    records: u64,
    /// Older records were not read, for there was no time, or they are gone.
    truncated: bool,
    uses: Vec<UseLine>,
    read_at: DateTime<Utc>,
}

impl PlannedView {
    pub(super) fn new(place: usize, planned: &Planned) -> Self {
        let to = match serde_json::to_value(&planned.step) {
            Ok(Value::Object(members)) => members.into_iter().filter(|(name, _)| name != "step").collect(),
            Ok(_) | Err(_) => Map::new(),
        };
        Self { place, step: planned.step.as_str(), to, needs: planned.needs.clone() }
    }
}

impl IncidentSummary {
    pub(in crate::http) fn new(incident: &Incident) -> Self {
        let record = &incident.record;
        Self {
            id: record.id,
            target: record.target.clone(),
            level: record.level,
            state: record.state,
            reason: record.reason.clone(),
            since: record.since,
            opened_by: record.opened_by.clone(),
            opened_at: record.opened_at,
            approved_by: record.approved_by.clone(),
            approved_at: record.approved_at,
            finished_at: record.finished_at,
            closed_at: record.closed_at,
            progress: ProgressView { over: incident.steps.len(), of: record.plan.0.len() },
            shut_out: record.in_force().to_vec(),
        }
    }
}

impl IncidentView {
    pub(super) async fn of(state: &AppState, incident: &Incident) -> Result<Self, Problem> {
        let steps = incident.record.plan.0.iter().enumerate().map(|(place, planned)| {
            let step = incident.steps.iter().find(|step| step.place == place);
            StepView {
                planned: PlannedView::new(place, planned),
                state: step.map(|step| step.ended),
                outcome: step.map(|step| step.outcome.clone()),
                node: step.map(|step| step.node.clone()),
                at: step.map(|step| step.at),
            }
        });
        let steps = steps.collect();
        Ok(Self { summary: IncidentSummary::new(incident), steps, report: report(state, incident).await? })
    }
}

async fn report(state: &AppState, incident: &Incident) -> Result<ReportView, Problem> {
    let record = &incident.record;
    let reported = record.plan.0.iter().position(|planned| planned.step == Step::Report);
    let reported = incident.steps.iter().find(|step| Some(step.place) == reported);
    let known = |node: &str| incident.uses.iter().any(|uses| uses.node == node);
    let missing: Vec<String> = reported
        .and_then(|step| step.outcome.get("missing")?.as_array())
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        // One that was late has left its own since.
        .filter(|node| !known(node))
        .map(str::to_owned)
        .collect();
    let nodes = incident.uses.iter().map(|uses| NodeUsesView {
        node: uses.node.clone(),
        records: uses.uses.records,
        truncated: uses.uses.truncated,
        uses: uses.uses.lines.clone(),
        read_at: uses.at,
    });
    let kids = record.plan.0.iter().filter_map(|planned| match &planned.step {
        Step::Rewrap { kid } => Some(kid.to_string()),
        Step::Suspend { .. }
        | Step::Compromise { .. }
        | Step::DeleteApiKey { .. }
        | Step::RemoveDevice { .. }
        | Step::Spread
        | Step::Promote { .. }
        | Step::RevokeVersion { .. }
        | Step::RevokeFamilies { .. }
        | Step::RevokeSubject { .. }
        | Step::RevokeDependents { .. }
        | Step::ClusterKey
        | Step::Notify
        | Step::Report => None,
    });
    let kids: Vec<String> = kids.collect();
    let stored_rows_left = if kids.is_empty() { 0 } else { state.incidents.stored_under(kids).await? };
    Ok(ReportView {
        complete: reported.is_some() && missing.is_empty(),
        missing,
        nodes: nodes.collect(),
        events: events(state, incident).await?,
        alerts: alerts(state, record).await?,
        stored_rows_left,
        prevention: prevention::steps(&record.target),
    })
}

/// What was said of it before anybody opened an incident, and since.
async fn alerts(state: &AppState, record: &IncidentRecord) -> Result<Vec<AlertView>, Problem> {
    let matter = match &record.target {
        Target::Key(name) => Matter::Key(name.to_string()),
        Target::Node(name) => Matter::Node(name.clone()),
        Target::All(_) => Matter::Any,
        Target::Issuer(_) => return Ok(Vec::new()),
        Target::Principal(text) => match Principal::of(text) {
            Principal::ApiKey(id) => Matter::ApiKey(id),
            Principal::Device(_) | Principal::Subject(_) => return Ok(Vec::new()),
        },
    };
    AlertView::within(state, matter, (record.since, record.closed_at), ALERTS).await
}

/// What the database has of changes and refusals.
async fn events(state: &AppState, incident: &Incident) -> Result<Vec<Value>, Problem> {
    let mut filter = EventFilter { since: Some(incident.record.since), ..EventFilter::default() };
    match &incident.record.target {
        Target::Key(name) => filter.key = Some(name.to_string()),
        Target::Principal(text) => {
            filter.actor = Some(match Principal::of(text) {
                Principal::ApiKey(_) | Principal::Subject(_) => text.clone(),
                Principal::Device(id) => format!("device:{id}"),
            });
        }
        Target::Issuer(_) | Target::Node(_) | Target::All(_) => return Ok(Vec::new()),
    }
    let found = state.ring.audit_events(&filter, None, EVENTS).await;
    let found = found.map_err(claviger_actors::keyring::RingFailure::Storage)?;
    Ok(found.iter().filter_map(|row| serde_json::from_str(row.record()).ok()).collect())
}
