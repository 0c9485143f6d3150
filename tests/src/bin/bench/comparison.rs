//! What the rounds say: against the ceiling, against the peer, with and without audit.

use crate::{
    figures::Bound,
    operation::Operation,
    rounds::Rounds,
    settings::CONCURRENCY,
    table::{Judge, Table},
    target::Kind,
    wrk::Sample,
};

const RATE: fn(&Sample) -> f64 = |sample| sample.rate;
const P50: fn(&Sample) -> f64 = |sample| sample.p50;
const P99: fn(&Sample) -> f64 = |sample| sample.p99;
const CPU: fn(&Sample) -> f64 = |sample| sample.cpu;

/// Every operation of which something was measured on both, with each number of connections.
fn measured(rounds: &Rounds, kind: Kind) -> impl Iterator<Item = (Operation, u16)> {
    let of_both =
        move |operation: &Operation| rounds.has(Kind::Claviger, *operation) && rounds.has(kind, *operation);
    Operation::ALL
        .into_iter()
        .filter(of_both)
        .flat_map(|operation| CONCURRENCY.into_iter().map(move |connections| (operation, connections)))
}

/// One cell: the median.
fn told(
    rounds: &Rounds,
    kind: Kind,
    at: (Operation, u16),
    figure: fn(&Sample) -> f64,
    decimals: usize,
) -> String {
    let spread = rounds.figure(kind, at.0, at.1, figure);
    spread.map_or_else(|| "–".to_owned(), |spread| format!("{:.decimals$}", spread.median))
}

/// Claviger's throughput as a share of the ceiling's.
pub(crate) fn ceiling(rounds: &Rounds, judge: &mut Judge) -> Table {
    let header = [
        "operation",
        "c",
        "ceiling /s",
        "Claviger /s",
        "share",
        "bound",
        "CPU µs ceiling",
        "CPU µs Claviger",
    ];
    let mut table = Table::new(&header);
    for (operation, connections) in measured(rounds, Kind::Ceiling) {
        let at = (operation, connections);
        let share =
            rounds.compared((Kind::Claviger, Kind::Ceiling), at.0, at.1, |own, top| own.rate / top.rate);
        let Some(share) = share else { continue };
        let what = format!("{} at {connections}, share of the ceiling", operation.name());
        table.row(vec![
            operation.name().to_owned(),
            connections.to_string(),
            told(rounds, Kind::Ceiling, at, RATE, 0),
            told(rounds, Kind::Claviger, at, RATE, 0),
            share.told(2),
            judge.cell(&what, share.median, operation.of_ceiling(connections)),
            told(rounds, Kind::Ceiling, at, CPU, 1),
            told(rounds, Kind::Claviger, at, CPU, 1),
        ]);
    }
    table
}

/// Claviger's throughput and slowest hundredth against OpenBao's.
pub(crate) fn peer(rounds: &Rounds, judge: &mut Judge) -> Table {
    let header = [
        "operation",
        "c",
        "OpenBao /s",
        "Claviger /s",
        "times",
        "bound",
        "p99 of OpenBao's",
        "bound",
        "CPU µs OpenBao",
    ];
    let mut table = Table::new(&header);
    for (operation, connections) in measured(rounds, Kind::OpenBao) {
        let at = (operation, connections);
        let both = (Kind::Claviger, Kind::OpenBao);
        let times = rounds.compared(both, at.0, at.1, |own, peer| own.rate / peer.rate);
        let slow = rounds.compared(both, at.0, at.1, |own, peer| own.p99 / peer.p99);
        let (Some(times), Some(slow)) = (times, slow) else { continue };
        let what = format!("{} at {connections}", operation.name());
        table.row(vec![
            operation.name().to_owned(),
            connections.to_string(),
            told(rounds, Kind::OpenBao, at, RATE, 0),
            told(rounds, Kind::Claviger, at, RATE, 0),
            times.told(1),
            judge.cell(&format!("{what}, times OpenBao"), times.median, operation.of_peer(connections)),
            slow.told(2),
            judge.cell(&format!("{what}, p99 of OpenBao's"), slow.median, operation.p99_of_peer(connections)),
            told(rounds, Kind::OpenBao, at, CPU, 1),
        ]);
    }
    table
}

/// What the audit log costs: of throughput, and for each record.
pub(crate) fn audit(rounds: &Rounds, judge: &mut Judge) -> Table {
    let header =
        ["operation", "c", "without /s", "with /s", "cost", "bound", "CPU µs a record", "µs a record"];
    let mut table = Table::new(&header);
    for (operation, connections) in measured(rounds, Kind::Unaudited).filter(|at| at.0.is_audited()) {
        let at = (operation, connections);
        let both = (Kind::Claviger, Kind::Unaudited);
        let cost = rounds.compared(both, at.0, at.1, |with, without| 1.0 - with.rate / without.rate);
        let cpu = rounds.compared(both, at.0, at.1, |with, without| with.cpu - without.cpu);
        let time = rounds.compared(both, at.0, at.1, |with, without| 1e6 / with.rate - 1e6 / without.rate);
        let (Some(cost), Some(cpu), Some(time)) = (cost, cpu, time) else { continue };
        let what = format!("{} at {connections}, cost of audit", operation.name());
        table.row(vec![
            operation.name().to_owned(),
            connections.to_string(),
            told(rounds, Kind::Unaudited, at, RATE, 0),
            told(rounds, Kind::Claviger, at, RATE, 0),
            cost.told(2),
            judge.cell(&what, cost.median, operation.of_audit(connections)),
            cpu.told(1),
            time.told(1),
        ]);
    }
    table
}

/// Latencies of all of them, in milliseconds: median, and the one that a hundredth exceeds.
pub(crate) fn latencies(rounds: &Rounds) -> Table {
    let kinds = [Kind::Ceiling, Kind::Claviger, Kind::Unaudited, Kind::OpenBao];
    let mut table =
        Table::new(&["operation", "c", "ceiling", "Claviger", "Claviger without audit", "OpenBao"]);
    for (operation, connections) in measured(rounds, Kind::Claviger) {
        let at = (operation, connections);
        let mut row = vec![operation.name().to_owned(), connections.to_string()];
        for kind in kinds {
            let slow = rounds.figure(kind, operation, connections, P99);
            let cell = slow.map(|slow| format!("{} / {}", told(rounds, kind, at, P50, 2), slow.told(2)));
            row.push(cell.unwrap_or_else(|| "–".to_owned()));
        }
        table.row(row);
    }
    table
}

/// The goal, which is more than the bounds.
pub(crate) fn goal(rounds: &Rounds) -> String {
    const GOAL: f64 = 0.8;
    let shares =
        measured(rounds, Kind::Ceiling).filter(|(_, connections)| *connections > 1).filter_map(|at| {
            rounds.compared((Kind::Claviger, Kind::Ceiling), at.0, at.1, |own, top| own.rate / top.rate)
        });
    let shares: Vec<f64> = shares.map(|share| share.median).collect();
    let reached = shares.iter().filter(|share| Bound::AtLeast(GOAL).keeps(**share)).count();
    format!(
        "The goal of {GOAL} with 16 and 64 connections is reached by {reached} of {} figures.\n",
        shares.len()
    )
}
