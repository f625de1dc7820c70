//! How hosts hear that somebody stored something for them: the writer rings a bell after such a commit, before it answers.
//!
//! The bell of a file is a few bytes beside it (see [`Beside`]), which a thread looks at as long as somebody listens.
//! Looking is one read of a page in memory, and works the same on every system; being woken by the system would be
//! quicker by some milliseconds, and would flood those who listen while somebody stores without pause.

use std::{
    sync::{Arc, Mutex, MutexGuard, Weak},
    thread,
    time::Duration,
};

use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::watch;
use wfe_core::logging;

use crate::{
    file::Watch,
    processes::{lock_files::Beside, owners::Owners},
};
use wfe_core::sync::lock;

/// How often the thread looks at the bell of a file: work that another process stored begins after a quarter of the 100 ms
/// that it may take, on average, and after half of them at the latest. A look wakes a core that may be asleep, which costs
/// some 80 µs where that was measured (a small virtual machine): twenty a second, a sixth of a percent of a core.
const EVERY: Duration = Duration::from_millis(50);

/// Rings for those who listen.
#[derive(Clone)]
pub(crate) struct Bell {
    /// Counts what those who listen here have to hear.
    rings: Arc<watch::Sender<u64>>,
    /// `None`: a database in memory; all who listen share the process.
    file: Option<Arc<BellOfFile>>,
}

struct BellOfFile {
    beside: Arc<Beside>,
    watch: Watch,
    /// The owners that the thread looks after.
    owners: Arc<Owners>,
    listening: Mutex<Listening>,
}

struct Listening {
    /// What the bell said when it was last looked at.
    last: [u8; 16],
    /// The thread is there.
    is_on: bool,
    /// It could not be read, which was reported.
    is_deaf: bool,
}

impl Bell {
    pub(crate) fn in_memory() -> Self {
        Self { rings: Arc::new(watch::Sender::new(0)), file: None }
    }

    pub(crate) fn of_file(beside: Arc<Beside>, watch: Watch, owners: Arc<Owners>) -> Self {
        let listening = Mutex::new(Listening { last: [0; 16], is_on: false, is_deaf: false });
        Self { file: Some(Arc::new(BellOfFile { beside, watch, owners, listening })), ..Self::in_memory() }
    }

    /// What lies beside the file; `None`: a database in memory.
    pub(crate) fn beside(&self) -> Option<&Arc<Beside>> {
        self.file.as_ref().map(|file| &file.beside)
    }

    /// Says that there is news.
    pub(crate) fn ring(&self) {
        let Some(file) = &self.file else { return strike(&self.rings) };
        if let Err(error) = file.beside.ring() {
            logging::warn!(%error, "others could not be told of what was stored; their polls find it");
        }
    }

    /// An item for each time that it rang since the last one, however often.
    pub(crate) fn listen(&self) -> BoxStream<'static, ()> {
        let rings = match &self.file {
            None => self.rings.subscribe(),
            Some(file) => {
                let mut listening = file.lock();
                if listening.is_on {
                    // What rang before is for those who listened before.
                    file.look(&mut listening, &self.rings);
                } else {
                    listening.last = file.heard(&mut listening).unwrap_or(listening.last);
                    listening.is_on = self.look_after(file);
                }
                self.rings.subscribe()
            }
        };
        stream::unfold(rings, async |mut rings| {
            // An error: the store is closed, nothing will come any more.
            rings.changed().await.ok()?;
            Some(((), rings))
        })
        .boxed()
    }

    /// Starts the thread, which ends when nobody listens or the store is closed. Whether it could be started.
    fn look_after(&self, file: &Arc<BellOfFile>) -> bool {
        let (rings, file) = (Arc::downgrade(&self.rings), Arc::downgrade(file));
        let started =
            thread::Builder::new().name("wfe-sqlite-news".to_owned()).spawn(move || look_on(&rings, &file));
        if let Err(error) = &started {
            logging::warn!(%error, "no thread could be started to hear of what other processes store; polls find it");
        }
        started.is_ok()
    }
}

fn strike(rings: &watch::Sender<u64>) {
    rings.send_modify(|rings| *rings = rings.wrapping_add(1));
}

fn look_on(rings: &Weak<watch::Sender<u64>>, file: &Weak<BellOfFile>) {
    loop {
        thread::sleep(EVERY);
        let (Some(rings), Some(file)) = (rings.upgrade(), file.upgrade()) else { return };
        file.owners.look_after_all();
        let mut listening = file.lock();
        if rings.is_closed() {
            // Whoever listens next begins anew.
            listening.is_on = false;
            return;
        }
        if file.watch.check_at_times().is_err() {
            // Whoever listens asks the store, which says so; nothing else can come any more.
            listening.is_on = false;
            return strike(&rings);
        }
        file.look(&mut listening, &rings);
    }
}

impl BellOfFile {
    fn lock(&self) -> MutexGuard<'_, Listening> {
        // Nothing that holds it can panic half-way through a change.
        lock(&self.listening)
    }

    fn look(&self, listening: &mut Listening, rings: &watch::Sender<u64>) {
        if let Some(now) = self.heard(listening)
            && listening.last != now
        {
            listening.last = now;
            strike(rings);
        }
    }

    /// What the bell says; `None`: it cannot be read, which is reported once, and polls find what is stored.
    fn heard(&self, listening: &mut Listening) -> Option<[u8; 16]> {
        match self.beside.heard() {
            Ok(heard) => {
                listening.is_deaf = false;
                Some(heard)
            }
            Err(error) => {
                if !std::mem::replace(&mut listening.is_deaf, true) {
                    logging::warn!(%error, "it cannot be heard whether other processes stored something");
                }
                None
            }
        }
    }
}
