//! One session, from the connection to its end.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::{SinkExt as _, Stream, StreamExt as _, stream::SplitSink};
use serde_json::{Map, Value, json};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until, timeout},
};
use tokio_tungstenite::tungstenite::{Error, Message, protocol::CloseFrame};

use crate::{
    address::Address,
    calls::Link,
    client::{Shared, State, Waiting},
    connect::{self, Challenge, Credential, Role, Signer},
    core::Machine,
    ending::Ending,
    feed::{Feed, Judged},
    frame::{self, CHALLENGE, Event, Frame, Hello, NoHello, RING_SYNC, ServerError, TICK},
    mirror::Ring,
    transport::{self, Socket},
};

/// Frames that wait to be sent: as many as calls may wait for an answer, and our own.
const OUTGOING_MAX: usize = 64;
/// Longest farewell.
const FAREWELL: Duration = Duration::from_secs(1);
/// Frames that a server may send before it answers `connect`.
const FRAMES_BEFORE_HELLO: usize = 100;
/// The whole ring is asked for again so long after an event about a key, for what events do not tell; and so long after that, when the
/// next standby has been published.
const REFRESH_AFTER_EVENT: [Duration; 2] = [Duration::from_millis(200), Duration::from_secs(5)];
/// And so often in any case: the `max-age` of the JWKS.
const REFRESH_EVERY: Duration = Duration::from_secs(300);
/// But not more often than this, however many events there are.
const REFRESH_PAUSE: Duration = Duration::from_secs(1);

/// Where a session is, and for whom.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) shared: &'a Arc<Shared>,
    pub(crate) address: &'a Address,
    pub(crate) events: &'a mpsc::Sender<Waiting>,
}

/// Holds a session for as long as it lasts. `None` = nobody wants it any more.
pub(crate) async fn run(
    place: Place<'_>,
    machine: &mut Machine,
    feed: &mut Feed,
    credential: Option<Credential>,
    stopped: &mut watch::Receiver<()>,
) -> Option<Ending> {
    let opening = open(place, credential);
    let (hello, socket) = tokio::select! {
        opened = opening => match opened {
            Ok(opened) => opened,
            Err(ending) => return Some(ending),
        },
        _ = stopped.changed() => return None,
    };
    machine.opened();
    let hello = Arc::new(hello);
    let (sink, stream) = socket.split();
    let (outgoing, to_send) = mpsc::channel(OUTGOING_MAX);
    let link = Link { outgoing: outgoing.clone(), payload_max_bytes: hello.payload_max_bytes };
    let mut live = Live::new(place, feed, hello, outgoing);
    place.shared.calls.connect(link);
    let mut writing = pin!(write(sink, to_send, live.silence));
    let ended = tokio::select! {
        ending = live.listen(stream) => Some(ending),
        ending = &mut writing => Some(ending.unwrap_or_else(|| Ending::closed(1_006, ""))),
        _ = stopped.changed() => None,
    };
    place.shared.calls.disconnect();
    if ended.is_none() {
        // Whatever still waits is sent, and the farewell behind it.
        drop(live);
        let _farewell = timeout(FAREWELL, writing).await;
    }
    ended
}

/// Connects, and is let in.
async fn open(place: Place<'_>, credential: Option<Credential>) -> Result<(Hello, Socket), Ending> {
    let settings = &place.shared.settings;
    let patience = settings.patience;
    let late = |_| Ending::TimedOut;
    let opening = transport::open(place.address, settings.tls.as_ref());
    let mut socket = timeout(patience, opening).await.map_err(late)??;
    let challenge = timeout(patience, challenge(&mut socket)).await.map_err(late)??;
    let device = settings.device.as_ref().map(|device| &device.identity as &dyn Signer);
    let params = connect::params(&settings.introduction, credential.as_ref(), &challenge, device);
    drop(credential);
    let exchange = async {
        let request = frame::request("connect", "connect", params);
        // Whoever closes at once may have said why.
        let _sent = socket.send(Message::text(request)).await;
        welcome(&mut socket).await
    };
    let payload = timeout(patience, exchange).await.map_err(late)??;
    let hello = Hello::parse(&payload).map_err(|no| match no {
        NoHello::OtherVersion => Ending::Mismatch,
        NoHello::Malformed => Ending::Protocol("its hello is incomplete"),
    })?;
    if hello.role != settings.introduction.role.as_str() {
        return Err(Ending::Protocol("it has let this client in under another role"));
    }
    if let (Some(token), Some(device)) =
        (payload.get("deviceToken").and_then(Value::as_str), &settings.device)
    {
        // It is told once. Going on without it would work today, and nobody would know why it does not some day.
        device.token.keep(token).map_err(|error| {
            let path = device.token.path().display();
            Ending::Device(format!(
                "{path} can't be written ({error}); the device's token is lost: have it rotated"
            ))
        })?;
    }
    Ok((hello, socket))
}

