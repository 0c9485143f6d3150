//! Log lines, on stderr, and spans for a collector. Standard output is for the lines that programs read.
//!
//! A request carries its [`Context`] with it while it is worked on, so that every line it logs names it. That is no span of `tracing`: a
//! request that logs nothing pays for nothing.

mod context;
mod lines;
mod spans;

use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use self::lines::WithRequest;
use crate::config::{ConfigError, Settings};

pub(crate) use self::context::{Context, within};
pub use spans::{SpanError, Spans};

/// Starts logging.
///
/// # Errors
/// The filter is none.
pub fn start(settings: &Settings) -> Result<(), ConfigError> {
    let invalid =
        || ConfigError { setting: "log.filter".to_owned(), rule: "must be a filter such as info".to_owned() };
    // Statements carry their values, so the database driver is never allowed below warnings. The exporter of spans talks much.
    // Anybody can have HTTP/2 warn, with a frame of 17 bytes.
    let quiet =
        "sqlx=warn,sea_orm=warn,opentelemetry=warn,opentelemetry_sdk=warn,opentelemetry-otlp=warn,h2=error";
    let filter = EnvFilter::try_new(format!("{},{quiet}", settings.watching.log_filter));
    let filter = filter.map_err(|_| invalid())?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = if settings.watching.log_json {
        lines.json().map_event_format(WithRequest).boxed()
    } else {
        lines.map_event_format(WithRequest).boxed()
    };
    tracing_subscriber::registry().with(layer.with_filter(filter)).try_init().map_err(|_| invalid())?;
    std::panic::set_hook(Box::new(|panic| {
        // A panic's text may quote data, so only its place is logged.
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic");
    }));
    Ok(())
}
