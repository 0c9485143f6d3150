//! Who a client is, in the order of the protocol: by the word of a trusted proxy, of the mesh, by a token, by the password.
//!
//! The limiter stands beside that order, not in it: it turns away only what has failed anyway, and the password, which can be guessed.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use actix_web::{HttpRequest, http::header::ORIGIN, web::Data};
use claviger_actors::{
    keyring::{Snapshot, internal},
    session::{close::Refusal, connect::Auth, origin},
};
use zeroize::Zeroizing;

use crate::{
    auth::{self, Identity, Learned, LimitScope, Peer, Standing, Whence},
    http::{quota, state::AppState},
};

/// Whom the request for a session came from.
pub(super) struct Came {
    pub(super) peer: Option<SocketAddr>,
    pub(super) whence: Whence,
    /// Whom a trusted proxy has recognised.
    pub(super) user: Option<String>,
    /// The certificate of the connection.
    pub(super) certificate: Option<Arc<Peer>>,
    /// A page asks that nobody has named: what its reader may do is not what it may do.
    pub(super) is_strange_page: bool,
}

impl Came {
    /// What the head of a request says, as far as it may.
    pub(super) fn of(state: &AppState, request: &HttpRequest) -> Self {
        let (peer, headers) = (request.peer_addr(), request.headers());
        let certificate = request.conn_data::<Arc<Peer>>().map(Arc::clone);
        let whence = state.addresses.whence(peer, headers);
        let named = state.doors.proxy_user_header.as_deref().filter(|_| whence.by_proxy);
        let mut values = named.into_iter().flat_map(|name| headers.get_all(name));
        // Two users are none.
        let user = match (values.next(), values.next()) {
            (Some(value), None) => {
                value.to_str().ok().map(str::trim).filter(|user| auth::is_name(user)).map(str::to_owned)
            }
            (Some(_) | None, _) => None,
        };
        let mut origins = headers.get_all(ORIGIN).map(|origin| origin.to_str().unwrap_or_default());
        let is_named = |text: &str| origin::is_allowed(text, None, &state.doors.cors_origins);
        let is_strange_page = origins.any(|text| !is_named(text));
        Self { peer, whence, user, certificate, is_strange_page }
    }
}

/// Recognises a client.
///
/// # Errors
/// What it is told.
pub(super) async fn authorize(state: &Data<AppState>, came: &Came, auth: &Auth) -> Result<Standing, Refusal> {
    let standing = recognise(state, came, auth).await?;
    Ok(standing.over(came.certificate.clone()))
}

async fn recognise(state: &Data<AppState>, came: &Came, auth: &Auth) -> Result<Standing, Refusal> {
    if let Some(peer) = &came.certificate {
        // Whatever else is sent: it comes from where nobody is let in any more.
        peer.still(state.clock.now()).map_err(|_| Refusal::unauthorized(AT_AN_END))?;
    }
    if let Some(user) = &came.user {
        return Ok(Standing::named(Identity::proxied(user.clone())));
    }
    if let (Some(mesh), Some(peer)) = (&state.mesh, came.peer)
        && !came.whence.by_proxy
        && !came.is_strange_page
        && let Some(identity) = mesh.whois(peer).await
    {
        return Ok(Standing::named(identity));
    }
    if let Some(peer) = &came.certificate {
        let brings_none = auth.token.is_none() && auth.device_token.is_none() && auth.password.is_none();
        if brings_none && peer.identity().is_some() && !came.whence.by_proxy && !came.is_strange_page {
            return Ok(Standing::certificate(Arc::clone(peer)));
        }
    }
    let (scope, judged) = if let Some(token) = &auth.token {
        (LimitScope::SharedSecret, by_token(state, token).await)
    } else if let Some(token) = &auth.device_token {
        (LimitScope::DeviceToken, by_device_token(state, token).await)
    } else if let Some(password) = &auth.password {
        return by_password(state, came, password.clone()).await;
    } else {
        return Err(Refusal::unauthorized("send a token, a device token or the password"));
    };
    match judged {
        Ok(standing) => {
            state.limiter.succeeded(scope, came.whence.client).await;
            Ok(standing)
        }
        Err(Judged::Wrong(why)) => Err(match state.limiter.failed(scope, came.whence.client).await {
            Some(wait) => Refusal::locked_out(millis(wait)),
            None => match quota::failed(state, came.whence.client).and_then(|standing| standing.wait) {
                Some(wait) => Refusal::locked_out(millis(wait)),
                None => Refusal::unauthorized(why),
            },
        }),
        Err(Judged::Unknown(why)) => Err(again(why)),
        Err(Judged::Over(why)) => Err(Refusal::unauthorized(why)),
    }
}

