//! All sessions of the node: how many there may be before they are known, and who is ended when something is revoked.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use chrono::{DateTime, Utc};
use claviger_actors::{
    access::Principal,
    session::{SessionHandle, close::Close},
};
use uuid::Uuid;

use crate::auth::Standing;

/// Sockets of one address that nobody has been recognised on.
const WAITING_OF_ADDRESS_MAX: usize = 64;
/// The same of all addresses.
const WAITING_MAX: usize = 1_000;

/// A session that is known.
pub(super) struct Known {
    pub(super) standing: Arc<Standing>,
    /// The API key by which it was let in, as it was then.
    pub(super) principal: Option<Arc<Principal>>,
    /// When its credential ends by itself.
    pub(super) until: Option<DateTime<Utc>>,
    /// There was something that its policies let it do.
    pub(super) has_rights: AtomicBool,
}

/// A session.
pub(super) struct Entry {
    pub(super) handle: SessionHandle,
    pub(super) known: OnceLock<Known>,
}

/// The sessions of a node.
#[derive(Default)]
pub struct Sessions {
    all: Mutex<HashMap<Uuid, Arc<Entry>>>,
    waiting: Mutex<Waiting>,
    /// Connections that have become sessions and are not over, in whatever state their clients are.
    sockets: Arc<AtomicUsize>,
    /// Connections of every kind.
    connections: Arc<AtomicUsize>,
    is_closing: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    by_address: HashMap<IpAddr, usize>,
    all: usize,
}

/// One of those who have not been recognised, until it is dropped.
pub(super) struct Place {
    sessions: actix_web::web::Data<super::AppState>,
    address: IpAddr,
}

/// A connection, until it is over.
pub struct Socket(Arc<AtomicUsize>);

impl Socket {
    fn count(counter: &Arc<AtomicUsize>) -> Self {
        counter.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(counter))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Sessions {
    /// Another connection, whatever it is for.
    #[must_use]
    pub fn connection(&self) -> Socket {
        Socket::count(&self.connections)
    }

    /// It has become a session.
    pub(super) fn socket(&self) -> Socket {
        Socket::count(&self.sockets)
    }

    /// Open sessions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.all().len()
    }

    /// There are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Ends them all, and those that come after.
    pub fn close_all(&self) {
        self.is_closing.store(true, Ordering::Release);
        for entry in self.entries() {
            entry.handle.close(Close::restart());
        }
    }

    /// Waits until all that is left are sessions whose clients take nothing, not even their end: nothing is gained by waiting for those.
    pub async fn only_jammed_left(&self) {
        const LOOK: Duration = Duration::from_millis(50);
        const PATIENCE: u32 = 40;
        let mut looks = 0;
        loop {
            let (connections, sockets) =
                (self.connections.load(Ordering::Acquire), self.sockets.load(Ordering::Acquire));
            looks = if connections <= sockets { looks + 1 } else { 0 };
            if looks > PATIENCE {
                return;
            }
            actix_web::rt::time::sleep(LOOK).await;
        }
    }

    pub(super) fn enter(&self, id: Uuid, entry: Arc<Entry>) {
        let handle = entry.handle.clone();
        self.all().insert(id, entry);
        if self.is_closing.load(Ordering::Acquire) {
            handle.close(Close::restart());
        }
    }

    pub(super) fn leave(&self, id: Uuid) {
        let mut all = self.all();
        all.remove(&id);
        if all.len() < all.capacity() / 4 {
            all.shrink_to_fit();
        }
    }

    pub(super) fn entries(&self) -> Vec<Arc<Entry>> {
        self.all().values().cloned().collect()
    }

    fn all(&self) -> MutexGuard<'_, HashMap<Uuid, Arc<Entry>>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Of IPv6, the network that one client has to itself.
fn neighbourhood(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Place {
    /// `None` = there are too many already.
    pub(super) fn take(state: &actix_web::web::Data<super::AppState>, address: IpAddr) -> Option<Self> {
        let address = neighbourhood(address);
        let mut waiting = state.sessions.waiting();
        let here = waiting.by_address.get(&address).copied().unwrap_or(0);
        if here >= WAITING_OF_ADDRESS_MAX || waiting.all >= WAITING_MAX {
            return None;
        }
        waiting.by_address.insert(address, here + 1);
        waiting.all += 1;
        drop(waiting);
        Some(Self { sessions: state.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.sessions.sessions.waiting();
        waiting.all = waiting.all.saturating_sub(1);
        if let Some(here) = waiting.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                waiting.by_address.remove(&self.address);
            }
        }
    }
}
