//! The workflow that writes a report into a folder.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use wfe::{clock::Clock, prelude::*, schedules::Tick};

/// The workflow. The data of an instance is the subject of its report.
pub const REPORT: WorkflowName<String> = WorkflowName::new("report");

/// Builds the workflow that writes the report of a day into a folder. The day of the report is the day of the
/// schedule's tick, not the current day. A missed tick is caught up late, and a retry runs even later.
pub fn report(folder: &Path, clock: Arc<dyn Clock>) -> Result<Definition<String>, Error> {
    let folder = folder.to_owned();
    REPORT
        .define(1)
        // Writing a file blocks the thread, so the body runs on a thread where it does not delay other steps.
        .blocking("write", move |ctx, about| {
            // A report that was triggered by hand has no tick; it uses the current time.
            let time = Tick::of(ctx).map_or_else(|| clock.now(), |tick| tick.time);
            Ok(write(&folder, about, time)?)
        })
        .retry(Retry::exponential().attempts(4))
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
