//! `GET /v1/events`: what happens, as server-sent events.
//!
//! The answer has no end: it begins at the door like any other, and then goes on by itself, asking again and again whether its reader may still
//! have it. Whoever reads slowly is waited for a while, and holds up nobody else.

use std::{
    collections::VecDeque,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use actix_web::{
    HttpRequest, HttpResponse,
    http::header,
    rt::time::{Instant, interval_at, sleep_until, timeout},
    web::{Bytes, Data},
};
use claviger_actors::{
    events::{Event, EventsError, Gone, Mark, Subscription, Topics},
    keyring::Epoch,
};
use claviger_crypto::{
    jws::KidClaim,
    token::{self, ParsedToken},
};
use claviger_entity::Kid;
use claviger_policy::Permission;
use futures_util::stream;
use serde::Deserialize;
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    watch,
};
use zeroize::Zeroizing;

use super::{
    body::StrictQuery,
    problem::{Code, Problem},
    state::{AppState, Caller},
};
use crate::auth::{self, Identity, Peer, Standing, sight};

/// How often a reader gets a sign of life.
const BEAT: Duration = Duration::from_secs(15);
/// A reader that has taken nothing for so long is let go.
const PATIENCE: Duration = Duration::from_secs(30);
/// A reader that was behind for so long, however little it takes at a time, is let go too.
const BEHIND_MAX: Duration = Duration::from_secs(600);
/// Pieces that wait for a reader.
const PIECES: usize = 4;
/// A piece that has so many bytes goes out.
const PIECE_BYTES: usize = 16 << 10;
/// Shortest time between two questions whether a token was revoked meanwhile.
const ASK_AGAIN: Duration = Duration::from_millis(200);
/// When a reader that was cut off is to come back, in milliseconds.
const RETRY_MS: u64 = 3_000;
const LAST_EVENT_ID: &str = "last-event-id";

/// What to listen to, and from where.
#[derive(Debug, Deserialize, utoipa::IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct Listening {
    /// Names of keys and of events, with commas between them; at most 100. Everything unless given.
    topics: Option<String>,
    /// What has happened since this epoch comes first. `Last-Event-ID` is stronger.
    since_epoch: Option<u64>,
    /// `false`: the answer ends when what has happened so far was told.
    follow: Option<bool>,
}

/// An event of the stream.
#[derive(utoipa::ToSchema)]
#[expect(dead_code, reason = "it says what is written")]
pub struct StreamedEvent {
    /// Its name.
    event: String,
    /// What to come back with as `Last-Event-ID`: its epoch, a dot, and what tells its history from another.
    id: Option<String>,
    /// Its payload, a JSON text.
    data: String,
}

/// Tells what happens, as it happens: `text/event-stream`, each event with its name, its payload as JSON, and, for changes of the ring, its epoch in its id. With
/// `Last-Event-ID` or `since_epoch` nothing is missing and nothing comes twice, on whichever node; what can't be told any more (after 7 days, or
/// after a restore) is replaced by one `ring.sync`. Of each key hears who has `key.read` on it.
///
/// # Errors
/// `invalid_request`; `overloaded` when the node is leaving or has too many readers; `stale_node` when it can't tell whether the reader is ahead of it.
#[utoipa::path(get, path = "/v1/events", tag = "operations",
    params(Listening, ("Last-Event-ID" = Option<String>, Header, description = "The id of the last event that was received")), responses(
    (status = 200, description = "Events", body = StreamedEvent, content_type = "text/event-stream"),
))]
pub async fn stream(
    request: HttpRequest,
    state: Data<AppState>,
    caller: Caller,
    StrictQuery(listening): StrictQuery<Listening>,
) -> Result<HttpResponse, Problem> {
    let since = since(&request, &listening)?;
    let topics: Option<Vec<String>> =
        listening.topics.as_deref().map(|topics| topics.split(',').map(str::to_owned).collect());
    let topics = Topics::parse(topics.as_deref()).map_err(|error| Problem::invalid(error.to_string()))?;
    let judge = Judge::new(&request, &state, &caller);
    let sight = sight(&state, Arc::clone(&caller.identity));
    let subscription = state.events.subscribe(topics, since, sight).await?;
    let (sender, pieces) = mpsc::channel(PIECES);
    let (closing, seat) = (subscription.closing(), subscription.seat());
    let is_late = Arc::new(AtomicBool::new(false));
    let late = Late { since: None, is_over: Arc::clone(&is_late) };
    let reader = Reader { sender, subscription, judge, closing, late, told: None };
    if listening.follow.unwrap_or(true) {
        actix_web::rt::spawn(reader.follow());
    } else {
        actix_web::rt::spawn(reader.catch_up());
    }
    // As long as anything is on its way, the reader has its place among those that there may be.
    let pieces = stream::unfold((pieces, seat), move |(mut pieces, seat)| {
        let is_late = Arc::clone(&is_late);
        async move {
            let piece = pieces.recv().await;
            // Nothing further is sent to one that was let go, and its connection breaks.
            let piece = if is_late.load(Ordering::Relaxed) { Some(Err(Gone::Stopping)) } else { piece };
            Some((piece?, (pieces, seat)))
        }
    });
    Ok(HttpResponse::Ok()
        .content_type("text/event-stream")
        .insert_header((header::HeaderName::from_static("x-accel-buffering"), "no"))
        .streaming(pieces))
}