fn again(why: &str) -> Refusal {
    let mut refusal = Refusal::unauthorized(why);
    refusal.failure = refusal.failure.after(1_000);
    refusal
}

/// This node can't tell now who is who.
pub(super) fn away() -> Refusal {
    again(AWAY)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Why nobody was recognised.
enum Judged {
    /// A wrong credential: a failed attempt.
    Wrong(&'static str),
    /// One that was right once.
    Over(&'static str),
    /// This node can't tell.
    Unknown(&'static str),
}

const AT_AN_END: &str =
    "the certificate of this connection has expired or was revoked; connect with a new one";
const WRONG_TOKEN: &str = "the token is not valid";
const AWAY: &str = "this node can't tell now whether the credential is valid; try again or another node";

impl From<auth::Refusal> for Judged {
    fn from(refusal: auth::Refusal) -> Self {
        match refusal {
            auth::Refusal::Unknown => Self::Wrong(WRONG_TOKEN),
            auth::Refusal::Expired => Self::Over("the token has expired; get a new one"),
            auth::Refusal::Certificate => Self::Over(AT_AN_END),
            auth::Refusal::Revoked => Self::Over("the token was revoked; get a new one"),
        }
    }
}

async fn by_token(state: &Data<AppState>, token: &Zeroizing<String>) -> Result<Standing, Judged> {
    let judge = || -> Result<(), Judged> {
        let snapshot = state.ring.snapshot();
        is_current(state, &snapshot)?;
        auth::authenticate(state.known(&snapshot), token, state.clock.now())?;
        Ok(())
    };
    let mut judged = judge();
    if is_wrong(&judged) && !state.issuers.is_empty() {
        match auth::learn(&state.issuers, token).await {
            Learned::Nothing => {}
            Learned::Again => judged = judge(),
            Learned::Away => {
                judged = Err(Judged::Unknown("the issuer of the token can't be asked for its keys now"))
            }
        }
    }
    if is_wrong(&judged) && state.cluster.is_shared() {
        // What this node does not know, another may have made a moment ago.
        judged = if state.cluster.refresh().await { judge() } else { Err(Judged::Unknown(AWAY)) };
    }
    judged.map(|()| Standing::bearer(token.clone()))
}

async fn by_device_token(state: &Data<AppState>, token: &Zeroizing<String>) -> Result<Standing, Judged> {
    let judge = || -> Result<[u8; 32], Judged> {
        let snapshot = state.ring.snapshot();
        is_current(state, &snapshot)?;
        let hash = internal::device_token_hash(&snapshot, token.as_bytes()).ok_or(Judged::Unknown(AWAY))?;
        let wrong = || Judged::Wrong("the device token is not valid");
        snapshot.devices().by_token(&hash).map(|_| hash).ok_or_else(wrong)
    };
    let mut judged = judge();
    if judged.as_ref().is_err_and(|error| matches!(error, Judged::Wrong(_))) && state.cluster.is_shared() {
        judged = if state.cluster.refresh().await { judge() } else { Err(Judged::Unknown(AWAY)) };
    }
    judged.map(Standing::device_token)
}

/// A password can be guessed: a trial counts as failed when it begins, so that those who try at once, or hang up, have no more of them.
async fn by_password(state: &AppState, came: &Came, given: Zeroizing<String>) -> Result<Standing, Refusal> {
    let Some(password) = &state.password else {
        // Nothing that is sent could be right, so nothing was tried.
        return Err(Refusal::unauthorized("this service knows no password"));
    };
    let (scope, client) = (LimitScope::Password, came.whence.client);
    if let Some(wait) = state.limiter.locked(scope, client) {
        return Err(Refusal::locked_out(millis(wait)));
    }
    if let Some(wait) = quota::tried(state, client) {
        return Err(Refusal::locked_out(millis(wait)));
    }
    let turn = password.turn().await.ok_or_else(away)?;
    if let Some(wait) = state.limiter.failed(scope, client).await {
        return Err(Refusal::locked_out(millis(wait)));
    }
    if turn.try_with(given).await {
        state.limiter.succeeded(scope, client).await;
        Ok(Standing::named(Identity::by_password()))
    } else {
        Err(Refusal::unauthorized("the password is not right"))
    }
}

const fn is_wrong(judged: &Result<(), Judged>) -> bool {
    matches!(judged, Err(Judged::Wrong(_)))
}

fn is_current(state: &AppState, snapshot: &Snapshot) -> Result<(), Judged> {
    state.is_current(snapshot.confirmed()).map_err(|_| Judged::Unknown(AWAY))
}
