//! `make bench`: what Claviger costs and yields, side by side with bare handlers and with OpenBao, in one run on one machine.
//!
//! `BENCH_ROUNDS` and `BENCH_SECONDS` make it shorter, `BENCH_ONLY` names parts or operations by the beginnings of their names. A whole run
//! writes `docs/benchmarks.md` and `docs/cluster-figures.md`. A missed bound is said and does not fail: machines are noisy. A wrong answer
//! or a failed request does.
//!
//! `bench train FILE` measures nothing: it asks for the same, and has the program write what it counts to a file.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::indexing_slicing,
    reason = "a command for developers: what can't go on stops"
)]

mod cluster;
mod comparison;
mod decisions;
mod figures;
mod launch;
mod machine;
mod memory;
mod operation;
mod page;
mod peer;
mod rest;
mod revocations;
mod revoked;
mod rounds;
mod sessions;
mod settings;
mod signature;
mod starts;
mod stores;
mod table;
mod target;
mod training;
mod verification;
mod wrk;

use std::env;

use operation::Operation;
use rounds::{Programs, Rounds};
use settings::Settings;
use table::{Judge, Lines};

/// Names of what is measured on one machine, beside the operations.
const PARTS: [&str; 10] = [
    "start",
    "ring",
    "authorization",
    "revocations",
    "revoked",
    "audit-verify",
    "memory",
    "stores",
    "ws-sign-es256",
    "sessions",
];

fn main() {
    let mut arguments = env::args_os().skip(1);
    if let Some(word) = arguments.next() {
        assert!(word == "train", "bench knows no such word");
        return training::train(&arguments.next().expect("the file"));
    }
    let settings = Settings::of_environment();
    let programs = Programs::find();
    let machine = machine::described(&settings, &programs);
    let one =
        PARTS.iter().copied().chain(Operation::ALL.map(Operation::name)).any(|part| settings.wants(part));
    let several = settings.wants("cluster");
    assert!(one || several, "BENCH_ONLY names nothing that is measured");
    if one {
        one_machine(&settings, &programs, &machine);
    }
    if several {
        clusters(&settings, &machine);
    }
}

fn one_machine(settings: &Settings, programs: &Programs, machine: &str) {
    let (mut judge, mut lines) = (Judge::default(), Lines::new());
    if settings.wants("start") {
        starts::cold(settings, &mut lines, &mut judge);
    }
    if settings.wants("ring") {
        starts::ring(settings, &mut lines, &mut judge);
    }
    if settings.wants("authorization") {
        decisions::measure(settings, &mut lines, &mut judge);
    }
    if settings.wants("revocations") {
        revocations::measure(settings, &mut lines, &mut judge);
    }
    if settings.wants("revoked") {
        revoked::measure(settings, &programs.claviger, &mut lines, &mut judge);
    }
    if settings.wants("audit-verify") {
        verification::measure(settings, &mut lines, &mut judge);
    }
    if settings.wants("stores") {
        stores::measure(settings, &programs.claviger, &mut lines, &mut judge);
    }
    if settings.wants("ws-sign-es256") {
        sessions::signing(settings, &programs.claviger, &mut lines, &mut judge);
    }
    if settings.wants("sessions") {
        sessions::idle(&programs.claviger, &mut lines, &mut judge);
        sessions::events(&mut lines, &mut judge);
    }
    let memory = settings.wants("memory").then(|| memory::measure(settings, programs, &mut judge));
    let rounds = Rounds::measure(settings, programs);
    let memory = memory.unwrap_or_else(Lines::new);
    let parts = [
        ("machine", machine.to_owned()),
        ("ceiling", comparison::ceiling(&rounds, &mut judge).text()),
        ("goal", comparison::goal(&rounds)),
        ("peer", comparison::peer(&rounds, &mut judge).text()),
        ("audit", comparison::audit(&rounds, &mut judge).text()),
        ("latencies", comparison::latencies(&rounds).text()),
        ("memory", memory.text()),
        ("lines", lines.text()),
        ("summary", judge.summary()),
    ];
    for (name, part) in &parts {
        println!("\n{name}\n\n{part}");
    }
    if settings.wants_all() {
        page::BENCHMARKS.write(settings, &parts);
    }
}

fn clusters(settings: &Settings, machine: &str) {
    let mut judge = Judge::default();
    let (latencies, load) = cluster::measure(settings, &mut judge);
    let parts = [
        ("machine", machine.to_owned()),
        ("latencies", latencies.text()),
        ("load", load.text()),
        ("summary", judge.summary()),
    ];
    for (name, part) in &parts {
        println!("\n{name}\n\n{part}");
    }
    page::CLUSTER.write(settings, &parts);
}
