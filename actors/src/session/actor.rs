//! One connection: an actor with a plain context, which a client that reads nothing can't hold up.
//!
//! It hears through a stream of [`Incoming`] and speaks into an [`Outbox`]; how either becomes bytes is the business of whoever started
//! it. What a client may do, and doing it, is behind [`Backstage`].

use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    sync::Arc,
    time::Duration,
};

use actix::{
    Actor, ActorContext as _, ActorFutureExt as _, AsyncContext as _, Context, SpawnHandle, StreamHandler,
    WrapFuture as _,
};
use async_trait::async_trait;
use bytes::Bytes;
use serde_json::{Map, Value};

use super::{
    close::{Close, CloseCode, Failure, Refusal},
    core::{Conversation, FIRST_FRAME_MAX_BYTES, FRAME_MAX_BYTES, Reaction, Turned},
    frame,
    methods::Method,
    outbox::{self, Ledger, Outbox, Outgoing},
};

/// How often a session is told the time.
pub const TICK: Duration = Duration::from_secs(30);
/// How long an event waits for a client that has enough to take already.
const PATIENCE: Duration = Duration::from_secs(30);
/// For how long a client for which an answer waits may take nothing: not so long that the connection breaks before it can be told why.
const STANDSTILL: Duration = Duration::from_secs(10);

/// What comes from a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Incoming {
    /// A text, whole.
    Text(Bytes),
    /// Binary data.
    Binary,
    /// A ping, to be echoed.
    Ping(Bytes),
    /// More than [`SizeLimit`] allows.
    TooLarge,
    /// Something that is no WebSocket frame.
    Broken,
    /// The client says good-bye.
    Farewell,
}

/// Largest frame, which grows once the client is known.
#[derive(Debug, Clone)]
pub struct SizeLimit(Rc<Cell<usize>>);

impl Default for SizeLimit {
    fn default() -> Self {
        Self(Rc::new(Cell::new(FIRST_FRAME_MAX_BYTES)))
    }
}

impl SizeLimit {
    /// As it is now, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.get()
    }
}

/// Speaks to a client: numbers its events.
#[derive(Debug, Clone, Default)]
pub struct Voice {
    outbox: Arc<Outbox>,
    seq: Rc<Cell<u64>>,
}

impl Voice {
    /// Of a new session, whose bytes stand in a ledger.
    #[must_use]
    pub fn within(ledger: Arc<Ledger>) -> Self {
        Self { outbox: Arc::new(Outbox::within(ledger)), seq: Rc::default() }
    }

    /// Where it goes.
    #[must_use]
    pub const fn outbox(&self) -> &Arc<Outbox> {
        &self.outbox
    }

    /// Tells of an event. `false` = the session has ended.
    #[must_use]
    pub fn tell(&self, event: &str, payload: Option<&str>, epoch: Option<u64>) -> bool {
        let seq = self.seq.get() + 1;
        self.seq.set(seq);
        self.say(frame::event(event, payload, seq, epoch))
    }

    /// The same, once the client has room for it: one that is told of much waits for itself, and only one that takes nothing is closed.
    pub async fn tell_in_time(&self, event: &str, payload: &str, epoch: Option<u64>) -> bool {
        if tokio::time::timeout(PATIENCE, self.outbox.room(payload.len())).await.is_err() {
            self.outbox.cut(Close::slow_consumer());
            return false;
        }
        self.tell(event, Some(payload), epoch)
    }

    fn say(&self, text: String) -> bool {
        self.outbox.push(Outgoing::Text(text))
    }
}

/// A client that was let in.
pub struct Welcome {
    /// Of its request.
    pub id: String,
    /// `hello-ok`, as JSON text.
    pub payload: String,
    /// What it may do.
    pub conversation: Conversation,
}

