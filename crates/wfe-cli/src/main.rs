//! The command `wfe`: looks into a WFE store, and acts on its workflows.
//!
//! It is a thin face of [`wfe::Operator`]: what is asked, and what is done, stands there.

mod app;
mod args;
mod commands;
mod confirm;
mod failure;
mod input;
mod interrupt;
mod output;
mod progress;
mod store;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    args::{Cli, Colour},
    failure::{Exit, Failure},
};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // The help that was asked for goes to standard output, and is no error. A closed output is no error either.
            let _ = error.print();
            let exit = if error.use_stderr() { Exit::Usage } else { Exit::Done };
            return ExitCode::from(exit as u8);
        }
    };
    match cli.global.color {
        Colour::Auto => {}
        Colour::Always => anstream::ColorChoice::Always.write_global(),
        Colour::Never => anstream::ColorChoice::Never.write_global(),
    }
    let exit = match run(cli) {
        Ok(exit) => exit,
        Err(Failure { exit, message }) => {
            if let Some(message) = message {
                output::error(&message);
            }
            exit
        }
    };
    ExitCode::from(exit as u8)
}

fn run(cli: Cli) -> Result<Exit, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(Exit::Unusable, format!("cannot start: {error}")))?;
    let exit = runtime.block_on(commands::run(cli));
    // A read of standard input that nobody waits for any more does not keep the command.
    runtime.shutdown_background();
    exit
}
