//! Whole workflows in memory, on a file, and on a file that two hosts share.

use std::process::ExitCode;

use wfe_sqlite::SqlitePersistenceProvider;
use wfe_testkit::{
    conformance::{InFile, InMemory},
    scenarios::{Trials, main as play},
};

fn memory() -> InMemory {
    InMemory::new(|clock| SqlitePersistenceProvider::builder(":memory:").clock(clock).open())
}

fn file() -> InFile {
    InFile::new(|path, clock| SqlitePersistenceProvider::file(path).clock(clock).open())
        .shared()
        .tells_news(true)
}

fn main() -> ExitCode {
    play(Trials::default().of("memory", memory()).of("file", file()).of_shared(
        "file of two hosts",
        file(),
        2,
    ))
}
