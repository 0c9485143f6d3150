//! Many sessions of one node: what they cost while nothing happens, and how soon all are told when something does. `make bench` holds the bounds
//! themselves; here, on a build without optimisation and among other tests, five times of them.

#![expect(clippy::print_stderr, reason = "figures are for whoever looks")]

use std::time::Duration;

use claviger_tests::{Node, Postgres, Redis, cluster, node::TOKEN, proc, process, sessions::Crowd, volume};

use crate::events::{create, rotate};

const MANY: (&str, &str) = ("CLAVIGER_WS__SESSIONS_PER_PRINCIPAL", "20000");
const SLACK: f64 = 5.0;

#[test]
fn idle_sessions_cost_little() {
    proc::many_files();
    let count = volume(10_000);
    let node = Node::with(&[MANY]);
    let at = (node.address(), TOKEN);
    // What the first sessions leave behind is there once.
    drop(Crowd::open(100, at, None));
    process::pause(Duration::from_secs(1));
    let before = proc::resident(node.pid());
    let crowd = Crowd::open(count, at, None);
    process::pause(Duration::from_secs(1));
    let used = proc::cpu_seconds(node.pid());
    // From one tick to the next.
    let watched = Duration::from_secs(31);
    process::pause(watched);
    let share = (proc::cpu_seconds(node.pid()) - used) / watched.as_secs_f64();
    let each = (proc::resident(node.pid()) - before) * 1_024.0 / count as f64;
    drop(crowd);
    eprintln!("{count} idle sessions: {each:.1} KiB each, {:.1} % of a core", share * 100.0);
    assert!(each < 20.0 * SLACK, "{each:.1} KiB each");
    assert!(share < 0.05 * SLACK, "{share:.2} of a core");
}

#[test]
fn all_who_listen_are_told_soon_of_what_another_node_has_done() {
    proc::many_files();
    let (postgres, redis) = (Postgres::start(), Redis::start());
    let (url, hints) = (postgres.url(), redis.url());
    let environment = [("CLAVIGER_REDIS__URL", hints.as_str()), MANY];
    let nodes = cluster::at_once(2, |index| cluster::node(&url, index, &environment));
    nodes.iter().for_each(|node| crate::cluster::redis::status(node, "connected"));
    let client = nodes[0].client();
    create(&client, "k");
    let crowd = Crowd::open(volume(5_000), (nodes[1].address(), TOKEN), Some("k"));
    let times = crowd.told(20, move || rotate(&client, "k")["epoch"].as_u64().unwrap());
    let [half, most] = [0.5, 0.99].map(|share| times.quantile(share));
    eprintln!("{} receipts: half of them after {half:?}, all but a hundredth after {most:?}", times.0.len());
    assert!(most < Duration::from_millis(250).mul_f64(SLACK), "{most:?}");
}
