//! Somebody who is told: a receiver of webhooks that takes, refuses or hangs as it is told to.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU16, Ordering},
    },
    thread,
    time::Duration,
};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use claviger_crypto::digest;
use claviger_tests::process;
use serde_json::Value;

/// A secret of Standard Webhooks.
pub(super) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// In place of a status: nothing is answered.
pub(super) const HANG: u16 = 0;

/// What came.
#[derive(Debug, Clone)]
pub(super) struct Posted {
    pub(super) path: String,
    pub(super) headers: BTreeMap<String, String>,
    pub(super) body: String,
}

impl Posted {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// It was signed with the secret, a short while ago.
    pub(super) fn is_signed(&self) -> bool {
        let key = BASE64_STANDARD.decode(SECRET.strip_prefix("whsec_").unwrap()).unwrap();
        let header = |name: &str| self.headers.get(name).cloned().unwrap_or_default();
        let (id, time) = (header("webhook-id"), header("webhook-timestamp"));
        let signed = digest::hmac_sha256(&key, &[format!("{id}.{time}.{}", self.body).as_bytes()]);
        let age = super::now().timestamp() - time.parse::<i64>().unwrap_or(0);
        let wanted = format!("v1,{}", BASE64_STANDARD.encode(signed));
        id.starts_with("msg_")
            && age.abs() < 60
            && header("webhook-signature").split(' ').any(|one| one == wanted)
    }
}

/// The receiver; it lives as long as the test.
#[derive(Clone)]
pub(super) struct Sink {
    port: u16,
    status: Arc<AtomicU16>,
    posted: Arc<Mutex<Vec<Posted>>>,
}

impl Sink {
    pub(super) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let sink = Self {
            port: listener.local_addr().unwrap().port(),
            status: Arc::new(AtomicU16::new(200)),
            posted: Arc::default(),
        };
        let taking = sink.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let taking = taking.clone();
                thread::spawn(move || taking.take(stream));
            }
        });
        sink
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    /// What it answers from now on.
    pub(super) fn answer(&self, status: u16) {
        self.status.store(status, Ordering::SeqCst);
    }

    /// What came with this type, or all where that is empty.
    pub(super) fn posted(&self, kind: &str) -> Vec<Posted> {
        let posted = self.posted.lock().unwrap();
        posted.iter().filter(|posted| kind.is_empty() || posted.json()["type"] == kind).cloned().collect()
    }

    /// What came, once so many have.
    #[track_caller]
    pub(super) fn wait(&self, kind: &str, least: usize) -> Vec<Posted> {
        let enough = || Some(self.posted(kind)).filter(|posted| posted.len() >= least);
        process::until(super::LONG, enough).unwrap_or_else(|| panic!("{kind}: {:?}", self.posted("")))
    }

    fn take(&self, stream: TcpStream) -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let path = line.split(' ').nth(1)?.to_owned();
            let mut headers = BTreeMap::new();
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).ok()?;
                let Some((name, value)) = line.trim().split_once(':') else { break };
                headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
            }
            let length = headers.get("content-length")?.parse().ok()?;
            let mut body = vec![0; length];
            reader.read_exact(&mut body).ok()?;
            let body = String::from_utf8(body).ok()?;
            self.posted.lock().unwrap().push(Posted { path, headers, body });
            match self.status.load(Ordering::SeqCst) {
                HANG => process::pause(Duration::from_secs(120)),
                status => {
                    let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
                    (&stream).write_all(answer.as_bytes()).ok()?;
                }
            }
        }
    }
}