/// From where to tell; the header is stronger, since a browser that comes back asks for the same address.
fn since(request: &HttpRequest, listening: &Listening) -> Result<Option<Mark>, Problem> {
    let asked = listening.since_epoch.map(|epoch| Mark::from(Epoch(epoch)));
    let Some(last) = request.headers().get(LAST_EVENT_ID) else { return Ok(asked) };
    let last = last.to_str().ok().map(str::trim);
    if last == Some("") {
        return Ok(asked);
    }
    let last = last.and_then(Mark::parse);
    last.map(Some).ok_or_else(|| Problem::invalid("Last-Event-ID must be the id of an event, or an epoch"))
}

impl From<EventsError> for Problem {
    fn from(error: EventsError) -> Self {
        match error {
            EventsError::Full | EventsError::Stopping => Self::new(Code::Overloaded, error.to_string()),
            EventsError::Stale => Self::new(Code::StaleNode, error.to_string()),
        }
    }
}

/// Whether somebody may still read.
struct Judge {
    state: Data<AppState>,
    standing: Standing,
    identity: Arc<Identity>,
    /// The version of a key of ours that has signed its credential, if that is a token.
    kid: Option<Kid>,
}

impl Judge {
    fn new(request: &HttpRequest, state: &Data<AppState>, caller: &Caller) -> Self {
        let peer = request.conn_data::<Arc<Peer>>().map(Arc::clone);
        // The door has let nobody in with neither, and a credential beside a certificate counts alone.
        let standing = match (auth::credential(request.headers()), &peer) {
            (None, Some(peer)) => Standing::certificate(Arc::clone(peer)),
            (credential, _) => Standing::bearer(Zeroizing::new(credential.unwrap_or_default().to_owned())),
        };
        let kid = standing.credential().and_then(kid);
        let kid = kid.filter(|kid| state.ring.snapshot().consumer(kid).is_ok());
        let standing = standing.over(peer);
        Self { state: state.clone(), standing, identity: Arc::clone(&caller.identity), kid }
    }

    /// Its credential is a signed token: the signature was good and stays so, and is not to be looked at with each change of the ring.
    fn is_token(&self) -> bool {
        self.standing.is_token()
    }

    /// Wakes whoever came over a connection with a certificate when that may not hold any more.
    fn certificates(&self) -> Option<watch::Receiver<u64>> {
        let clients = self.state.clients.as_ref().filter(|_| self.standing.has_certificate());
        clients.map(|clients| clients.changes())
    }

    /// When the credential ends by itself; who looks later sees it with the next sign of life.
    fn ends(&self) -> Option<Instant> {
        let at = self.standing.ends_at(&self.identity)?;
        let left = (at - self.state.clock.now()).to_std().unwrap_or_default();
        Instant::now().checked_add(left)
    }

    /// They still may, now that the ring has changed.
    fn may_still_read(&self) -> bool {
        if !self.is_token() {
            return self.may_read();
        }
        let state = &self.state;
        let snapshot = state.ring.snapshot();
        self.kid.as_ref().is_none_or(|kid| snapshot.consumer(kid).is_ok())
            && state.is_current(snapshot.confirmed()).is_ok()
            && state.authorizer.permits_deployment(&snapshot, &self.identity, Permission::EventsRead)
    }

    /// They still are who they were, and may; and this node still knows.
    fn may_read(&self) -> bool {
        let state = &self.state;
        let snapshot = state.ring.snapshot();
        let Ok(identity) = self.standing.identity(state.known(&snapshot), state.clock.now()) else {
            return false;
        };
        identity.id() == self.identity.id()
            && state.is_current(snapshot.confirmed()).is_ok()
            && state.authorizer.permits_deployment(&snapshot, &identity, Permission::EventsRead)
    }
}

