//! A recurring report: a schedule starts a workflow every morning, is paused and resumed, and catches up after some
//! days without a running program.
//!
//! ```text
//! cargo run -p wfe --example report -- [--db FILE] [--out DIR]
//! ```
//!
//! With a database file, the program may be killed at any moment. After a restart, the program continues where it
//! stopped.

#[path = "../common/calendar.rs"]
mod calendar;
#[path = "../common/mod.rs"]
mod common;
mod workflow;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use wfe::{
    prelude::*,
    schedules::{CatchUp, Timetable},
    traits::PersistenceProvider,
};

use crate::{
    calendar::Calendar,
    common::{Options, Result},
    workflow::REPORT,
};

const USAGE: &str = "\
usage: report [--db FILE] [--out DIR]

Lets ten days pass and writes a report each morning.

  --db FILE    the database, created if missing; by default in memory
  --out DIR    the folder for the reports, created if missing; by default one that is removed at the end";

const SCHEDULE: &str = "daily";
/// The interval at which the program checks whether a report was written. A person does not notice a delay this short.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

#[tokio::main]
async fn main() -> ExitCode {
    common::main("report", USAGE, &["db", "out"], run).await
}

async fn run(options: Options) -> Result {
    let db = options.path("db");
    let temporary = tempfile::tempdir()?;
    let folder = options.path("out").unwrap_or_else(|| temporary.path().to_owned());
    let calendar = Calendar::open(db.as_deref())?;
    let store = common::open(db.as_deref(), calendar.clock()).await?;
    let office = Office { store, calendar, folder };
    office.ten_days().await?;
    office.show()
}

struct Office {
    store: Arc<dyn PersistenceProvider>,
    calendar: Calendar,
    folder: PathBuf,
}

impl Office {
    /// Simulates the days one after the other. After a crash, the program continues with the day that the calendar
    /// shows.
    async fn ten_days(&self) -> Result {
        let mut host = self.open().await?;
        let at_six = Timetable::cron("0 6 * * *"); // in UTC; `.in_zone("Europe/Berlin")` sets a time zone
        // At a later start of the program, the schedule exists already, and this changes nothing.
        host.workflow(REPORT).schedule(SCHEDULE, at_six, &"Sales".to_owned()).catch_up(CatchUp::One).await?;
        for morning in [day(2, 6), day(3, 6)] {
            if self.calendar.now() <= morning {
                self.calendar.turn_to(morning)?;
                self.written(&host, morning).await?;
            }
        }
        if self.calendar.now() <= day(5, 12) {
            println!("paused for two days");
            if self.calendar.now() < day(5, 12) {
                host.schedules().pause(SCHEDULE).await?;
                until(async || Ok(host.schedules().get(SCHEDULE).await?.is_paused)).await?;
                self.calendar.turn_to(day(5, 12))?;
            }
            println!("resumed at {}", self.calendar.now());
            host.schedules().resume(SCHEDULE).await?;
            self.written(&host, day(5, 12)).await?;
        }
        if self.calendar.now() <= day(9, 12) {
            println!("no program runs for four days");
            host.stop().await?;
            self.calendar.turn_to(day(9, 12))?;
            println!("started at {}", self.calendar.now());
            host = self.open().await?;
            self.written(&host, day(9, 12)).await?;
        }
        self.calendar.turn_to(day(10, 6))?;
        self.written(&host, day(10, 6)).await?;
        host.stop().await?;
        Ok(())
    }

    async fn open(&self) -> Result<WorkflowHost> {
        let host = WorkflowHost::builder_shared(self.store.clone()).clock(self.calendar.clock()).build();
        host.register(workflow::report(&self.folder, self.calendar.clock())?)?;
        host.start().await?;
        Ok(host)
    }

    /// Waits until the report of this day is written and the schedule has processed the day's tick.
    async fn written(&self, host: &WorkflowHost, time: DateTime<Utc>) -> Result {
        let file = workflow::file(&self.folder, time);
        let schedules = host.schedules();
        until(async || {
            let last = schedules.get(SCHEDULE).await?.last;
            Ok(file.exists() && last.is_some_and(|last| last.date_naive() == time.date_naive()))
        })
        .await?;
        println!("{time}: {}", read(&file)?);
        Ok(())
    }

    fn show(&self) -> Result {
        let files = fs::read_dir(&self.folder)?.map(|entry| Ok(entry?.path()));
        let mut files: Vec<_> = files.collect::<Result<_>>()?;
        files.sort();
        println!("reports: {}", files.len());
        for file in files {
            println!("  {}", read(&file)?);
        }
        Ok(())
    }
}

async fn until(mut holds: impl AsyncFnMut() -> Result<bool>) -> Result {
    while !holds().await? {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
    Ok(())
}

fn read(file: &Path) -> Result<String> {
    Ok(fs::read_to_string(file)?.trim_end().to_owned())
}

/// Returns the time of this hour on this day of January 2030.
fn day(day: i64, hour: i64) -> DateTime<Utc> {
    /// The first of January 2030, in seconds since the Unix epoch.
    const NEW_YEAR: i64 = 1_893_456_000;
    DateTime::UNIX_EPOCH + TimeDelta::seconds(NEW_YEAR) + TimeDelta::days(day - 1) + TimeDelta::hours(hour)
}
