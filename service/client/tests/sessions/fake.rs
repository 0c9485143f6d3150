//! A server that does as each test says, also what no server should.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use claviger_client::{Backoff, Builder, Client, Credential, Ending, Events, State};
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::{
    net::{TcpListener, TcpStream},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, accept_async,
    tungstenite::{Message, protocol::CloseFrame},
};

/// Longest time for anything that a test waits for.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);
pub(crate) const TICK_MS: u64 = 30_000;
pub(crate) const NONCE: &str = "6f1d2c3b-0000-4000-8000-000000000001";

pub(crate) struct Fake {
    listener: TcpListener,
    pub(crate) address: String,
}

impl Fake {
    pub(crate) async fn new() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        Self { listener, address }
    }

    pub(crate) async fn raw(&self) -> TcpStream {
        timeout(PATIENCE, self.listener.accept()).await.expect("a client comes").unwrap().0
    }

    pub(crate) async fn accept(&self) -> Peer {
        Peer(accept_async(self.raw().await).await.unwrap())
    }

    /// Lets a client in, whatever it says; answers with what it said.
    pub(crate) async fn welcome(&self) -> (Peer, Value) {
        self.welcome_with(TICK_MS, json!({})).await
    }

    pub(crate) async fn welcome_with(&self, tick_ms: u64, more: Value) -> (Peer, Value) {
        let mut peer = self.accept().await;
        peer.challenge().await;
        let request = peer.request().await;
        assert_eq!(request["method"], "connect");
        let role = request["params"]["role"].as_str().unwrap();
        let mut hello = hello(role, tick_ms);
        hello.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        peer.answer(&request, hello).await;
        (peer, request["params"].clone())
    }

    pub(crate) fn builder(&self) -> Builder {
        quick(Client::builder([self.address.clone()]))
    }
}

pub(crate) fn quick(builder: Builder) -> Builder {
    builder
        .credential(Credential::Token("clv_a_b".to_owned().into()))
        .scopes(["operator.read"])
        .backoff(Backoff {
            first: Duration::from_millis(20),
            cap: Duration::from_millis(80),
            ..Backoff::default()
        })
        .patience(Duration::from_secs(10))
}

pub(crate) fn hello(role: &str, tick_ms: u64) -> Value {
    json!({
        "type": "hello-ok",
        "server": {"version": "1", "protocolVersion": 1, "connId": "c", "node": "n"},
        "methods": [], "events": [],
        "snapshot": {"presence": [], "health": {}, "epoch": 7},
        "policy": {"payload": {"maxBytes": 524_288}, "buffer": {"maxBytes": 1}, "tick": {"intervalMs": tick_ms}},
        "auth": {"role": role, "scopes": []},
    })
}

/// The other end of a client.
pub(crate) struct Peer(pub(crate) WebSocketStream<TcpStream>);

impl Peer {
    pub(crate) async fn send(&mut self, frame: &Value) {
        self.0.send(Message::text(frame.to_string())).await.unwrap();
    }

    pub(crate) async fn challenge(&mut self) {
        self.send(&json!({
            "type": "event", "event": "connect.challenge", "payload": {"nonce": NONCE, "ts": 1_700_000_000_000_u64}, "seq": 1,
        }))
        .await;
    }

    pub(crate) async fn request(&mut self) -> Value {
        loop {
            let message = timeout(PATIENCE, self.0.next()).await.expect("a frame comes");
            match message.expect("a connection").unwrap() {
                Message::Text(text) => return serde_json::from_str(text.as_str()).unwrap(),
                Message::Ping(_) | Message::Pong(_) => {}
                other @ (Message::Binary(_) | Message::Close(_) | Message::Frame(_)) => {
                    panic!("no request but {other:?}")
                }
            }
        }
    }

    pub(crate) async fn answer(&mut self, request: &Value, payload: Value) {
        self.send(&json!({"type": "res", "id": request["id"], "ok": true, "payload": payload})).await;
    }

    pub(crate) async fn refuse(&mut self, request: &Value, error: Value) {
        self.send(&json!({"type": "res", "id": request["id"], "ok": false, "error": error})).await;
    }

    pub(crate) async fn close(&mut self, code: u16, reason: &str) {
        let frame = CloseFrame { code: code.into(), reason: reason.to_owned().into() };
        self.0.close(Some(frame)).await.unwrap();
    }

    /// Confirms the subscription that is asked for; answers with its parameters.
    pub(crate) async fn subscribed(&mut self, epoch: u64) -> Value {
        let request = self.request().await;
        assert_eq!(request["method"], "events.subscribe");
        self.answer(&request, json!({"epoch": epoch})).await;
        request["params"].clone()
    }

    pub(crate) async fn rotated(&mut self, epoch: u64, version: u64) {
        let payload =
            json!({"name": "k", "version": version, "kid": format!("k{version}"), "state": "active"});
        self.event("key.rotated", epoch, payload).await;
    }

    pub(crate) async fn event(&mut self, name: &str, epoch: u64, payload: Value) {
        self.send(&json!({"type": "event", "event": name, "payload": payload, "seq": 2, "epoch": epoch}))
            .await;
    }
}

/// Every state that a client reports.
#[derive(Clone, Default)]
pub(crate) struct States(Arc<Mutex<Vec<State>>>);

impl States {
    pub(crate) fn watch(&self, builder: Builder) -> Builder {
        let states = Arc::clone(&self.0);
        builder.on_state(move |state| states.lock().unwrap().push(state.clone()))
    }

    /// Why the client waited, or gave up, so far.
    pub(crate) fn endings(&self) -> Vec<Ending> {
        let states = self.0.lock().unwrap();
        let why = |state: &State| match state {
            State::Waiting { why, .. } | State::GivenUp { why } => Some(why.clone()),
            State::Connecting { .. } | State::Open { .. } | State::Closed => None,
        };
        states.iter().filter_map(why).collect()
    }

    pub(crate) fn last(&self) -> Option<State> {
        self.0.lock().unwrap().last().cloned()
    }

    pub(crate) async fn until(&self, what: impl Fn(&State) -> bool) -> State {
        let seen = async {
            loop {
                if let Some(state) = self.0.lock().unwrap().iter().rev().find(|state| what(state)).cloned() {
                    return state;
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, seen).await.expect("the state is reached")
    }

    pub(crate) async fn ending(&self) -> Ending {
        match self.until(|state| matches!(state, State::Waiting { .. } | State::GivenUp { .. })).await {
            State::Waiting { why, .. } | State::GivenUp { why } => why,
            State::Connecting { .. } | State::Open { .. } | State::Closed => unreachable!(),
        }
    }
}

pub(crate) async fn next(events: &mut Events) -> (String, Option<u64>, Value) {
    let event = timeout(PATIENCE, events.next()).await.expect("an event comes").expect("there is one");
    (event.name, event.epoch, event.payload["version"].clone())
}