/// Certificates are judged by others than before; `None` at once where that is of no concern.
async fn certified_anew(changes: Option<&mut watch::Receiver<u64>>) -> Option<bool> {
    Some(changes?.changed().await.is_ok())
}

/// The `kid` of a signed token.
fn kid(credential: &str) -> Option<Kid> {
    let Ok(ParsedToken::Jws(token)) = token::parse(credential) else { return None };
    match token.kid {
        KidClaim::Named(kid) => Some(kid),
        KidClaim::Absent | KidClaim::Foreign => None,
    }
}

/// What a reader is told, until it goes or has to.
struct Reader {
    sender: mpsc::Sender<Result<Bytes, Gone>>,
    subscription: Subscription,
    judge: Judge,
    /// Whether the node is leaving.
    closing: watch::Receiver<bool>,
    /// Whether it keeps up.
    late: Late,
    /// The id that was sent last.
    told: Option<Mark>,
}

/// How long a reader has been behind.
struct Late {
    since: Option<Instant>,
    /// It was let go.
    is_over: Arc<AtomicBool>,
}

/// What goes out together: in parts, so that nothing long is copied for each reader.
#[derive(Default)]
struct Piece {
    parts: VecDeque<Bytes>,
    text: String,
}

impl Piece {
    /// What is written counts, and what many share is no burden of one of them.
    fn is_full(&self) -> bool {
        self.text.len() >= PIECE_BYTES || !self.parts.is_empty()
    }

    fn push(&mut self, payload: &Arc<str>) {
        if payload.len() <= PIECE_BYTES {
            self.text.push_str(payload);
            return;
        }
        self.parts.push_back(Bytes::from(std::mem::take(&mut self.text)));
        let mut shared = Bytes::from_owner(Text(Arc::clone(payload)));
        while !shared.is_empty() {
            self.parts.push_back(shared.split_to(shared.len().min(PIECE_BYTES)));
        }
    }

    fn into_parts(mut self) -> VecDeque<Bytes> {
        if !self.text.is_empty() {
            self.parts.push_back(Bytes::from(self.text));
        }
        self.parts
    }
}

/// A payload that many readers share.
struct Text(Arc<str>);

impl AsRef<[u8]> for Text {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// Why a reader is told something.
enum Woken {
    /// Something has happened.
    Event(Arc<Event>),
    /// The ring has changed.
    Changed,
    /// Tokens or certificates were revoked, or this one ends.
    Revoked,
    /// It is time for a sign of life.
    Beat,
    /// It is over.
    Over,
}

impl Reader {
    /// Tells what has happened, then what happens.
    async fn follow(mut self) {
        let state = self.judge.state.clone();
        let (mut ring, mut revoked) = (state.ring.changes(), state.tokens.heard());
        let mut certificates = self.judge.certificates();
        // What has changed since the door let them in is not told to these.
        if !self.judge.may_read() {
            return;
        }
        let mut beat = interval_at(Instant::now() + BEAT, BEAT);
        let mut ends = self.judge.ends();
        let mut not_before = Instant::now();
        let mut piece = self.beginning();
        loop {
            if !self.send(std::mem::take(&mut piece)).await {
                return;
            }
            let woken = tokio::select! {
                biased;
                () = self.sender.closed() => Woken::Over,
                changed = ring.changed() => if changed.is_ok() { Woken::Changed } else { Woken::Over },
                changed = async { sleep_until(not_before).await; revoked.changed().await }, if self.judge.is_token() => {
                    not_before = Instant::now() + ASK_AGAIN;
                    if changed.is_ok() { Woken::Revoked } else { Woken::Over }
                }
                Some(changed) = certified_anew(certificates.as_mut()) => {
                    if changed { Woken::Revoked } else { Woken::Over }
                }
                _ = beat.tick() => Woken::Beat,
                () = sleep_until(ends.unwrap_or_else(Instant::now)), if ends.is_some() => {
                    ends = None;
                    Woken::Revoked
                }
                event = self.subscription.next() => match event {
                    Ok(event) => Woken::Event(event),
                    Err(Gone::Stopping | Gone::Unreadable) => Woken::Over,
                },
            };
            match woken {
                Woken::Event(event) => self.gather(&event, &mut piece),
                Woken::Changed if self.judge.may_still_read() => {}
                Woken::Revoked if self.judge.may_read() => {}
                Woken::Beat if self.judge.may_read() => self.beat(&mut piece),
                Woken::Changed | Woken::Revoked | Woken::Beat | Woken::Over => return,
            }
        }
    }

