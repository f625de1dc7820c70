//! A clock for examples in which days pass: it moves only when the example advances it. Your own program needs no
//! such clock: the system's clock is the default.

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
    /// The file that keeps the time when the process ends. A real clock does not stop either.
    file: Option<PathBuf>,
}

impl Calendar {
    /// Opens the calendar of this database, which shows the time that it showed last. A new calendar shows the New
    /// Year of 2030.
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

    /// Lets time pass until this time. Does nothing if the time is in the past.
    pub fn turn_to(&self, time: DateTime<Utc>) -> io::Result<()> {
        let Ok(step) = (time - self.now()).to_std() else { return Ok(()) };
        if let Some(file) = &self.file {
            // By rename: if the process dies, the file holds the old time or the new one.
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
