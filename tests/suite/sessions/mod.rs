//! The client library and `claviger watch`, against real nodes.

mod library;
mod nodes;
mod watch;

use std::{future::Future, time::Duration};

const LONG: Duration = Duration::from_secs(60);

/// Runs what waits, for as long as a test may take.
fn wait<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(LONG, future).await.expect("it takes too long") })
}

/// Does what blocks on a thread of its own: clients of REST may not be used where others wait.
fn aside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    std::thread::scope(|scope| scope.spawn(work).join().unwrap())
}

fn url(node: &claviger_tests::Node) -> String {
    format!("http://{}", node.address())
}
