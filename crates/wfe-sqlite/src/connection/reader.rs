//! Snapshot reads. Each reading thread has a connection, and does one read after the other from a common queue. A read runs to
//! its end even if its caller stops waiting. A dropped future therefore leaves no transaction open.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use tokio::{
    runtime::{Handle, Runtime},
    sync::oneshot,
};
use wfe_core::{Result, WfeError, logging, sync::lock};

use crate::{
    connection::{
        admission::{Admission, Caller, Permit},
        execute::{self, Counts, Lent},
        queue::{Jobs, Taker, queue},
        thread::{self, Ended},
    },
    error::{self, SqliteError},
    file::Hold,
    request::{Done, Script},
    sqlx::{Connection, SqliteConnection},
};

struct Job {
    script: Script,
    permit: Permit,
    reply: oneshot::Sender<Result<Vec<Done>>>,
}

/// Sends requests to the reading threads.
pub(crate) struct Reader {
    jobs: Jobs<Job>,
    ended: Ended,
    /// Bounds the program's share of the queue.
    admission: Admission,
    /// When the read of each thread began.
    began: Arc<[Mutex<Option<Instant>>]>,
}

impl Reader {
    /// Starts a thread for each connection. A thread keeps its share of `hold` until its connection is closed. The
    /// connections are not a pool: they are never recycled and have no timeout. `is_of_earlier_version` says whether their
    /// tables are views on those of an earlier schema version.
    pub(crate) fn start(
        (connections, is_of_earlier_version): (Vec<SqliteConnection>, bool),
        hold: &Hold,
        counts: &Arc<Counts>,
        timer: Handle,
        busy: Duration,
        location: String,
    ) -> Result<Self> {
        let ((jobs, taker), (alive, ended)) = (queue(), thread::ended());
        let name: Arc<str> = location.as_str().into();
        let began: Arc<[_]> = connections.iter().map(|_| Mutex::default()).collect();
        for (number, connection) in connections.into_iter().enumerate() {
            let (hold, counts, taker) = (hold.share(), Arc::clone(counts), taker.clone());
            let thread = Thread {
                connection,
                is_of_earlier_version,
                hold,
                counts,
                taker,
                location: Arc::clone(&name),
                began: (Arc::clone(&began), number),
            };
            thread::start("wfe-sqlite-read", alive.clone(), |runtime| thread.serve(runtime))
                .map_err(|error| error::of(&location, error))?;
        }
        Ok(Self { jobs, ended, admission: Admission::new(timer, busy, location), began })
    }

    /// For how long the oldest read has run. `None` means that none runs.
    pub(crate) fn oldest(&self) -> Option<Duration> {
        self.began.iter().filter_map(|began| *lock(began)).map(|began| began.elapsed()).max()
    }

    /// Reads one consistent snapshot.
    pub(crate) async fn read(&self, caller: Caller, script: Script) -> Result<Vec<Done>> {
        let permit = self.admission.enter(caller, script.bytes(), Instant::now()).await?;
        let (reply, answer) = oneshot::channel();
        if !self.jobs.push(Job { script, permit, reply }) {
            // The call must not return before the connections are closed.
            self.ended.wait().await;
        }
        // If the job was not done, it was dropped, and its end of the channel with it.
        answer.await.map_err(|_| WfeError::Closed("store"))?
    }

    /// Like [`close`](Self::close), but blocks the calling thread until the connections are closed, at most for
    /// `longest`. Returns whether the connections were closed in that time.
    pub(crate) fn close_within(&self, longest: Duration) -> bool {
        self.admission.close();
        self.jobs.close();
        self.ended.wait_blocking(longest)
    }

    /// Finishes earlier requests and closes the connections.
    pub(crate) async fn close(&self) {
        self.admission.close();
        self.jobs.close();
        self.ended.wait().await;
    }
}

