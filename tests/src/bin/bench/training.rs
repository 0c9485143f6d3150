//! What a build that counts the ways it takes is asked for, so that a release is made for them: `make release`.

use std::ffi::OsStr;

use claviger_tests::node;

use crate::{
    launch,
    operation::Operation,
    settings::{CONCURRENCY, Settings},
    target::{Kind, Target},
    wrk,
};

/// Of one operation with one number of connections: only the proportions matter.
const SECONDS: u64 = 2;

/// Every operation that is measured, and an end in order, at which the program writes what it has counted.
pub(crate) fn train(counts: &OsStr) {
    let settings = Settings::of_environment().everything();
    let mut command = launch::command(&node::binary());
    command.env("LLVM_PROFILE_FILE", counts);
    let folder = tempfile::tempdir().unwrap();
    let target = Target::claviger_by(&mut command, folder, Kind::Claviger, &settings);
    for connections in CONCURRENCY {
        for request in Operation::ALL.into_iter().filter_map(|operation| target.request(operation)) {
            let _speed = wrk::load(&target, request, connections, SECONDS);
        }
    }
    target.end();
}
