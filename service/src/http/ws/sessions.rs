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

use actix_web::web::Data;
use chrono::{DateTime, Utc};
use claviger_actors::{
    access::Principal,
    session::{
        SessionHandle,
        close::Close,
        outbox::{LEDGER_MAX_BYTES, Ledger},
        scopes::{Role, Scopes},
    },
};
use uuid::Uuid;

use crate::{auth::Standing, http::state::AppState};

/// Sockets of one address that nobody has been recognised on.
const WAITING_OF_ADDRESS_MAX: usize = 64;
/// The same of all addresses.
const WAITING_MAX: usize = 1_000;

/// How often it is looked, at the end, whether anything is left to wait for; and how often in a row nothing must be.
const LOOK: Duration = Duration::from_millis(50);
const QUIET_LOOKS: u32 = 30;

/// How long a client must have taken nothing for its session to be ended when too much waits in all of them: whoever reads takes something sooner.
const JAMMED: Duration = Duration::from_secs(5);

/// A session that is known.
pub(super) struct Known {
    pub(super) standing: Arc<Standing>,
    /// The API key by which it was let in, as it was then.
    pub(super) principal: Option<Arc<Principal>>,
    /// When its credential ends by itself; a change of it may bring that nearer.
    pub(super) until: Mutex<Option<DateTime<Utc>>>,
    /// What it is, and what it was granted.
    pub(super) session: (Role, Scopes),
    /// There was something that its policies let it do.
    pub(super) has_rights: AtomicBool,
    /// It is told of events.
    pub(super) listens: AtomicBool,
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
    /// What waits for all clients.
    ledger: Arc<Ledger>,
    /// Sessions by principal.
    seats: Mutex<HashMap<Uuid, usize>>,
    /// Connections that have become sessions and are not over, in whatever state their clients are.
    sockets: Arc<AtomicUsize>,
    is_closing: AtomicBool,
}

#[derive(Default)]
struct Waiting {
    by_address: HashMap<IpAddr, usize>,
    all: usize,
}

/// One of those who have not been recognised, until it is dropped.
pub(super) struct Place {
    state: Data<AppState>,
    address: IpAddr,
}

/// One of the sessions that a principal may have, until it is dropped.
pub(super) struct Seat {
    state: Data<AppState>,
    principal: Uuid,
}

/// A connection that is a session, until it is over.
pub(super) struct Socket(Arc<AtomicUsize>);

impl Drop for Socket {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Sessions {
    /// A connection has become a session.
    pub(super) fn socket(&self) -> Socket {
        self.sockets.fetch_add(1, Ordering::AcqRel);
        Socket(Arc::clone(&self.sockets))
    }

    /// Where stands what waits for all clients.
    pub(super) fn ledger(&self) -> Arc<Ledger> {
        Arc::clone(&self.ledger)
    }

    /// Bytes that wait for clients.
    #[must_use]
    pub fn waiting_bytes(&self) -> usize {
        self.ledger.bytes()
    }

    /// Ends those sessions whose clients have taken nothing for longest, when too much waits in all of them together. Those that take something are
    /// only ended when it is twice as much.
    pub(super) fn relieve(&self) {
        if self.ledger.bytes() <= LEDGER_MAX_BYTES {
            return;
        }
        let entries = self.entries();
        let jammed = entries.iter().filter_map(|entry| Some((entry.handle.jammed_for()?, entry)));
        let mut jammed: Vec<_> = jammed.collect();
        jammed.sort_unstable_by_key(|(since, _)| std::cmp::Reverse(*since));
        let mut ended = 0_usize;
        for (jammed_for, entry) in jammed {
            let bytes = self.ledger.bytes();
            if bytes <= LEDGER_MAX_BYTES / 4 * 3 || jammed_for < JAMMED && bytes <= 2 * LEDGER_MAX_BYTES {
                break;
            }
            entry.handle.cut(Close::slow_consumer());
            ended += 1;
        }
        if ended > 0 {
            tracing::warn!(
                ended,
                "too much waited for the clients of this node; sessions that took nothing were ended"
            );
        }
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
            entry.handle.retire(Close::restart());
        }
    }

    /// Waits until all that is left are sessions whose clients take nothing, not even their end: nothing is gained by waiting for those.
    /// `in_flight` counts the requests that are worked on; of streams of events there were some, or none.
    pub async fn only_jammed_left(&self, in_flight: impl Fn() -> u64, had_readers: bool) {
        let mut quiet = 0;
        while quiet < QUIET_LOOKS {
            actix_web::rt::time::sleep(LOOK).await;
            let is_left = had_readers || self.sockets.load(Ordering::Acquire) > 0;
            let is_quiet = in_flight() == 0 && is_left;
            quiet = if is_quiet { quiet + 1 } else { 0 };
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

    fn seats(&self) -> MutexGuard<'_, HashMap<Uuid, usize>> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seat {
    /// `None` = the principal has as many as it may have.
    pub(super) fn take(state: &Data<AppState>, principal: Uuid) -> Option<Self> {
        let mut seats = state.sessions.seats();
        let taken = seats.get(&principal).copied().unwrap_or(0);
        if taken >= state.doors.sessions_per_principal {
            return None;
        }
        seats.insert(principal, taken + 1);
        drop(seats);
        Some(Self { state: state.clone(), principal })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = self.state.sessions.seats();
        if let Some(taken) = seats.get_mut(&self.principal) {
            *taken -= 1;
            if *taken == 0 {
                seats.remove(&self.principal);
            }
        }
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
    pub(super) fn take(state: &Data<AppState>, address: IpAddr) -> Option<Self> {
        let address = neighbourhood(address);
        let mut waiting = state.sessions.waiting();
        let here = waiting.by_address.get(&address).copied().unwrap_or(0);
        if here >= WAITING_OF_ADDRESS_MAX || waiting.all >= WAITING_MAX {
            return None;
        }
        waiting.by_address.insert(address, here + 1);
        waiting.all += 1;
        drop(waiting);
        Some(Self { state: state.clone(), address })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut waiting = self.state.sessions.waiting();
        waiting.all = waiting.all.saturating_sub(1);
        if let Some(here) = waiting.by_address.get_mut(&self.address) {
            *here -= 1;
            if *here == 0 {
                waiting.by_address.remove(&self.address);
            }
        }
    }
}
