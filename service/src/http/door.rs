//! The door: what happens to every request before and after its handler.

use std::{
    panic::AssertUnwindSafe,
    rc::Rc,
    sync::Arc,
    task::Poll,
    time::{Duration, Instant},
};

use actix_web::{
    Error, HttpMessage as _, HttpRequest, HttpResponse,
    body::{BoxBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    error::InternalError,
    http::{
        ConnectionType, Method, StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
    web::{Bytes, Data},
};
use claviger_actors::{
    audit::Subject,
    keyring::{Confirmed, IdempotencyTicket, Position, Snapshot, StillMay},
    quotas::Class,
};
use claviger_policy::Permission;
use futures_util::FutureExt as _;
use uuid::Uuid;

use super::{
    authority::{self, Named, Path},
    body, cors,
    dispatch::Handlers,
    idempotency::{self, Replay},
    patience::Stranger,
    problem::{Code, Problem},
    quota,
    recognise::{issuer_away, learn, recognise, unauthorized},
    record::{self, Answered, record},
    state::{AppState, Arrival, Caller, Internal, OverTls},
    table::{self, Access, Found, Kind, Route},
};
use crate::{
    auth::{self, InSession, Learned, LimitScope},
    telemetry::{Context, within},
};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const EPOCH: HeaderName = HeaderName::from_static("x-claviger-epoch");
const TRACEPARENT: &str = "traceparent";
const MIN_EPOCH: &str = "x-claviger-min-epoch";
const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// A browser that came over TLS once does not come without it for a year (RFC 6797).
const HSTS: &str = "max-age=31536000; includeSubDomains";
/// A body that took longer to come did not come with its head.
const AT_ONCE: Duration = Duration::from_millis(100);

/// Lets a request in, or not; answers it, records it.
///
/// # Errors
/// Never without an answer: an error carries one when the request itself was lost with its handler.
pub(super) async fn door(
    request: ServiceRequest,
    handlers: Rc<Handlers>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let Some(state) = request.app_data::<Data<AppState>>().cloned() else {
        let response = Problem::new(Code::Internal, "the service is not ready").response(None);
        return Ok(request.into_response(response));
    };
    let traceparent = request.headers().get(TRACEPARENT).and_then(|given| given.to_str().ok());
    let context = Context::new(request_id(&state, &request), traceparent);
    let (answer, waits) = within(Rc::clone(&context), pass(&state, &context, request, handlers)).await;
    if let Some(stranger) = waits
        && !state.patience.is_due(stranger, Instant::now())
        && !state.is_draining()
    {
        // Rare, and large: not to be carried about with every request.
        Box::pin(state.patience.hold(stranger)).await;
    }
    answer
}

/// The same, for a request that is known by its id; and as what it may have to wait for its answer.
async fn pass(
    state: &Data<AppState>,
    context: &Context,
    request: ServiceRequest,
    handlers: Rc<Handlers>,
) -> (Result<ServiceResponse<BoxBody>, Error>, Option<Stranger>) {
    let began = Instant::now();
    let _here = state.metrics.enter();
    // As the router would split it: what is encoded and need not be is taken for what it stands for.
    let found = table::find(request.method(), request.match_info().as_str());
    let is_internal = request.app_data::<Internal>().is_some();
    let found = if is_internal { found.internally() } else { found };
    let route = if let Found::Route(route) = found { Some(route) } else { None };
    let _named = route.map(|route| context.route.set(route.pattern));
    let span = state.spans.begin(context, route);
    let page = cors::origin_of(&state.doors, &request);
    let is_secure = request.app_data::<OverTls>().is_some_and(|over_tls| over_tls.0);

    let nowhere = |mut response: HttpResponse, request: ServiceRequest| {
        if auth::credential(request.headers()).is_none_or(str::is_empty) {
            response.extensions_mut().insert(Stranger::Refused);
        }
        state.metrics.answered(state, None, &Subject::default(), &response, began.elapsed());
        (response, Some(request.into_parts().0))
    };
    let (mut response, request) = if let Some(answer) = cors::preflight(&state.doors, &request, &context.id) {
        nowhere(answer, request)
    } else {
        match found {
            Found::Nothing => {
                let nothing = Problem::new(Code::NotFound, "there is nothing at this path");
                nowhere(nothing.response(Some(&context.id)), request)
            }
            Found::OtherMethod(pattern) => nowhere(other_method(pattern, &context.id), request),
            Found::Route(route) => {
                serve(state, request, &handlers, Arrival::new(route, context), began).await
            }
        }
    };
    finish(state, &mut response, &context.id, is_secure);
    cors::mark(&state.doors, page.as_deref(), response.headers_mut());
    span.end(&mut response);
    tracing::debug!(status = response.status().as_u16(), took = ?began.elapsed(), "answered");
    let stranger = match route {
        Some(route) if route.is_look() => (!is_internal).then_some(Stranger::Looked),
        _ if response.status().is_client_error() => response.extensions().get::<Stranger>().copied(),
        _ => None,
    };
    let answer = match request {
        Some(request) => Ok(ServiceResponse::new(request, response)),
        None => Err(InternalError::from_response("answered", response).into()),
    };
    (answer, stranger)
}

/// Answers at a route, and puts it on record.
async fn serve(
    state: &Data<AppState>,
    mut request: ServiceRequest,
    handlers: &Handlers,
    arrival: Arrival,
    began: Instant,
) -> (HttpResponse, Option<HttpRequest>) {
    // What is public is not on record.
    let is_recorded = arrival.route().access != Access::Public;
    let address = is_recorded.then(|| state.addresses.client(request.peer_addr(), request.headers()));
    request.extensions_mut().insert(arrival.clone());
    // Each in its own place, so that neither is moved about with the other.
    let (response, request) = match Box::pin(enter(state, &mut request, &arrival, began)).await {
        Ok(entered) => Box::pin(run(state, request, handlers, &arrival, entered)).await,
        Err(refused) => {
            let (caller, problem) = *refused;
            let mut response = problem.response(Some(arrival.id()));
            match caller {
                Some(caller) => arrival.enter(caller, Bytes::new()),
                None if matches!(problem.code, Code::Unauthorized | Code::RateLimited) => {
                    _ = response.extensions_mut().insert(Stranger::Refused);
                }
                None => {}
            }
            (response, Some(request.into_parts().0))
        }
    };
    let answered = Answered { arrival: &arrival, address, began };
    let mut response = match record(state, answered, &response).await {
        Some(refusal) => refusal.response(Some(arrival.id())),
        None => response,
    };
    if let Some(rates) = arrival.rates()
        && response.status() != StatusCode::TOO_MANY_REQUESTS
    {
        rates.write(response.headers_mut());
    }
    let route = Some(arrival.route());
    arrival.noted().look(|subject| state.metrics.answered(state, route, subject, &response, began.elapsed()));
    (response, request)
}

fn other_method(pattern: &str, id: &str) -> HttpResponse {
    let mut response = Problem::new(Code::MethodNotAllowed, "this path does not know the method; see Allow")
        .response(Some(id));
    if let Ok(allow) = HeaderValue::from_str(&table::allowed(pattern)) {
        response.headers_mut().insert(header::ALLOW, allow);
    }
    response
}

/// Accepts the caller's id when it can't do harm in a log line.
fn request_id(state: &AppState, request: &ServiceRequest) -> Rc<str> {
    let given = request.headers().get(REQUEST_ID).and_then(|id| id.to_str().ok());
    let harmless = |id: &&str| {
        (1..=64).contains(&id.len())
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'))
    };
    given.filter(harmless).map_or_else(
        // Those of the library come in order even within a millisecond, for which all threads stand in line.
        || Rc::from(&*state.tokens.new_id().hyphenated().encode_lower(&mut Uuid::encode_buffer())),
        Rc::from,
    )
}

/// Whom the door turned away, if they were recognised, and what they are told.
type Refused = (Option<Caller>, Problem);

/// What came of looking at a caller.
type Admitted = Result<(Caller, Arc<Confirmed>, Position), Box<Refused>>;

/// A caller with their whole request.
struct Entered {
    caller: Caller,
    /// Of the ring by which they were judged.
    confirmed: Arc<Confirmed>,
    body: Bytes,
}

/// Lets a caller in once all of their request is here. They are judged by its head, so that nobody uploads anything without a right
/// to, and again when its body took its time: whoever lost the right meanwhile can't use a request that they held back.
async fn enter(
    state: &Data<AppState>,
    request: &mut ServiceRequest,
    arrival: &Arrival,
    began: Instant,
) -> Result<Option<Entered>, Box<Refused>> {
    let route = arrival.route();
    let Access::Needs(permission) = route.access else { return Ok(None) };
    record::can_be(state, route).map_err(|problem| Box::new((None, problem)))?;
    // What is stored is compared in the database.
    let is_of_ring = !permission.target().is_stored();
    if request.headers().contains_key(header::IF_MATCH) && is_of_ring && state.cluster.is_shared() {
        // A tag that another node has given must not be judged by a ring that is behind.
        state.cluster.refresh().await;
    }
    let mut admitted = admit(state, request, arrival, permission);
    if admitted.as_ref().is_err_and(|refused| refused.1.code == Code::Unauthorized)
        && !state.issuers.is_empty()
    {
        // Rare, and large: not to be carried about with every request.
        let learned = Box::pin(learn(state, request)).await;
        match learned {
            Learned::Nothing => {}
            Learned::Again => admitted = admit(state, request, arrival, permission),
            Learned::Away => admitted = Err(Box::new((None, issuer_away()))),
        }
    }
    if admitted.as_ref().is_err_and(|refused| may_be_behind(&refused.1)) && state.cluster.is_shared() {
        // What this node does not know, another may have made a moment ago.
        let is_refreshed = state.cluster.refresh().await;
        admitted = match admit(state, request, arrival, permission) {
            Err(refused) if !is_refreshed && is_missing(&refused.1) => Err(Box::new((refused.0, unsure()))),
            again => again,
        };
    }
    if admitted.is_err() || state.limiter.knows_any() {
        // Rare, and large: not to be carried about with every request.
        admitted = Box::pin(count_attempt(state, request, admitted)).await;
    }
    let (caller, confirmed, position) = admitted?;
    state.patience.work(began);
    if state.quotas.limits_uses() {
        match quota::admit(state, route, request, &caller) {
            Ok(rates) => rates.into_iter().for_each(|rates| arrival.rate(rates)),
            Err(problem) => return Err(Box::new((Some(caller), problem))),
        }
    }
    if route.method == Method::GET {
        return Ok(Some(Entered { caller, confirmed, body: Bytes::new() }));
    }
    let declared = body::declared_length(request.headers());
    let body = body::read((state.body_limit, &state.awaited), declared, &mut request.take_payload()).await;
    let body = body.map_err(|problem| Box::new((Some(caller.clone()), problem)))?;
    // Only the position was kept: a body that comes slowly must not hold up whoever waits until nobody works on this ring.
    let is_fresh = began.elapsed() < AT_ONCE && position == state.ring.position();
    let (caller, confirmed, _) =
        if is_fresh { (caller, confirmed, position) } else { admit(state, request, arrival, permission)? };
    Ok(Some(Entered { caller, confirmed, body }))
}

/// A wrong credential is a failed attempt, and after too many of them only a right one is of any use. None at all is no attempt, and a
/// session has been let in already.
async fn count_attempt(state: &AppState, request: &ServiceRequest, admitted: Admitted) -> Admitted {
    let headers = request.headers();
    if request.extensions().get::<InSession>().is_some()
        || auth::credential(headers).is_none_or(str::is_empty)
    {
        return admitted;
    }
    let address = || state.addresses.client(request.peer_addr(), headers);
    match &admitted {
        Err(refused) if refused.1.code == Code::Unauthorized => {
            match state.limiter.failed(LimitScope::Http, address()).await {
                Some(wait) => Err(Box::new((None, locked_out(wait)))),
                None => match quota::failed(state, address()) {
                    Some(standing) => Err(Box::new((None, quota::refusal(&standing, &[standing])))),
                    None => admitted,
                },
            }
        }
        // Nobody was recognised, for another reason.
        Err(refused) if refused.0.is_none() => admitted,
        Ok(_) | Err(_) => {
            if state.limiter.knows_any() {
                state.limiter.succeeded(LimitScope::Http, address()).await;
            }
            admitted
        }
    }
}

fn locked_out(wait: Duration) -> Problem {
    let detail =
        "there were too many attempts with wrong credentials from this address; send a valid one, or wait";
    Problem::new(Code::RateLimited, detail).retry_after(wait)
}

/// The refusal may come from a ring that is behind.
fn may_be_behind(problem: &Problem) -> bool {
    is_missing(problem) || matches!(problem.code, Code::Unauthorized | Code::Forbidden | Code::StaleEpoch)
}

fn is_missing(problem: &Problem) -> bool {
    matches!(problem.code, Code::KeyNotFound | Code::NotFound)
}

/// Nobody may be told that something is not there, or not valid, by a node that can't know.
pub(super) fn unsure() -> Problem {
    Problem::new(Code::StaleNode, "the database can't be asked whether this is known by now; try again")
}

/// Who may come in, by the ring as it is now. A refusal names whom it was, if they were recognised, for the record.
fn admit(
    state: &Data<AppState>,
    request: &ServiceRequest,
    arrival: &Arrival,
    permission: Permission,
) -> Admitted {
    let route = arrival.route();
    let snapshot = state.ring.look();
    // Before anybody is recognised: their credential may have been taken from them.
    state.is_current(snapshot.confirmed()).map_err(|problem| Box::new((None, problem)))?;
    let identity = recognise(state, state.known(&snapshot), request, state.clock.now());
    let identity = identity.map_err(|refusal| Box::new((None, unauthorized(refusal))))?;
    let mut caller = Caller::new(identity, arrival.id_shared());
    let path = Path { decoded: request.match_info().as_str(), raw: request.uri().path() };
    let named = Named::find(&snapshot, route, permission, &path);
    // Whoever is turned away is on record with what they wanted.
    arrival.noted().note(named.subject(&snapshot));
    let admitted =
        named.judge(state, &snapshot, &caller, permission).and_then(|()| reached(request, snapshot.epoch.0));
    if state.quotas.limits(Class::Key) {
        caller.key = named.key();
    }
    drop(named);
    if route.kind == Kind::Change {
        // The ring may have other policies by the time that the change is made.
        let (state, identity) = (state.clone(), Arc::clone(&caller.identity));
        let (decoded, raw) = (path.decoded.to_owned(), path.raw.to_owned());
        let ask = move |snapshot: &Snapshot| {
            let caller = Caller::of(Arc::clone(&identity), Rc::from(""));
            Named::find(snapshot, route, permission, &Path { decoded: &decoded, raw: &raw })
                .judge(&state, snapshot, &caller, permission)
                .is_ok()
        };
        caller.still_may = Some(StillMay { revision: snapshot.access_revision(), ask: Arc::new(ask) });
    }
    match admitted {
        Ok(()) => Ok((caller, Arc::clone(snapshot.confirmed()), snapshot.position())),
        Err(problem) => Err(Box::new((Some(caller), problem))),
    }
}

/// The ring is where the caller wants it to be.
fn reached(request: &ServiceRequest, epoch: u64) -> Result<(), Problem> {
    let Some(wanted) = request.headers().get(MIN_EPOCH) else { return Ok(()) };
    let wanted: Option<u64> = wanted.to_str().ok().and_then(|wanted| wanted.parse().ok());
    let wanted = wanted.ok_or_else(|| Problem::invalid("X-Claviger-Min-Epoch must be a whole number"))?;
    if wanted > epoch {
        let detail = "the ring has not reached this epoch; try again or leave it out";
        return Err(Problem::new(Code::StaleEpoch, detail));
    }
    Ok(())
}

/// Runs the handler, within its time, and turns whatever comes of it into an answer. The request comes back unless it was lost in
/// a panic or a time-out.
async fn run(
    state: &AppState,
    request: ServiceRequest,
    handlers: &Handlers,
    arrival: &Arrival,
    entered: Option<Entered>,
) -> (HttpResponse, Option<HttpRequest>) {
    let (route, id) = (arrival.route(), arrival.id());
    let mut ticket = None;
    let mut confirmed = None;
    if let Some(Entered { mut caller, confirmed: of_ring, body }) = entered {
        confirmed = Some(of_ring);
        if route.is_retried() && request.headers().contains_key(IDEMPOTENCY_KEY) {
            // Rare, and large: not to be carried about with every request.
            match Box::pin(retried(state, &request, arrival, &caller, &body)).await {
                Ok(fresh) => ticket = Some(fresh),
                Err(response) => {
                    arrival.enter(caller, body);
                    return (response, Some(request.into_parts().0));
                }
            }
        }
        caller.idempotency.clone_from(&ticket);
        if !route.keeps_answer() {
            ticket = None;
        }
        arrival.enter(caller, body);
    }
    let mut handled = AssertUnwindSafe(handlers.call(route, request)).catch_unwind();
    let failed = |problem: Problem| problem.response(Some(id));
    // Most are done at once, and need no clock.
    let handled = match futures_util::poll!(&mut handled) {
        Poll::Ready(handled) => Ok(handled),
        Poll::Pending => actix_web::rt::time::timeout(state.request_timeout, handled).await,
    };
    let (response, request) = match handled {
        Ok(Ok(Ok(response))) => {
            let request = response.request().clone();
            (answer(response, id), Some(request))
        }
        Ok(Ok(Err(error))) => (failed(problem_of(&error)), None),
        Ok(Err(_panic)) => {
            (failed(Problem::new(Code::Internal, "the service failed; its log says why")), None)
        }
        Err(_late) => (
            failed(Problem::new(Code::Overloaded, "the request took too long; it may still be carried out")),
            None,
        ),
    };
    // A request that took long must not use what others have stopped using for sure.
    if response.status().is_success()
        && route.kind != Kind::Change
        && let Some(confirmed) = &confirmed
        && let Err(problem) = state.is_current(confirmed)
    {
        return (failed(problem), request);
    }
    if response.status().is_success() && confirmed.is_some() && !arrival.is_decided() {
        // A handler that forgot to ask is a fault of ours, and must not become the caller's luck.
        tracing::error!(route = route.pattern, "answered without a decision; the answer is withheld");
        return (failed(Problem::new(Code::Internal, "the service failed; its log says why")), request);
    }
    let Some(ticket) = ticket else { return (response, request) };
    let late = |_| {
        let detail = "the answer could not be kept in time; try again with the same Idempotency-Key";
        Problem::new(Code::Overloaded, detail)
    };
    let kept = Box::pin(idempotency::keep(state, &ticket, response, arrival.noted()));
    let kept = actix_web::rt::time::timeout(state.request_timeout, kept).await;
    (kept.map_err(late).flatten().unwrap_or_else(failed), request)
}

/// What a request with an `Idempotency-Key` stands for, or the answer that was given under it.
async fn retried(
    state: &AppState,
    request: &ServiceRequest,
    arrival: &Arrival,
    caller: &Caller,
    body: &[u8],
) -> Result<IdempotencyTicket, HttpResponse> {
    let route = arrival.route();
    let failed = |problem: Problem| problem.response(Some(arrival.id()));
    let late = |_| Problem::new(Code::Overloaded, "the database did not answer in time; try again");
    let kept =
        actix_web::rt::time::timeout(state.request_timeout, retry(state, request, route, caller, body));
    let (ticket, kept) = kept.await.map_err(late).flatten().map_err(failed)?;
    let Some(kept) = kept else { return Ok(ticket) };
    let may = authority::still(state, caller, route, &kept.subject);
    arrival.noted().note(kept.subject);
    Err(may.map_or_else(failed, |()| kept.response))
}

/// Reads what an `Idempotency-Key` stands for, and the answer that was given under it, if any.
async fn retry(
    state: &AppState,
    request: &ServiceRequest,
    route: &Route,
    caller: &Caller,
    body: &[u8],
) -> Result<(IdempotencyTicket, Option<Replay>), Problem> {
    let key = request.headers().get(IDEMPOTENCY_KEY);
    let key = key.ok_or_else(|| Problem::invalid("Idempotency-Key is missing"))?;
    let target = request.uri().to_string();
    let parts = [route.method.as_str().as_bytes(), target.as_bytes(), body];
    let scope = caller.identity.id().to_string();
    let ticket = idempotency::ticket(&state.ring.snapshot(), scope, key, &parts)?;
    let kept = if route.keeps_answer() { idempotency::replay(state, &ticket).await? } else { None };
    Ok((ticket, kept))
}

/// The handler's answer, with the request id in a problem's body.
fn answer(response: ServiceResponse<impl MessageBody + 'static>, id: &str) -> HttpResponse {
    let (_, response) = response.into_parts();
    match response.error() {
        Some(error) => problem_of(error).response(Some(id)),
        None => response.map_into_boxed_body(),
    }
}

fn problem_of(error: &Error) -> Problem {
    if let Some(problem) = error.as_error::<Problem>() {
        return problem.clone();
    }
    // Whatever the framework refuses is the request's fault, unless it says otherwise.
    if error.as_response_error().status_code().is_server_error() {
        tracing::error!("a handler failed outside the table of errors");
        return Problem::new(Code::Internal, "the service failed; its log says why");
    }
    Problem::invalid("the request is not valid")
}

/// What every answer says: to whom it belongs, and how little a browser may make of it.
fn finish(state: &AppState, response: &mut HttpResponse, id: &str, is_secure: bool) {
    let epoch = state.ring.position().epoch.0;
    let headers = response.headers_mut();
    if let Ok(id) = HeaderValue::from_str(id) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(EPOCH, HeaderValue::from(epoch));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY"));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    if is_secure {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HSTS));
    }
    if !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    if state.is_draining() {
        response.head_mut().set_connection_type(ConnectionType::Close);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size<A, B, F: Future>(_: impl Fn(A, B) -> F) -> usize {
        size_of::<F>()
    }

    /// Every request has one, on the heap; beyond about a kilobyte the allocator takes the long way, and moving it about shows.
    #[test]
    fn a_request_is_small_while_it_is_worked_on() {
        assert!(size(door) <= 1_000, "{}", size(door));
    }
}
