//! Bearers of tokens that an issuer elsewhere has made.
//!
//! Its keys are kept in memory and asked for in the background, one look-up at a time an issuer. Judging a token waits for nobody; only a
//! caller whose token names a key that is not known waits for the look-up that may find it, and only so many do.

mod fetch;
mod keys;
mod lookups;

use std::{
    collections::HashMap,
    io,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use arc_swap::ArcSwapOption;
use chrono::{DateTime, Utc};
use claviger_actors::clock::uptime;
use claviger_config::{TrustedIssuer, look_alike};
use claviger_crypto::{
    claims::{self, ClaimsError, Expectation},
    foreign::ForeignToken,
    public::PublicKey,
};
use tokio::sync::{Notify, Semaphore, watch};

pub use self::keys::{KeyFailure, ProviderKeys};
use self::{
    fetch::{FetchError, Fetched, Source, fetch},
    lookups::{LookUps, Wish},
};
use super::{Identity, Refusal, authenticate::subject};
use crate::outgoing::{Outgoing, OutgoingError};

/// Longest time for a look-up, whatever it takes.
const LOOK_UP_MAX: Duration = Duration::from_secs(6);
/// Longest time for which a caller waits for one.
const WAIT_MAX: Duration = Duration::from_secs(7);
/// What came a shorter time ago may not have been there when a token was judged.
const JUST_NOW: Duration = Duration::from_secs(1);
/// Callers that wait at most, for one issuer.
const WAITING_MAX: usize = 256;

/// Issuers whose tokens are credentials.
#[derive(Default)]
pub struct Issuers {
    trusted: Vec<Arc<Trusted>>,
    /// The way to them, if there are any.
    outgoing: Option<Outgoing>,
}

/// One of them.
struct Trusted {
    settings: TrustedIssuer,
    source: Source,
    keys: ArcSwapOption<KeySet>,
    lookups: Mutex<LookUps>,
    /// Wakes whoever looks up.
    wanted: Notify,
    /// Look-ups that have ended.
    ended: watch::Sender<u64>,
    waiting: Semaphore,
    outcomes: [AtomicU64; FetchError::OUTCOMES.len()],
    spared: AtomicU64,
}

/// Keys as an issuer has named them.
struct KeySet {
    keys: HashMap<String, PublicKey>,
    /// Since when they may be old.
    asked: Duration,
    /// When they came.
    came: Duration,
}

/// What came of asking an issuer for a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Learned {
    /// Nothing that could change the judgement.
    Nothing,
    /// It was asked: judge again.
    Again,
    /// It can't be asked.
    Away,
}

