//! Measures WFE. Each run is a process of its own, and its writes are read back and checked. The report shows medians over
//! several rounds.
//!
//! `--against REVISION` runs this build and a build of another Git revision alternately. It also compares this build with
//! itself, which shows how precise a ratio is.

mod arguments;
mod drive;
mod machine;
mod measure;
mod report;
mod revision;
mod workload;

use std::{error::Error, process::ExitCode};

use arguments::Command;

/// An error ends the program with a message.
type Done<T = ()> = Result<T, Box<dyn Error>>;

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
    match arguments::parse()? {
        Command::Help => {
            print!("{}", arguments::HELP);
            Ok(())
        }
        Command::Measure { workload, clients, lasting } => {
            let measured = measure::run(workload, clients, lasting)?;
            println!("{}", serde_json::to_string(&measured)?);
            Ok(())
        }
        Command::Drive(plan) => drive::run(&plan),
    }
}
