//! `GET /v1/cluster`: the nodes, and how far each has come.

use std::time::Duration;

use actix_web::{HttpResponse, web::Data};
use chrono::{DateTime, Utc};
use claviger_actors::{
    cluster::{Member, View},
    stores::Progress,
};
use serde::Serialize;

use super::{
    problem::{Code, Problem},
    seal::{self, MasterView, RekeyView},
    state::AppState,
};

/// The deployment as one node sees it.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Cluster)]
pub struct ClusterView {
    /// The node that answers.
    node: String,
    /// Its epoch.
    epoch: u64,
    /// Time without word from the database after which it refuses work.
    max_staleness_seconds: u64,
    /// Time since it last had word from the database.
    confirmed_ms_ago: u64,
    nodes: Vec<NodeView>,
    /// Waiting times of the last 1,000 strong changes of this node; null = none yet.
    barrier: Option<BarrierView>,
    database: DatabaseView,
    redis: RedisView,
    seal: SealView,
    stores: StoresView,
}

/// The master in use, and how far rows have moved after its rotation.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ClusterSeal)]
pub struct SealView {
    master: MasterView,
    /// Null = no master was rotated yet.
    rekey: Option<RekeyView>,
}

/// Stored rows on their way to the present version of their key.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ClusterStores)]
pub struct StoresView {
    /// Rows of all stores, history included.
    rows: u64,
    /// Rows that are sealed under another version than the primary.
    pending: u64,
    /// Rows that this node has moved since its start.
    moved: u64,
    /// Rows of the last round that can't be read; they stay as they are.
    failed: u64,
    /// Rows a second that this node moves now.
    rate: f64,
    /// Time until nothing is pending, at this rate; null = nothing is, or nothing moves.
    eta_seconds: Option<f64>,
}

impl StoresView {
    fn new(progress: Progress) -> Self {
        Self {
            rows: progress.rows,
            pending: progress.pending,
            moved: progress.moved,
            failed: progress.failed,
            rate: progress.rate,
            eta_seconds: progress.eta_seconds(),
        }
    }
}

/// A node.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Node)]
pub struct NodeView {
    name: String,
    /// Which start of it.
    boot_id: String,
    version: String,
    /// Epoch that none of its requests is behind.
    epoch: u64,
    /// Changes that it does not use yet.
    lag_changes: u64,
    /// Time since the first of them was made.
    lag_seconds: f64,
    /// Time since its last sign of life.
    seen_ms_ago: u64,
    started_at: Option<DateTime<Utc>>,
    /// It may serve; a strong change waits for it.
    live: bool,
    /// It is leaving.
    draining: bool,
}

/// How long strong changes waited for the other nodes.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ClusterBarrier)]
pub struct BarrierView {
    p50_ms: f64,
    p99_ms: f64,
}

/// The database.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ClusterDatabase)]
pub struct DatabaseView {
    /// `postgres` or `sqlite`.
    kind: &'static str,
    /// Time that it took for its last answer.
    latency_ms: f64,
    /// How far its clock, which decides, is ahead of the node's.
    clock_offset_ms: i64,
}

/// Redis.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = ClusterRedis)]
pub struct RedisView {
    /// `connected`, `lost`, or `absent` when none is configured.
    status: &'static str,
    /// Entries that were not true: forged, or of another deployment.
    unfounded: u64,
}

impl NodeView {
    fn new(member: Member, epoch: u64, view: &View) -> Self {
        let now = view.now;
        let behind = view.behind_since.get(&member.boot_id).map_or(0, |since| now.saturating_sub(*since));
        Self {
            lag_seconds: Duration::from_millis(u64::try_from(behind).unwrap_or(0)).as_secs_f64(),
            live: member.is_live(now),
            seen_ms_ago: u64::try_from(now.saturating_sub(member.seen_at)).unwrap_or(0),
            started_at: DateTime::from_timestamp_millis(member.started_at),
            lag_changes: epoch.saturating_sub(member.applied),
            name: member.name,
            boot_id: member.boot_id,
            version: member.version,
            epoch: member.applied,
            draining: member.draining,
        }
    }
}

/// Shows the nodes.
///
/// # Errors
/// `overloaded` when the database does not answer.
#[utoipa::path(get, path = "/v1/cluster", tag = "operations", responses(
    (status = 200, description = "The nodes", body = ClusterView),
))]
pub async fn show(state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let view = state.cluster.view_with_lag().await.map_err(|error| {
        tracing::warn!(%error, "the nodes could not be read");
        Problem::new(Code::Overloaded, "the database does not answer; try again")
    })?;
    let seal = seal::status(&state).await?;
    let snapshot = state.ring.snapshot();
    let epoch = snapshot.epoch.0;
    Ok(HttpResponse::Ok().json(ClusterView {
        node: state.node.clone(),
        epoch,
        max_staleness_seconds: state.max_staleness.as_secs(),
        confirmed_ms_ago: u64::try_from(snapshot.confirmed().age().as_millis()).unwrap_or(u64::MAX),
        nodes: view.members.iter().map(|member| NodeView::new(member.clone(), epoch, &view)).collect(),
        barrier: state.cluster.barriers().map(|(p50, p99)| BarrierView {
            p50_ms: p50.as_secs_f64() * 1_000.0,
            p99_ms: p99.as_secs_f64() * 1_000.0,
        }),
        database: DatabaseView {
            kind: if state.cluster.is_shared() { "postgres" } else { "sqlite" },
            latency_ms: state.cluster.database_latency().as_secs_f64() * 1_000.0,
            clock_offset_ms: state.cluster.clock_offset_ms(),
        },
        redis: RedisView {
            status: match state.cluster.redis() {
                None => "absent",
                Some(true) => "connected",
                Some(false) => "lost",
            },
            unfounded: state.cluster.unfounded_hints(),
        },
        seal: SealView { master: MasterView::new(&seal), rekey: RekeyView::new(&seal.view) },
        stores: StoresView::new(state.stores.progress().await?),
    }))
}
