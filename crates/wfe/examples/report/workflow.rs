//! A report, which somebody reads in a folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use wfe::{
    Result, Tick,
    clock::Clock,
    definition::{Definition, Retry, WorkflowBuilder, blocking},
    steps::Ctx,
};

pub const REPORT: &str = "report";

/// Writes the report of the day into a folder. The data is what it is about. The day is that of the schedule's tick, and
/// not of the clock: a report that is caught up with comes late, and is tried again later still.
pub fn report(folder: &Path, clock: Arc<dyn Clock>) -> Result<Definition> {
    let folder = folder.to_owned();
    WorkflowBuilder::<String>::new(REPORT, 1)
        .then(
            "write",
            // It writes a file: off the threads on which everybody else's steps run.
            blocking(move |ctx: &Ctx, about: &String| {
                // One that somebody triggers by hand is of now.
                let time = Tick::of(ctx).map_or_else(|| clock.now(), |tick| tick.time);
                Ok(write(&folder, about, time)?)
            })
            .retry(Retry::up_to(3)),
        )
        .build()
}

/// Written twice, after a crash, it is the same file.
fn write(folder: &Path, about: &str, time: DateTime<Utc>) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(file(folder, time), format!("{about}, {}\n", time.format("%A at %H:%M")))
}

/// That of this day.
pub fn file(folder: &Path, day: DateTime<Utc>) -> PathBuf {
    folder.join(format!("{}.txt", day.date_naive()))
}