/// Figures of one issuer.
#[derive(Debug)]
pub struct IssuerFigures<'a> {
    /// Its name.
    pub name: &'a str,
    /// Look-ups by outcome.
    pub lookups: [(&'static str, u64); FetchError::OUTCOMES.len()],
    /// Unknown keys for which it was not asked, since it had been a moment before.
    pub spared: u64,
    /// The last look-up brought keys.
    pub is_up: bool,
    /// Keys in use.
    pub keys: usize,
    /// Their age; absent = there are none.
    pub age: Option<Duration>,
}

impl Issuers {
    /// As configured; nobody is asked yet.
    ///
    /// # Errors
    /// A URL that may not be asked, named with its setting, or TLS that can't be set up.
    pub fn new(settings: &[TrustedIssuer], ca_file: Option<&Path>) -> io::Result<Self> {
        let trusted: io::Result<Vec<_>> =
            settings.iter().map(|settings| Trusted::new(settings).map(Arc::new)).collect();
        let trusted = trusted?;
        let plain_only = trusted.iter().all(|trusted| trusted.source.is_plain());
        let outgoing = (!trusted.is_empty()).then(|| Outgoing::new(ca_file, plain_only)).transpose()?;
        Ok(Self { trusted, outgoing })
    }

    /// None of them is this deployment's own.
    ///
    /// # Errors
    /// One is.
    pub fn are_others_than(&self, own: &str) -> io::Result<()> {
        match self.trusted.iter().find(|trusted| look_alike(&trusted.settings.issuer, own)) {
            None => Ok(()),
            Some(trusted) => Err(io::Error::other(format!(
                "{}.issuer is this deployment's own issuer; its tokens need no trust of others",
                trusted.settings.name
            ))),
        }
    }

    /// Keeps their keys from now on. Waits for none: a node starts without its issuers too.
    pub fn keep(&self) {
        let Some(outgoing) = &self.outgoing else { return };
        for trusted in &self.trusted {
            actix_web::rt::spawn(keep(Arc::clone(trusted), outgoing.clone()));
        }
    }

    /// There are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.trusted.is_empty()
    }

    /// Figures of each.
    pub fn figures(&self) -> impl Iterator<Item = IssuerFigures<'_>> {
        self.trusted.iter().map(|trusted| trusted.figures())
    }

    /// The bearer of a token that one of them has made. What they may do is what the configuration and policies say of (`iss`, `sub`).
    pub(super) fn bearer(&self, credential: &str, now: DateTime<Utc>) -> Result<Identity, Refusal> {
        if self.trusted.is_empty() {
            return Err(Refusal::Unknown);
        }
        let judged = ForeignToken::parse(credential).map_err(|_| (Refusal::Unknown, "it is malformed"));
        let judged = judged.and_then(|token| {
            let trusted = self.of(&token).ok_or((Refusal::Unknown, "its issuer is not trusted"))?;
            trusted.judge(token, now)
        });
        judged.map_err(|(refusal, reason)| {
            tracing::debug!(reason, "a token was refused");
            refusal
        })
    }

    /// Asks the issuer of a token for the key that it names, if that is what is missing.
    pub(super) async fn learn(&self, credential: &str) -> Learned {
        let Ok(token) = ForeignToken::parse(credential) else { return Learned::Nothing };
        match self.of(&token) {
            Some(trusted) => trusted.learn(token.kid()).await,
            None => Learned::Nothing,
        }
    }

    fn of(&self, token: &ForeignToken<'_>) -> Option<&Trusted> {
        self.trusted
            .iter()
            .map(|trusted| &**trusted)
            .find(|trusted| trusted.settings.issuer == token.issuer())
    }
}

impl Trusted {
    fn new(settings: &TrustedIssuer) -> io::Result<Self> {
        let named = |(member, rule)| io::Error::other(format!("{}.{member} {rule}", settings.name));
        Ok(Self::of(settings.clone(), Source::of(settings).map_err(named)?))
    }

    fn lookups(&self) -> MutexGuard<'_, LookUps> {
        self.lookups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its keys, unless they are too old to be believed.
    fn usable(&self) -> Option<Arc<KeySet>> {
        self.keys.load_full().filter(|set| uptime().saturating_sub(set.asked) < self.settings.max_stale)
    }

    /// Since when it has had a key of this name, if it has one.
    fn knows(&self, kid: &str) -> Option<Duration> {
        self.usable().filter(|set| set.keys.contains_key(kid)).map(|set| set.came)
    }

    fn judge(
        &self,
        token: ForeignToken<'_>,
        now: DateTime<Utc>,
    ) -> Result<Identity, (Refusal, &'static str)> {
        let unknown = |reason| (Refusal::Unknown, reason);
        let set = self.usable().ok_or(unknown("the keys of its issuer are not known"))?;
        let key = set.keys.get(token.kid()).ok_or(unknown("its issuer has no such key"))?;
        let claims =
            token.verify(key).map_err(|_| unknown("its signature or algorithm does not fit the key"))?;
        let expected = Expectation {
            now: now.timestamp(),
            issuer: &self.settings.issuer,
            extra_issuers: &[],
            allow_missing_iss: false,
            audience: Some(&self.settings.audience),
            required: &[],
            allow_missing_exp: false,
        };
        claims::check(&claims, &expected).map_err(|error| match error {
            ClaimsError::Expired => (Refusal::Expired, "it has expired"),
            ClaimsError::Invalid(rule) => (Refusal::Unknown, rule),
        })?;
        if claims.contains_key("cnf") {
            // Whoever bears it must prove to hold a key (RFC 7800), which nobody can here; it may be stolen.
            return Err(unknown("it is bound to a key of its holder"));
        }
        let subject = subject(&claims).ok_or(unknown("it has no sub of 1 to 255 bytes"))?;
        let roles = self.settings.roles_of(subject);
        Ok(Identity::elsewhere(self.settings.issuer.clone(), subject.to_owned(), roles))
    }

