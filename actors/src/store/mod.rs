//! The database: the truth about the ring.
//!
//! Repositories by file. A change of the ring is one transaction that moves the counter, writes the rows with fresh MACs, the
//! change log, the audit record and the answer kept for a retry; after it, either all of that happened or none.

mod access;
mod alerts;
mod audit;
mod backup;
mod change;
mod connect;
mod error;
mod follow;
mod idempotency;
mod incidents;
mod legacy;
mod lines;
mod load;
mod meta;
mod nodes;
mod pairing;
mod parcels;
mod reseal;
mod retry;
mod rows;
mod seal;
mod slow;
mod stores;
#[cfg(test)]
mod testing;
mod tokens;
mod uses;

pub(crate) use alerts::Sighting;
pub use audit::{Before, EventFilter, EventRow, NodeAnchor, NodeSettings, Starting};
pub(crate) use backup::{BackupTable, Reading, Writing, decode};
pub use backup::{LEFT_OUT, backed_up};
pub use change::{ChangeSet, DeviceWrite, LogLine, PolicyWrite, Turn, VersionWrite};
pub use connect::{Connections, Database, Place, Pool};
pub use error::StoreError;
pub use follow::{Changes, Followed};
pub use idempotency::IdempotencyRecord;
pub use incidents::IncidentWrite;
pub use legacy::{LegacyDatabase, LegacyPlace, LegacyRow};
pub use load::LoadedRing;
pub use meta::{Deployment, Restored};
pub(crate) use meta::{open_keychain, position};
pub use nodes::{FeedSight, NodeRow, Sight};
pub(crate) use pairing::LeftRequest;
pub use reseal::{Cursor, Resealed, SealedTable};
pub use seal::{Rekey, SealView};
pub(crate) use stores::{Batch, Found, Moved, Scope, StoresTurn};
pub use tokens::{Exchange, Feed, FeedPage, FeedReading, Outcome as ExchangeOutcome, RefreshRecord};