async fn challenge(socket: &mut Socket) -> Result<Challenge, Ending> {
    let no_challenge = Ending::Protocol("it does not begin with a challenge");
    match next_frame(socket).await? {
        Some(Frame::Event(event)) if event.name == CHALLENGE => {
            Challenge::parse(&event.payload).ok_or(no_challenge)
        }
        Some(Frame::Event(_) | Frame::Response { .. } | Frame::Unknown) | None => Err(no_challenge),
    }
}

async fn welcome(socket: &mut Socket) -> Result<Value, Ending> {
    for _ in 0..FRAMES_BEFORE_HELLO {
        match next_frame(socket).await? {
            Some(Frame::Response { id, answer }) if id == "connect" => return answer.map_err(refused),
            Some(Frame::Response { .. } | Frame::Event(_) | Frame::Unknown) => {}
            None => return Err(Ending::Protocol("it has sent what is no frame")),
        }
    }
    Err(Ending::Protocol("it does not answer"))
}

fn refused(error: ServerError) -> Ending {
    let ServerError { code, message, details, retryable, retry_after } = error;
    let detail = |name: &str| details.as_ref().and_then(|details| details.get(name));
    if detail("expectedProtocol").is_some() {
        return Ending::Mismatch;
    }
    let request_id = detail("requestId").and_then(Value::as_str).map(str::to_owned);
    Ending::Refused { code, message, request_id, retryable, retry_after }
}

async fn next_frame(socket: &mut Socket) -> Result<Option<Frame>, Ending> {
    loop {
        if let Some(text) = heard(socket.next().await)? {
            return Ok(frame::parse(&text));
        }
    }
}

/// A text, or something that means nothing.
fn heard(message: Option<Result<Message, Error>>) -> Result<Option<String>, Ending> {
    match message {
        None => Err(Ending::closed(1_006, "")),
        Some(Err(error)) => Err(transport::fault(&error)),
        Some(Ok(Message::Text(text))) => Ok(Some(text.as_str().to_owned())),
        Some(Ok(Message::Close(frame))) => Err(closed(frame.as_ref())),
        Some(Ok(Message::Binary(_))) => Err(Ending::Protocol("it has sent a binary frame")),
        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => Ok(None),
    }
}

fn closed(frame: Option<&CloseFrame>) -> Ending {
    frame.map_or_else(
        || Ending::closed(1_005, ""),
        |frame| Ending::closed(frame.code.into(), frame.reason.as_str()),
    )
}

/// Sends what is to be sent, then the farewell; ends early when the other side takes nothing.
async fn write(
    mut sink: SplitSink<Socket, Message>,
    mut to_send: mpsc::Receiver<Message>,
    silence: Duration,
) -> Option<Ending> {
    while let Some(message) = to_send.recv().await {
        match timeout(silence, sink.send(message)).await {
            Ok(Ok(())) => {}
            // The reader knows better why.
            Ok(Err(_)) => std::future::pending::<()>().await,
            Err(_) => return Some(Ending::Silent),
        }
    }
    let _gone = sink.close().await;
    None
}

/// What is asked for when, beside the calls of the application.
struct Live<'a> {
    place: Place<'a>,
    feed: &'a mut Feed,
    outgoing: mpsc::Sender<Message>,
    silence: Duration,
    last: u64,
    /// To be told of as soon as the client hears of everything that happens.
    hello: Option<Arc<Hello>>,
    /// Id of the subscription that is not confirmed yet.
    subscribing: Option<String>,
    /// Until when it must be.
    confirmed_by: Option<Instant>,
    /// The application has no room: its subscription begins anew when it has.
    is_behind: bool,
    /// Id of the ring that is asked for.
    refreshing: Option<String>,
    /// Waits before the next times that the ring is asked for.
    refreshes: Vec<Duration>,
    refresh_at: Instant,
    /// The ring is not asked for before this.
    not_before: Instant,
}

impl<'a> Live<'a> {
    fn new(place: Place<'a>, feed: &'a mut Feed, hello: Arc<Hello>, outgoing: mpsc::Sender<Message>) -> Self {
        Self {
            place,
            feed,
            outgoing,
            silence: hello.tick * 2,
            last: 0,
            hello: Some(hello),
            subscribing: None,
            confirmed_by: None,
            is_behind: false,
            refreshing: None,
            refreshes: Vec::new(),
            refresh_at: Instant::now() + REFRESH_EVERY,
            not_before: Instant::now(),
        }
    }

    fn is_node(&self) -> bool {
        self.place.shared.settings.introduction.role == Role::Node
    }

    async fn listen(&mut self, mut stream: impl Stream<Item = Result<Message, Error>> + Unpin) -> Ending {
        self.subscribe();
        let mut last_heard = Instant::now();
        let room = self.place.events.max_capacity() / 2;
        loop {
            let mut until = last_heard + self.silence;
            until = self.confirmed_by.map_or(until, |confirmed_by| until.min(confirmed_by));
            if self.is_node() {
                until = until.min(self.refresh_at);
            }
            tokio::select! {
                message = stream.next() => {
                    last_heard = Instant::now();
                    if let Err(ending) = heard(message).and_then(|text| self.take(text.as_deref())) {
                        return ending;
                    }
                }
                () = sleep_until(until) => {
                    let now = Instant::now();
                    if now >= last_heard + self.silence {
                        return Ending::Silent;
                    }
                    if self.confirmed_by.is_some_and(|confirmed_by| now >= confirmed_by) {
                        return Ending::TimedOut;
                    }
                    self.refresh(now);
                }
                _ = self.place.events.reserve_many(room), if self.is_behind => {
                    self.is_behind = false;
                    self.subscribe();
                }
            }
        }
    }

