//! What batches over the stores have in common: changes first, then reads, so that these see those.

use std::{
    collections::{BTreeMap, BTreeSet},
    rc::Rc,
    sync::Arc,
};

use actix_web::web::Data;
use claviger_actors::{
    audit::{StoredSubject, Subject},
    keyring::Snapshot,
    stores::{Change, Done, Opened, Place, StillMayAt, Store, Wanted},
};
use claviger_entity::KeyName;
use claviger_policy::Permission;
use serde::Serialize;

use super::{Version, failure, place};
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
pub(super) fn subject<G, P>(
    (owner, opened_with): (Option<String>, &[Version]),
    get: &[ItemResult<G>],
    put: &[ItemResult<P>],
) -> Subject {
    let of = |is: fn(&ItemResult<G>) -> bool, is_too: fn(&ItemResult<P>) -> bool| {
        get.iter().filter(|item| is(item)).count() + put.iter().filter(|item| is_too(item)).count()
    };
    let denied = of(ItemResult::is_denied, ItemResult::is_denied);
    let keys: BTreeSet<&KeyName> = opened_with.iter().map(|(key, _)| key).collect();
    let stored = StoredSubject {
        owner,
        item: None,
        keys: keys.into_iter().map(ToString::to_string).collect(),
        kids: opened_with.iter().map(|(_, kid)| kid.to_string()).collect(),
    };
    Subject {
        count: Some(get.len() + put.len()),
        failed: Some(of(ItemResult::is_failed, ItemResult::is_failed)),
        forbidden: Some(denied).filter(|denied| *denied > 0),
        stored: Some(Box::new(stored)),
        ..Subject::default()
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
    opened_with: &[Version],
    changes: Vec<Result<Change, Problem>>,
) -> Result<Vec<Result<Done, Problem>>, Problem> {
    let snapshot = state.ring.snapshot();
    let mut wanted = Vec::new();
    let judged: Vec<Result<Store, Problem>> = changes
        .into_iter()
        .enumerate()
        .map(|(number, change)| {
            let change = change?;
            authority::on_place(state, &snapshot, caller, permission, &change.place)?;
            let store = change.place.store();
            wanted.push((number, change));
            Ok(store)
        })
        .collect();
    let still_may = still_may(state, caller, permission, &snapshot);
    drop(snapshot);
    let context = caller.context();
    let still_may = Some(&still_may);
    let mut outcomes = if wanted.is_empty() {
        BTreeMap::new()
    } else {
        let asked = Wanted {
            operation: event,
            is_batch: true,
            context: &context,
            still_may,
            opened_with,
            lease: None,
        };
        state.stores.change(asked, wanted).await?
    };
    let done = |(number, judged): (usize, Result<Store, Problem>)| {
        let store = judged?;
        // The outcomes may be those of the first time, when this item was refused before it came to the stores.
        let outcome = outcomes.remove(&number).ok_or_else(not_of_the_first)?;
        outcome.map_err(|refusal| failure::refused(refusal, store))
    };
    Ok(judged.into_iter().enumerate().map(done).collect())
}

fn not_of_the_first() -> Problem {
    Problem::invalid("this item was refused when this Idempotency-Key was used first; choose a new one")
}

/// The question about each place, for whoever makes the changes on a ring with other policies.
fn still_may(
    state: &Data<AppState>,
    caller: &Caller,
    permission: Permission,
    snapshot: &Snapshot,
) -> StillMayAt {
    let (state, identity) = (state.clone(), Arc::clone(&caller.identity));
    let ask = move |snapshot: &Snapshot, place: &Place| {
        let caller = Caller::of(Arc::clone(&identity), Rc::from(""));
        authority::on_place(&state, snapshot, &caller, permission, place).is_ok()
    };
    StillMayAt { revision: snapshot.access_revision(), ask: Arc::new(ask) }
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
