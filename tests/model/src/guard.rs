//! The rules that the promises rest on, one variant each.

use crate::bounds::Bounds;
use crate::properties::{
    ACKNOWLEDGED, DUE_ONCE, EFFECTIVE_BY, NAMED, NEVER_INVALID, ONE_LINE, STALENESS, TWO_POLLS,
};

/// The variants and a list of them that can't fall behind.
macro_rules! guards {
    ($(#[$doc:meta])* pub enum Guard { $($(#[$rule:meta])* $name:ident,)* }) => {
        $(#[$doc])*
        pub enum Guard { $($(#[$rule])* $name,)* }

        impl Guard {
            /// Every rule.
            pub const ALL: &[Self] = &[$(Self::$name,)*];
        }
    };
}

guards! {
/// A rule of the protocol. A [`Protocol`](crate::Protocol) may lack one of them; then a property fails, or the rule is idle.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guard {
    // P2
    /// A change is decided on the rows that are there under the lock of the epoch row, not on the node's snapshot.
    DecideUnderLock,
    /// A due rotation names the primary that is due; it is refused when another one is primary by then.
    RotationNamesPrimary,

    // P3
    /// A version that the snapshot lacks is looked up in the database before anything is said about it.
    UnknownIsLookedUp,
    /// A look-up that failed is 503, not "unknown".
    AwayIsNotUnknown,
    /// So is a version that the snapshot holds as suspended: the refusal may have been lifted.
    SuspendedIsLookedUp,
    /// "Unknown" is remembered only for requests that came before the look-up. Kept for an epoch it outlives the truth.
    UnknownIsNotKept,
    /// Grace is a token's longest life and `max_staleness` on top: so long a node behind still signs with the old primary.
    GraceCoversStaleness,
    /// A standby verifies: a node ahead signs with what is standby on a node behind.
    StandbyVerifies,

    // P4, acknowledgements
    /// A node acknowledges an epoch when its snapshot is there, not when it has heard of it.
    AckAfterSwap,
    /// ... and when no request holds an older one.
    AckAfterDrain,
    /// ... of any older one, not only of the last before.
    AckCountsAllOlder,
    /// An acknowledgement carries an HMAC: nobody else can give it.
    AckIsAuthenticated,
    /// The node that makes the change is waited for like any other.
    SelfIsAwaited,
    /// A snapshot is never replaced by an older one: a slow answer loses against a faster one.
    NeverBack,

    // P4, who is waited for
    /// The live nodes are rows in the database, not names in Redis.
    LiveFromDatabase,
    /// They are read once the commit has returned. A statement of the change's own transaction comes too early: a node may register
    /// and load what was there before the commit after that statement, and be in neither.
    LiveReadAfterCommit,
    /// A row counts for `max_staleness` and one heartbeat more.
    LiveCoversHeartbeat,
    /// A poll confirms only when the node's own row was renewed at most one heartbeat before: whoever serves is seen.
    ConfirmNeedsRow,
    /// A row belongs to one start of one process, not to a name that a replacement takes over while the old one still serves.
    RowPerBoot,
    /// Starting: first the row, then the snapshot.
    RegisterBeforeLoad,
    /// Stopping: first the last request, then the row.
    DrainBeforeLeave,

    // P4, staleness
    /// A node without confirmation refuses.
    Fence,
    /// The age is looked at in each request, not by a timer that may itself be late.
    FenceInRequest,
    /// It is looked at again when the request ends, not only when it comes in.
    FenceAtEnd,
    /// A request is judged by the confirmation of the snapshot that it holds, not by the node's latest.
    FenceBySnapshot,
    /// A confirmation dates from the moment when the poll was sent.
    StalenessFromSend,
    /// A poll that found something new confirms nothing before the node has it.
    ConfirmAfterCatchUp,
    /// A poll is answered by the primary database, not by a replica.
    ConfirmFromPrimary,
    /// A hint confirms nothing.
    HintConfirmsNothing,
    /// `effective_by` counts from the commit, not from the start of its transaction (`now()` in PostgreSQL).
    EffectiveFromCommit,

    // P4, two polls
    /// A node is ready when its snapshot is not older than a poll, however long it took to load.
    CatchUpBeforeReady,
    /// A node polls whether there are hints or not.
    PollFloor,
}
}

/// The property that fails without a guard, and bounds that are enough to see it.
#[must_use]
pub fn broken_without(guard: Guard) -> (Bounds, &'static str) {
    let (one, two) = (Bounds::new(1, 0, 0), Bounds::new(2, 0, 0));
    match guard {
        Guard::DecideUnderLock => (two, ONE_LINE),
        Guard::RotationNamesPrimary => (two, DUE_ONCE),
        Guard::UnknownIsLookedUp | Guard::UnknownIsNotKept => (two, NEVER_INVALID),
        Guard::AwayIsNotUnknown => (Bounds::new(2, 0, 1), NEVER_INVALID),
        Guard::SuspendedIsLookedUp | Guard::GraceCoversStaleness => (two.lifecycle(), NEVER_INVALID),
        Guard::StandbyVerifies => (one, NEVER_INVALID),
        Guard::AckAfterSwap | Guard::AckAfterDrain | Guard::AckIsAuthenticated | Guard::SelfIsAwaited => {
            (one, ACKNOWLEDGED)
        }
        Guard::AckCountsAllOlder => (two, ACKNOWLEDGED),
        Guard::NeverBack => (one, ACKNOWLEDGED),
        Guard::LiveFromDatabase | Guard::DrainBeforeLeave => (one, NAMED),
        Guard::LiveReadAfterCommit | Guard::RowPerBoot | Guard::RegisterBeforeLoad => {
            (Bounds::new(1, 1, 0), NAMED)
        }
        Guard::LiveCoversHeartbeat => (one.heartbeat(1), NAMED),
        Guard::ConfirmNeedsRow => (one, NAMED),
        Guard::Fence | Guard::FenceInRequest | Guard::FenceAtEnd | Guard::FenceBySnapshot => {
            (one, EFFECTIVE_BY)
        }
        Guard::StalenessFromSend | Guard::ConfirmAfterCatchUp => (one, EFFECTIVE_BY),
        Guard::ConfirmFromPrimary | Guard::HintConfirmsNothing => (one, STALENESS),
        Guard::EffectiveFromCommit => (one, EFFECTIVE_BY),
        Guard::CatchUpBeforeReady => (Bounds::new(1, 1, 0).max_staleness(3).punctual(), TWO_POLLS),
        Guard::PollFloor => (one.max_staleness(3).punctual(), TWO_POLLS),
    }
}
