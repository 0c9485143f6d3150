//! The password of WebSocket clients, as an Argon2id hash (RFC 9106).

use std::{io, path::Path, sync::Arc};

use argon2::{
    Argon2,
    password_hash::{PasswordHasher as _, PasswordVerifier as _, phc::PasswordHash},
};
use claviger_config::without_newline;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use zeroize::Zeroizing;

/// Trials at a time: each takes some 20 MiB and tens of milliseconds.
const TRIALS: usize = 2;
const HASHED: &str = "$argon2id$";

/// What the password is held against. No `Debug`.
#[derive(Clone)]
pub struct Password {
    hash: Arc<str>,
    trials: Arc<Semaphore>,
}

impl Password {
    /// Reads the file: a hash in PHC form (`$argon2id$…`), or the password itself, of which only a hash is kept.
    ///
    /// # Errors
    /// It can't be read, is empty, or holds a hash of another kind.
    pub fn load(path: &Path) -> io::Result<Self> {
        let text = Zeroizing::new(std::fs::read_to_string(path)?);
        let text = without_newline(&text);
        let unfit = |rule: &str| io::Error::other(rule.to_owned());
        if text.is_empty() {
            return Err(unfit("the file is empty"));
        }
        let hash = if text.starts_with(HASHED) {
            PasswordHash::new(text).map_err(|_| unfit("the hash is not in PHC form"))?;
            text.to_owned()
        } else if text.starts_with("$argon2") {
            return Err(unfit("only Argon2id hashes are accepted"));
        } else {
            let hash = Argon2::default().hash_password(text.as_bytes());
            hash.map_err(|_| unfit("the password can't be hashed"))?.to_string()
        };
        Ok(Self { hash: hash.into(), trials: Arc::new(Semaphore::new(TRIALS)) })
    }

    /// Waits for a turn: there are a few trials at a time.
    pub async fn turn(&self) -> Option<Turn> {
        let permit = Arc::clone(&self.trials).acquire_owned().await.ok()?;
        Some(Turn { hash: Arc::clone(&self.hash), permit })
    }
}

/// The turn of one trial.
pub struct Turn {
    hash: Arc<str>,
    permit: OwnedSemaphorePermit,
}

impl Turn {
    /// It is the password. Off the worker; the turn is over when the trial is, also when nobody waits for it any more.
    pub async fn try_with(self, given: Zeroizing<String>) -> bool {
        let trial = move || {
            let Self { hash, permit } = self;
            let hash = PasswordHash::new(&hash).ok();
            let is_right =
                hash.is_some_and(|hash| Argon2::default().verify_password(given.as_bytes(), &hash).is_ok());
            drop(permit);
            is_right
        };
        tokio::task::spawn_blocking(trial).await.unwrap_or(false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(text: &str) -> io::Result<Password> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("password");
        std::fs::write(&path, text).unwrap();
        Password::load(&path)
    }

    #[tokio::test]
    async fn a_password_and_its_hash_are_the_same() {
        let plain = load("correct horse\n").map_err(|error| error.to_string()).unwrap();
        assert!(plain.hash.starts_with(HASHED) && !plain.hash.contains("horse"));
        let hashed = load(&plain.hash).map_err(|error| error.to_string()).unwrap();
        for password in [plain, hashed] {
            let is =
                async |given: &str| password.turn().await.unwrap().try_with(given.to_owned().into()).await;
            assert!(is("correct horse").await);
            for wrong in ["", "correct horse\n", "Correct horse", HASHED] {
                assert!(!is(wrong).await, "{wrong}");
            }
        }
    }

    /// Whoever goes away leaves their trial behind, and it takes its turn all the same.
    #[tokio::test]
    async fn trials_that_nobody_waits_for_take_their_turns() {
        use futures_util::FutureExt as _;

        let password = load("correct horse").map_err(|error| error.to_string()).unwrap();
        for _ in 0..TRIALS {
            let mut abandoned = Box::pin(password.turn().await.unwrap().try_with("x".to_owned().into()));
            assert!((&mut abandoned).now_or_never().is_none(), "it has begun");
        }
        assert!(password.turn().now_or_never().is_none(), "both are at work");
        assert!(password.turn().await.is_some());
    }

    #[test]
    fn what_is_no_password_stops_the_start() {
        for text in [
            "",
            "\n",
            "$argon2i$v=19$m=16,t=2,p=1$c29tZXNhbHQ$IMit9qkFULCMA/ViizL57cnTLOa5DiVM9eMwpAvPwr4",
            "$argon2id$nonsense",
        ] {
            assert!(load(text).is_err(), "{text}");
        }
    }
}
