//! The handshake and what follows it, as pure state machines: no clock, no I/O, no actor.
//!
//! [`Entrance`] judges the first frame by everything that it can know alone and hands on a [`Claim`]; whoever holds the connection asks
//! who the client is, has the device proved ([`Claim::prove`]) and, when all is well, opens a [`Conversation`], which judges every frame
//! after that.

use serde_json::{Map, Value};

use super::{
    close::{Close, CloseCode, Failure, Refusal},
    connect::{Connect, SchemaError},
    device::{self, Circumstances, Proven, Verifier},
    frame,
    methods::Method,
    origin,
    scopes::{Role, Scopes},
};

/// The protocol that is spoken here.
pub const PROTOCOL_VERSION: u64 = 1;
/// Largest frame before a client is known, in bytes.
pub const FIRST_FRAME_MAX_BYTES: usize = 64 * 1_024;
/// Largest frame after that, in bytes.
pub const FRAME_MAX_BYTES: usize = 524_288;
/// Most requests that one connection has in work.
pub const IN_FLIGHT_MAX: u32 = 32;
/// So many calls in a row without a right are answered; the next one ends the session.
const FORBIDDEN_IN_A_ROW_MAX: u32 = 10;
/// When to try again after too many requests at once.
const BUSY_RETRY_MS: u64 = 50;

/// What is known of a connection before anything is said.
#[derive(Debug, Clone)]
pub struct Entrance {
    /// Challenge of this connection.
    pub nonce: String,
    /// `Origin` of the upgrade.
    pub origin: Option<String>,
    /// `Host` of the upgrade.
    pub host: Option<String>,
    /// A nonce may be absent and the first form of signature be used.
    pub is_lenient: bool,
    /// A device is needed whatever the role.
    pub needs_device: bool,
}

/// A handshake that went wrong, and the id of its request, if it has one: without, there is no response.
#[derive(Debug, PartialEq)]
pub struct Turned {
    /// Of the request.
    pub id: Option<Box<str>>,
    /// What is said.
    pub refusal: Refusal,
}

/// A first frame that is right as far as it can be judged alone. No `Debug`: it holds credentials.
pub struct Claim {
    /// Of the request.
    pub id: String,
    /// What the client says.
    pub connect: Connect,
    /// What it is.
    pub role: Role,
    /// What it asks for.
    pub requested: Scopes,
}

impl Entrance {
    /// Judges the first frame, by every check that comes before the authorization.
    ///
    /// # Errors
    /// The first check that fails, in the order of the protocol.
    pub fn first(&self, text: &[u8], allowed_origins: &[String]) -> Result<Claim, Turned> {
        let request = frame::parse(text).map_err(|unreadable| Turned {
            id: unreadable.id.map(Into::into),
            refusal: Refusal::invalid("invalid request frame"),
        })?;
        let (id, method) = (request.id, request.method);
        let judged = self.judge(&method, request.params.as_ref(), allowed_origins);
        match judged {
            Ok((connect, role)) => {
                let requested = Scopes::named(connect.scopes.iter().map(String::as_str));
                Ok(Claim { id, connect, role, requested })
            }
            Err(refusal) => Err(Turned { id: Some(id.into()), refusal }),
        }
    }

    fn judge(
        &self,
        method: &str,
        params: Option<&Value>,
        allowed_origins: &[String],
    ) -> Result<(Connect, Role), Refusal> {
        if method != "connect" {
            return Err(Refusal::invalid("invalid handshake: first request must be connect"));
        }
        let connect = Connect::parse(params).map_err(|SchemaError { path, rule }| {
            Refusal::invalid(format!("invalid connect params: at {path}: {rule}"))
        })?;
        if !(connect.min_protocol..=connect.max_protocol).contains(&PROTOCOL_VERSION) {
            let close = Close::new(CloseCode::Protocol, "protocol mismatch");
            let mut refusal = Refusal::new("invalid_request", close);
            refusal.failure = refusal.failure.with("expectedProtocol", PROTOCOL_VERSION);
            return Err(refusal);
        }
        let role: Role = connect.role.parse().map_err(|_| Refusal::invalid("invalid role"))?;
        let is_page = matches!(connect.client.mode.as_str(), "ui" | "webchat");
        let is_right = match &self.origin {
            Some(origin) => origin::is_allowed(origin, self.host.as_deref(), allowed_origins),
            None => !is_page,
        };
        if !is_right {
            return Err(Refusal::new("forbidden", Close::policy("origin not allowed")));
        }
        Ok((connect, role))
    }
}

