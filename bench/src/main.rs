//! Measures WFE beside its peers. Each run is a process of its own, and its writes are read back and checked. The report shows
//! medians over several rounds.
//!
//! `--against REVISION` runs this build and a build of another Git revision alternately. It also compares this build with
//! itself, which shows how precise a ratio is.

mod arguments;
mod budget;
mod chart;
mod drive;
mod json;
mod programs;
mod report;
mod revision;
mod subject;
mod table;

use std::process::ExitCode;

use arguments::Command;
use wfe_bench_workloads::{Done, run_requested};

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wfe-bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Done {
    if run_requested(|_| subject::works())? {
        return Ok(());
    }
    match arguments::parse(std::env::args_os().skip(1))? {
        Command::Help => {
            print!("{}", arguments::help());
            Ok(())
        }
        Command::Drive(plan) => drive::run(&plan),
    }
}
