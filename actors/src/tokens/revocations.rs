//! Revoked tokens, in memory.
//!
//! A map in many parts, each behind a lock of its own that nobody holds for longer than one look or one insertion; only to forget what has
//! expired is a part held for longer, one after the other, a fraction of a millisecond each.

use std::{
    collections::HashMap,
    sync::{
        PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use uuid::Uuid;

use super::{
    mark::{ByMark, Kind, Mark, Marker},
    shares::{Share, Shares},
};

/// Live revocations at most, unless said otherwise; beyond it a further one is refused.
pub const LIVE_MAX: usize = 5_000_000;
/// Parts of a map.
const PARTS: usize = 64;
/// Never.
const NEVER: u32 = u32::MAX;

/// A revocation as everybody needs it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revocation {
    /// Of what.
    pub kind: Kind,
    /// Which.
    pub mark: Mark,
    /// What began at this moment or before, in milliseconds; `None` = whenever.
    pub cutoff: Option<i64>,
    /// When nothing that it concerns can be valid any more, in milliseconds.
    pub expires_at: i64,
    /// The key whose tokens it concerns, and for which it is counted; `None` = those of any.
    pub of: Option<Uuid>,
}

/// What of a token decides whether it is revoked.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// Its key.
    pub key: Uuid,
    /// The version that made it.
    pub kid: &'a str,
    /// Its `jti`, or what stands for one.
    pub jti: &'a str,
    /// Its family.
    pub family: Option<&'a str>,
    /// Its `sub`.
    pub subject: Option<&'a str>,
    /// When it began, in milliseconds: see [`begun`].
    pub begun: i64,
    /// When it was issued, in milliseconds: the same, whatever its family.
    pub issued: i64,
}

/// When a token began, for revocations "of all before": its family did, where it has one, so that nobody outlives such a revocation by a
/// refresh just then; otherwise the token itself, by its `jti` or, to the second, its `iat`. One that does not say has begun long ago.
#[must_use]
pub fn begun(family: Option<&str>, jti: Option<&str>, iat: Option<i64>) -> i64 {
    let of_id = |id: &str| {
        let id = Uuid::try_parse(id).ok().filter(|id| id.get_version_num() == 7)?;
        let (seconds, nanos) = id.get_timestamp()?.to_unix();
        i64::try_from(seconds).ok()?.checked_mul(1_000)?.checked_add(i64::from(nanos / 1_000_000))
    };
    let of_second = || iat.and_then(|iat| iat.checked_mul(1_000));
    family.and_then(of_id).or_else(|| jti.and_then(of_id)).or_else(of_second).unwrap_or(i64::MIN)
}

#[derive(Clone, Copy)]
struct Cutoff {
    kind: Kind,
    before: i64,
    until: u32,
    share: Share,
}

#[derive(Clone, Copy)]
struct Single {
    until: u32,
    share: Share,
}

/// A map in parts.
struct Parts<V> {
    parts: Box<[RwLock<HashMap<Mark, V, ByMark>>]>,
    live: AtomicUsize,
}

impl<V: Copy> Parts<V> {
    fn new() -> Self {
        let parts = std::iter::repeat_with(RwLock::default).take(PARTS).collect();
        Self { parts, live: AtomicUsize::new(0) }
    }

    fn len(&self) -> usize {
        self.live.load(Ordering::Relaxed)
    }

    fn get(&self, mark: Mark) -> Option<V> {
        let part = self.parts.get(mark.part(PARTS))?;
        part.read().unwrap_or_else(PoisonError::into_inner).get(&mark).copied()
    }

    /// Puts a value there, or what comes of it and the one before. Tells whether there was none before.
    fn merge(&self, mark: Mark, value: V, merged: impl Fn(V, V) -> V) -> bool {
        let Some(part) = self.parts.get(mark.part(PARTS)) else { return false };
        let mut part = part.write().unwrap_or_else(PoisonError::into_inner);
        let before = part.get(&mark).copied();
        part.insert(mark, before.map_or(value, |before| merged(before, value)));
        drop(part);
        if before.is_none() {
            self.live.fetch_add(1, Ordering::Relaxed);
        }
        before.is_none()
    }

    /// Forgets what is not to be kept, and gives its memory back.
    fn forget(&self, mut keep: impl FnMut(&V) -> bool) -> usize {
        let mut forgotten = 0;
        for part in &self.parts {
            let mut part = part.write().unwrap_or_else(PoisonError::into_inner);
            let before = part.len();
            part.retain(|_, value| keep(value));
            let gone = before - part.len();
            if part.len() < part.capacity() / 4 {
                part.shrink_to_fit();
            }
            drop(part);
            self.live.fetch_sub(gone, Ordering::Relaxed);
            forgotten += gone;
        }
        forgotten
    }
}

/// Every revocation that still matters.
pub struct Revocations {
    /// Seconds until which a token is remembered.
    tokens: Parts<Single>,
    cutoffs: Parts<Cutoff>,
    /// How many are of which key.
    shares: Shares,
    /// Cut-offs of each kind, so that a kind without any costs nothing.
    kinds: [AtomicUsize; Kind::ALL.len()],
}

