//! Log lines, on stderr. Standard output is for the lines that programs read.

use tracing_subscriber::{EnvFilter, Layer as _, layer::SubscriberExt as _, util::SubscriberInitExt as _};

use crate::config::{ConfigError, Settings};

/// Starts logging.
///
/// # Errors
/// The filter is none.
pub fn start(settings: &Settings) -> Result<(), ConfigError> {
    let invalid =
        || ConfigError { setting: "log.filter".to_owned(), rule: "must be a filter such as info".to_owned() };
    // Statements carry their values, so the database driver is never allowed below warnings.
    let filter = format!("{},sqlx=warn,sea_orm=warn", settings.watching.log_filter);
    let filter = EnvFilter::try_new(filter).map_err(|_| invalid())?;
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let layer = if settings.watching.log_json { lines.json().boxed() } else { lines.boxed() };
    tracing_subscriber::registry().with(layer.with_filter(filter)).try_init().map_err(|_| invalid())?;
    std::panic::set_hook(Box::new(|panic| {
        // A panic's text may quote data, so only its place is logged.
        let place = panic.location().map(ToString::to_string).unwrap_or_default();
        tracing::error!(place, "panic");
    }));
    Ok(())
}
