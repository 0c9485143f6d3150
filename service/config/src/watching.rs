//! What whoever watches a node gets to see: a listener of its own, metrics, log lines, traces.

use std::net::SocketAddr;

use crate::settings::{Judge, bounded, outgoing};

/// How a node is watched.
#[derive(Debug, Clone, PartialEq)]
pub struct Watching {
    /// Where to answer whoever watches and steers the node, without TLS; absent = nowhere.
    pub internal_listen: Option<SocketAddr>,
    /// How many keys have series of their own in the metrics.
    pub metrics_keys: usize,
    /// Filter of log lines.
    pub log_filter: String,
    /// Log lines as JSON.
    pub log_json: bool,
    /// Base URL of the collector of spans; absent = none are made.
    pub otlp_endpoint: Option<String>,
    /// Share of requests that are recorded when the caller does not say.
    pub sample_ratio: f64,
}

impl Judge<'_> {
    pub(crate) fn watching(&mut self, development: bool) -> Watching {
        let internal_listen = self.internal_listen();
        if development && internal_listen.is_some_and(|address| !address.ip().is_loopback()) {
            self.problem(
                "server.development",
                "is for loopback only; set server.internal_listen to 127.0.0.1",
            );
        }
        Watching {
            internal_listen,
            metrics_keys: self
                .parse("metrics.keys", "must be a whole number from 0 to 10000", |text| {
                    bounded(text, 0, 10_000)
                })
                .unwrap_or(200),
            log_filter: self
                .parse("log.filter", "must be a filter such as info", |text| Some(text.to_owned()))
                .unwrap_or_else(|| "info".to_owned()),
            log_json: self
                .parse("log.format", "must be json or text", |text| match text {
                    "json" => Some(true),
                    "text" => Some(false),
                    _ => None,
                })
                .unwrap_or(!development),
            otlp_endpoint: self.parse(
                "telemetry.otlp_endpoint",
                "must be an https URL, or an http URL on loopback",
                outgoing,
            ),
            sample_ratio: self
                .parse("telemetry.sample_ratio", "must be a number from 0 to 1", |text| {
                    text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio))
                })
                .unwrap_or(0.01),
        }
    }

    pub(crate) fn internal_listen(&mut self) -> Option<SocketAddr> {
        let rule = "must be an address such as 127.0.0.1:7421";
        self.parse("server.internal_listen", rule, |text| text.parse().ok())
    }
}
