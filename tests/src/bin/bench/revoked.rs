//! Tokens issued and verified while there are live revocations to look through, as a share of the same ceiling as without any.

use claviger_actors::clock::{Clock as _, SystemClock};
use claviger_tests::seed;

use crate::{
    figures::Spread,
    operation::Operation,
    rest,
    settings::{CONCURRENCY, Settings},
    table::{Judge, Lines},
    target::{Kind, Target},
    wrk::{self, Sample},
};

const LIVE: [usize; 2] = [1_000, 100_000];
const OPERATIONS: [Operation; 2] = [Operation::Issue, Operation::Verify];

pub(crate) fn measure(settings: &Settings, binary: &std::path::Path, lines: &mut Lines, judge: &mut Judge) {
    let settings = &settings.only(OPERATIONS.map(Operation::name));
    for live in LIVE {
        let claviger = claviger(live, binary, settings);
        let ceiling = Target::ceiling(&rest::jwks(&claviger.client()), settings);
        for operation in OPERATIONS {
            for connections in CONCURRENCY {
                let share = share((&claviger, &ceiling), (operation, connections), settings);
                let name = operation.name();
                let what =
                    format!("{name} with {live} live revocations at {connections}, share of the ceiling");
                let bound = operation.of_ceiling(connections);
                lines.add(judge, &what, (share.told(2), share.median), bound);
            }
        }
        let page = claviger.admin().get("/metrics").text;
        let told = format!("claviger_revocations_live {live}");
        assert!(page.lines().any(|line| line == told), "{page}");
    }
}

fn claviger(live: usize, binary: &std::path::Path, settings: &Settings) -> Target {
    let folder = tempfile::tempdir().unwrap();
    std::fs::create_dir(folder.path().join("data")).unwrap();
    let path = folder.path().join("data/claviger.db");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(seed::revocations(&path, live, SystemClock.now()));
    Target::claviger_in(folder, Kind::Claviger, binary, settings)
}

fn share(
    (claviger, ceiling): (&Target, &Target),
    (operation, connections): (Operation, u16),
    settings: &Settings,
) -> Spread {
    let load = |target: &Target| -> Sample {
        wrk::load(target, target.request(operation).unwrap(), connections, settings.seconds)
    };
    let rounds = (0..=settings.rounds).map(|round| {
        let (ours, top) = if round % 2 == 0 {
            let ours = load(claviger);
            (ours, load(ceiling))
        } else {
            let top = load(ceiling);
            (load(claviger), top)
        };
        ours.rate / top.rate
    });
    // The first seconds of a process are not like the others.
    Spread::of(rounds.skip(1)).unwrap()
}
