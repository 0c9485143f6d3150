//! Memory of a small deployment, at rest and under load.

use std::time::Duration;

use claviger_tests::{proc, process};

use crate::{
    figures::{Bound, Spread},
    operation::Operation,
    rounds::Programs,
    settings::Settings,
    table::{Judge, Lines},
    target::{Kind, Target},
    wrk,
};

/// Connections of the load.
const CONNECTIONS: u16 = 64;
/// What may be resident under load with at most a hundred keys, in MiB.
const BOUND: f64 = 40.0;
/// Long enough for whatever a start has left to do.
const REST: Duration = Duration::from_secs(2);

/// Measures Claviger, and OpenBao beside it.
pub(crate) fn measure(settings: &Settings, programs: &Programs, judge: &mut Judge) -> Lines {
    let mut lines = Lines::new();
    let everything = settings.everything();
    let own = || Target::claviger(Kind::Claviger, &programs.claviger, &everything);
    told(&mut lines, judge, "Claviger", Bound::AtMost(BOUND), settings, own);
    if let Some(program) = &programs.peer {
        told(&mut lines, judge, "OpenBao", Bound::None, settings, || Target::peer(program, &everything));
    }
    lines
}

fn told(
    lines: &mut Lines,
    judge: &mut Judge,
    name: &str,
    bound: Bound,
    settings: &Settings,
    start: impl Fn() -> Target,
) {
    let (mut at_rest, mut under_load) = (Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        let target = start();
        process::pause(REST);
        at_rest.push(proc::resident(target.pid()));
        proc::forget_peak(target.pid());
        for request in Operation::ALL.into_iter().filter_map(|operation| target.request(operation)) {
            let _speed = wrk::load(&target, request, CONNECTIONS, settings.seconds);
        }
        under_load.push(proc::peak(target.pid()));
    }
    let mib = |figures: &[f64]| {
        let spread = Spread::of(figures.iter().copied()).unwrap();
        (format!("{} MiB", spread.told(1)), spread.median)
    };
    lines.add(judge, &format!("{name}, memory at rest"), mib(&at_rest), Bound::None);
    let what = format!("{name}, most memory under load, {CONNECTIONS} connections");
    lines.add(judge, &what, mib(&under_load), bound);
}
