//! Who may do what, under as many policies as a large deployment has.

use claviger::auth::Authorizer;
use claviger_tests::authorization::{About, World};

use crate::{
    figures::{Bound, Spread},
    settings::Settings,
    table::{Judge, Lines},
};

const POLICIES: usize = 2_000;
const KEYS: usize = 200;
/// Microseconds of a decision that was never made before, and of one that is remembered.
const BOUNDS: (f64, f64) = (2_000.0, 1.0);

pub(crate) fn measure(settings: &Settings, lines: &mut Lines, judge: &mut Judge) {
    for (about, name) in [(About::Roles, "a role each"), (About::Anybody, "anybody, the worst there is")] {
        let world = World::new(KEYS, POLICIES, about);
        let cold = (0..settings.rounds).map(|_| world.cold(&Authorizer::default()).as_secs_f64() * 1e6);
        let cold = Spread::of(cold).unwrap();
        let warm = (0..settings.rounds).map(|_| world.warm(&Authorizer::default(), 100).as_secs_f64() * 1e6);
        let warm = Spread::of(warm).unwrap();
        let bounded = if about == About::Roles { Bound::AtMost(BOUNDS.0) } else { Bound::None };
        let what = format!("decision under {POLICIES} policies about {name}");
        let told = |spread: Spread, decimals| (format!("{} µs", spread.told(decimals)), spread.median);
        lines.add(judge, &format!("{what}, new"), told(cold, 1), bounded);
        lines.add(judge, &format!("{what}, remembered"), told(warm, 3), Bound::AtMost(BOUNDS.1));
    }
}
