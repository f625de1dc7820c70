//! Snapshot reads. Each read has its own task on a separate thread, and runs to its end even if its caller
//! stops waiting. A dropped future therefore leaves no transaction open.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{
    runtime::Handle,
    sync::{mpsc, oneshot},
};
use wfe_core::{Result, WfeError, logging};

use crate::{
    connection::{
        admission::{Admission, Caller, Permit},
        execute,
        sql_text::{Frame, Texts},
        thread::{self, Ended},
    },
    error,
    file::Hold,
    request::{Done, Script},
    schema,
    sqlx::{self, Connection, SqliteConnection, sqlite::SqliteConnectOptions},
};

enum Job {
    Read(Script, Permit, oneshot::Sender<Result<Vec<Done>>>),
    Close(oneshot::Sender<()>),
}

/// Sends requests to the reading connections.
pub(crate) struct Reader {
    jobs: mpsc::UnboundedSender<Job>,
    ended: Ended,
    /// Bounds the program's share of the queue.
    admission: Admission,
}

impl Reader {
    /// Starts the readers' thread. The thread keeps `hold` until these connections are closed. The connections
    /// are not a pool: they are never recycled and have no timeout.
    pub(crate) fn start(
        connections: Vec<SqliteConnection>,
        options: SqliteConnectOptions,
        hold: Hold,
        busy: Duration,
        location: String,
    ) -> Result<Self> {
        let (jobs, queue) = mpsc::unbounded_channel();
        let named = location.clone();
        let serve = async move || serve(connections, options, queue, hold, &named).await;
        let ended = thread::start("wfe-sqlite-read", serve).map_err(|error| error::of(&location, error))?;
        let admission = Admission::new(ended.runtime().clone(), busy, location);
        Ok(Self { jobs, ended, admission })
    }

    /// The runtime of the readers' thread. This thread never blocks.
    pub(crate) fn runtime(&self) -> &Handle {
        self.ended.runtime()
    }

    /// Reads one consistent snapshot.
    pub(crate) async fn read(&self, caller: Caller, script: Script) -> Result<Vec<Done>> {
        let permit = self.admission.enter(caller, script.bytes(), Instant::now()).await?;
        let (reply, answer) = oneshot::channel();
        self.jobs.send(Job::Read(script, permit, reply)).map_err(|_| WfeError::Closed("store"))?;
        answer.await.map_err(|_| WfeError::Closed("store"))?
    }

    /// Like [`close`](Self::close), but blocks the calling thread until the connections are closed, at most for
    /// `longest`. Returns whether the connections were closed in that time.
    pub(crate) fn close_within(&self, longest: Duration) -> bool {
        self.admission.close();
        let (reply, _) = oneshot::channel();
        // An error means that the thread has already ended.
        let _ = self.jobs.send(Job::Close(reply));
        self.ended.wait(longest)
    }

    /// Finishes earlier requests and closes the connections.
    pub(crate) async fn close(&self) {
        self.admission.close();
        let (reply, closed) = oneshot::channel();
        if self.jobs.send(Job::Close(reply)).is_ok() {
            // An error means that the thread has already ended.
            let _ = closed.await;
        }
    }
}

