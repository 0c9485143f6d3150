//! One backup, on a thread of its own.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use actix_web::web::Bytes;
use chrono::{DateTime, Utc};
use claviger_actors::{
    backup::{self, BackupError, Lock, Made},
    seal::Keychain,
    store::{Database, Place, Pool},
};
use claviger_config::{DatabaseUrl, Settings};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
use zeroize::Zeroizing;

use super::Tally;
use crate::startup;

/// Where the database is.
#[derive(Clone)]
pub(super) struct Source {
    url: DatabaseUrl,
    migration_url: Option<Zeroizing<String>>,
    pool: Pool,
}

impl Source {
    pub(super) fn new(settings: &Settings) -> Self {
        Self {
            url: settings.database.clone(),
            migration_url: settings.migration_url.clone(),
            pool: startup::pool(settings),
        }
    }

    fn place(&self) -> Place<'_> {
        match &self.url {
            DatabaseUrl::Sqlite(path) => Place::File(path),
            DatabaseUrl::Postgres(url) => Place::Server {
                url,
                migration_url: self.migration_url.as_ref().map(|url| url.as_str()),
                pool: self.pool,
            },
        }
    }
}

/// What a thread needs to make a backup.
pub(super) struct Making {
    pub(super) source: Source,
    pub(super) keychain: Arc<Keychain>,
    pub(super) lock: Lock,
    pub(super) now: DateTime<Utc>,
    pub(super) tally: Arc<Tally>,
    pub(super) permit: OwnedSemaphorePermit,
}

impl Making {
    /// Begins. What goes wrong is the last piece.
    pub(super) fn start(self, sender: mpsc::Sender<io::Result<Bytes>>) {
        let failing = sender.clone();
        let tally = Arc::clone(&self.tally);
        let begun = std::thread::Builder::new().name("backup".to_owned()).spawn(move || {
            let made = self.run(&sender);
            match made {
                Ok(made) => self.tally.done(&made),
                Err(error) => {
                    self.tally.failed.fetch_add(1, Ordering::Relaxed);
                    tracing::error!(%error, "there is no backup");
                    // Whoever waited for it may have gone.
                    let _gone = sender.blocking_send(Err(io::Error::other(error.to_string())));
                }
            }
            drop(self.permit);
        });
        if let Err(error) = begun {
            tally.failed.fetch_add(1, Ordering::Relaxed);
            // There is room: nothing was sent yet.
            let _gone = failing.try_send(Err(error));
        }
    }

    fn run(&self, sender: &mpsc::Sender<io::Result<Bytes>>) -> Result<Made, BackupError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let database = Database::beside(self.source.place()).await?;
            let how = (&self.lock, env!("CARGO_PKG_VERSION"), self.now);
            let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
            let mut outlet = async |bytes: Vec<u8>| sender.send(Ok(Bytes::from(bytes))).await.map_err(gone);
            let made = backup::make((&database, &self.keychain), how, &mut outlet, &mut |_, _, _| {}).await;
            database.close().await;
            made
        })
    }
}
