//! Faults that go away by themselves.

use std::time::Duration;

use claviger_crypto::random;
use sea_orm::{DbErr, RuntimeErr};

use super::StoreError;

/// How often a statement is tried again.
const TRIES: u32 = 3;
/// Longest pause before the first further try; it doubles.
const PAUSE_MS: u64 = 20;
/// PostgreSQL: serialization_failure, deadlock_detected, lock_not_available. SQLite: BUSY with its extensions.
const PASSING: [&str; 6] = ["40001", "40P01", "55P03", "5", "261", "517"];

/// Tries work of which nothing has been written again when another transaction was in its way.
pub(super) async fn retried<T, F: Future<Output = Result<T, StoreError>>>(
    work: impl Fn() -> F,
) -> Result<T, StoreError> {
    let mut tries = 0;
    loop {
        match work().await {
            Err(StoreError::Database(error)) if tries < TRIES && is_passing(&error) => {
                tries += 1;
                // Whoever was in the way tries again too; at another moment, for sure.
                let jitter: u64 =
                    random::bytes(1).map_or(128, |bytes| bytes.first().copied().unwrap_or(128).into());
                let longest = PAUSE_MS << tries;
                tokio::time::sleep(Duration::from_millis(1 + longest * jitter / 256)).await;
            }
            done => return done,
        }
    }
}

impl StoreError {
    /// The connection was gone before anything was asked, or while it was.
    #[must_use]
    pub fn is_of_the_connection(&self) -> bool {
        let Self::Database(error) = self else { return false };
        let (DbErr::Exec(RuntimeErr::SqlxError(cause))
        | DbErr::Query(RuntimeErr::SqlxError(cause))
        | DbErr::Conn(RuntimeErr::SqlxError(cause))) = error
        else {
            return false;
        };
        // PostgreSQL: admin_shutdown, crash_shutdown.
        let told = cause.as_database_error().and_then(|error| error.code());
        matches!(cause.as_ref(), sqlx::Error::Io(_))
            || told.is_some_and(|code| matches!(code.as_ref(), "57P01" | "57P02"))
    }

    /// Another transaction was in the way; nothing has been written.
    #[must_use]
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Database(error) if is_passing(error))
    }
}

fn is_passing(error: &DbErr) -> bool {
    let (DbErr::Exec(RuntimeErr::SqlxError(cause))
    | DbErr::Query(RuntimeErr::SqlxError(cause))
    | DbErr::Conn(RuntimeErr::SqlxError(cause))) = error
    else {
        return false;
    };
    let code = cause.as_database_error().and_then(|error| error.code());
    code.is_some_and(|code| PASSING.contains(&code.as_ref()))
}
