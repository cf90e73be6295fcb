//! The whole data plane in one binary.

mod allowance;
mod args;
mod instance;
mod probe;
mod settings;
mod telemetry;
mod traces;
mod wire;

use std::process::ExitCode;

use mimalloc::MiMalloc;

use crate::args::{Args, Command};

/// Entries of all sizes come and go: this one gives their room back, so that the memory of the process stays near the
/// capacity. The C library's keeps up to twice as much.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let args = Args::read();
    let done = match args.command {
        Some(Command::Probe { question }) => probe::ask(question, &args.socket_path()),
        None => wire::run(args),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("synapse-sidecar: {error:#}");
            ExitCode::FAILURE
        }
    }
}
