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

fn url(node: &claviger_tests::Node) -> String {
    format!("http://{}", node.address())
}
