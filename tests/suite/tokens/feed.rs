//! The feed of revocations, read while many write.

use std::{collections::HashSet, sync::Arc, thread, time::Duration};

use chrono::TimeDelta;
use claviger_actors::{
    clock::{Clock as _, SystemClock},
    seal::{Keychain, MasterKeys},
    store::{Database, Place, Pool},
    tokens::{Kind, Marker, Revocation},
};
use claviger_crypto::secret::SecretBytes;
use claviger_tests::{Postgres, volume};
use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
use tokio::task::JoinHandle;

use crate::tampered;

const WRITERS: usize = 16;

/// A deployment without a service.
struct Bare {
    database: Database,
    keychain: Keychain,
}

type Marks = HashSet<Vec<u8>>;

impl Bare {
    async fn open(url: &str) -> Self {
        let pool = Pool {
            min: 1,
            max: 20,
            acquire_timeout: Duration::from_secs(30),
            max_lifetime: Duration::from_secs(600),
        };
        let database = Database::open(Place::Server { url, migration_url: None, pool }).await.unwrap();
        let masters = MasterKeys::new(vec![SecretBytes::new(vec![7; 32])]).unwrap();
        let keychain = database.open_deployment(&masters, SystemClock.now()).await.unwrap().keychain;
        Self { database, keychain }
    }

    async fn revoke(&self, name: &str) {
        let expires_at = SystemClock.now().timestamp_millis() + 3_600_000;
        let mark = Marker::new(b"k").mark(Kind::Token, name);
        let revocation = Revocation { kind: Kind::Token, mark, cutoff: None, expires_at };
        let record = (SystemClock.now(), String::new());
        self.database.revoke(&self.keychain, (&revocation, None), record).await.unwrap();
    }

    /// What the feed has since a horizon, and the next one.
    async fn read(&self, horizon: i64, since: Option<i64>) -> (Marks, i64) {
        let feed = self.database.follow_revocations(&self.keychain, horizon, since).await.unwrap();
        assert!(feed.horizon >= horizon && feed.damaged == 0);
        (feed.revocations.iter().map(|(revocation, _)| mark(revocation)).collect(), feed.horizon)
    }

    /// What a node reads that starts now, and from where it reads on.
    async fn load(&self) -> (Marks, i64) {
        let mut loaded = Marks::new();
        let load = self.database.load_revocations(&self.keychain, SystemClock.now(), |revocation| {
            loaded.insert(mark(&revocation));
        });
        let horizon = load.await.unwrap().horizon;
        (loaded, horizon)
    }
}

fn mark(revocation: &Revocation) -> Vec<u8> {
    revocation.mark.as_bytes().to_vec()
}

/// Somebody else's transaction, which has begun and does not end for long.
async fn hang(url: String) {
    let connection = sea_orm::Database::connect(url).await.unwrap();
    let hanging = connection.begin().await.unwrap();
    hanging.execute_unprepared("SELECT pg_current_xact_id(), pg_sleep(5)").await.unwrap();
    hanging.commit().await.unwrap();
}

/// P4: rows commit in another order than they begin, and none of them is missed; nor does one that hangs hold up the others.
#[test]
fn p4_no_revocation_is_missed_among_many_writers() {
    let postgres = Postgres::start();
    let (url, each) = (postgres.url(), volume(2_000));
    let names =
        || (0..WRITERS).flat_map(move |writer| (0..each).map(move |number| format!("{writer}-{number}")));
    let made: Marks =
        names().map(|name| Marker::new(b"k").mark(Kind::Token, &name).as_bytes().to_vec()).collect();
    tampered::run(async {
        let bare = Arc::new(Bare::open(&url).await);
        let (none, mut horizon) = bare.load().await;
        assert!(none.is_empty());
        let other = thread::spawn(move || tampered::run(hang(url)));
        let write = |writer: usize| {
            let bare = Arc::clone(&bare);
            tokio::spawn(async move {
                for number in 0..each {
                    bare.revoke(&format!("{writer}-{number}")).await;
                }
            })
        };
        let writers: Vec<JoinHandle<()>> = (0..WRITERS).map(write).collect();
        let (mut seen, mut while_it_hung) = (Marks::new(), 0);
        loop {
            let are_done = writers.iter().all(JoinHandle::is_finished);
            let (read, next) = bare.read(horizon, None).await;
            (seen, horizon) = (seen.union(&read).cloned().collect(), next);
            if !other.is_finished() {
                while_it_hung = seen.len();
            }
            if are_done {
                break;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for writer in writers {
            writer.await.unwrap();
        }
        assert_eq!(seen.len(), WRITERS * each);
        assert!(seen == made && bare.load().await.0 == made);
        assert!(while_it_hung > 0, "what is committed is seen although something older is open");
        other.join().unwrap();
        // Once nothing older is open nothing is read again, unless it is in doubt.
        let (_, horizon) = bare.read(horizon, None).await;
        assert_eq!(bare.read(horizon, None).await.0.len(), 0);
        assert!(bare.read(horizon, Some(0)).await.0 == made);
        let later = SystemClock.now() + TimeDelta::hours(2);
        let forgotten = bare.database.forget_revocations(later).await.unwrap();
        assert_eq!(usize::try_from(forgotten).unwrap(), WRITERS * each);
        assert!(bare.load().await.0.is_empty());
    });
}
