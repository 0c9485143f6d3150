//! One operation on one key, alone or as a batch.

use std::{cell::Cell, sync::Arc, time::Duration};

use actix_web::{HttpRequest, HttpResponse, web::Data};
use claviger_actors::{
    audit::Subject,
    keyring::{
        Snapshot, Unusable, Usable,
        core::Use,
        record::{Key, KeyRecord},
    },
};
use claviger_entity::{KeyName, Kid, Usage};
use claviger_policy::Permission;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

use crate::http::{
    authority,
    body::{Direct, Whole, direct, typed, value},
    door::unsure,
    keys::note,
    problem::{Code, Problem},
    slice::Slice,
    state::{AppState, Caller},
    turn::{self, Place, Turn},
};
use crate::metrics::Verification;

/// Items of a batch at most.
const BATCH_MAX: usize = 1_000;

/// A request body of an operation, in the document.
#[derive(utoipa::ToSchema)]
#[serde(untagged)]
pub enum OneOrBatch<T> {
    /// Alone.
    One(T),
    /// Several.
    Batch(Batch),
}

/// An answer of an operation, in the document.
#[derive(utoipa::ToSchema)]
#[serde(untagged)]
pub enum OneOrBatchAnswer<T> {
    /// Of one.
    One(T),
    /// Of several.
    Batch(BatchAnswer),
}

/// A *no* that a node which is behind may give by mistake.
fn is_no<T>(done: &Result<Done<T>, Problem>) -> bool {
    match done {
        Ok(done) => done.valid == Some(false),
        Err(problem) => {
            matches!(problem.code, Code::DecryptionFailed | Code::KeyStateConflict | Code::KeyNotFound)
        }
    }
}

/// A batch, as any operation takes it.
#[derive(Deserialize, utoipa::ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Batch {
    /// Bodies of the operation, at most 1,000. Each is judged for itself, so that one that is not valid has its problem in its place.
    #[schema(max_items = 1000)]
    batch: Vec<Value>,
}

/// Answers of a batch, in order: each a result or `{error: problem}`.
#[derive(Serialize, utoipa::ToSchema)]
pub struct BatchAnswer {
    batch: Vec<Value>,
}

/// What is to be done.
enum Given<I> {
    One(I),
    Batch(Batch),
}

impl<I: Direct> Given<I> {
    fn read(body: &[u8]) -> Result<Self, Problem> {
        if let Some(one) = direct(body) {
            return Ok(Self::One(one));
        }
        let body: Map<String, Value> = typed(value(body)?)?;
        let is_batch = body.contains_key("batch");
        let body = Value::Object(body);
        if is_batch { typed(body).map(Self::Batch) } else { typed(body).map(Self::One) }
    }
}

/// A request to use a key.
pub struct Operation {
    /// The service.
    pub state: Data<AppState>,
    /// Who asks.
    pub caller: Caller,
    /// The key.
    pub name: KeyName,
    /// The ring, loaded once.
    pub snapshot: Arc<Snapshot>,
    /// A permission that was needed and held beside that of the route.
    further: Cell<Option<Permission>>,
    /// Its place in line, where it has costly work.
    place: Option<Place>,
}

/// What an operation gave: its answer, and the version that did it.
pub struct Done<T> {
    /// The answer.
    pub answer: T,
    /// The version, where one was used.
    pub kid: Option<Kid>,
    /// The verdict, where there is one.
    pub valid: Option<bool>,
}

impl<T> Done<T> {
    /// By a version.
    pub const fn by(kid: Kid, answer: T) -> Self {
        Self { answer, kid: Some(kid), valid: None }
    }
}

impl Operation {
    /// The key, if it is of this usage.
    ///
    /// # Errors
    /// `key_not_found`, `unsupported_operation`.
    pub fn key(&self, usages: &[Usage]) -> Result<&Arc<Key>, Problem> {
        let key = self.snapshot.key(&self.name)?;
        if usages.contains(&key.record.usage) {
            return Ok(key);
        }
        let wanted = usages.iter().map(|usage| usage.as_str()).collect::<Vec<_>>().join(" or ");
        let detail =
            format!("this operation needs a key of usage {wanted}; this one is for {}", key.record.usage);
        Err(Problem::new(Code::UnsupportedOperation, detail))
    }

    /// Asks about a permission beside that of the route; the record names it.
    ///
    /// # Errors
    /// `forbidden`.
    pub fn further(&self, permission: Permission) -> Result<(), Problem> {
        let key = self.snapshot.key(&self.name)?;
        authority::on_key(&self.state, &self.snapshot, &self.caller, permission, &key.record)?;
        self.further.set(Some(permission));
        Ok(())
    }