async fn serve(
    connections: Vec<SqliteConnection>,
    options: SqliteConnectOptions,
    mut queue: mpsc::UnboundedReceiver<Job>,
    mut hold: Hold,
    location: &str,
) {
    let location: Arc<str> = location.into();
    let count = connections.len();
    let (back, mut idle) = mpsc::unbounded_channel();
    let mut closing = None;
    for connection in connections {
        // The send cannot fail: the receiver lives as long as this function.
        let _ = back.send((Some(connection), Texts::default()));
    }
    while let Some(job) = queue.recv().await {
        match job {
            Job::Read(mut script, permit, reply) => {
                let Some((mut connection, mut texts)) = idle.recv().await else { break };
                let (back, watch, location) = (back.clone(), hold.watch().clone(), Arc::clone(&location));
                let options = options.clone();
                tokio::spawn(async move {
                    // Without a connection, a new connection is opened. It needs a check of the files at this
                    // moment.
                    let looked = if connection.is_some() { watch.check_at_times() } else { watch.check() };
                    let result = match looked {
                        Ok(()) => read_anew(&mut connection, &options, &mut texts, &mut script)
                            .await
                            .map_err(|error| {
                                let judged = watch.judge(&error);
                                judged.map_or_else(
                                    |loss| loss.unusable(),
                                    |()| error::of(&location, error::storage("reading", &error)),
                                )
                            }),
                        Err(loss) => Err(loss.unusable()),
                    };
                    // Return the connection first: a caller that receives its result may send its next request
                    // at once. Each of the two sends fails if its receiver is gone.
                    let _ = back.send((connection, texts));
                    drop(permit);
                    let _ = reply.send(result);
                });
            }
            Job::Close(reply) => {
                closing = Some(reply);
                break;
            }
        }
    }
    let may_close = hold.release();
    for _ in 0..count {
        let Some((Some(connection), _)) = idle.recv().await else { continue };
        if !may_close {
            std::mem::forget(connection);
        } else if let Err(error) = logging::unlogged(connection.close()).await {
            logging::warn!(%error, store = &*location, "a reading connection did not close cleanly");
        }
    }
    drop(hold);
    if let Some(reply) = closing {
        // The send fails if the caller of the close no longer waits.
        let _ = reply.send(());
    }
    // Drop the queue last: requests that were sent meanwhile, including a second close, must not return before
    // everything is closed.
    drop(queue);
}

/// Like [`read`], but opens a new connection if the thread of the previous connection has ended.
async fn read_anew(
    connection: &mut Option<SqliteConnection>,
    options: &SqliteConnectOptions,
    texts: &mut Texts,
    script: &mut Script,
) -> std::result::Result<Vec<Done>, Arc<sqlx::Error>> {
    let open = match &mut *connection {
        Some(open) => open,
        None => connection.insert(schema::connect(options).await?),
    };
    let result = read(open, texts, script).await;
    if result.as_ref().is_err_and(|error| error::ends_connection(error)) {
        // The connection is not closed, because its thread would not respond.
        *connection = None;
    }
    result
}

/// Runs a script of reads. Several reads run in one transaction, so that they all see the same commit.
pub(crate) async fn read(
    connection: &mut SqliteConnection,
    texts: &mut Texts,
    script: &mut Script,
) -> std::result::Result<Vec<Done>, Arc<sqlx::Error>> {
    let together = script.statements.len() > 1;
    let frame = Frame { opens: together.then_some("BEGIN"), closes: together, ..Frame::default() };
    let (text, before) = (texts.get(&script.statements, 1, frame), frame.before());
    let count = frame.text(1, script.statements.len());
    let sent = match &mut script.take {
        None => execute::send(connection, text, &script.values, count, 0).await,
        Some(take) => {
            execute::send_taking(connection, text, &script.values, count, 0, |at, row| {
                at.checked_sub(before).and_then(|at| take(at, row))
            })
            .await
        }
    };
    let mut done = sent.done;
    if let Some(error) = sent.error {
        if together && !error::ends_connection(&error) {
            // The rollback fails only if the transaction did not begin, or has already ended.
            let _ = execute::send(connection, "ROLLBACK".into(), [], 1, 0).await;
        }
        return Err(Arc::new(error));
    }
    if together {
        done.pop();
        done.remove(0);
    }
    Ok(done)
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;
    use crate::file::open;
    use crate::file::{Watch, preflight};

    #[tokio::test]
    async fn a_reader_that_stands_still_keeps_the_program_out_and_not_the_engine() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let hold = Watch::new(preflight::check(&path).unwrap(), &path).enter().unwrap();
        // Without a connection, the thread takes one job from the queue and never finishes it.
        let busy = Duration::from_millis(50);
        let reader = Reader::start(Vec::new(), open::in_memory(), hold, busy, "a.db".to_owned()).unwrap();
        let mut entered = 0;
        while reader.admission.has_room() {
            assert!(reader.read(Caller::Program, Script::default()).now_or_never().is_none());
            entered += 1;
        }
        assert!(entered > 100, "{entered}");
        // The callers of these reads are gone, but the reads still wait in the queue.
        let refused = reader.read(Caller::Program, Script::default()).await;
        assert!(matches!(refused, Err(WfeError::Busy { .. })));
        for _ in 0..entered {
            assert!(reader.read(Caller::Engine, Script::default()).now_or_never().is_none());
        }
    }
}
