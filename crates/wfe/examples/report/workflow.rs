//! A report, which somebody reads in a folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use wfe::{
    Result,
    clock::Clock,
    definition::{Definition, Retry, WorkflowBuilder, blocking},
};

pub const REPORT: &str = "report";

/// Writes the report of the day into a folder. The data is what it is about.
pub fn report(folder: &Path, clock: Arc<dyn Clock>) -> Result<Definition> {
    let folder = folder.to_owned();
    WorkflowBuilder::<String>::new(REPORT, 1)
        .then(
            "write",
            // It writes a file: off the threads on which everybody else's steps run.
            blocking(move |_, about: &String| Ok(write(&folder, about, clock.now())?)).retry(Retry::up_to(3)),
        )
        .build()
}

/// Written twice, after a crash, it is the same file.
fn write(folder: &Path, about: &str, now: DateTime<Utc>) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(file(folder, now), format!("{about}, {}\n", now.format("%A at %H:%M")))
}

/// That of this day.
pub fn file(folder: &Path, day: DateTime<Utc>) -> PathBuf {
    folder.join(format!("{}.txt", day.date_naive()))
}
