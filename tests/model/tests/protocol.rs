//! Every state of the protocol within bounds keeps the promises; and without any one of its rules some state does not.

#![expect(clippy::print_stdout, reason = "the counts are what one wants to see with --no-capture")]

use std::time::Instant;

use claviger_model::{Bounds, Guard, Protocol, broken_without};
use stateright::{Checker, HasDiscoveries, Model};

/// Whether the volume is the one of `make test-full`.
fn is_full() -> bool {
    std::env::var_os("TEST_FULL").is_some()
}

/// Visits every state. The floor tells a model that has lost its steps from one that keeps its promises.
fn walk<const N: usize>(protocol: Protocol<N>, floor: usize) {
    let began = Instant::now();
    let checker = protocol.checker().threads(2).spawn_bfs().join();
    println!(
        "{N} nodes, {:?}{}: {} states, {} steps, depth {}, {:.1} s",
        protocol.bounds,
        if protocol.verbatim { ", verbatim" } else { "" },
        checker.unique_state_count(),
        checker.state_count(),
        checker.max_depth(),
        began.elapsed().as_secs_f64(),
    );
    assert!(checker.is_done());
    checker.assert_properties();
    assert!(checker.unique_state_count() >= floor, "fewer than {floor} states");
}

#[test]
fn three_nodes_two_changes_a_crash_and_a_cut() {
    if is_full() {
        walk(Protocol::<3>::whole(Bounds::new(2, 1, 1)), 7_000_000);
    } else {
        walk(Protocol::<3>::whole(Bounds::new(2, 0, 0)), 450_000);
        walk(Protocol::<3>::whole(Bounds::new(1, 1, 1)), 100_000);
        walk(Protocol::<2>::whole(Bounds::new(2, 1, 1)), 300_000);
    }
}

#[test]
fn heartbeats_apart_from_polls() {
    walk(Protocol::<2>::whole(Bounds::new(1, 1, 1).heartbeat(1).max_staleness(2)), 100_000);
    if is_full() {
        walk(Protocol::<3>::whole(Bounds::new(1, 1, 1).heartbeat(1).max_staleness(2)), 2_500_000);
        walk(Protocol::<3>::whole(Bounds::new(2, 0, 0).heartbeat(1)), 2_000_000);
    } else {
        walk(Protocol::<3>::whole(Bounds::new(1, 1, 0).heartbeat(1)), 80_000);
    }
}

#[test]
fn versions_are_suspended_resumed_and_retired() {
    if is_full() {
        walk(Protocol::<3>::whole(Bounds::new(2, 0, 0).lifecycle()), 2_000_000);
        walk(Protocol::<2>::whole(Bounds::new(3, 0, 0).lifecycle()), 8_000_000);
    } else {
        walk(Protocol::<2>::whole(Bounds::new(2, 1, 1).lifecycle()), 1_500_000);
    }
}

#[test]
fn two_polls_are_enough() {
    walk(Protocol::<3>::whole(Bounds::new(1, 1, 0).max_staleness(3).punctual()), 10_000);
    if is_full() {
        walk(Protocol::<3>::whole(Bounds::new(2, 1, 0).max_staleness(3).punctual()), 2_000_000);
    }
}

#[test]
fn more_nodes_change_nothing() {
    walk(Protocol::<4>::whole(Bounds::new(1, 0, 0)), 30_000);
    if is_full() {
        walk(Protocol::<4>::whole(Bounds::new(1, 1, 1)), 700_000);
        walk(Protocol::<5>::whole(Bounds::new(1, 1, 0)), 600_000);
    }
}

#[test]
fn nothing_hides_in_what_is_forgotten() {
    walk(Protocol::<2>::whole(Bounds::new(1, 1, 1)).verbatim(), 150_000);
    if is_full() {
        walk(Protocol::<3>::whole(Bounds::new(1, 1, 0)).verbatim(), 2_000_000);
        walk(Protocol::<2>::whole(Bounds::new(2, 1, 0)).verbatim(), 2_500_000);
    }
}

#[test]
fn every_rule_is_needed() {
    for guard in Guard::ALL {
        let (bounds, property) = broken_without(*guard);
        let until = HasDiscoveries::AllOf([property].into());
        let checker = Protocol::<3>::without(*guard, bounds).checker().finish_when(until).spawn_bfs().join();
        let states = checker.unique_state_count();
        let path = checker.discovery(property);
        let path = path.unwrap_or_else(|| panic!("{guard:?} is idle: {property} holds in {states} states"));
        println!("without {guard:?}, after {states} states, {property}: {:?}", path.into_actions());
    }
}
