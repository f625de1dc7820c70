//! A virtual clock for examples that cover several days. It moves only when the example advances it. Your own program
//! does not need this clock: a host uses the system clock by default.

use std::{
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use chrono::{DateTime, Utc};
use wfe::clock::Clock;
use wfe_testkit::VirtualClock;

pub struct Calendar {
    clock: Arc<VirtualClock>,
    /// The file that stores the clock's time while no process runs, so that a restarted process does not go back in
    /// time.
    file: Option<PathBuf>,
}

impl Calendar {
    /// Opens the calendar of this database. The calendar continues at the time that it last showed. A new calendar
    /// starts at New Year 2030.
    pub fn open(db: Option<&Path>) -> io::Result<Self> {
        let (clock, file) = (VirtualClock::default(), db.map(|db| beside(db, ".calendar")));
        let shown = match file.as_deref().map(fs::read_to_string) {
            Some(Err(error)) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            Some(Ok(text)) => Some(text.parse().map_err(io::Error::other)?),
            Some(Err(_)) | None => None,
        };
        if let Some(time) = shown {
            clock.set(time);
        }
        Ok(Self { clock: Arc::new(clock), file })
    }

    pub fn clock(&self) -> Arc<VirtualClock> {
        self.clock.clone()
    }

    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Advances the clock to this time. Does nothing if the time is in the past.
    pub fn turn_to(&self, time: DateTime<Utc>) -> io::Result<()> {
        let Ok(step) = (time - self.now()).to_std() else { return Ok(()) };
        if let Some(file) = &self.file {
            // The file is replaced by a rename: after a crash, it holds either the old time or the new time.
            let new = beside(file, ".new");
            fs::write(&new, time.to_rfc3339())?;
            fs::rename(&new, file)?;
        }
        self.clock.advance(step);
        Ok(())
    }
}

fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(end);
    name.into()
}
