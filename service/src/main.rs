//! The `claviger` command.

use std::process::ExitCode;

use clap::Parser as _;
use claviger::cli::Arguments;

#[actix_web::main]
async fn main() -> ExitCode {
    Arguments::parse().run().await
}
