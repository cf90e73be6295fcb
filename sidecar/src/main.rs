//! The whole data plane in one binary.

mod allocator;
mod allowance;
mod args;
mod instance;
mod probe;
mod settings;
mod telemetry;
mod warm;
mod wire;

use std::process::ExitCode;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::read();
    let done = match args.command {
        Some(Command::Probe { question }) => probe::ask(question, &args.socket_path()),
        None => {
            allocator::tune();
            wire::run(args)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("synapse-sidecar: {error:#}");
            ExitCode::FAILURE
        }
    }
}
