//! Notifies hosts when another process has committed. If a commit concerns other hosts, the writer changes the *change
//! signal* after the commit, and before it returns the result of the commit.
//!
//! The change signal of a database file is a few bytes in a file beside it (`-bell`, see [`LockFiles`]). A thread reads
//! the change signal as long as there is a subscriber, whenever [`FileEvents`] wakes the thread. The same thread checks
//! the lock files of the owners, and that the database file is still the one that was opened.

use std::{
    sync::{Arc, Mutex, MutexGuard, Weak},
    thread,
};

use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch;
use wfe_core::logging;

use crate::{
    file::Watch,
    processes::{file_events::FileEvents, lock_files::LockFiles, owner_liveness::Owners},
};
use wfe_core::sync::lock;

/// Notifies the subscribers of changes.
#[derive(Clone)]
pub(crate) struct ChangeSignal {
    /// Counts the changes for the subscribers of this provider.
    changes: Arc<watch::Sender<u64>>,
    /// `None` for a database in memory: all subscribers are in this process.
    file: Option<Arc<FileSignal>>,
}

struct FileSignal {
    lock_files: Arc<LockFiles>,
    watch: Watch,
    /// The owners whose lock files the thread checks.
    owners: Arc<Owners>,
    watched: Mutex<Watched>,
}

struct Watched {
    /// The signal that was last read.
    last: [u8; 16],
    /// Whether the thread runs that reads the signal.
    has_thread: bool,
    /// Whether the last read failed. The failure was reported.
    is_unreadable: bool,
}

impl ChangeSignal {
    pub(crate) fn in_memory() -> Self {
        Self { changes: Arc::new(watch::Sender::new(0)), file: None }
    }

    pub(crate) fn of_file(lock_files: Arc<LockFiles>, watch: Watch, owners: Arc<Owners>) -> Self {
        let watched = Mutex::new(Watched { last: [0; 16], has_thread: false, is_unreadable: false });
        Self { file: Some(Arc::new(FileSignal { lock_files, watch, owners, watched })), ..Self::in_memory() }
    }

    /// The lock files of the database. `None` for a database in memory.
    pub(crate) fn lock_files(&self) -> Option<&Arc<LockFiles>> {
        self.file.as_ref().map(|file| &file.lock_files)
    }

    /// Notifies all subscribers in all processes.
    pub(crate) fn notify(&self) {
        let Some(file) = &self.file else { return notify_subscribers(&self.changes) };
        if let Err(error) = file.lock_files.signal_change() {
            logging::warn!(%error, "cannot notify other processes of a commit; they notice it at their next poll");
        }
    }

    /// A stream of notifications. All changes since the previous item are merged into one item.
    pub(crate) fn subscribe(&self) -> BoxStream<'static, ()> {
        let changes = match &self.file {
            None => self.changes.subscribe(),
            Some(file) => {
                let mut watched = file.lock();
                if watched.has_thread {
                    // Earlier changes concern only the earlier subscribers.
                    file.check(&mut watched, &self.changes);
                } else {
                    // The signal is read after the watch has begun, so that no change is missed in between.
                    watched.has_thread = self.start_thread(file);
                    watched.last = file.last_signal(&mut watched).unwrap_or(watched.last);
                }
                self.changes.subscribe()
            }
        };
        stream::unfold(changes, async |mut changes| {
            // An error means that the store is closed and that no further item can come.
            changes.changed().await.ok()?;
            Some(((), changes))
        })
        .boxed()
    }

    /// Starts the thread that reads the signal. The thread ends when there is no subscriber or the store is closed. `false` means that the
    /// thread could not be started.
    fn start_thread(&self, file: &Arc<FileSignal>) -> bool {
        let events = FileEvents::of(file.lock_files.signal_path());
        let (changes, file) = (Arc::downgrade(&self.changes), Arc::downgrade(file));
        let started = thread::Builder::new()
            .name("wfe-sqlite-signal".to_owned())
            .spawn(move || read_signals(events, &changes, &file));
        if let Err(error) = &started {
            logging::warn!(%error, "cannot start the thread that reads the change signal; only polls notice the commits of other processes");
        }
        started.is_ok()
    }
}

fn notify_subscribers(changes: &watch::Sender<u64>) {
    changes.send_modify(|changes| *changes = changes.wrapping_add(1));
}

fn read_signals(mut events: FileEvents, changes: &Weak<watch::Sender<u64>>, file: &Weak<FileSignal>) {
    loop {
        events.wait();
        let (Some(changes), Some(file)) = (changes.upgrade(), file.upgrade()) else { return };
        file.owners.check_lock_files();
        let mut watched = file.lock();
        if changes.is_closed() {
            // The next subscriber starts a new thread.
            watched.has_thread = false;
            return;
        }
        if file.watch.check_at_times().is_err() {
            // The subscriber then calls the store, which returns the loss. No further item can come.
            watched.has_thread = false;
            return notify_subscribers(&changes);
        }
        file.check(&mut watched, &changes);
    }
}

impl FileSignal {
    fn lock(&self) -> MutexGuard<'_, Watched> {
        // No holder of the lock can panic half-way through a change.
        lock(&self.watched)
    }

    fn check(&self, watched: &mut Watched, changes: &watch::Sender<u64>) {
        if let Some(now) = self.last_signal(watched)
            && watched.last != now
        {
            watched.last = now;
            notify_subscribers(changes);
        }
    }

    /// The signal in the file. `None` means that reading failed. The failure is logged once. As long as reading fails,
    /// hosts find changes only by polling the store.
    fn last_signal(&self, watched: &mut Watched) -> Option<[u8; 16]> {
        match self.lock_files.last_signal() {
            Ok(signal) => {
                watched.is_unreadable = false;
                Some(signal)
            }
            Err(error) => {
                if !std::mem::replace(&mut watched.is_unreadable, true) {
                    logging::warn!(%error, "cannot read the change signal; only polls notice the commits of other processes");
                }
                None
            }
        }
    }
}
