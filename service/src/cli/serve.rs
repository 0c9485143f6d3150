//! `claviger serve`: the server.

use std::process::ExitCode;

use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use super::{configuration::File, failure::Failure, output};
use crate::{hardening, startup::Application, telemetry};

/// Serves until it is told to stop.
///
/// # Errors
/// It can't start, or the server failed.
pub(super) async fn run(file: &File) -> Result<ExitCode, Failure> {
    let local = |error: String| Failure::Local(error);
    // Before there is a secret in memory; and once more, so that a failure is logged.
    hardening::harden();
    let settings = file.settings()?;
    telemetry::start(&settings).map_err(|error| local(error.to_string()))?;
    hardening::harden();
    hardening::lock_memory();
    let application = Application::build(settings).await.map_err(|error| local(error.to_string()))?;
    if let Some(path) = &application.bootstrap_token_file {
        output::event(&json!({ "event": "bootstrap_token", "file": path.display().to_string() }))?;
    }
    output::event(&json!({ "event": "listening", "address": application.address().to_string() }))?;
    if let Some(address) = application.internal_address() {
        let line = json!({ "event": "listening", "listener": "internal", "address": address.to_string() });
        // Whoever only wanted the first address may have stopped reading.
        let _closed = output::event(&line);
    }
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) else {
        return Err(local("signals can't be received".to_owned()));
    };
    let stop = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    application.run(stop).await.map_err(|error| local(error.to_string()))?;
    Ok(ExitCode::SUCCESS)
}
