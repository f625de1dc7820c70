//! Wakes the thread that watches over a database file: when the change signal was written, when a file in the folder of
//! the database was removed or renamed, and from time to time.
//!
//! On Linux, the kernel reports the writes and the removals (inotify), so a thread that nothing concerns sleeps. After
//! each report, the thread rests for [`MIN_INTERVAL`]. Meanwhile the kernel merges further reports, so a process that writes
//! without pause does not flood the other processes. On other systems, the thread wakes up after each [`MIN_INTERVAL`] instead.
//! The thread also wakes up after each [`MAX_INTERVAL`], so nothing depends on the reports alone.

use std::{path::Path, thread, time::Duration};

/// The minimum time between two wake-ups. Without reports, the thread wakes up at this interval. With this time, work
/// that another process stored begins after 50 ms at the latest. The allowed maximum is 100 ms. Each wake-up of a
/// sleeping core took some 80 µs on a small virtual machine: twenty wake-ups in a second take a sixth of a percent of a
/// core.
pub(super) const MIN_INTERVAL: Duration = Duration::from_millis(50);

/// The maximum time between two wake-ups, and so between two checks that the database file is still the one that was
/// opened. Two wake-ups a second are negligible.
#[cfg(target_os = "linux")]
const MAX_INTERVAL: Duration = Duration::from_millis(500);

/// What wakes the thread.
pub(super) struct FileEvents {
    /// `None`: the kernel gives no reports, so the thread wakes up after each [`MIN_INTERVAL`].
    #[cfg(target_os = "linux")]
    reports: Option<linux::Reports>,
}

impl FileEvents {
    /// Watches this change signal and its folder. Events from now on end the next wait.
    #[cfg(target_os = "linux")]
    pub fn of(signal: &Path) -> Self {
        let reports = linux::Reports::of(signal).inspect_err(|error| {
            wfe_core::logging::info!(
                %error,
                "the kernel does not report changes of files, so this process looks for them 20 times a second; if the \
                 limit on inotify instances is reached, raise fs.inotify.max_user_instances"
            );
        });
        Self { reports: reports.ok() }
    }

    /// Watches nothing: each wait ends after [`MIN_INTERVAL`].
    #[cfg(not(target_os = "linux"))]
    pub fn of(_signal: &Path) -> Self {
        Self {}
    }

    /// Waits until something has happened, or may have happened, since the last wait ended.
    #[cfg(target_os = "linux")]
    pub fn wait(&mut self) {
        let Some(reports) = &mut self.reports else { return thread::sleep(MIN_INTERVAL) };
        if let Err(error) = reports.wait() {
            wfe_core::logging::info!(
                %error,
                "the kernel reports no more changes of files, so this process looks for them 20 times a second"
            );
            self.reports = None;
        }
    }