    /// The primary; a use of a temporary key is counted.
    ///
    /// # Errors
    /// `key_state_conflict` and what the ring says.
    pub async fn primary(&self) -> Result<Usable<'_>, Problem> {
        let usable = self.snapshot.primary(&self.name)?;
        self.count(&usable, Use::Produce).await?;
        Ok(usable)
    }

    /// The version of this key that a `kid` names.
    ///
    /// # Errors
    /// [`Unusable::UnknownKid`] when it belongs to another key.
    pub fn consumer(&self, kid: &Kid) -> Result<Usable<'_>, Unusable> {
        let owner = self.snapshot.ring().by_kid(kid).map(|(key, _)| &key.record.name);
        if owner != Some(&self.name) {
            return Err(Unusable::UnknownKid);
        }
        self.snapshot.consumer(kid)
    }

    /// Counts a use of a temporary key; any other key has nothing to count.
    ///
    /// # Errors
    /// `key_state_conflict` when it is used up.
    pub async fn count(&self, usable: &Usable<'_>, what: Use) -> Result<(), Problem> {
        if usable.key.record.temporary.is_some() {
            let (name, version) = (self.name.clone(), usable.version.version);
            Box::pin(self.state.ring.consume(self.caller.context_of_part(), name, version, what)).await?;
        }
        Ok(())
    }

    /// Runs `work` on the body, or on each item of its batch.
    ///
    /// # Errors
    /// Those of `work`; in a batch each item has its own.
    pub async fn run<I: Direct, O: Serialize>(
        request: HttpRequest,
        state: Data<AppState>,
        caller: Caller,
        name: KeyName,
        body: Whole,
        work: impl AsyncFn(&Self, I) -> Result<Done<O>, Problem>,
    ) -> Result<HttpResponse, Problem> {
        Self::run_in_turn(request, state, caller, name, body, |_| None, work).await
    }

    /// As [`Self::run`], for work of which a piece may take long, by the key.
    ///
    /// # Errors
    /// As there; `overloaded`.
    pub async fn run_in_turn<I: Direct, O: Serialize>(
        request: HttpRequest,
        state: Data<AppState>,
        caller: Caller,
        name: KeyName,
        Whole(body): Whole,
        cost: impl Fn(&KeyRecord) -> Option<Duration>,
        work: impl AsyncFn(&Self, I) -> Result<Done<O>, Problem>,
    ) -> Result<HttpResponse, Problem> {
        let snapshot = state.ring.snapshot();
        let mut operation = Self { state, caller, name, snapshot, further: Cell::default(), place: None };
        let mut subject = Subject { key: Some(operation.name.as_str().to_owned()), ..Subject::default() };
        // A key that is not there is not there, whatever is asked of it.
        let cost = cost(&operation.snapshot.key(&operation.name)?.record);
        let given = match Given::<I>::read(&body)? {
            Given::One(given) => given,
            Given::Batch(batch) => {
                // Rare, and large, as is whatever else has its own place below: not to be carried about with every request.
                let answer = Box::pin(operation.batch(batch, cost, &mut subject, &work)).await?;
                note(&request, subject);
                return Ok(HttpResponse::Ok().json(answer));
            }
        };
        let mut turn = None;
        if let Some(cost) = cost {
            operation.place = Some(Place::take(cost)?);
            (operation, turn) = Box::pin(operation.in_turn()).await?;
        }
        let mut done = work(&operation, given).await;
        drop(turn);
        // Only where others may have changed the ring meanwhile is a *no* asked for twice.
        if is_no(&done)
            && Box::pin(operation.refresh()).await?
            && let Given::One(given) = Given::read(&body)?
        {
            done = Box::pin(work(&operation, given)).await;
        }
        let done = done?;
        subject.permission = operation.further.take().map(|permission| permission.as_str().to_owned());
        subject.kid = done.kid.map(|kid| kid.as_str().to_owned());
        subject.valid = done.valid;
        operation.verdicts([done.valid].into_iter());
        note(&request, subject);
        Ok(HttpResponse::Ok().json(done.answer))
    }

    /// Takes up the ring as it is in the database now, where other nodes may have changed it; `false` when there is nothing new.
    ///
    /// # Errors
    /// `stale_node` when the database can't be asked: a *no* that may be a mistake is not given.
    async fn refresh(&mut self) -> Result<bool, Problem> {
        if !self.state.cluster.is_shared() {
            return Ok(false);
        }
        let position = self.snapshot.position();
        // Let go of the ring of before while waiting for the one of now.
        self.snapshot = self.state.ring.snapshot();
        if !self.state.cluster.refresh().await {
            return Err(unsure());
        }
        self.snapshot = self.state.ring.snapshot();
        Ok(self.snapshot.position() != position)
    }

    /// Waits until it is this request's turn, where it stands in line, and goes on with the ring as it is then: nobody who waits keeps others
    /// waiting who want to know that the ring of before is not used any more.
    async fn in_turn(self) -> Result<(Self, Option<Turn>), Problem> {
        let Self { state, caller, name, snapshot, further, place } = self;
        drop(snapshot);
        let turn = match &place {
            Some(place) => Some(place.turn().await?),
            None => {
                actix_web::rt::task::yield_now().await;
                None
            }
        };
        let snapshot = state.ring.snapshot();
        Ok((Self { state, caller, name, snapshot, further, place }, turn))
    }

    async fn batch<I: DeserializeOwned, O: Serialize>(
        mut self,
        batch: Batch,
        cost: Option<Duration>,
        subject: &mut Subject,
        work: &impl AsyncFn(&Self, I) -> Result<Done<O>, Problem>,
    ) -> Result<BatchAnswer, Problem> {
        if batch.batch.len() > BATCH_MAX {
            return Err(Problem::invalid("a batch has at most 1000 items"));
        }
        if let Some(cost) = cost.or_else(|| turn::cost_of_items(batch.batch.len())) {
            // As a whole or not at all.
            self.place = Some(Place::take_for_batch(cost)?);
        }
        let mut turn = None;
        let is_shared = self.state.cluster.is_shared();
        let (mut answers, mut doubtful) = (Vec::with_capacity(batch.batch.len()), Vec::new());
        let mut slice = Slice::begin();
        for item in batch.batch {
            let copy = is_shared.then(|| item.clone());
            if cost.is_some() || slice.is_over() {
                drop(turn.take());
                let (operation, next) = self.in_turn().await?;
                self = operation;
                turn = next.filter(|_| cost.is_some());
                slice.begin_again();
            }
            let answer = self.item(item, work).await;
            if let (Some(item), true) = (copy, is_no(&answer)) {
                doubtful.push((answers.len(), item));
            }
            answers.push(answer);
        }
        drop(turn);
        // Only what was refused is tried again: the rest was done, and may have cost a use.
        if !doubtful.is_empty() && self.refresh().await? {
            for (place, item) in doubtful {
                let again = self.item(item, work).await;
                if let Some(answer) = answers.get_mut(place) {
                    *answer = again;
                }
            }
        }
        let refused = || answers.iter().filter_map(|answer| answer.as_ref().err());
        let forbidden = refused().filter(|problem| problem.code == Code::Forbidden).count();
        subject.count = Some(answers.len());
        subject.failed = Some(refused().count());
        let done = answers.iter().filter_map(|answer| answer.as_ref().ok());
        self.verdicts(done.map(|done| done.valid));
        subject.forbidden = (forbidden > 0).then_some(forbidden);
        subject.permission = self.further.take().map(|permission| permission.as_str().to_owned());
        let request_id = Some(&*self.caller.request_id);
        let written = answers.into_iter().map(|answer| match answer {
            Ok(done) => serde_json::to_value(done.answer),
            Err(problem) => Ok(serde_json::json!({ "error": problem.body(request_id) })),
        });
        let batch = written.collect::<Result<Vec<Value>, _>>();
        let batch = batch.map_err(|_| Problem::new(Code::Internal, "an answer can't be written as JSON"))?;
        Ok(BatchAnswer { batch })
    }

    /// Counts signatures and codes that were verified, and those that were not valid.
    fn verdicts(&self, verdicts: impl Iterator<Item = Option<bool>>) {
        let (mut all, mut not_valid) = (0, 0);
        for is_valid in verdicts.flatten() {
            all += 1;
            not_valid += usize::from(!is_valid);
        }
        if all > 0 {
            self.state.metrics.verified(Verification::Signature, all);
        }
        if not_valid > 0 {
            self.state.metrics.not_valid(Verification::Signature, "signature_invalid", not_valid);
        }
    }

    async fn item<I: DeserializeOwned, O>(
        &self,
        item: Value,
        work: &impl AsyncFn(&Self, I) -> Result<Done<O>, Problem>,
    ) -> Result<Done<O>, Problem> {
        work(self, typed(item)?).await
    }
}
