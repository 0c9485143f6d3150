//! The feed of revocations, read while many write.

use std::{collections::HashSet, sync::Arc, time::Duration};

use claviger_actors::{
    clock::{Clock as _, SystemClock},
    seal::MasterKeys,
    store::{Database, Place, Pool},
    tokens::{Kind, Marker, Revocation},
};
use claviger_crypto::secret::SecretBytes;
use claviger_tests::{Postgres, volume};

use crate::tampered;

const WRITERS: usize = 16;

/// P4: rows commit in another order than they begin, and none of them is missed; nor does one that hangs hold up the others.
#[test]
fn p4_no_revocation_is_missed_among_many_writers() {
    let postgres = Postgres::start();
    let each = volume(2_000);
    tampered::run(async {
        let pool = Pool {
            min: 1,
            max: 20,
            acquire_timeout: Duration::from_secs(30),
            max_lifetime: Duration::from_secs(600),
        };
        let url = postgres.url();
        let database = Database::open(Place::Server { url: &url, migration_url: None, pool }).await.unwrap();
        let masters = MasterKeys::new(vec![SecretBytes::new(vec![7; 32])]).unwrap();
        let keychain =
            Arc::new(database.open_deployment(&masters, SystemClock.now()).await.unwrap().keychain);
        let marker = Arc::new(Marker::new(b"k"));
        let expires_at = SystemClock.now().timestamp_millis() + 3_600_000;
        let one = move |marker: &Marker, name: &str| Revocation {
            kind: Kind::Token,
            mark: marker.mark(Kind::Token, name),
            cutoff: None,
            expires_at,
        };
        let start = database
            .load_revocations(&keychain, SystemClock.now(), |_| panic!("there is none"))
            .await
            .unwrap();
        // Somebody else's transaction has begun, and does not end for long.
        let other = std::thread::spawn({
            let url = postgres.url();
            move || {
                tampered::run(async {
                    use sea_orm::{ConnectionTrait as _, TransactionTrait as _};
                    let connection = sea_orm::Database::connect(url).await.unwrap();
                    let hanging = connection.begin().await.unwrap();
                    hanging.execute_unprepared("SELECT pg_current_xact_id(), pg_sleep(5)").await.unwrap();
                    hanging.commit().await.unwrap();
                });
            }
        });
        let writers: Vec<_> = (0..WRITERS)
            .map(|writer| {
                let (database, keychain, marker) =
                    (database.clone(), Arc::clone(&keychain), Arc::clone(&marker));
                tokio::spawn(async move {
                    for number in 0..each {
                        let revocation = one(&marker, &format!("{writer}-{number}"));
                        database
                            .revoke(&keychain, &revocation, (SystemClock.now(), String::new()))
                            .await
                            .unwrap();
                    }
                })
            })
            .collect();
        let (mut horizon, mut seen, mut during) = (start.horizon, HashSet::new(), 0);
        loop {
            let are_done = writers.iter().all(tokio::task::JoinHandle::is_finished);
            let feed = database.follow_revocations(&keychain, horizon, None).await.unwrap();
            assert!(feed.horizon >= horizon && feed.damaged == 0);
            horizon = feed.horizon;
            seen.extend(feed.revocations.iter().map(|(revocation, _)| revocation.mark.as_bytes().to_vec()));
            if are_done {
                break;
            }
            if !other.is_finished() {
                during = seen.len();
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        for writer in writers {
            writer.await.unwrap();
        }
        let made: HashSet<Vec<u8>> = (0..WRITERS)
            .flat_map(|writer| (0..each).map(move |number| format!("{writer}-{number}")))
            .map(|name| one(&marker, &name).mark.as_bytes().to_vec())
            .collect();
        assert_eq!(seen.len(), WRITERS * each);
        assert!(seen == made);
        assert!(during > 0, "what is committed is seen although something older hangs");
        // What a node reads that starts now is the same.
        let mut loaded = HashSet::new();
        let load = database.load_revocations(&keychain, SystemClock.now(), |revocation| {
            loaded.insert(revocation.mark.as_bytes().to_vec());
        });
        load.await.unwrap();
        assert!(loaded == made);
        other.join().unwrap();
        // Once nothing older is open, nothing is read again.
        let feed = database.follow_revocations(&keychain, horizon, None).await.unwrap();
        let feed = database.follow_revocations(&keychain, feed.horizon, None).await.unwrap();
        assert!(feed.revocations.is_empty());
        let again = database.follow_revocations(&keychain, feed.horizon, Some(0)).await.unwrap();
        assert_eq!(again.revocations.len(), WRITERS * each);
        assert_eq!(
            database.forget_revocations(SystemClock.now() + chrono::TimeDelta::hours(2)).await.unwrap(),
            (WRITERS * each) as u64
        );
    });
}
