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
    /// Refreshes as a provider that changes its refresh tokens: a new pair for the last one that it gave (`r0` at first), which is good once.
    Rotate,
}

#[derive(Debug, Default)]
struct State {
    replies: HashMap<String, Reply>,
    /// Heads of the requests that have come.
    heads: Vec<String>,
    /// Path and body of what was posted.
    posts: Vec<(String, String)>,
    /// How long it thinks first.
    delays: HashMap<String, Duration>,
    /// Pairs that it has given.
    given: usize,
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

    /// Thinks for so long from now on when it is asked there.
    pub fn delay(&self, path: &str, delay: Duration) {
        self.state().delays.insert(path.to_owned(), delay);
    }

    /// What was posted there.
    #[must_use]
    pub fn posted(&self, path: &str) -> Vec<String> {
        let state = self.state();
        state.posts.iter().filter(|(at, _)| at == path).map(|(_, body)| body.clone()).collect()
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
        let (mut head, mut reader) = (String::new(), BufReader::new(stream));
        loop {
            let mut line = String::new();
            if !matches!(reader.read_line(&mut line), Ok(1..)) {
                return;
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            head.push_str(line);
            head.push('\n');
        }
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().unwrap())
        });
        let mut body = vec![0; length.unwrap_or(0)];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let body = String::from_utf8_lossy(&body).into_owned();
        let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let (reply, delay) = {
            let mut state = self.state();
            if head.starts_with("POST ") {
                state.posts.push((path.clone(), body.clone()));
            }
            state.heads.push(head);
            (state.replies.get(&path).cloned(), state.delays.get(&path).copied())
        };
        crate::process::pause(delay.unwrap_or_default());
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
            Reply::Rotate => self.rotate(stream, &body),
        };
    }
}

impl Issuer {
    fn rotate(&self, stream: &TcpStream, form: &str) -> std::io::Result<()> {
        let json = "Content-Type: application/json\r\n";
        let given = {
            let mut state = self.state();
            let expected = format!("refresh_token=r{}", state.given);
            let is_good = form.split('&').any(|field| field == expected);
            is_good.then(|| {
                state.given += 1;
                state.given
            })
        };
        let Some(number) = given else { return answer(stream, 400, json, br#"{"error":"invalid_grant"}"#) };
        let pair = json!({
            "access_token": format!("a{number}"), "refresh_token": format!("r{number}"), "expires_in": 3_600,
            "token_type": "Bearer",
        });
        answer(stream, 200, json, pair.to_string().as_bytes())
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
