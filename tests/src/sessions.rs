//! Sessions in thousands, at little cost: bare sockets with the least of WebSocket (RFC 6455) that a client needs, on one thread.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    runtime::{Builder, Runtime},
    sync::mpsc,
    task::{JoinSet, spawn_blocking},
    time::timeout,
};

use crate::spread::Times;

/// Handshakes at a time: half of those that one address may have open.
const AT_ONCE: usize = 32;
/// Longest that anything is waited for.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of a text frame that is whole.
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;

/// One session, which has been let in.
pub struct Session {
    socket: TcpStream,
    /// What has come and was not looked at, from `begin` on.
    buffer: Vec<u8>,
    begin: usize,
}

impl Session {
    /// Opens one.
    pub async fn open(address: &str, token: &str, scopes: &[&str]) -> Self {
        let socket = TcpStream::connect(address).await.unwrap();
        socket.set_nodelay(true).unwrap();
        let mut session = Self { socket, buffer: Vec::new(), begin: 0 };
        let upgrade = format!(
            "GET /v1/ws HTTP/1.1\r\nhost: {address}\r\nupgrade: websocket\r\nconnection: upgrade\r\n\
             sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        );
        session.socket.write_all(upgrade.as_bytes()).await.unwrap();
        let head = loop {
            session.more().await;
            if let Some(end) = session.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let status = String::from_utf8_lossy(&session.buffer[..head]).into_owned();
        assert!(status.starts_with("HTTP/1.1 101 "), "{status}");
        session.begin = head;
        assert!(session.next().await.contains("connect.challenge"));
        let connect = json!({"type": "req", "id": "c", "method": "connect", "params": {
            "minProtocol": 1, "maxProtocol": 1, "scopes": scopes, "auth": {"token": token},
            "client": {"id": "crowd", "version": "1", "platform": "linux", "mode": "backend"},
        }});
        session.send(&connect.to_string()).await;
        let hello = session.next().await;
        assert!(hello.contains("hello-ok"), "{hello}");
        session
    }

    /// Sends a text.
    pub async fn send(&mut self, text: &str) {
        let mut frame = Vec::new();
        write(text, &mut frame);
        self.socket.write_all(&frame).await.unwrap();
    }

    /// The next text.
    pub async fn next(&mut self) -> String {
        loop {
            if let Some(text) = self.at_hand() {
                return text.to_owned();
            }
            self.more().await;
        }
    }

    /// The text of the close, once everything before it was read.
    pub async fn closed(mut self) -> String {
        loop {
            match self.frame() {
                Some((CLOSE, payload)) => return closed(CLOSE, payload),
                Some(_) => {}
                None => self.more().await,
            }
        }
    }

    /// The next text, if all of it has come.
    fn at_hand(&mut self) -> Option<&str> {
        let (kind, payload) = self.frame()?;
        assert!(kind == TEXT, "{kind:#x}: {}", closed(kind, payload));
        Some(std::str::from_utf8(payload).unwrap())
    }

    /// First byte and payload of the next frame, if all of it has come.
    fn frame(&mut self) -> Option<(u8, &[u8])> {
        let frame = &self.buffer[self.begin..];
        let head = match *frame.get(1)? {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        let length = frame.get(1..head)?;
        let length = match length.len() {
            1 => usize::from(length[0]),
            _ => length[1..].iter().fold(0, |length, byte| length << 8 | usize::from(*byte)),
        };
        frame.get(head..head + length)?;
        let (kind, begin) = (frame[0], self.begin + head);
        self.begin = begin + length;
        Some((kind, &self.buffer[begin..begin + length]))
    }

    async fn more(&mut self) {
        self.buffer.drain(..self.begin);
        self.begin = 0;
        if self.buffer.is_empty() {
            // There may be thousands of them.
            self.buffer = Vec::with_capacity(512);
        }
        let read = timeout(PATIENCE, self.socket.read_buf(&mut self.buffer)).await;
        assert!(read.expect("something comes").unwrap() > 0, "the connection has ended");
    }
}

/// What a frame says that is no text.
fn closed(kind: u8, payload: &[u8]) -> String {
    if kind == CLOSE {
        String::from_utf8_lossy(payload.get(2..).unwrap_or_default()).into_owned()
    } else {
        String::new()
    }
}

/// A frame of a client is masked, if only with zeros.
fn write(text: &str, to: &mut Vec<u8>) {
    to.push(TEXT);
    match text.len() {
        length @ 0..126 => to.push(0x80 | u8::try_from(length).unwrap()),
        length => {
            to.push(0xfe);
            to.extend_from_slice(&u16::try_from(length).expect("a short text").to_be_bytes());
        }
    }
    to.extend_from_slice(&[0; 4]);
    to.extend_from_slice(text.as_bytes());
}

/// Many sessions, open until this is dropped.
pub struct Crowd {
    runtime: Runtime,
    sessions: Vec<Session>,
}

impl Crowd {
    /// Opens so many, which listen to a topic or to nothing. They read nothing of their own accord: what little they are told fits into the
    /// buffers of the kernel.
    #[must_use]
    pub fn open(count: usize, (address, token): (&str, &str), topic: Option<&str>) -> Self {
        let runtime = runtime();
        let subscribe = topic.map(|topic| {
            let params = json!({"topics": [topic]});
            json!({"type": "req", "id": "s", "method": "events.subscribe", "params": params}).to_string()
        });
        let sessions = runtime.block_on(async {
            let mut opening = JoinSet::new();
            for first in 0..AT_ONCE {
                let (address, token, subscribe) = (address.to_owned(), token.to_owned(), subscribe.clone());
                opening.spawn(async move {
                    let mut opened = Vec::new();
                    for _ in (first..count).step_by(AT_ONCE) {
                        let mut session = Session::open(&address, &token, &["operator.read"]).await;
                        if let Some(subscribe) = &subscribe {
                            session.send(subscribe).await;
                            while !session.next().await.starts_with(r#"{"type":"res""#) {}
                        }
                        opened.push(session);
                    }
                    opened
                });
            }
            opening.join_all().await.into_iter().flatten().collect()
        });
        Self { runtime, sessions }
    }

    /// How long after a change was answered each of them was told of it. A change answers with its epoch.
    #[must_use]
    pub fn told(self, changes: usize, change: impl Fn() -> u64 + Clone + Send + 'static) -> Times {
        let Self { runtime, sessions } = self;
        let count = sessions.len();
        runtime.block_on(async {
            let (sender, mut told) = mpsc::unbounded_channel();
            let mut readers = JoinSet::new();
            for mut session in sessions {
                let sender = sender.clone();
                readers.spawn(async move {
                    loop {
                        let epoch = epoch(&session.next().await);
                        if let Some(epoch) = epoch
                            && sender.send((epoch, Instant::now())).is_err()
                        {
                            return;
                        }
                    }
                });
            }
            let mut times = Times::default();
            for _ in 0..changes {
                let change = change.clone();
                let (changed, answered) = spawn_blocking(move || (change(), Instant::now())).await.unwrap();
                let mut left = count;
                while left > 0 {
                    let (epoch, at) = timeout(PATIENCE, told.recv()).await.expect("all are told").unwrap();
                    if epoch == changed {
                        times.0.push(at.saturating_duration_since(answered));
                        left -= 1;
                    }
                }
            }
            times
        })
    }
}

/// The epoch of an event.
fn epoch(frame: &str) -> Option<u64> {
    frame.rsplit_once(r#","epoch":"#)?.1.strip_suffix('}')?.parse().ok()
}

/// Calls that were answered.
#[derive(Debug, Clone, Copy)]
pub struct Answered {
    /// How many.
    pub calls: u64,
    /// In what time.
    pub within: Duration,
}

/// Calls one method over and over on one session, so many at a time, for a while. Each call must succeed.
#[must_use]
pub fn pipelined(
    (address, token): (&str, &str),
    (method, params): (&str, &Value),
    window: usize,
    duration: Duration,
) -> Answered {
    let call = json!({"type": "req", "id": "1", "method": method, "params": params}).to_string();
    let mut frame = Vec::new();
    write(&call, &mut frame);
    runtime().block_on(async {
        let mut session = Session::open(address, token, &["operator.write"]).await;
        let began = Instant::now();
        let (mut asked, mut calls) = (window, 0);
        session.socket.write_all(&frame.repeat(window)).await.unwrap();
        while asked > 0 {
            session.more().await;
            let mut answered = 0;
            while let Some(answer) = session.at_hand() {
                if answer.starts_with(r#"{"type":"res""#) {
                    assert!(answer.contains(r#""ok":true"#), "{answer}");
                    answered += 1;
                }
            }
            asked -= answered;
            calls += u64::try_from(answered).unwrap();
            if began.elapsed() < duration {
                session.socket.write_all(&frame.repeat(answered)).await.unwrap();
                asked += answered;
            }
        }
        Answered { calls, within: began.elapsed() }
    })
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}
