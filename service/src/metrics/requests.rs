//! Requests, by route and outcome.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use actix_web::http::StatusCode;
use claviger_actors::figures::Timings;
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

/// A row a route, and one for paths that are none.
pub(super) struct Requests {
    rows: Box<[Row]>,
    in_flight: AtomicU64,
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

/// A request that is here.
pub(crate) struct InFlight<'a>(&'a AtomicU64);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Requests {
    pub(super) fn new() -> Self {
        let rows = std::iter::repeat_with(Row::default).take(ROUTES.len() + 1).collect();
        Self { rows, in_flight: AtomicU64::default() }
    }

    pub(super) fn enter(&self) -> InFlight<'_> {
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(&self.in_flight)
    }

    pub(super) fn in_flight(&self) -> u64 {
        self.in_flight.load(Ordering::Relaxed)
    }

    /// The row of a route.
    pub(super) fn place(&self, route: Option<&'static Route>) -> usize {
        route.map_or(ROUTES.len(), table::place)
    }

    pub(super) fn answered(&self, place: usize, status: StatusCode, code: Option<Code>, took: Duration) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(1);
        let Some(class) = self.rows.get(place).and_then(|row| row.0.get(class)) else { return };
        class.took.observe(took);
        if let Some(counter) = class.outcomes.get(code.map_or(OUTCOMES - 1, |code| code as usize)) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// How many signatures and verifications took up to each bound, whatever came of them.
    pub(super) fn operation_times(&self) -> Vec<u64> {
        let mut all = Vec::new();
        let judged = [
            Permission::KeySign,
            Permission::KeyVerify,
            Permission::KeyHmac,
            Permission::TokenIssue,
            Permission::TokenVerify,
        ];
        let rows = ROUTES.iter().zip(&self.rows);
        let rows = rows.filter(|(route, _)| judged.map(Access::Needs).contains(&route.access));
        for class in rows.flat_map(|(_, row)| &row.0) {
            let took = class.took.read().cumulative;
            all.resize(took.len(), 0);
            all.iter_mut().zip(took).for_each(|(sum, count)| *sum += count);
        }
        all
    }

    /// Requests that were refused with 401 or 403.
    pub(super) fn denied(&self) -> u64 {
        let outcomes =
            self.rows.iter().flat_map(|row| &row.0).flat_map(|class| Code::ALL.iter().zip(&class.outcomes));
        let denied = outcomes.filter(|(code, _)| matches!(code.status(), 401 | 403));
        denied.map(|(_, counter)| counter.load(Ordering::Relaxed)).sum()
    }

    /// Only what has happened: most routes never meet most codes.
    pub(super) fn write(&self, page: &mut Page) {
        let (mut counters, mut times) = (Vec::new(), Vec::new());
        for (place, row) in self.rows.iter().enumerate() {
            let (route, method) = name(place);
            for (status, class) in CLASSES.iter().zip(&row.0) {
                let took = class.took.read();
                if took.count() == 0 {
                    continue;
                }
                times.push((vec![("route", route), ("method", method), ("status", status)], took));
                let none = if matches!(*status, "2xx" | "3xx") { "ok" } else { "none" };
                let codes = Code::ALL.iter().map(|code| code.as_str()).chain([none]);
                for (code, counter) in codes.zip(&class.outcomes) {
                    let count = counter.load(Ordering::Relaxed);
                    if count > 0 {
                        let labels =
                            vec![("route", route), ("method", method), ("status", *status), ("code", code)];
                        counters.push((labels, count));
                    }
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
        let in_flight = self.in_flight.load(Ordering::Relaxed);
        page.gauge("claviger_requests_in_flight", "Requests that are being answered.", in_flight as f64);
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
