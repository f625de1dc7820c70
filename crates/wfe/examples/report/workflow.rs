//! The workflow that writes a report into a folder.

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

/// Builds the workflow that writes the report of a day into a folder. The data of an instance is the subject of the
/// report. The day of the report is the day of the schedule's tick, not the current day. A missed tick is caught up
/// late, and a retry runs even later.
pub fn report(folder: &Path, clock: Arc<dyn Clock>) -> Result<Definition> {
    let folder = folder.to_owned();
    WorkflowBuilder::<String>::new(REPORT, 1)
        .then(
            "write",
            // Writing a file blocks the thread. `blocking` runs the body on a separate thread, so that it does not
            // delay other steps.
            blocking(move |ctx: &Ctx, about: &String| {
                // A report that was triggered by hand has no tick; it uses the current time.
                let time = Tick::of(ctx).map_or_else(|| clock.now(), |tick| tick.time);
                Ok(write(&folder, about, time)?)
            })
            .retry(Retry::up_to(3)),
        )
        .build()
}

/// Writes the report. A second write after a crash produces the same file.
fn write(folder: &Path, about: &str, time: DateTime<Utc>) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(file(folder, time), format!("{about}, {}\n", time.format("%A at %H:%M")))
}

/// The path of the report of this day.
pub fn file(folder: &Path, day: DateTime<Utc>) -> PathBuf {
    folder.join(format!("{}.txt", day.date_naive()))
}