impl Default for Revocations {
    fn default() -> Self {
        Self {
            tokens: Parts::new(),
            cutoffs: Parts::new(),
            shares: Shares::default(),
            kinds: std::array::from_fn(|_| AtomicUsize::new(0)),
        }
    }
}

impl Revocations {
    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tokens.len() + self.cutoffs.len()
    }

    /// There is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many are of one key.
    #[must_use]
    pub fn of_key(&self, key: Uuid) -> usize {
        self.shares.count(key)
    }

    /// Takes one in; the same twice, or in another order, is the same. Tells whether nothing of the kind was there.
    pub fn add(&self, revocation: &Revocation) -> bool {
        let until = seconds_after(revocation.expires_at);
        let share = self.shares.share(revocation.of);
        let is_new = if revocation.kind == Kind::Token {
            // It stays with the key for which it was counted first.
            self.tokens.merge(revocation.mark, Single { until, share }, |one, other| Single {
                until: one.until.max(other.until),
                share: one.share,
            })
        } else {
            let before = revocation.cutoff.unwrap_or(i64::MAX);
            let cutoff = Cutoff { kind: revocation.kind, before, until, share };
            self.cutoffs.merge(revocation.mark, cutoff, |one, other| Cutoff {
                before: one.before.max(other.before),
                until: one.until.max(other.until),
                ..one
            })
        };
        if is_new {
            self.shares.grow(share);
            if revocation.kind != Kind::Token
                && let Some(count) = self.kinds.get(revocation.kind as usize)
            {
                count.fetch_add(1, Ordering::Relaxed);
            }
        }
        is_new
    }

    /// Something of it is known here, if not for as long: it takes no further room.
    #[must_use]
    pub fn knows(&self, revocation: &Revocation) -> bool {
        match revocation.kind {
            Kind::Token => self.tokens.get(revocation.mark).is_some(),
            Kind::Family | Kind::Subject | Kind::Version | Kind::Families => {
                self.cutoffs.get(revocation.mark).is_some()
            }
        }
    }

    /// It is known here, and for as long.
    #[must_use]
    pub fn has(&self, revocation: &Revocation) -> bool {
        let until = seconds_after(revocation.expires_at);
        if revocation.kind == Kind::Token {
            return self.tokens.get(revocation.mark).is_some_and(|known| known.until >= until);
        }
        let before = revocation.cutoff.unwrap_or(i64::MAX);
        self.cutoffs.get(revocation.mark).is_some_and(|known| known.until >= until && known.before >= before)
    }

    /// A token is revoked, by itself or with others; `now` in seconds.
    #[must_use]
    pub fn concern(&self, marker: &Marker, facts: &Facts<'_>, now: i64) -> bool {
        let concerns = |kind: Kind, value: &str, since: i64| {
            let mark = marker.mark(kind, value);
            self.cut(mark, since, now) || self.cut(mark.within(facts.key), since, now)
        };
        let is_revoked = || {
            let mark = marker.mark(Kind::Token, facts.jti);
            [mark, mark.within(facts.key)]
                .into_iter()
                .any(|mark| self.tokens.get(mark).is_some_and(|single| is_live(single.until, now)))
        };
        self.tokens.len() > 0 && is_revoked()
            || self.any(Kind::Family)
                && facts.family.is_some_and(|family| concerns(Kind::Family, family, facts.begun))
            || self.any(Kind::Subject)
                && facts.subject.is_some_and(|subject| concerns(Kind::Subject, subject, facts.begun))
            || self.any(Kind::Version) && concerns(Kind::Version, facts.kid, facts.issued)
            || self.any(Kind::Families)
                && facts.family.is_some()
                && self.cut(marker.families(facts.key), facts.begun, now)
    }

    fn cut(&self, mark: Mark, begun: i64, now: i64) -> bool {
        self.cutoffs.get(mark).is_some_and(|cutoff| begun <= cutoff.before && is_live(cutoff.until, now))
    }

    fn any(&self, kind: Kind) -> bool {
        self.kinds.get(kind as usize).is_some_and(|count| count.load(Ordering::Relaxed) > 0)
    }

    /// Forgets those that have expired; `now` in seconds. Answers with how many.
    pub fn forget(&self, now: i64) -> usize {
        let cutoffs = self.cutoffs.forget(|cutoff| {
            let keep = is_live(cutoff.until, now);
            if !keep {
                self.shares.shrink(cutoff.share);
                if let Some(count) = self.kinds.get(cutoff.kind as usize) {
                    count.fetch_sub(1, Ordering::Relaxed);
                }
            }
            keep
        });
        let tokens = self.tokens.forget(|single| {
            let keep = is_live(single.until, now);
            if !keep {
                self.shares.shrink(single.share);
            }
            keep
        });
        cutoffs + tokens
    }
}

fn is_live(until: u32, now: i64) -> bool {
    until == NEVER || i64::from(until) > now
}

/// Rounded up, so that nothing is forgotten too soon.
fn seconds_after(millis: i64) -> u32 {
    let seconds = millis.div_euclid(1_000).saturating_add(1).max(0);
    u32::try_from(seconds).unwrap_or(NEVER)
}