    /// Tells what has happened, and no more.
    async fn catch_up(mut self) {
        if !self.judge.may_read() {
            return;
        }
        let mut piece = self.beginning();
        loop {
            match self.subscription.missed().await {
                Ok(Some(event)) => self.write(&event, &mut piece),
                Ok(None) => break,
                Err(gone) => {
                    // An answer that breaks off is not taken for one that is complete.
                    let _gone = self.sender.send(Err(gone)).await;
                    return;
                }
            }
            if piece.is_full() && !(self.judge.may_read() && self.send(std::mem::take(&mut piece)).await) {
                return;
            }
        }
        if self.judge.may_read() {
            self.beat(&mut piece);
            self.send(piece).await;
        }
    }

    /// Where it starts, so that a reader that is cut off before anything has happened misses nothing. One that is to get the whole ring has
    /// nothing before that.
    fn beginning(&mut self) -> Piece {
        let mark = self.subscription.mark();
        self.told = Some(mark);
        Piece { text: format!("retry: {RETRY_MS}\nid: {mark}\n\n"), ..Piece::default() }
    }

    /// An event, and whatever else is at hand: all of one change goes out together.
    fn gather(&mut self, event: &Event, piece: &mut Piece) {
        self.write(event, piece);
        while !piece.is_full()
            && let Some(event) = self.subscription.at_hand()
        {
            self.write(&event, piece);
        }
    }

    /// Only the last event of a change has its id: whoever has got that one has got them all.
    fn write(&mut self, event: &Event, piece: &mut Piece) {
        piece.text.push_str("event: ");
        piece.text.push_str(event.name.as_str());
        if let Some(id) = self.subscription.id() {
            self.told = Some(id);
            piece.text.push_str("\nid: ");
            piece.text.push_str(&id.to_string());
        }
        piece.text.push_str("\ndata: ");
        piece.push(&event.payload);
        piece.text.push_str("\n\n");
    }

    /// A comment, with the epoch where that has moved on without an event for this reader.
    fn beat(&mut self, piece: &mut Piece) {
        piece.text.push_str(": still here\n");
        let mark = self.subscription.mark();
        if self.told.replace(mark) != Some(mark) {
            piece.text.push_str("id: ");
            piece.text.push_str(&mark.to_string());
            piece.text.push('\n');
        }
        piece.text.push('\n');
    }

    /// Hands a piece to the connection; `false` when the reader has gone, or has not taken anything for too long, or the node is leaving.
    async fn send(&mut self, piece: Piece) -> bool {
        for part in piece.into_parts() {
            let part = match self.sender.try_send(Ok(part)) {
                Ok(()) => {
                    self.late.since = None;
                    continue;
                }
                Err(TrySendError::Closed(_)) => return false,
                Err(TrySendError::Full(part)) => part,
            };
            let since = *self.late.since.get_or_insert_with(Instant::now);
            let patience = PATIENCE.min(BEHIND_MAX.saturating_sub(since.elapsed()));
            let (sender, closing) = (&self.sender, &mut self.closing);
            let sent = async {
                tokio::select! {
                    sent = sender.send(part) => sent.is_ok(),
                    _ = closing.wait_for(|closing| *closing) => false,
                }
            };
            match timeout(patience, sent).await {
                Ok(true) => {}
                Ok(false) => return false,
                Err(_) => {
                    tracing::debug!("a reader of events was too slow and is let go");
                    self.late.is_over.store(true, Ordering::Relaxed);
                    return false;
                }
            }
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is long is shared, in parts that find room one by one, and says what it said.
    #[test]
    fn a_long_payload_is_cut_and_not_copied() {
        let payload: Arc<str> = "0123456789".repeat(10_000).into();
        let mut piece = Piece::default();
        piece.text.push_str("data: ");
        piece.push(&payload);
        assert!(piece.is_full());
        piece.text.push_str("\n\n");
        piece.push(&"short".into());
        let parts = piece.into_parts();
        assert!(parts.iter().all(|part| part.len() <= PIECE_BYTES));
        assert_eq!(parts[1].as_ptr(), payload.as_ptr());
        let text: Vec<u8> = parts.iter().flat_map(|part| part.to_vec()).collect();
        assert_eq!(String::from_utf8(text).unwrap(), format!("data: {payload}\n\nshort"));
    }
}
