//! `GET /v1/seal`, `POST /v1/seal/rotate`: which master is in use, and how far rows have moved.

use actix_web::{HttpResponse, web::Data};
use chrono::{DateTime, Utc};
use claviger_actors::{
    masters::{NodeMasters, Status},
    store::{Rekey, SealView, StoreError},
};
use serde::Serialize;

use super::{
    problem::{Code, Problem},
    state::{AppState, Caller},
};

/// Masters and data-encryption keys.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Seal)]
pub struct SealAnswer {
    master: MasterView,
    nodes: Vec<SealNodeView>,
    /// Data-encryption keys, those of before included: they stay, wrapped by the master in use.
    data_keys: u64,
    /// The last move of rows to a new data-encryption key; null = none yet.
    rekey: Option<RekeyView>,
}

/// The master in use.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Master)]
pub struct MasterView {
    /// Grows by one with each rotation.
    version: i64,
    /// Tells it apart from others on this deployment, and nothing about it; null = this node lacks it.
    fingerprint: Option<String>,
    since: Option<DateTime<Utc>>,
    /// The service makes its own, and rotates it by itself.
    generated: bool,
    /// When it is to be replaced; null = never.
    rotate_at: Option<DateTime<Utc>>,
    /// That has passed.
    overdue: bool,
}

/// A node and its masters.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = SealNode)]
pub struct SealNodeView {
    name: String,
    /// It may serve.
    live: bool,
    /// Fingerprints of the masters that it was given, newest first.
    masters: Vec<String>,
    /// It knows of the last change of masters and data-encryption keys.
    current: bool,
}

/// How far rows have moved to a data-encryption key.
#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = Rekey)]
pub struct RekeyView {
    /// The key that they move to.
    data_key: String,
    /// `waiting` until every live node has the key, `running`, `done`.
    state: &'static str,
    /// Rows to move, as counted at the start.
    total: u64,
    /// Rows moved; at the end also those that others have sealed anew or removed meanwhile.
    done: u64,
    /// Rows that could not be opened; they were left alone.
    failed: u64,
    /// Rows a second since it began.
    rate: f64,
    /// Seconds until it is done at this rate; null = unknown, or done.
    eta_seconds: Option<u64>,
    started_at: Option<DateTime<Utc>>,
    finished_at: Option<DateTime<Utc>>,
}

impl RekeyView {
    pub(super) fn new(view: &SealView) -> Option<Self> {
        let rekey: &Rekey = view.rekey.as_ref()?;
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        let (total, done) = (count(rekey.total), count(rekey.done.min(rekey.total)));
        let seconds = count(rekey.updated_at.saturating_sub(rekey.started_at)) as f64 / 1e3;
        let rate = if seconds > 0.0 { done as f64 / seconds } else { 0.0 };
        let state = match (rekey.finished_at, view.next) {
            (Some(_), _) => "done",
            (None, Some(_)) => "waiting",
            (None, None) => "running",
        };
        let left = total.saturating_sub(done).saturating_sub(count(rekey.failed));
        // More than can be counted is unknown.
        let eta = (state == "running" && rate > 0.0).then(|| (left as f64 / rate).ceil() as u64);
        Some(Self {
            data_key: rekey.data_key.clone(),
            state,
            total,
            done,
            failed: count(rekey.failed),
            rate,
            eta_seconds: eta,
            started_at: DateTime::from_timestamp_millis(rekey.started_at),
            finished_at: rekey.finished_at.and_then(DateTime::from_timestamp_millis),
        })
    }
}

impl MasterView {
    pub(super) fn new(status: &Status) -> Self {
        Self {
            version: status.view.master_version,
            fingerprint: status.in_use.clone(),
            since: DateTime::from_timestamp_millis(status.view.master_since),
            generated: status.generated,
            rotate_at: status.rotate_at,
            overdue: status.overdue,
        }
    }
}

impl From<Status> for SealAnswer {
    fn from(status: Status) -> Self {
        Self {
            master: MasterView::new(&status),
            data_keys: u64::try_from(status.view.data_keys).unwrap_or(u64::MAX),
            rekey: RekeyView::new(&status.view),
            nodes: status.nodes.into_iter().map(SealNodeView::from).collect(),
        }
    }
}

impl From<NodeMasters> for SealNodeView {
    fn from(node: NodeMasters) -> Self {
        Self { name: node.name, live: node.live, masters: node.masters, current: node.current }
    }
}

/// Shows which master is in use, who has it, and how far rows have moved after a rotation.
///
/// # Errors
/// `overloaded` when the database does not answer.
#[utoipa::path(get, path = "/v1/seal", tag = "operations", responses(
    (status = 200, description = "Masters and data-encryption keys", body = SealAnswer),
))]
pub async fn show(state: Data<AppState>) -> Result<HttpResponse, Problem> {
    let status = status(&state).await?;
    Ok(HttpResponse::Ok().json(SealAnswer::from(status)))
}

pub(super) async fn status(state: &AppState) -> Result<Status, Problem> {
    state.masters.status().await.map_err(|error: StoreError| {
        tracing::warn!(%error, "masters could not be read");
        Problem::new(Code::Overloaded, "the database does not answer; try again")
    })
}

/// Puts the newest master in use: the first line of `seal.master_key`, or a new one where the service makes its own. From then on the one
/// of before opens nothing. A new data-encryption key is made with it, and all rows move to it in the background.
///
/// # Errors
/// `key_state_conflict` when there is no other master, when a live node lacks it (`nodes` names them), or while rows still move after the
/// rotation before.
#[utoipa::path(post, path = "/v1/seal/rotate", tag = "operations", responses(
    (status = 200, description = "Masters and data-encryption keys after it", body = SealAnswer),
))]
pub async fn rotate(state: Data<AppState>, caller: Caller) -> Result<HttpResponse, Problem> {
    state.masters.rotate(&caller.context()).await?;
    let status = status(&state).await?;
    Ok(HttpResponse::Ok().json(SealAnswer::from(status)))
}

#[cfg(test)]
mod tests {
    use claviger_actors::seal::Standing;

    use super::*;

    fn view(next: Option<uuid::Uuid>, total: i64, done: i64, finished_at: Option<i64>) -> SealView {
        let rekey = Rekey {
            data_key: "k".to_owned(),
            total,
            done,
            failed: 1,
            started_at: 1_000,
            updated_at: 3_000,
            finished_at,
            mac: None,
        };
        let standing = Standing { revision: 1, current: None };
        SealView { standing, next, master_version: 2, master_since: 0, data_keys: 2, rekey: Some(rekey) }
    }

    #[test]
    fn progress_has_a_rate_and_an_end() {
        let table = [
            (view(Some(uuid::Uuid::nil()), 0, 0, None), ("waiting", 0, 0.0, None)),
            (view(None, 101, 0, None), ("running", 0, 0.0, None)),
            (view(None, 101, 20, None), ("running", 20, 10.0, Some(8))),
            // Rows that came meanwhile were moved too.
            (view(None, 100, 120, None), ("running", 100, 50.0, Some(0))),
            (view(None, 100, 99, Some(3_000)), ("done", 99, 49.5, None)),
        ];
        for (view, expected) in table {
            let shown = RekeyView::new(&view).unwrap();
            assert_eq!((shown.state, shown.done, shown.rate, shown.eta_seconds), expected);
        }
    }
}
