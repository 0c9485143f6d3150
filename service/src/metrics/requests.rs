//! Requests, by route and outcome.

use std::{
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use actix_web::http::StatusCode;
use claviger_actors::figures::{self, PLACES, Reading, Spread, Timings};
use claviger_policy::Permission;

use super::page::{Page, merge};
use crate::http::{
    problem::Code,
    table::{self, Access, ROUTES, Route},
};

/// Classes of statuses: 1xx to 5xx.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// Every code, and none.
const OUTCOMES: usize = Code::ALL.len() + 1;

/// A row a route, and one for paths that are none; of each one for every place where threads count (see [`Spread`]), once it is needed.
pub(super) struct Requests {
    rows: [Box<[OnceLock<Box<Row>>]>; PLACES],
    in_flight: Spread,
}

#[derive(Default)]
struct Row([Class; CLASSES.len()]);

struct Class {
    outcomes: [AtomicU64; OUTCOMES],
    took: Timings,
}

impl Default for Class {
    fn default() -> Self {
        Self { outcomes: std::array::from_fn(|_| AtomicU64::new(0)), took: Timings::default() }
    }
}

/// What has been counted of a class of statuses, at all places.
struct Counted {
    outcomes: [u64; OUTCOMES],
    took: Reading,
}

/// A request that is here.
pub(crate) struct InFlight<'a>(&'a Spread);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.leave();
    }
}

impl Requests {
    pub(super) fn new() -> Self {
        let rows = || std::iter::repeat_with(OnceLock::new).take(ROUTES.len() + 1).collect();
        Self { rows: std::array::from_fn(|_| rows()), in_flight: Spread::default() }
    }

    pub(super) fn enter(&self) -> InFlight<'_> {
        self.in_flight.enter();
        InFlight(&self.in_flight)
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight.sum()
    }

    /// The row of a route.
    pub(super) fn place(&self, route: Option<&'static Route>) -> usize {
        route.map_or(ROUTES.len(), table::place)
    }

    pub(super) fn answered(&self, place: usize, status: StatusCode, code: Option<Code>, took: Duration) {
        let Some(row) = self.rows.get(figures::place()).and_then(|rows| rows.get(place)) else { return };
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        let Some(class) = row.get_or_init(Box::default).0.get(class) else { return };
        class.took.observe(took);
        if let Some(counter) = class.outcomes.get(code.map_or(OUTCOMES - 1, |code| code as usize)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// What has been counted in a row, by class of statuses; classes that nobody has met are left out.
    fn counted(&self, place: usize) -> impl Iterator<Item = (&'static str, Counted)> {
        let rows: Vec<&Row> = self.rows.iter().filter_map(|rows| Some(&**rows.get(place)?.get()?)).collect();
        CLASSES.into_iter().enumerate().filter_map(move |(at, name)| {
            let mut all: Option<Counted> = None;
            for class in rows.iter().filter_map(|row| row.0.get(at)) {
                let (took, before) = (class.took.read(), all.take());
                let took =
                    before.as_ref().map_or_else(|| took.clone(), |before| took.clone().and(&before.took));
                let mut outcomes = before.map_or([0; OUTCOMES], |before| before.outcomes);
                outcomes
                    .iter_mut()
                    .zip(&class.outcomes)
                    .for_each(|(sum, counter)| *sum += counter.load(Ordering::Relaxed));
                all = Some(Counted { outcomes, took });
            }
            Some((name, all.filter(|all| all.took.count() > 0)?))
        })
    }

    /// How many signatures and verifications took up to each bound, whatever came of them.
    pub(super) fn operation_times(&self) -> Vec<u64> {
        let judged = [
            Permission::KeySign,
            Permission::KeyVerify,
            Permission::KeyHmac,
            Permission::TokenIssue,
            Permission::TokenVerify,
        ];
        let places = ROUTES.iter().enumerate();
        let places = places.filter(|(_, route)| judged.map(Access::Needs).contains(&route.access));
        let none = Timings::default().read();
        let all = places
            .flat_map(|(place, _)| self.counted(place))
            .fold(none, |all, (_, class)| all.and(&class.took));
        all.cumulative
    }

    /// Requests that were refused with 401 or 403.
    pub(super) fn denied(&self) -> u64 {
        let classes = (0..=ROUTES.len()).flat_map(|place| self.counted(place));
        let outcomes = classes.flat_map(|(_, class)| Code::ALL.iter().zip(class.outcomes));
        outcomes.filter(|(code, _)| matches!(code.status(), 401 | 403)).map(|(_, count)| count).sum()
    }

    /// Only what has happened: most routes never meet most codes.
    pub(super) fn write(&self, page: &mut Page) {
        let (mut counters, mut times) = (Vec::new(), Vec::new());
        for place in 0..=ROUTES.len() {
            let (route, method) = name(place);
            for (status, class) in self.counted(place) {
                times.push((vec![("route", route), ("method", method), ("status", status)], class.took));
                let none = if matches!(status, "2xx" | "3xx") { "ok" } else { "none" };
                let codes = Code::ALL.iter().map(|code| code.as_str()).chain([none]);
                for (code, count) in codes.zip(class.outcomes).filter(|(_, count)| *count > 0) {
                    let labels =
                        vec![("route", route), ("method", method), ("status", status), ("code", code)];
                    counters.push((labels, count));
                }
            }
        }
        merge(&mut counters);
        page.counters("claviger_requests_total", "Requests that were answered.", counters);
        page.timings(
            "claviger_request_duration_seconds",
            "Time from a request's head to its answer's.",
            times,
        );
        let in_flight = self.in_flight() as f64;
        page.gauge("claviger_requests_in_flight", "Requests that are being answered.", in_flight);
    }
}

/// Pattern and method of a row.
fn name(place: usize) -> (&'static str, &'static str) {
    ROUTES.get(place).map_or(("none", "none"), |route| (route.pattern, route.method.as_str()))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn every_route_has_a_row_of_its_own() {
        let requests = Requests::new();
        let places: Vec<usize> = ROUTES.iter().map(|route| requests.place(Some(route))).collect();
        assert_eq!(places, (0..ROUTES.len()).collect::<Vec<_>>());
        assert_eq!(requests.place(None), ROUTES.len());
    }

    /// What a request pays for being counted: well below a microsecond, once optimised.
    #[test]
    fn counting_is_cheap() {
        const TIMES: u32 = 100_000;
        let requests = Requests::new();
        let last = ROUTES.last();
        // The best of several rounds: the machine may be busy.
        let round = || {
            let began = Instant::now();
            for number in 0..TIMES {
                let _here = requests.enter();
                let place = requests.place(last);
                requests.answered(place, StatusCode::OK, None, Duration::from_micros(number.into()));
            }
            began.elapsed() / TIMES
        };
        let each = std::iter::repeat_with(round).take(10).min().unwrap_or_default();
        let limit = Duration::from_micros(if cfg!(debug_assertions) { 10 } else { 1 });
        assert!(each < limit, "{each:?}");
    }
}
