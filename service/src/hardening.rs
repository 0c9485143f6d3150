//! Keeping memory out of files: no core dumps, no ptrace by others.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

/// Turns core dumps off; a failure is logged, since the service still does its work.
pub fn harden() {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    if let Err(error) = setrlimit(Resource::Core, none) {
        tracing::warn!(%error, "core dumps could not be limited");
    }
    if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
        tracing::warn!(%error, "the process could not be made undumpable");
    }
}

/// Lets this process have as many files and connections as it may have, and answers how many that are.
pub fn open_files() -> u64 {
    let given = getrlimit(Resource::Nofile);
    let Some(most) = given.maximum else { return given.current.unwrap_or(u64::MAX) };
    match setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum: Some(most) }) {
        Ok(()) => most,
        Err(error) => {
            tracing::warn!(%error, "the limit of open files could not be raised");
            given.current.unwrap_or(most)
        }
    }
}
