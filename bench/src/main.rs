//! Measures WFE: each workload in a process of its own, every run read back and checked, medians of rounds.
//!
//! `--against REVISION` measures this build beside one of another Git revision, in turn, and this build beside itself,
//! which tells how far a ratio can be trusted.

mod arguments;
mod drive;
mod machine;
mod measure;
mod report;
mod revision;
mod workload;

use std::{error::Error, process::ExitCode};

use arguments::Command;

/// What goes wrong here ends the program with a message.
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