struct Thread {
    connection: SqliteConnection,
    is_of_earlier_version: bool,
    hold: Hold,
    counts: Arc<Counts>,
    taker: Taker<Job>,
    /// The name by which errors refer to the database.
    location: Arc<str>,
    began: (Arc<[Mutex<Option<Instant>>]>, usize),
}

impl Thread {
    fn serve(self, runtime: &Runtime) {
        let Self {
            mut connection,
            is_of_earlier_version,
            mut hold,
            counts,
            taker,
            location,
            began: (all, number),
        } = self;
        let handle = match runtime.block_on(execute::lend(&mut connection)) {
            Ok(handle) => handle,
            Err(error) => {
                // The other threads serve the queue. If there is none left, the queue is closed.
                logging::error!(%error, store = &*location, "sqlx does not lend a reading connection");
                return;
            }
        };
        let lent = Lent::new(&handle, &counts).of_earlier_version(is_of_earlier_version);
        while let Some(Job { mut script, permit, reply }) = taker.take() {
            let began = |at| {
                if let Some(began) = all.get(number) {
                    *lock(began) = at;
                }
            };
            began(Some(Instant::now()));
            let result = match hold.watch().check_at_times() {
                Ok(()) => lent.read(&mut script).map_err(|error| {
                    let error = Arc::new(SqliteError::from(error));
                    match hold.watch().judge(&error) {
                        Ok(()) => error::of(&location, error::storage("reading", &error)),
                        Err(loss) => loss.unusable(),
                    }
                }),
                Err(loss) => Err(loss.unusable()),
            };
            began(None);
            // Release the permit first: a caller that receives its result may send its next request at once.
            drop(permit);
            // The send fails if the caller no longer waits.
            let _ = reply.send(result);
        }
        drop(lent);
        drop(handle);
        if !hold.release() {
            std::mem::forget(connection);
        } else if let Err(error) = runtime.block_on(logging::unlogged(connection.close())) {
            logging::warn!(%error, store = &*location, "a reading connection did not close cleanly");
        }
        drop(hold);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::{
        connection::thread::Timer,
        file::{Watch, open, preflight},
        request::{Sql, Taken},
    };

    #[tokio::test]
    async fn a_reader_that_stands_still_keeps_the_program_out_and_not_the_engine() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let hold =
            Watch::new(preflight::check(&path, preflight::Intent::Create).unwrap(), &path).enter().unwrap();
        let (timer, busy) = (Timer::start().unwrap(), Duration::from_millis(50));
        let (stands, stand) = std::sync::mpsc::channel::<()>();
        let connections = (vec![open::memory().await.unwrap()], false);
        let counts = Arc::default();
        let reader =
            Reader::start(connections, &hold, &counts, timer.runtime().clone(), busy, "a.db".to_owned())
                .unwrap();
        let mut long = Script::default();
        long.add(&Sql::<1>::new("SELECT ?"), [1_i64.into()]);
        long.take = Some(Box::new(move |_, _| Taken::collect_if(stand.recv().is_ok())));
        assert!(reader.read(Caller::Engine, long).now_or_never().is_none());
        let mut entered = 0;
        while reader.admission.has_room() {
            assert!(reader.read(Caller::Program, Script::default()).now_or_never().is_none());
            entered += 1;
        }
        assert!(entered > 100, "{entered}");
        // The callers of these reads are gone, but the reads still wait in the queue.
        let refused = reader.read(Caller::Program, Script::default()).await;
        assert!(matches!(refused, Err(WfeError::Busy { .. })));
        let mut waits = Box::pin(reader.read(Caller::Engine, Script::default()));
        assert!(waits.as_mut().now_or_never().is_none());
        drop(stands);
        waits.await.unwrap();
        // All reads are done, although their callers did not wait.
        reader.close().await;
        assert!(reader.admission.enter(Caller::Program, 0, Instant::now()).await.is_err());
        assert!(matches!(reader.read(Caller::Engine, Script::default()).await, Err(WfeError::Closed(_))));
    }
}
