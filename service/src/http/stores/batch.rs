//! What batches over the stores have in common: changes first, then reads, so that these see those.

use std::collections::BTreeSet;

use actix_web::web::Data;
use claviger_actors::{
    audit::Subject,
    stores::{Change, Done, Opened, Place, Wanted},
};
use claviger_policy::Permission;
use serde::Serialize;

use super::{outcome_of, place};
use crate::http::{
    authority,
    problem::{Code, Problem},
    state::{AppState, Caller},
};

/// Items of one batch.
pub(super) const ITEMS_MAX: usize = 100;

/// An item's problem.
#[derive(Serialize, utoipa::ToSchema)]
pub struct Failed {
    #[serde(skip)]
    is_denied: bool,
    /// A problem (RFC 9457).
    #[schema(value_type = Object)]
    error: serde_json::Value,
}

/// One item's result, or its problem.
#[derive(Serialize, utoipa::ToSchema)]
#[serde(untagged)]
pub enum ItemResult<T> {
    /// Done.
    Done(T),
    /// Not done.
    Failed(Failed),
}

impl<T> ItemResult<T> {
    /// From a result.
    pub(super) fn of(result: Result<T, Problem>) -> Self {
        match result {
            Ok(value) => Self::Done(value),
            Err(problem) => Self::Failed(Failed {
                is_denied: problem.is_denial(),
                error: serde_json::to_value(problem.body(None)).unwrap_or_default(),
            }),
        }
    }

    /// It is a problem.
    pub(super) const fn is_failed(&self) -> bool {
        matches!(self, Self::Failed(_))
    }

    const fn is_denied(&self) -> bool {
        matches!(self, Self::Failed(Failed { is_denied: true, .. }))
    }
}

/// What the record of a batch says of it.
pub(super) fn subject<G, P>(owner: Option<String>, get: &[ItemResult<G>], put: &[ItemResult<P>]) -> Subject {
    let of = |is: fn(&ItemResult<G>) -> bool, is_too: fn(&ItemResult<P>) -> bool| {
        get.iter().filter(|item| is(item)).count() + put.iter().filter(|item| is_too(item)).count()
    };
    let denied = of(ItemResult::is_denied, ItemResult::is_denied);
    Subject {
        count: Some(get.len() + put.len()),
        failed: Some(of(ItemResult::is_failed, ItemResult::is_failed)),
        forbidden: Some(denied).filter(|denied| *denied > 0),
        ..Subject::of_stored(owner, None)
    }
}

/// How many there are is bounded, and none is changed twice.
///
/// # Errors
/// `invalid_request`.
pub(super) fn judge<'a>(
    reads: usize,
    writes: impl ExactSizeIterator<Item = &'a Place>,
) -> Result<(), Problem> {
    let count = writes.len();
    if reads + count == 0 || reads + count > ITEMS_MAX {
        return Err(Problem::invalid("a batch holds 1 to 100 items in get and put together"));
    }
    let distinct: BTreeSet<&Place> = writes.collect();
    if distinct.len() != count {
        return Err(Problem::invalid("put names something twice"));
    }
    Ok(())
}

/// Puts what may be put; the outcomes stand in the order of `changes`.
///
/// # Errors
/// The stores failed, and nothing was changed.
pub(super) async fn put(
    state: &Data<AppState>,
    caller: &Caller,
    (permission, event): (Permission, &'static str),
    changes: Vec<Result<Change, Problem>>,
) -> Result<Vec<Result<Done, Problem>>, Problem> {
    let snapshot = state.ring.snapshot();
    let mut wanted = Vec::new();
    let judged: Vec<Result<claviger_actors::stores::Store, Problem>> = changes
        .into_iter()
        .map(|change| {
            let change = change?;
            authority::on_place(state, &snapshot, caller, permission, &change.place)?;
            let store = change.place.store();
            wanted.push(change);
            Ok(store)
        })
        .collect();
    drop(snapshot);
    let context = caller.context();
    let mut outcomes = if wanted.is_empty() {
        Vec::new()
    } else {
        state.stores.change(Wanted { operation: event, is_batch: true, context: &context }, wanted).await?
    }
    .into_iter();
    Ok(judged.into_iter().map(|judged| judged.and_then(|store| outcome_of(outcomes.next(), store))).collect())
}

/// Reads what may be read; the results stand in the order of `places`.
///
/// # Errors
/// The stores failed.
pub(super) async fn get(
    state: &Data<AppState>,
    caller: &Caller,
    permission: Permission,
    places: &[Place],
) -> Result<Vec<Result<Opened, Problem>>, Problem> {
    let snapshot = state.ring.snapshot();
    let judged: Vec<Result<(), Problem>> =
        places.iter().map(|place| authority::on_place(state, &snapshot, caller, permission, place)).collect();
    drop(snapshot);
    let permitted: Vec<Place> = places
        .iter()
        .zip(&judged)
        .filter(|(_, judged)| judged.is_ok())
        .map(|(place, _)| place.clone())
        .collect();
    let mut found = state.stores.read_many(&permitted).await?.into_iter();
    let results = places.iter().zip(judged).map(|(place, judged)| {
        judged?;
        let found = found.next().ok_or_else(|| Problem::new(Code::Internal, "the service failed"))?;
        found.map_err(Problem::from)?.ok_or_else(|| place::missing(place.store()))
    });
    Ok(results.collect())
}
