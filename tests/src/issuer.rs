//! An issuer of tokens that is not ours, and does as the test says.

use std::{
    collections::HashMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::Duration,
};

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use claviger_crypto::{jwk, material::Material, prepared::PreparedKey};
use claviger_entity::KeyType;
use serde_json::{Value, json};

/// Where an issuer says what it is.
pub const DOCUMENT: &str = "/.well-known/openid-configuration";
/// Where its keys are.
pub const KEYS: &str = "/keys";
/// How long one hangs that does.
const HANG: Duration = Duration::from_secs(60);

/// What it does when it is asked.
#[derive(Clone, Debug)]
pub enum Reply {
    /// Says this.
    Json(Value),
    /// Says this, under this status and these header lines.
    Raw(u16, &'static str, Vec<u8>),
    /// Says nothing, and holds the connection.
    Hang,
    /// Begins, and goes on a byte at a time.
    Drip,
    /// Breaks off.
    Break,
}

#[derive(Debug, Default)]
struct State {
    replies: HashMap<String, Reply>,
    /// Heads of the requests that have come.
    heads: Vec<String>,
}

/// An issuer on a port of its own, until the process ends.
#[derive(Clone, Debug)]
pub struct Issuer {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

impl Default for Issuer {
    fn default() -> Self {
        Self::start()
    }
}

impl Issuer {
    /// Starts one that knows nothing.
    #[must_use]
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let issuer = Self { address: listener.local_addr().unwrap(), state: Arc::default() };
        let serving = issuer.clone();
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let serving = serving.clone();
                thread::spawn(move || serving.serve(&stream));
            }
        });
        issuer
    }

    /// Starts one with these keys.
    #[must_use]
    pub fn with(keys: &[&ForeignKey]) -> Self {
        let issuer = Self::start();
        issuer.reply(DOCUMENT, Reply::Json(json!({"issuer": issuer.url(), "jwks_uri": issuer.at(KEYS)})));
        issuer.publish(keys);
        issuer
    }

    /// Its name.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// A place at it.
    #[must_use]
    pub fn at(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Has these keys from now on.
    pub fn publish(&self, keys: &[&ForeignKey]) {
        let keys: Vec<&Value> = keys.iter().map(|key| &key.jwk).collect();
        self.reply(KEYS, Reply::Json(json!({"keys": keys})));
    }

    /// Does this from now on when it is asked there.
    pub fn reply(&self, path: &str, reply: Reply) {
        self.state().replies.insert(path.to_owned(), reply);
    }

    /// How often it was asked there.
    #[must_use]
    pub fn asked(&self, path: &str) -> usize {
        let line = format!("GET {path} ");
        self.state().heads.iter().filter(|head| head.starts_with(&line)).count()
    }

    /// Heads of the requests that have come, in small letters but for the first line.
    #[must_use]
    pub fn heads(&self) -> Vec<String> {
        self.state().heads.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn serve(&self, mut stream: &TcpStream) {
        let mut head = String::new();
        for line in BufReader::new(stream).lines() {
            let Ok(line) = line else { return };
            if line.is_empty() {
                break;
            }
            head.push_str(&line);
            head.push('\n');
        }
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let reply = {
            let mut state = self.state();
            state.heads.push(head);
            state.replies.get(&path).cloned()
        };
        // Whoever asks may be gone.
        let _gone = match reply.unwrap_or(Reply::Raw(404, "", Vec::new())) {
            Reply::Json(body) => {
                answer(stream, 200, "Content-Type: application/json\r\n", body.to_string().as_bytes())
            }
            Reply::Raw(status, headers, body) => answer(stream, status, headers, &body),
            Reply::Hang => {
                let _held = stream.set_read_timeout(Some(HANG));
                stream.read(&mut [0]).map(drop)
            }
            Reply::Drip => drip(stream),
            Reply::Break => Ok(()),
        };
    }
}

fn answer(mut stream: &TcpStream, status: u16, headers: &str, body: &[u8]) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status} Status\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)
}

fn drip(mut stream: &TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{")?;
    loop {
        stream.write_all(b" ")?;
        crate::process::pause(Duration::from_millis(200));
    }
}

/// A key of an issuer.
pub struct ForeignKey {
    key: PreparedKey,
    /// Its public half.
    pub jwk: Value,
    /// The same, as DER.
    pub spki: Vec<u8>,
}

impl ForeignKey {
    /// Makes one.
    #[must_use]
    pub fn new(key_type: KeyType, kid: &str) -> Self {
        let material = Material::generate(key_type, None).unwrap();
        let spki = material.public_spki.clone().unwrap();
        let jwk = jwk::public_jwk(key_type, &spki, &kid.parse().unwrap()).unwrap();
        Self { key: PreparedKey::new(key_type, &material.secret).unwrap(), jwk, spki }
    }

    /// A token with these claims.
    #[must_use]
    pub fn token(&self, claims: &Value) -> String {
        self.token_under(&json!({"alg": self.jwk["alg"], "kid": self.jwk["kid"], "typ": "JWT"}), claims)
    }

    /// A token with this header.
    #[must_use]
    pub fn token_under(&self, header: &Value, claims: &Value) -> String {
        let input = signing_input(header, claims);
        format!("{input}.{}", URL_SAFE_NO_PAD.encode(self.key.sign(input.as_bytes()).unwrap()))
    }
}

/// What is signed of a token.
#[must_use]
pub fn signing_input(header: &Value, claims: &Value) -> String {
    let segment = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
    format!("{}.{}", segment(header), segment(claims))
}
