//! The `claviger` command.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use claviger::{config::Settings, hardening, http::openapi, startup::Application, telemetry};
use tokio::signal::unix::{SignalKind, signal};

/// Key-management service.
#[derive(Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the server.
    Serve {
        /// Configuration file (TOML).
        #[arg(long)]
        config: Option<PathBuf>,
    },
    /// Print the OpenAPI document.
    Openapi,
}

#[actix_web::main]
async fn main() -> ExitCode {
    let outcome = match Arguments::parse().command {
        Command::Serve { config } => serve(config.as_deref()).await,
        Command::Openapi => print(&openapi::text()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(line) => {
            // The operator reads one line; the causes are in it or in the log.
            let _closed = writeln!(std::io::stderr(), "claviger: {line}");
            ExitCode::FAILURE
        }
    }
}

async fn serve(config: Option<&Path>) -> Result<(), String> {
    let file = config.map(std::fs::read_to_string).transpose();
    let file =
        file.map_err(|error| format!("--config names a file that can't be read ({})", error.kind()))?;
    let settings = Settings::load(file.as_deref(), environment()?, |path| std::fs::read_to_string(path));
    let settings = settings.map_err(|error| error.to_string())?;
    telemetry::start(&settings).map_err(|error| error.to_string())?;
    hardening::harden();
    let application = Application::build(settings).await.map_err(|error| error.to_string())?;
    if let Some(path) = &application.bootstrap_token_file {
        print(&line(&[("event", "bootstrap_token"), ("file", &path.display().to_string())]))?;
    }
    print(&line(&[("event", "listening"), ("address", &application.address().to_string())]))?;
    let (interrupt, terminate) = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = (interrupt, terminate) else {
        return Err("signals can't be received".to_owned());
    };
    let stop = async {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    application.run(stop).await.map_err(|error| error.to_string())
}

fn environment() -> Result<Vec<(String, String)>, String> {
    std::env::vars_os()
        .filter(|(name, _)| name.to_string_lossy().starts_with("CLAVIGER_"))
        .map(|(name, value)| {
            let name = name.to_string_lossy().into_owned();
            value.into_string().map(|value| (name.clone(), value)).map_err(|_| format!("{name} is not UTF-8"))
        })
        .collect()
}

fn line(members: &[(&str, &str)]) -> String {
    let members: serde_json::Map<_, _> =
        members.iter().map(|(name, value)| ((*name).to_owned(), serde_json::Value::from(*value))).collect();
    format!("{}\n", serde_json::Value::Object(members))
}

fn print(text: &str) -> Result<(), String> {
    let mut output = std::io::stdout().lock();
    output.write_all(text.as_bytes()).and_then(|()| output.flush()).map_err(|error| error.to_string())
}
