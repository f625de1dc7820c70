//! The conformance suite: in memory, on files, and on files that two providers use in turn.

use std::{path::PathBuf, process::ExitCode};

use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::conformance::{InFile, InMemory, Trials, Turns, main as run};

fn memory() -> InMemory {
    InMemory::new(|clock| SqlitePersistenceProvider::builder(":memory:").clock(clock).open()).tells_news(true)
}

fn file() -> InFile {
    InFile::new(|path, clock| SqlitePersistenceProvider::file(path).clock(clock).open())
        .owner_file(|database, id| PathBuf::from(format!("{}-owner-{id}", database.display())))
        .shared()
        .tells_news(true)
}

fn main() -> ExitCode {
    run(Trials::default().of("memory", memory()).of("file", file()).of("file by turns", Turns(file())))
}