    /// Waits for a look-up, unless there was one a moment ago: whoever makes up names of keys must not make us ask for each.
    async fn learn(&self, kid: &str) -> Learned {
        if let Some(came) = self.knows(kid) {
            // Perhaps after the token was judged.
            let is_new = uptime().saturating_sub(came) < JUST_NOW;
            return if is_new { Learned::Again } else { Learned::Nothing };
        }
        let Ok(_waiting) = self.waiting.try_acquire() else { return Learned::Away };
        let mut ended = {
            let mut lookups = self.lookups();
            match lookups.wish(uptime()) {
                Wish::Begin => self.wanted.notify_one(),
                Wish::Wait => {}
                // It may have been found since; keys are kept before a look-up ends.
                Wish::Unknown if self.knows(kid).is_some() => return Learned::Again,
                Wish::Unknown => return self.spared(Learned::Nothing),
                Wish::Away => return self.spared(Learned::Away),
            }
            // Under the lock: the end of the look-up can't be missed.
            self.ended.subscribe()
        };
        match tokio::time::timeout(WAIT_MAX, ended.changed()).await {
            Ok(Ok(())) if !self.lookups().is_failed() => Learned::Again,
            Ok(Ok(()) | Err(_)) | Err(_) => Learned::Away,
        }
    }

    fn spared(&self, learned: Learned) -> Learned {
        self.spared.fetch_add(1, Ordering::Relaxed);
        learned
    }

    fn ended(&self, fetched: Result<Fetched, FetchError>) {
        let name = &self.settings.name;
        let outcome = fetched.as_ref().err().map_or(0, |error| error.outcome());
        if let Some(counter) = self.outcomes.get(outcome) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        let mut lookups = self.lookups();
        match fetched {
            Ok((keys, max_age)) => {
                if keys.is_empty() {
                    tracing::warn!(issuer = %name, "an issuer names no key that can be used; its tokens are refused");
                } else if lookups.is_failed() {
                    tracing::info!(issuer = %name, keys = keys.len(), "an issuer answers again");
                }
                self.keys.store(Some(Arc::new(KeySet { keys, asked: lookups.begun(), came: uptime() })));
                lookups.end(Some(max_age));
            }
            Err(error) => {
                if !lookups.is_failed() {
                    tracing::warn!(issuer = %name, %error, "the keys of an issuer can't be asked for; those that are known are used");
                }
                lookups.end(None);
            }
        }
        // Under the lock still, after what it tells of.
        self.ended.send_modify(|ended| *ended += 1);
    }

    fn figures(&self) -> IssuerFigures<'_> {
        let mut counts = self.outcomes.iter().map(|count| count.load(Ordering::Relaxed));
        let set = self.usable();
        IssuerFigures {
            name: &self.settings.name,
            lookups: FetchError::OUTCOMES.map(|outcome| (outcome, counts.next().unwrap_or_default())),
            spared: self.spared.load(Ordering::Relaxed),
            is_up: !self.lookups().is_failed(),
            keys: set.as_ref().map_or(0, |set| set.keys.len()),
            age: set.map(|set| uptime().saturating_sub(set.asked)),
        }
    }
}

/// Asks an issuer for its keys, once, and keeps none of them.
///
/// # Errors
/// Why there are none.
pub async fn reach(settings: &TrustedIssuer, ca_file: Option<&Path>) -> Result<(), String> {
    let issuers = Issuers::new(std::slice::from_ref(settings), ca_file).map_err(|error| error.to_string())?;
    let (Some(trusted), Some(outgoing)) = (issuers.trusted.first(), &issuers.outgoing) else { return Ok(()) };
    match fetch(outgoing, &trusted.settings, &trusted.source).await {
        Ok((keys, _)) if keys.is_empty() => Err("it names no key that can be used".to_owned()),
        Ok(_) => Ok(()),
        Err(error) => Err(error.to_string()),
    }
}

/// Looks up whenever it is due or wished for, and whatever becomes of it. The one place that does, so there is one look-up at a time.
async fn keep(trusted: Arc<Trusted>, outgoing: Outgoing) {
    loop {
        let wait = trusted.lookups().wait(uptime());
        if !wait.is_zero() {
            // Woken for nothing, it only looks at the time again.
            let _due = tokio::time::timeout(wait, trusted.wanted.notified()).await;
            continue;
        }
        trusted.lookups().begin(uptime());
        let asked = fetch(&outgoing, &trusted.settings, &trusted.source);
        let fetched = tokio::time::timeout(LOOK_UP_MAX, asked).await;
        trusted.ended(fetched.unwrap_or(Err(OutgoingError::TimedOut.into())));
    }
}