    /// Waits for [`MIN_INTERVAL`].
    #[cfg(not(target_os = "linux"))]
    pub fn wait(&mut self) {
        thread::sleep(MIN_INTERVAL);
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::{mem::MaybeUninit, path::Path, thread};

    use rustix::{
        event::{PollFd, PollFlags, Timespec, poll},
        fd::OwnedFd,
        fs::inotify::{self, CreateFlags, Reader, WatchFlags},
        io::{Errno, Result},
    };

    use super::{MAX_INTERVAL, MIN_INTERVAL};

    /// Enough for several events with file names of any length.
    const BUFFER: usize = 4096;

    pub(super) struct Reports {
        inotify: OwnedFd,
        /// Whether the last wait ended by a report.
        is_reported: bool,
    }

    impl Reports {
        pub fn of(signal: &Path) -> Result<Self> {
            let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
            inotify::add_watch(&inotify, signal, WatchFlags::MODIFY)?;
            if let Some(folder) = signal.parent().filter(|folder| !folder.as_os_str().is_empty()) {
                // A program that cleans folders may remove the lock file of a host, or replace it by renaming.
                let gone = WatchFlags::DELETE | WatchFlags::MOVED_FROM | WatchFlags::MOVED_TO;
                inotify::add_watch(&inotify, folder, gone | WatchFlags::ONLYDIR)?;
            }
            Ok(Self { inotify, is_reported: false })
        }

        /// Whether the last wait ended by a report.
        #[cfg(test)]
        pub fn is_reported(&self) -> bool {
            self.is_reported
        }

        pub fn wait(&mut self) -> Result<()> {
            if self.is_reported {
                thread::sleep(MIN_INTERVAL);
            }
            // The conversion fails only for times that are far longer.
            let at_least = Timespec::try_from(MAX_INTERVAL).map_err(|_| Errno::INVAL)?;
            let mut files = [PollFd::new(&self.inotify, PollFlags::IN)];
            self.is_reported = match poll(&mut files, Some(&at_least)) {
                Ok(ready) => ready > 0,
                Err(Errno::INTR) => false,
                Err(error) => return Err(error),
            };
            if self.is_reported { self.take_all() } else { Ok(()) }
        }

        /// Takes all reports, so that only later events end the next wait.
        fn take_all(&self) -> Result<()> {
            let mut buffer = [MaybeUninit::uninit(); BUFFER];
            let mut reader = Reader::new(&self.inotify, &mut buffer);
            loop {
                match reader.next() {
                    Ok(_) | Err(Errno::INTR) => {}
                    Err(Errno::AGAIN) => return Ok(()),
                    Err(error) => return Err(error),
                }
            }
        }
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{fs, sync::mpsc};

    use super::*;

    /// How many waits end, and in how many of them the kernel has reported something.
    fn waits(events: &mut FileEvents, number: usize) -> usize {
        let is_reported = |_: &usize| {
            events.wait();
            events.reports.as_ref().is_some_and(linux::Reports::is_reported)
        };
        (0..number).filter(is_reported).count()
    }

    #[test]
    fn a_write_of_the_signal_a_removal_and_a_renaming_end_the_wait_and_other_writes_do_not() {
        let folder = tempfile::tempdir().unwrap();
        let (signal, owner) = (folder.path().join("a.db-bell"), folder.path().join("a.db-owner-1"));
        fs::write(&signal, "").unwrap();
        let mut events = FileEvents::of(&signal);
        fs::write(&owner, "1").unwrap();
        fs::write(&owner, "2").unwrap();
        assert_eq!(waits(&mut events, 1), 0, "neither a new file nor the write of another one");
        let happenings: [&dyn Fn(); 4] = [
            &|| fs::write(&signal, "signal").unwrap(),
            &|| fs::rename(&owner, folder.path().join("elsewhere")).unwrap(),
            &|| fs::rename(folder.path().join("elsewhere"), &owner).unwrap(),
            &|| fs::remove_file(&owner).unwrap(),
        ];
        for happens in happenings {
            happens();
            assert_eq!(waits(&mut events, 1), 1);
            assert_eq!(waits(&mut events, 1), 0, "one event ends one wait");
        }
    }

    #[test]
    fn an_event_wakes_a_thread_that_waits_and_many_events_are_one() {
        let folder = tempfile::tempdir().unwrap();
        let signal = folder.path().join("a.db-bell");
        fs::write(&signal, "").unwrap();
        let mut events = FileEvents::of(&signal);
        let (woken, wakes) = mpsc::channel();
        let waiting = thread::spawn(move || {
            while waits(&mut events, 1) == 0 {}
            woken.send(()).unwrap();
        });
        fs::write(&signal, "1").unwrap();
        wakes.recv().unwrap();
        waiting.join().unwrap();
        let mut events = FileEvents::of(&signal);
        for number in 0..1000 {
            fs::write(&signal, number.to_string()).unwrap();
        }
        assert_eq!(waits(&mut events, 2), 1, "reports that arrived together end one wait");
    }
}
