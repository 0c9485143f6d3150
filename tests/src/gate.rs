//! A node within the test, to which devices come: it leaves their requests and hands out their first tokens, as a session would.

use std::{net::IpAddr, path::PathBuf, sync::Arc, thread};

use actix_web::rt::System;
use claviger_actors::{
    clock::{Clock as _, ClusterClock},
    devices::{ClientFacts, PairingPending, PairingRequest, device_id},
    keyring::{
        ChangeContext, KeyRingHandle,
        boot::{self, DefaultKeys, Identity},
    },
    masters::{GivenMasters, MasterSettings},
    seal::MasterKeys,
    store::{Database, Place, Pool},
};
use claviger_crypto::secret::SecretBytes;
use claviger_entity::{DeviceRole, Scope};
use tokio::sync::{mpsc, oneshot};

use crate::node::MASTER;

type Answer<T> = oneshot::Sender<Result<T, String>>;

/// Where the database is.
#[derive(Debug, Clone)]
pub enum At {
    /// A file.
    File(PathBuf),
    /// A server.
    Server(String),
}

enum Ask {
    Request(Box<PairingRequest>, String, Answer<PairingPending>),
    Take([u8; 32], DeviceRole, Answer<Option<String>>),
}

/// The node. It ends with the value, without leaving in order.
pub struct Gate {
    asks: Option<mpsc::UnboundedSender<Ask>>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Gate {
    /// Opens one.
    #[must_use]
    pub fn open(at: At, name: &str) -> Self {
        let (asks, asked) = mpsc::unbounded_channel();
        let name = name.to_owned();
        let thread = thread::spawn(move || System::new().block_on(serve(at, name, asked)));
        Self { asks: Some(asks), thread: Some(thread) }
    }

    /// Leaves the request of a device, known by this public key, for the role operator.
    ///
    /// # Errors
    /// What the device would be told.
    pub fn request(&self, public_key: [u8; 32], scopes: &[Scope]) -> Result<PairingPending, String> {
        self.request_from(public_key, DeviceRole::Operator, scopes, ("somebody", "192.0.2.1"))
    }

    /// The same for any role, under the credential of somebody, from an address.
    ///
    /// # Errors
    /// What the device would be told.
    pub fn request_from(
        &self,
        public_key: [u8; 32],
        role: DeviceRole,
        scopes: &[Scope],
        (actor, address): (&str, &str),
    ) -> Result<PairingPending, String> {
        let address: IpAddr = address.parse().unwrap();
        let request = Box::new(PairingRequest {
            public_key,
            role,
            scopes: scopes.iter().copied().collect(),
            client: ClientFacts::new("test", "1.0", "linux", None, "backend"),
            address: Some(address),
        });
        self.ask(|answer| Ask::Request(request, actor.to_owned(), answer))
    }

    /// What the device gets in the `hello-ok` of its next session.
    ///
    /// # Errors
    /// The change was not confirmed.
    pub fn take(&self, public_key: [u8; 32], role: DeviceRole) -> Result<Option<String>, String> {
        self.ask(|answer| Ask::Take(public_key, role, answer))
    }

    fn ask<T>(&self, ask: impl FnOnce(Answer<T>) -> Ask) -> Result<T, String> {
        let (answer, answered) = oneshot::channel();
        self.asks.as_ref().unwrap().send(ask(answer)).ok().unwrap();
        answered.blocking_recv().unwrap()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        drop(self.asks.take());
        let _ended = self.thread.take().map(thread::JoinHandle::join);
    }
}

async fn serve(at: At, name: String, mut asked: mpsc::UnboundedReceiver<Ask>) {
    let (ring, clock) = start(at, name).await;
    while let Some(ask) = asked.recv().await {
        let (ring, clock) = (ring.clone(), Arc::clone(&clock));
        actix_web::rt::spawn(async move {
            match ask {
                Ask::Request(request, actor, answer) => {
                    let context = ChangeContext { actor, ..ChangeContext::system("gate") };
                    let left = ring.request_pairing(context, *request, clock.now()).await;
                    let _gone = answer.send(left.map_err(|failure| failure.to_string()));
                }
                Ask::Take(public_key, role, answer) => {
                    let _behind = ring.catch_up().await;
                    let context = ChangeContext::system("gate");
                    let taken = ring.take_first_token(context, device_id(&public_key), role).await;
                    let taken = taken.map(|token| token.map(|token| token.to_string()));
                    let _gone = answer.send(taken.map_err(|failure| failure.to_string()));
                }
            }
        });
    }
}

async fn start(at: At, name: String) -> (KeyRingHandle, Arc<ClusterClock>) {
    let second = std::time::Duration::from_secs(1);
    let pool = Pool { min: 1, max: 4, acquire_timeout: 10 * second, max_lifetime: 600 * second };
    let place = match &at {
        At::File(path) => Place::File(path),
        At::Server(url) => Place::Server { url, migration_url: None, pool },
    };
    let database = Database::open(place).await.unwrap();
    let keys = MasterKeys::new(vec![SecretBytes::new(MASTER.as_bytes().to_vec())]).unwrap();
    let defaults = DefaultKeys {
        signing: "default-signing".parse().unwrap(),
        encryption: "default-encryption".parse().unwrap(),
    };
    let identity = Identity { name, version: "test".to_owned(), max_staleness: 120 * second };
    let clock = Arc::new(ClusterClock::default());
    let masters = GivenMasters { keys, renew: None };
    let booted = boot::boot(database, masters, identity, &defaults, Arc::clone(&clock)).await.unwrap();
    let started = booted.start(None, MasterSettings { rotate_every: None, rekey_rate: 1_000 });
    (started.ring, clock)
}
