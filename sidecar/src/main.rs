//! The whole data plane in one binary.

mod allowance;
mod args;
mod instance;
mod probe;
mod settings;
mod telemetry;
mod warm;
mod wire;

use std::process::ExitCode;

use tikv_jemallocator::Jemalloc;

use crate::args::{Args, Command};

/// Its options are those of `.cargo/config.toml`: what is free goes back to the kernel at once.
#[global_allocator]
static ALLOCATOR: Jemalloc = Jemalloc;

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
