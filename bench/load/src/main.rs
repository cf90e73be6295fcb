//! A load generator for caches: it drives a server as its arguments say, checks every answer, and reports.

mod args;
mod bare;
mod connection;
mod encoder;
mod failure;
mod idle;
mod input;
mod keys;
mod pace;
mod plan;
mod popularity;
mod process;
mod proof;
mod report;
mod run;
mod sizes;
mod stream;
mod tally;
mod wire;
mod worker;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::args::{Args, Command};
use crate::plan::Plan;

fn main() -> ExitCode {
    match start(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("synapse-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(args: Args) -> anyhow::Result<()> {
    // Every connection is an open file, and shells allow few by default. Where more are not to be had, connecting says so.
    let files = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: files.maximum, maximum: files.maximum });
    match &args.command {
        Some(Command::Bare { unix }) => {
            return bare::serve(unix).with_context(|| format!("serving on {}", unix.display()));
        }
        Some(Command::Idle { rate, seconds, json }) => return idle::run(*rate, *seconds, json.as_deref()),
        None => {}
    }
    let plan = Plan::new(&args)?;
    let report = run::run(&plan)?;
    print!("{report}");
    match &args.json {
        Some(path) => report.write(path).with_context(|| format!("writing {}", path.display())),
        None => Ok(()),
    }
}
