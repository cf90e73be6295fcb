//! The whole control plane in one binary.

mod admin;
mod args;
mod release;
mod run;
mod signals;
mod telemetry;
mod traces;
mod world;

use std::process::ExitCode;

use clap::Parser;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    // One provider for every TLS connection, before the first of them.
    if rustls::crypto::ring::default_provider().install_default().is_err() {
        eprintln!("synapse-operator: another cryptography provider is installed already");
        return ExitCode::FAILURE;
    }
    let args = Args::parse();
    let done = match args.command {
        None => run::run(args),
        Some(Command::ReleaseFinalizers) => release::run(&args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            if tracing::dispatcher::has_been_set() {
                tracing::error!(error = format!("{error:#}"), "ended");
            } else {
                eprintln!("synapse-operator: {error:#}");
            }
            ExitCode::FAILURE
        }
    }
}