/// Who clients are, and what they ask for.
#[async_trait(?Send)]
pub trait Backstage: 'static {
    /// Unix time in milliseconds.
    fn now_ms(&self) -> i64;

    /// Judges the first frame.
    async fn greet(self: Rc<Self>, frame: Bytes) -> Result<Welcome, Turned>;

    /// A client was turned away whose first frame was not judged, or not to the end.
    async fn turned_away(self: Rc<Self>);

    /// The hello is on its way: what belongs behind it may be said now.
    fn welcomed(self: Rc<Self>);

    /// Answers a call with the whole frame.
    async fn call(self: Rc<Self>, id: String, method: &'static Method, params: Map<String, Value>) -> String;

    /// The session is over, whatever became of it.
    fn ended(&self);
}

/// How far a session is.
enum Stage {
    /// Nothing was said yet.
    Silent,
    /// The first frame is being judged.
    Greeting,
    /// The client is known.
    Open(Rc<RefCell<Conversation>>),
}

/// The actor.
pub(super) struct WsSession {
    pub(super) voice: Voice,
    pub(super) limit: SizeLimit,
    pub(super) behind: Rc<dyn Backstage>,
    pub(super) nonce: String,
    pub(super) handshake_timeout: Duration,
    stage: Stage,
    timer: Option<SpawnHandle>,
}

impl WsSession {
    pub(super) fn new(
        voice: Voice,
        limit: SizeLimit,
        behind: Rc<dyn Backstage>,
        nonce: String,
        handshake_timeout: Duration,
    ) -> Self {
        Self { voice, limit, behind, nonce, handshake_timeout, stage: Stage::Silent, timer: None }
    }

    fn end(&self, context: &mut Context<Self>, close: Close) {
        self.voice.outbox.close(close);
        context.stop();
    }

    fn turn_away(&self, context: &mut Context<Self>, close: Close) {
        actix::spawn(Rc::clone(&self.behind).turned_away());
        self.end(context, close);
    }

    fn text(&mut self, text: Bytes, context: &mut Context<Self>) {
        match &self.stage {
            Stage::Silent => self.greet(text, context),
            // One frame, and then the answer: nothing may be asked before it.
            Stage::Greeting => {
                let refusal =
                    Refusal::invalid("invalid handshake: nothing may follow connect before it is answered");
                let id =
                    frame::parse(&text).map_or_else(|unreadable| unreadable.id, |request| Some(request.id));
                if let Some(id) = id {
                    self.voice.say(frame::failure(&id, &refusal.failure));
                }
                self.turn_away(context, refusal.close);
            }
            Stage::Open(conversation) => {
                let conversation = Rc::clone(conversation);
                self.converse(&text, &conversation, context);
            }
        }
    }

    fn greet(&mut self, text: Bytes, context: &mut Context<Self>) {
        self.stage = Stage::Greeting;
        let greeting = Rc::clone(&self.behind).greet(text).into_actor(self);
        context.spawn(greeting.map(|judged, session, context| match judged {
            Ok(welcome) => session.open(welcome, context),
            Err(Turned { id, refusal }) => {
                if let Some(id) = id {
                    session.voice.say(frame::failure(&id, &refusal.failure));
                }
                session.end(context, refusal.close);
            }
        }));
    }