    /// Asks to be told of events, after what has been handed out so far. A node is told from the beginning without asking.
    fn subscribe(&mut self) {
        let settings = &self.place.shared.settings;
        let is_told_anyway = self.is_node() && self.feed.position().is_none();
        let wants = self.is_node() || !settings.topics.is_empty();
        if !wants || self.place.events.is_closed() {
            return self.confirmed();
        }
        self.confirmed_by = Some(Instant::now() + settings.patience);
        if is_told_anyway {
            return;
        }
        let mut params = Map::new();
        if !self.is_node() {
            params.insert("topics".to_owned(), json!(settings.topics));
        }
        if let Some(position) = self.feed.position() {
            params.insert("sinceEpoch".to_owned(), position.into());
        }
        self.subscribing = self.ask("events.subscribe", Value::Object(params));
    }

    fn confirmed(&mut self) {
        (self.subscribing, self.confirmed_by) = (None, None);
        if let Some(hello) = self.hello.take() {
            self.place.shared.report(State::Open { hello });
        }
    }

    fn ask(&mut self, method: &str, params: Value) -> Option<String> {
        self.last += 1;
        let id = format!("own{}", self.last);
        // There is room: the calls of the application can't fill it.
        self.outgoing.try_send(Message::text(frame::request(&id, method, params))).ok()?;
        Some(id)
    }

    fn take(&mut self, text: Option<&str>) -> Result<(), Ending> {
        if self.is_node() {
            self.place.shared.mirror.confirm();
        }
        let Some(text) = text else { return Ok(()) };
        match frame::parse(text).ok_or(Ending::Protocol("it has sent what is no frame"))? {
            Frame::Event(event) => self.event(event),
            Frame::Response { id, answer } => self.answer(&id, answer)?,
            Frame::Unknown => {}
        }
        Ok(())
    }

    fn answer(&mut self, id: &str, answer: Result<Value, ServerError>) -> Result<(), Ending> {
        if self.subscribing.as_deref() == Some(id) {
            let payload = answer.map_err(refused)?;
            let epoch = payload.get("epoch").and_then(Value::as_u64);
            let epoch = epoch.ok_or(Ending::Protocol("it does not say from which epoch it tells"))?;
            self.feed.subscribed(Some(epoch));
            self.confirmed();
        } else if self.refreshing.as_deref() == Some(id) {
            self.refreshing = None;
            if let Some(ring) = answer.ok().as_ref().and_then(Ring::parse) {
                let _is_newer = self.place.shared.mirror.refresh(ring);
            }
        } else {
            // An answer that nobody waits for any more does no harm.
            let _asked = self.place.shared.calls.answered(id, answer);
        }
        Ok(())
    }

    fn event(&mut self, event: Event) {
        if event.name == TICK || event.name == CHALLENGE {
            return;
        }
        if self.is_node() {
            self.keep_mirror(&event);
        }
        if self.is_behind || self.place.events.is_closed() {
            return;
        }
        let Ok(permit) = self.place.events.try_reserve() else {
            if self.feed.is_live() {
                // What is in the log comes again later; what is not is for those who are there.
                self.feed.cut();
                self.is_behind = true;
            }
            return;
        };
        if self.feed.judge(&event) == Judged::New {
            permit.send(Waiting { event, position: self.feed.position() });
        }
    }

    fn keep_mirror(&mut self, event: &Event) {
        let mirror = &self.place.shared.mirror;
        if event.name == RING_SYNC {
            if let Some(ring) = Ring::parse(&event.payload) {
                mirror.replace(ring);
            }
            // The first one comes without asking, and what follows it too.
            let is_first = self.feed.position().is_none() && self.subscribing.is_none();
            if is_first && !self.feed.is_live() {
                self.feed.subscribed(None);
                self.confirmed();
            }
        } else if mirror.apply(event) {
            self.refreshes = REFRESH_AFTER_EVENT.into_iter().rev().collect();
            let soon = Instant::now() + REFRESH_AFTER_EVENT[0];
            self.refresh_at = self.refresh_at.min(soon.max(self.not_before));
        }
    }

    /// Asks for the whole ring, when it is time.
    fn refresh(&mut self, now: Instant) {
        if !self.is_node() || now < self.refresh_at {
            return;
        }
        // One that has not come is given up: whatever comes under its id is left out.
        self.refreshing = self.ask("ring.get", Value::Null);
        let _done = self.refreshes.pop();
        self.not_before = now + REFRESH_PAUSE;
        self.refresh_at = now + self.refreshes.last().copied().unwrap_or(REFRESH_EVERY);
    }
}