impl Claim {
    /// Judges the device, after the authorization.
    ///
    /// # Errors
    /// The first check that fails, in the order of the protocol.
    pub fn prove(
        &self,
        entrance: &Entrance,
        now_ms: i64,
        verify: Verifier<'_>,
    ) -> Result<Option<Proven>, Refusal> {
        let Some(claim) = &self.connect.device else {
            if entrance.needs_device || self.role == Role::Node {
                return Err(Refusal::invalid("device identity required"));
            }
            // Whoever sends the challenge back must send this one.
            let is_other = self.connect.auth.nonce.as_ref().is_some_and(|nonce| *nonce != entrance.nonce);
            return if is_other { Err(Refusal::invalid("device nonce mismatch")) } else { Ok(None) };
        };
        let here = Circumstances { nonce: &entrance.nonce, now_ms, lenient: entrance.is_lenient };
        device::prove(&self.connect, claim, here, verify).map(Some)
    }
}

/// What a frame calls for.
#[derive(Debug, PartialEq)]
pub enum Reaction {
    /// A response that is known at once.
    Answer(String),
    /// The same, and the end.
    AnswerAndClose(String, Close),
    /// A method is called; say so when it has been answered.
    Call {
        /// Of the request.
        id: String,
        /// Which.
        method: &'static Method,
        /// With what.
        params: Map<String, Value>,
    },
}

/// A session after its handshake.
#[derive(Debug)]
pub struct Conversation {
    role: Role,
    scopes: Scopes,
    in_flight: u32,
    forbidden_in_a_row: u32,
}

impl Conversation {
    /// Of this role, with these scopes.
    #[must_use]
    pub const fn new(role: Role, scopes: Scopes) -> Self {
        Self { role, scopes, in_flight: 0, forbidden_in_a_row: 0 }
    }

    /// Judges a frame.
    pub fn frame(&mut self, text: &[u8]) -> Reaction {
        let request = match frame::parse(text) {
            Ok(request) => request,
            Err(unreadable) => {
                let id = unreadable.id.as_deref().unwrap_or(frame::UNREADABLE);
                return Reaction::Answer(frame::failure(id, &Failure::invalid(unreadable.rule)));
            }
        };
        let answer = |failure: &Failure| Reaction::Answer(frame::failure(&request.id, failure));
        let Some(method) = Method::find(&request.method) else {
            let known = if request.method == "connect" {
                "this session is connected already"
            } else {
                "there is no such method; hello-ok names those that there are"
            };
            return answer(&Failure::invalid(known));
        };
        if !method.is_open_to(self.role, self.scopes) {
            return self.forbid(&request.id, method);
        }
        self.forbidden_in_a_row = 0;
        let params = match frame::members(request.params) {
            Ok(params) => params,
            Err(failure) => return Reaction::Answer(frame::failure(&request.id, &failure)),
        };
        if self.in_flight >= IN_FLIGHT_MAX {
            let detail = format!("at most {IN_FLIGHT_MAX} requests of one connection are in work at a time");
            let failure = Failure::new("rate_limited", detail).after(BUSY_RETRY_MS);
            return Reaction::Answer(frame::failure(&request.id, &failure));
        }
        self.in_flight += 1;
        Reaction::Call { id: request.id, method, params }
    }

    fn forbid(&mut self, id: &str, method: &Method) -> Reaction {
        let needed = method.needed_by(self.role).as_str();
        let failure = Failure::new("forbidden", format!("this needs the scope {needed}"));
        let text = frame::failure(id, &failure);
        self.forbidden_in_a_row += 1;
        if self.forbidden_in_a_row > FORBIDDEN_IN_A_ROW_MAX {
            return Reaction::AnswerAndClose(text, Close::policy("repeated unauthorized calls"));
        }
        Reaction::Answer(text)
    }

    /// A call has been answered.
    pub const fn answered(&mut self) {
        self.in_flight = self.in_flight.saturating_sub(1);
    }
}

#[cfg(test)]
#[path = "core_tests.rs"]
mod tests;