    fn open(&mut self, welcome: Welcome, context: &mut Context<Self>) {
        let Welcome { id, payload, conversation } = welcome;
        self.limit.0.set(FRAME_MAX_BYTES);
        self.stage = Stage::Open(Rc::new(RefCell::new(conversation)));
        self.voice.say(frame::success(&id, Some(&payload)));
        // Only now: whoever is not answered in time is closed.
        if let Some(timer) = self.timer.take() {
            context.cancel_future(timer);
        }
        Rc::clone(&self.behind).welcomed();
        context.run_interval(TICK, |session, _| {
            let payload = format!(r#"{{"ts":{}}}"#, session.behind.now_ms());
            let _ended = session.voice.tell("tick", Some(&payload), None);
        });
    }

    fn converse(&self, text: &[u8], conversation: &Rc<RefCell<Conversation>>, context: &mut Context<Self>) {
        let reaction = conversation.borrow_mut().frame(text);
        match reaction {
            Reaction::Answer(text) => {
                self.voice.say(text);
            }
            Reaction::AnswerAndClose(text, close) => {
                self.voice.say(text);
                self.end(context, close);
            }
            Reaction::Call { id, method, params } => {
                if !self.voice.outbox.begin() {
                    conversation.borrow_mut().answered();
                    let failure = Failure::new("overloaded", "the node is leaving; connect to another one");
                    self.voice.say(frame::failure(&id, &failure.after(1_000)));
                    return;
                }
                let working = Working(Rc::clone(conversation), Arc::clone(&self.voice.outbox));
                let voice = self.voice.clone();
                let call = Rc::clone(&self.behind).call(id.clone(), method, params);
                // A task of its own, so that none waits for another and none is looked at in vain.
                actix::spawn(async move {
                    let turn = voice.outbox.turn().await;
                    if !voice.outbox.is_closed() {
                        let answer = call.await;
                        let fits = outbox::fits(answer.len());
                        let answer = if fits { answer } else { frame::failure(&id, &too_large()) };
                        let _ended = turn.answer(answer, STANDSTILL).await;
                    }
                    drop(working);
                });
            }
        }
    }
}

/// An answer that could not be sent however fast the client were.
fn too_large() -> Failure {
    let limit = outbox::ANSWER_MAX_BYTES;
    Failure::new(
        "payload_too_large",
        format!(
            "the answer is larger than the {limit} bytes of a session; ask for less at a time (limit), or over HTTP"
        ),
    )
}

/// A call that is in work.
struct Working(Rc<RefCell<Conversation>>, Arc<Outbox>);

impl Drop for Working {
    fn drop(&mut self) {
        self.0.borrow_mut().answered();
        self.1.done();
    }
}

impl Actor for WsSession {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Context<Self>) {
        let nonce = std::mem::take(&mut self.nonce);
        let payload = serde_json::json!({ "nonce": nonce, "ts": self.behind.now_ms() }).to_string();
        let _ended = self.voice.tell("connect.challenge", Some(&payload), None);
        self.timer = Some(context.run_later(self.handshake_timeout, |session, context| {
            session.turn_away(context, Close::policy("handshake timeout"));
        }));
        // Whoever ends the session from elsewhere ends what it takes up, too.
        let outbox = Arc::clone(&self.voice.outbox);
        let ended = async move { outbox.ended().await }.into_actor(self);
        context.spawn(ended.map(|(), _, context| context.stop()));
    }

    fn stopped(&mut self, _: &mut Context<Self>) {
        self.behind.ended();
    }
}

impl StreamHandler<Incoming> for WsSession {
    fn handle(&mut self, item: Incoming, context: &mut Context<Self>) {
        let is_open = matches!(self.stage, Stage::Open(_));
        let over = |session: &Self, context: &mut Context<Self>, close| {
            if is_open { session.end(context, close) } else { session.turn_away(context, close) }
        };
        match item {
            Incoming::Text(text) => self.text(text, context),
            Incoming::Ping(echo) => {
                self.voice.outbox.push(Outgoing::Pong(echo.to_vec()));
            }
            Incoming::Binary if is_open => {
                self.end(context, Close::new(CloseCode::Unsupported, "binary frames are not supported"));
            }
            Incoming::Binary => over(self, context, Close::policy("invalid request frame")),
            Incoming::TooLarge => {
                let reason = if is_open { "payload too large" } else { "preauth payload too large" };
                over(self, context, Close::new(CloseCode::Size, reason));
            }
            Incoming::Broken => {
                over(self, context, Close::new(CloseCode::Protocol, "invalid websocket frame"));
            }
            Incoming::Farewell => self.end(context, Close::new(CloseCode::Normal, "")),
        }
    }

    fn finished(&mut self, context: &mut Context<Self>) {
        // The client is gone; what waits for it is of no use.
        self.voice.outbox.close(Close::new(CloseCode::Normal, ""));
        context.stop();
    }
}
