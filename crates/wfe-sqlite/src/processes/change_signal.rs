//! Notifies hosts when another process has committed. If a commit concerns other hosts, the writer changes the *change
//! signal* after the commit, and before it returns the result of the commit.
//!
//! The change signal of a database file is a few bytes in a file beside it (`-bell`, see [`LockFiles`]). A thread reads
//! the change signal as long as there is a subscriber, whenever [`FileEvents`] wakes the thread. The same thread checks
//! the lock files of the owners, and that the database file is still the one that was opened.
//!
//! In the same file is the *question*, which changes when a process asks the hosts for fresh cards. It has subscribers of its
//! own.

use std::{
    mem,
    sync::{Arc, Mutex, MutexGuard, Weak},
    thread,
};

use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch;
use wfe_core::logging;

use crate::{
    file::{Watch, sidecars::Sidecars},
    processes::{
        file_events::FileEvents,
        lock_files::{self, LockFiles},
        owner_liveness::Owners,
    },
};
use wfe_core::sync::lock;

/// Notifies the subscribers of changes.
#[derive(Clone)]
pub(crate) struct ChangeSignal {
    /// Counts the changes for the subscribers of this provider.
    changes: Arc<watch::Sender<u64>>,
    /// Counts the questions for the subscribers of this provider.
    questions: Arc<watch::Sender<u64>>,
    /// `None` for a database in memory: all subscribers are in this process.
    file: Option<Arc<FileSignal>>,
    /// The files beside a database of a provider that only reads.
    of_reader: Option<Sidecars>,
}

struct FileSignal {
    lock_files: Arc<LockFiles>,
    watch: Watch,
    /// The owners whose lock files the thread checks.
    owners: Arc<Owners>,
    watched: Mutex<Watched>,
}

struct Watched {
    /// The signal and the question that were last read.
    last: [[u8; 16]; 2],
    /// Whether the thread runs that reads the signal.
    has_thread: bool,
    /// Whether the last read failed. The failure was reported.
    is_unreadable: bool,
}

impl ChangeSignal {
    pub(crate) fn in_memory() -> Self {
        let (changes, questions) = (watch::Sender::new(0), watch::Sender::new(0));
        Self { changes: Arc::new(changes), questions: Arc::new(questions), file: None, of_reader: None }
    }

    pub(crate) fn of_file(lock_files: Arc<LockFiles>, watch: Watch, owners: Arc<Owners>) -> Self {
        let watched = Mutex::new(Watched { last: [[0; 16]; 2], has_thread: false, is_unreadable: false });
        Self { file: Some(Arc::new(FileSignal { lock_files, watch, owners, watched })), ..Self::in_memory() }
    }

    /// For a provider that only reads. It gets no notifications and gives none; it can only ask the hosts for fresh cards.
    pub(crate) fn of_reader(sidecars: Sidecars) -> Self {
        Self { of_reader: Some(sidecars), ..Self::in_memory() }
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

    /// Asks the hosts in all processes for fresh cards. `false` means that this is not possible, and that none will come.
    pub(crate) fn ask(&self) -> bool {
        let asked = match (&self.file, &self.of_reader) {
            (Some(file), _) => file.lock_files.ask(),
            (None, Some(sidecars)) => lock_files::ask_as_reader(sidecars),
            (None, None) => {
                notify_subscribers(&self.questions);
                Ok(())
            }
        };
        asked.inspect_err(|error| logging::debug!(%error, "cannot ask the hosts for fresh cards")).is_ok()
    }

    /// A stream of notifications of changes. All changes since the previous item are merged into one item.
    pub(crate) fn subscribe(&self) -> BoxStream<'static, ()> {
        self.stream_of(&self.changes)
    }

    /// A stream of the questions for fresh cards. All questions since the previous item are merged into one item.
    pub(crate) fn questions(&self) -> BoxStream<'static, ()> {
        self.stream_of(&self.questions)
    }

    fn stream_of(&self, counter: &watch::Sender<u64>) -> BoxStream<'static, ()> {
        let counter = match &self.file {
            None => counter.subscribe(),
            Some(file) => {
                let mut watched = file.lock();
                if watched.has_thread {
                    // Earlier changes and questions concern only the earlier subscribers.
                    file.check(&mut watched, &self.changes, &self.questions);
                } else {
                    // The signal is read after the watch has begun, so that no change is missed in between.
                    watched.has_thread = self.start_thread(file);
                    watched.last = file.last_signals(&mut watched).unwrap_or(watched.last);
                }
                counter.subscribe()
            }
        };
        stream::unfold(counter, async |mut counter| {
            // An error means that the store is closed and that no further item can come.
            counter.changed().await.ok()?;
            Some(((), counter))
        })
        .boxed()
    }

    /// Starts the thread that reads the signal. The thread ends when there is no subscriber or the store is closed. `false` means that the
    /// thread could not be started.
    fn start_thread(&self, file: &Arc<FileSignal>) -> bool {
        let events = FileEvents::of(file.lock_files.signal_path());
        let counters = (Arc::downgrade(&self.changes), Arc::downgrade(&self.questions));
        let file = Arc::downgrade(file);
        let started = thread::Builder::new()
            .name("wfe-sqlite-signal".to_owned())
            .spawn(move || read_signals(events, &counters, &file));
        if let Err(error) = &started {
            logging::warn!(%error, "cannot start the thread that reads the change signal; only polls notice the commits of other processes");
        }
        started.is_ok()
    }
}

fn notify_subscribers(counter: &watch::Sender<u64>) {
    counter.send_modify(|counter| *counter = counter.wrapping_add(1));
}

type Counter = Weak<watch::Sender<u64>>;

fn read_signals(mut events: FileEvents, (changes, questions): &(Counter, Counter), file: &Weak<FileSignal>) {
    loop {
        events.wait();
        let (Some(changes), Some(questions), Some(file)) =
            (changes.upgrade(), questions.upgrade(), file.upgrade())
        else {
            return;
        };
        file.owners.check_lock_files();
        let mut watched = file.lock();
        if changes.is_closed() && questions.is_closed() {
            // The next subscriber starts a new thread.
            watched.has_thread = false;
            return;
        }
        if file.watch.check_at_times().is_err() {
            // The subscriber then calls the store, which returns the loss. No further item can come.
            watched.has_thread = false;
            return notify_subscribers(&changes);
        }
        file.check(&mut watched, &changes, &questions);
    }
}

impl FileSignal {
    fn lock(&self) -> MutexGuard<'_, Watched> {
        // No holder of the lock can panic half-way through a change.
        lock(&self.watched)
    }

    fn check(&self, watched: &mut Watched, changes: &watch::Sender<u64>, questions: &watch::Sender<u64>) {
        let Some(now) = self.last_signals(watched) else { return };
        let before = mem::replace(&mut watched.last, now);
        for (counter, (before, now)) in [changes, questions].into_iter().zip(before.iter().zip(now)) {
            if *before != now {
                notify_subscribers(counter);
            }
        }
    }

    /// The signal and the question in the file. `None` means that reading failed. The failure is logged once. As long as reading fails,
    /// hosts find changes only by polling the store.
    fn last_signals(&self, watched: &mut Watched) -> Option<[[u8; 16]; 2]> {
        match self.lock_files.last_signals() {
            Ok(signals) => {
                watched.is_unreadable = false;
                Some(signals)
            }
            Err(error) => {
                if !mem::replace(&mut watched.is_unreadable, true) {
                    logging::warn!(%error, "cannot read the change signal; only polls notice the commits of other processes");
                }
                None
            }
        }
    }
}
