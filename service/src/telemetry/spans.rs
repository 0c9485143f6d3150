//! A span a request, for a collector that speaks OTLP over HTTP.
//!
//! Whether a request is recorded is decided before anything is made for it: as the caller's `traceparent` says, or else by
//! `telemetry.sample_ratio`. Spans hold what the log would: method, route, outcome, request id; never a path, a key or a body. They wait in a
//! bounded queue and are sent by a thread of their own; what does not fit is dropped.

use std::{
    hash::{BuildHasher as _, RandomState},
    time::Duration,
};

use actix_web::{
    HttpResponse,
    http::header::{HeaderName, HeaderValue},
};
use opentelemetry::{
    Context as TraceContext, KeyValue,
    trace::{
        Span as _, SpanContext, SpanId, SpanKind, Status, TraceContextExt as _, TraceFlags,
        TraceId as OtelTraceId, TraceState, Tracer as _, TracerProvider as _,
    },
};
use opentelemetry_otlp::{SpanExporter, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::{
    Resource,
    trace::{Sampler, SdkTracer, SdkTracerProvider, Span},
};

use super::context::{Context, TraceId, TraceParent};
use crate::{
    config::Watching,
    http::{problem::Code, table::Route},
};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
/// Longest time for one batch to be sent.
const SEND_MAX: Duration = Duration::from_secs(5);
/// Longest time for the rest to be sent at the end.
const CLOSE_MAX: Duration = Duration::from_secs(3);

/// Spans can't be sent.
#[derive(Debug, thiserror::Error)]
#[error("the exporter of spans could not be made: {0}")]
pub struct SpanError(String);

/// Where spans go, if anywhere.
pub struct Spans(Option<Exporting>);

struct Exporting {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    ratio: f64,
}

/// The part of a request in its trace.
pub(crate) struct RequestSpan {
    /// Only of a request that is recorded, which few are.
    span: Option<Box<Span>>,
    given: Option<TraceParent>,
}

impl Spans {
    /// Prepares to send; nothing is sent yet, since a node starts without its collector too.
    ///
    /// # Errors
    /// The endpoint is none.
    pub fn start(watching: &Watching, node: &str) -> Result<Self, SpanError> {
        let Some(endpoint) = &watching.otlp_endpoint else { return Ok(Self(None)) };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(format!("{endpoint}/v1/traces"))
            .with_http_client(client(endpoint)?)
            .with_timeout(SEND_MAX)
            .build()
            .map_err(|error| SpanError(error.to_string()))?;
        let resource = Resource::builder_empty().with_service_name("claviger").with_attributes([
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
            KeyValue::new("service.instance.id", node.to_owned()),
        ]);
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            // What is not to be recorded does not come so far.
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::AlwaysOn)))
            .with_resource(resource.build())
            .build();
        let tracer = provider.tracer("claviger");
        Ok(Self(Some(Exporting { provider, tracer, ratio: watching.sample_ratio })))
    }

    /// A request begins.
    pub(crate) fn begin(&self, context: &Context, route: Option<&'static Route>) -> RequestSpan {
        let given = context.parent;
        let span = self.0.as_ref().filter(|exporting| exporting.wants(given)).map(|exporting| {
            let span = Box::new(exporting.span(context, route));
            let _known = context.trace.set(TraceId(span.span_context().trace_id().to_bytes()));
            span
        });
        RequestSpan { span, given }
    }

    /// Sends what is left, for a bounded time.
    pub async fn close(&self) {
        let Some(exporting) = &self.0 else { return };
        let provider = exporting.provider.clone();
        let closed = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(CLOSE_MAX)).await;
        if !matches!(closed, Ok(Ok(()))) {
            tracing::warn!("the last spans were not sent");
        }
    }
}

/// The client of the thread that sends. It must be made on a thread that runs nothing else.
fn client(endpoint: &str) -> Result<reqwest::blocking::Client, SpanError> {
    let builder = reqwest::blocking::Client::builder()
        .timeout(SEND_MAX)
        // Where spans go is a setting, not an answer.
        .redirect(reqwest::redirect::Policy::none());
    // Plain http needs no roots of the machine, which may have none.
    let plain = endpoint.starts_with("http://");
    let builder = if plain { builder.tls_certs_only([]) } else { builder };
    let made = std::thread::spawn(move || builder.build()).join();
    let made = made.map_err(|_| SpanError("its client could not be made".to_owned()))?;
    made.map_err(|error| SpanError(error.to_string()))
}

impl Exporting {
    fn wants(&self, given: Option<TraceParent>) -> bool {
        given.map_or_else(|| share() < self.ratio, |parent| parent.sampled)
    }

    fn span(&self, context: &Context, route: Option<&'static Route>) -> Span {
        let (method, pattern) =
            route.map_or(("_OTHER", "none"), |route| (route.method.as_str(), route.pattern));
        let mut parent = TraceContext::new();
        if let Some(given) = context.parent {
            parent = parent.with_remote_span_context(SpanContext::new(
                OtelTraceId::from_bytes(given.trace.0),
                SpanId::from_bytes(given.span),
                TraceFlags::SAMPLED,
                true,
                TraceState::NONE,
            ));
        }
        self.tracer
            .span_builder(format!("{method} {pattern}"))
            .with_kind(SpanKind::Server)
            .with_attributes([
                KeyValue::new("http.request.method", method),
                KeyValue::new("http.route", pattern),
                KeyValue::new("claviger.request_id", context.id.to_string()),
            ])
            .start_with_context(&self.tracer, &parent)
    }
}

/// A number from 0 to below 1, different each time; nothing depends on nobody's guessing it.
fn share() -> f64 {
    (RandomState::new().hash_one(()) >> 11) as f64 / (1_u64 << 53) as f64
}

impl RequestSpan {
    /// The request is answered. A caller that spoke of its trace is told which part this was.
    pub(crate) fn end(mut self, response: &mut HttpResponse) {
        if let Some(span) = &mut self.span {
            let status = response.status();
            span.set_attribute(KeyValue::new("http.response.status_code", i64::from(status.as_u16())));
            let code = response.extensions().get::<Code>().map(|code| code.as_str());
            if let Some(code) = code {
                span.set_attribute(KeyValue::new("error.type", code));
            }
            if status.is_server_error() {
                span.set_status(Status::error(code.unwrap_or("error")));
            }
            span.end();
        }
        let Some(mut answer) = self.given else { return };
        if let Some(span) = &self.span {
            answer.span = span.span_context().span_id().to_bytes();
        }
        if let Ok(value) = HeaderValue::from_str(&answer.to_string()) {
            response.headers_mut().insert(TRACEPARENT, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_spread() {
        let below = (0..10_000).filter(|_| share() < 0.25).count();
        assert!((2_000..3_000).contains(&below), "{below}");
    }
}
