//! How changes spread over nodes, and what nodes cost their database.

use std::time::{Duration, Instant};

use claviger_tests::{
    process,
    spread::{Spread, Times},
};

use crate::{
    figures::Bound,
    settings::Settings,
    table::{Judge, Table},
};

/// Sizes of cluster.
const NODES: [usize; 4] = [1, 3, 6, 12];
/// Keys that are rotated on each, in a run whose page is published.
const ROTATED: usize = 200;
/// The same in a shortened run.
const SHORT: usize = 20;
/// A fifth of them also while Redis is gone, where each takes a second.
const WITHOUT: usize = 5;
/// How long an idle cluster is watched.
const IDLE: Duration = Duration::from_secs(30);
/// A server's process that rests tells what it has done only after ten seconds; what making the keys has cost is no part of rest.
const SETTLED: Duration = Duration::from_secs(15);
/// Milliseconds in which a hundredth at most is not done: by the hint, and by the poll alone.
const AT_ONCE: Bound = Bound::AtMost(100.0);
const SOON: Bound = Bound::AtMost(1_000.0);
const POLLED: Bound = Bound::AtMost(2_000.0);

/// Latencies, and transactions of idle clusters.
pub(crate) fn measure(settings: &Settings, judge: &mut Judge) -> (Table, Table) {
    let rotated = if settings.is_whole() { ROTATED } else { SHORT };
    let mut latencies = Table::new(&["nodes", "what", "p50 ms", "p99 ms", "bound of p99"]);
    let mut load = Table::new(&["nodes", "transactions/s idle", "a node", "nodes that lagged"]);
    for nodes in NODES {
        println!("{nodes} nodes");
        let mut spread = Spread::start(nodes, rotated);
        let idle = transactions_per_second(&spread);
        let mut told = |what: &str, times: &Times, bound: Bound| {
            let ms = |share| times.quantile(share).as_secs_f64() * 1e3;
            let cell = judge.cell(&format!("{nodes} nodes, {what}, p99 in ms"), ms(0.99), bound);
            let (p50, p99) = (format!("{:.1}", ms(0.5)), format!("{:.1}", ms(0.99)));
            latencies.row(vec![nodes.to_string(), what.to_owned(), p50, p99, cell]);
        };
        let (strong, lagging) = spread.strong(rotated);
        told("strong rotation answered", &strong, AT_ONCE);
        told("eventual rotation seen everywhere", &spread.eventual(rotated), SOON);
        told("compromised version refused everywhere", &spread.revoked((1..rotated).step_by(2)), AT_ONCE);
        if nodes == 3 {
            spread.redis.kill();
            let few = rotated / WITHOUT;
            told("the second without Redis", &spread.eventual(few), POLLED);
            told("the third without Redis", &spread.revoked((1..few).step_by(2)), POLLED);
        }
        let a_node = format!("{:.1}", idle / nodes as f64);
        load.row(vec![nodes.to_string(), format!("{idle:.1}"), a_node, lagging.to_string()]);
    }
    (latencies, load)
}

fn transactions_per_second(spread: &Spread) -> f64 {
    let count = || -> f64 {
        let sql = "SELECT pg_stat_clear_snapshot(), xact_commit FROM pg_stat_database WHERE datname = current_database()";
        let text = spread.postgres.psql(sql);
        text.trim().rsplit('|').next().unwrap().parse().unwrap()
    };
    process::pause(SETTLED);
    let (before, began) = (count(), Instant::now());
    process::pause(IDLE);
    (count() - before) / began.elapsed().as_secs_f64()
}
