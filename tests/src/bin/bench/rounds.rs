//! Alternating rounds: every server is asked for the same thing right after the other, so that what disturbs the machine disturbs all.

use std::{collections::BTreeMap, path::PathBuf};

use claviger_tests::{OpenBao, node};

use crate::{
    figures::Spread,
    launch,
    operation::Operation,
    rest,
    settings::{CONCURRENCY, Settings},
    target::{Kind, Target},
    wrk::{self, Sample},
};

/// What was measured in one round.
type Round = BTreeMap<(Kind, Operation, u16), Sample>;

/// What was measured in all of them.
#[derive(Default)]
pub(crate) struct Rounds(Vec<Round>);

/// The programs that are compared.
pub(crate) struct Programs {
    pub(crate) claviger: PathBuf,
    pub(crate) unaudited: Option<PathBuf>,
    pub(crate) peer: Option<PathBuf>,
}

impl Programs {
    /// Those that are there; says which are not.
    pub(crate) fn find() -> Self {
        let claviger = node::binary();
        let unaudited = launch::unaudited(&claviger);
        if unaudited.is_none() {
            println!(
                "skipped: Claviger without audit, which is not built (`CLAVIGER_UNAUDITED=1`, put aside)"
            );
        }
        let peer = OpenBao::program();
        if peer.is_none() {
            println!("skipped: OpenBao, which could not be installed (`make bench-tools` says why)");
        }
        Self { claviger, unaudited, peer }
    }

    /// Starts all of them.
    fn start(&self, settings: &Settings) -> Vec<Target> {
        let claviger = Target::claviger(Kind::Claviger, &self.claviger, settings);
        let ceiling = Target::ceiling(&rest::jwks(&claviger.client()), settings);
        let unaudited = self.unaudited.as_ref().map(|it| Target::claviger(Kind::Unaudited, it, settings));
        let peer = self.peer.as_ref().map(|it| Target::peer(it, settings));
        [ceiling, claviger].into_iter().chain(unaudited).chain(peer).collect()
    }
}

impl Rounds {
    /// Measures whatever is wanted. Each round has fresh servers, and begins with another one.
    pub(crate) fn measure(settings: &Settings, programs: &Programs) -> Self {
        let wanted = |operation: &Operation| settings.wants(operation.name());
        let operations: Vec<Operation> = Operation::ALL.into_iter().filter(wanted).collect();
        let mut rounds = Self::default();
        if operations.is_empty() {
            return rounds;
        }
        for round in 0..settings.rounds {
            let mut targets = programs.start(settings);
            let first = round % targets.len();
            targets.rotate_left(first);
            warm_up(&targets, &operations);
            rounds.0.push(Round::default());
            for operation in &operations {
                for connections in CONCURRENCY {
                    rounds.turn(&targets, *operation, connections, settings.seconds);
                }
                println!("round {} of {}: {}", round + 1, settings.rounds, operation.name());
            }
        }
        rounds
    }

    /// Asks each of the servers for the same.
    fn turn(&mut self, targets: &[Target], operation: Operation, connections: u16, seconds: u64) {
        let round = self.0.last_mut().unwrap();
        for target in targets {
            if let Some(request) = target.request(operation) {
                let sample = wrk::load(target, request, connections, seconds);
                round.insert((target.kind, operation, connections), sample);
            }
        }
    }

    /// One figure of a server, over all rounds.
    pub(crate) fn figure(
        &self,
        kind: Kind,
        operation: Operation,
        connections: u16,
        figure: fn(&Sample) -> f64,
    ) -> Option<Spread> {
        Spread::of(
            self.0.iter().filter_map(|round| Some(figure(round.get(&(kind, operation, connections))?))),
        )
    }

    /// How two servers compare, within each round.
    pub(crate) fn compared(
        &self,
        (one, other): (Kind, Kind),
        operation: Operation,
        connections: u16,
        compare: impl Fn(&Sample, &Sample) -> f64,
    ) -> Option<Spread> {
        let of = |round: &Round, kind| round.get(&(kind, operation, connections)).copied();
        Spread::of(self.0.iter().filter_map(|round| Some(compare(&of(round, one)?, &of(round, other)?))))
    }

    /// Something was measured of it.
    pub(crate) fn has(&self, kind: Kind, operation: Operation) -> bool {
        self.0.iter().any(|round| round.keys().any(|(of, about, _)| (*of, *about) == (kind, operation)))
    }
}

/// The first seconds of a process are not like the others.
fn warm_up(targets: &[Target], operations: &[Operation]) {
    for target in targets {
        if let Some(request) = operations.iter().find_map(|operation| target.request(*operation)) {
            let _unlike = wrk::load(target, request, 16, 1);
        }
    }
}
