//! A checksum manifest of a directory tree that survives `kill -9`.
//!
//! ```text
//! cargo run --release -p wfe --example manifest -- --dir DIR --db FILE --out FILE [--jobs N] [--log FILE]
//! ```
//!
//! Each file is a durable step: once its hash is stored it is never hashed again, however often the program is
//! killed and started anew. Exit status: 0, or 1 if files failed, or 2 if the job could not be done.
#![cfg(unix)]

#[path = "manifest/args.rs"]
mod args;
#[path = "manifest/listing.rs"]
mod listing;
#[path = "manifest/name.rs"]
mod name;
#[path = "manifest/progress.rs"]
mod progress;
#[path = "manifest/sums.rs"]
mod sums;
#[path = "manifest/workflow.rs"]
mod workflow;

use std::{
    error::Error,
    fmt::Display,
    fs::File,
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use wfe::{Ending, StartOptions, WorkflowHost};
use wfe_sqlite::SqlitePersistenceProvider;

use crate::{
    args::Args,
    listing::Own,
    name::Name,
    progress::Progress,
    workflow::{DEFINITION, Gathered, HASH, Place, Summary},
};

type Failed = Box<dyn Error>;

#[tokio::main]
async fn main() -> ExitCode {
    let args = match args::parse(std::env::args_os()) {
        Ok(Some(args)) => args,
        Ok(None) => {
            println!("{}", args::USAGE);
            return ExitCode::SUCCESS;
        }
        Err(error) => return complain(&format!("{error}; see --help")),
    };
    match run(&args).await {
        Ok(summary) => report(&args.out, &summary),
        Err(error) => complain(&error),
    }
}

/// One line, whatever the message: a line feed in a path must not make two of it.
fn complain(error: &dyn Display) -> ExitCode {
    eprintln!("manifest: {}", error.to_string().replace('\n', "\\n"));
    ExitCode::from(2)
}
