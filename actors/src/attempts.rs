//! Failed attempts, counted on all nodes together in Redis. Each node counts by itself too, which is what is left when Redis is away.

use std::{
    net::IpAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use claviger_crypto::digest::MacKey;
use deadpool_redis::redis::cmd;
use tokio::{sync::Semaphore, time::timeout};
use uuid::Uuid;

use crate::{
    clock::uptime,
    cluster::{HintError, RedisLink},
};

/// Longest time that the answer to a failed attempt waits for the count of the others.
const PATIENCE: Duration = Duration::from_millis(200);
/// Redis is left alone so long when it did not answer.
const REST_MS: u64 = 1_000;
/// Questions at a time; attempts beyond them are counted here alone, so that a flood leaves Redis to what else it is for.
const AT_ONCE: usize = 2;

/// `KEYS`: the lockout, the failures. `ARGV`: limit, window and lockout in milliseconds. Answers how long the lockout goes on; it ends when it
/// ends, whatever is tried meanwhile, and then all begins anew. The time is that of Redis.
const FAILED: &str = r"local left = redis.call('PTTL', KEYS[1])
if left > 0 then return left end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now - ARGV[2])
redis.call('ZADD', KEYS[2], now, time[1] .. '.' .. time[2])
redis.call('PEXPIRE', KEYS[2], ARGV[2])
if redis.call('ZCARD', KEYS[2]) >= tonumber(ARGV[1]) then
  redis.call('SET', KEYS[1], '1', 'PX', ARGV[3])
  redis.call('DEL', KEYS[2])
end
return 0";

/// How many failures within which time lock out for how long.
#[derive(Debug, Clone, Copy)]
pub struct AttemptRule {
    /// So many failures …
    pub limit: usize,
    /// … within this time …
    pub window: Duration,
    /// … make further ones fail at once for so long.
    pub lockout: Duration,
}

/// The count that all nodes share. Cheap to clone.
#[derive(Clone)]
pub struct SharedAttempts {
    link: RedisLink,
    prefix: Arc<str>,
    /// Turns addresses into what Redis sees of them.
    names: Arc<MacKey>,
    turns: Arc<Semaphore>,
    /// When it may be asked again.
    rests_until: Arc<AtomicU64>,
}

impl SharedAttempts {
    /// All nodes have the secret, and Redis does not.
    pub(crate) fn new(link: RedisLink, deployment: Uuid, secret: &[u8; 32]) -> Self {
        Self {
            names: Arc::new(MacKey::new(secret)),
            link,
            prefix: format!("claviger:{deployment}:attempts").into(),
            turns: Arc::new(Semaphore::new(AT_ONCE)),
            rests_until: Arc::default(),
        }
    }

    /// Counts a failed attempt. Answers how long attempts from there fail at once, if they do by now; `None` also when Redis can't say.
    pub async fn failed(&self, scope: &str, address: IpAddr, rule: AttemptRule) -> Option<Duration> {
        let _turn = self.turn()?;
        let (lockout, failures) = self.keys(scope, address);
        let asked = async {
            let mut connection = self.link.connection().await?;
            let mut question = cmd("EVAL");
            question.arg(FAILED).arg(2).arg(lockout).arg(failures);
            question.arg(rule.limit).arg(millis(rule.window)).arg(millis(rule.lockout));
            Ok::<u64, HintError>(question.query_async(&mut *connection).await?)
        };
        let left = self.heard(timeout(PATIENCE, asked).await)?;
        (left > 0).then(|| Duration::from_millis(left))
    }

    /// An attempt has succeeded: what failed before is forgotten everywhere.
    pub async fn succeeded(&self, scope: &str, address: IpAddr) {
        let Some(_turn) = self.turn() else { return };
        let (lockout, failures) = self.keys(scope, address);
        let asked = async {
            let mut connection = self.link.connection().await?;
            Ok::<u64, HintError>(cmd("DEL").arg(lockout).arg(failures).query_async(&mut *connection).await?)
        };
        let _count = self.heard(timeout(PATIENCE, asked).await);
    }

    fn turn(&self) -> Option<tokio::sync::SemaphorePermit<'_>> {
        let rests = self.rests_until.load(Ordering::Relaxed) > millis(uptime());
        if rests { None } else { self.turns.try_acquire().ok() }
    }

    fn heard<T, E>(&self, answer: Result<Result<T, HintError>, E>) -> Option<T> {
        match answer {
            Ok(Ok(value)) => return Some(value),
            Ok(Err(error)) => tracing::debug!(%error, "failed attempts are counted here alone"),
            Err(_) => {
                tracing::debug!("failed attempts are counted here alone: Redis does not answer in time")
            }
        }
        self.rests_until.store(millis(uptime()) + REST_MS, Ordering::Relaxed);
        None
    }

    /// Addresses are nobody's business who reads Redis: there are so few that only a secret hides them.
    fn keys(&self, scope: &str, address: IpAddr) -> (String, String) {
        let of = hex::encode(self.names.mac(&[scope.as_bytes(), &[0], address.to_string().as_bytes()]));
        (format!("{}:lockout:{of}", self.prefix), format!("{}:failed:{of}", self.prefix))
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
