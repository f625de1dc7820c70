//! The one thread, and its transactions. Each request has a savepoint, because a request that fails must not take the others of
//! its transaction with it.

use std::{sync::mpsc, thread, time::Duration};

use rusqlite::Connection;
use tokio::sync::oneshot;
use wfe_bench_workloads::{Done, Place};

use crate::schema;

/// How many requests one transaction has at most.
const GROUP: usize = 1024;
/// For other processes on the same file.
const PATIENCE: Duration = Duration::from_secs(30);

type Act =
    Box<dyn FnOnce(&Connection) -> rusqlite::Result<Box<dyn FnOnce(Result<(), String>) + Send>> + Send>;

/// The way to the thread. The thread ends when this is closed.
pub struct Writer {
    requests: std::sync::Mutex<Option<(mpsc::Sender<Act>, thread::JoinHandle<()>)>>,
}

impl Writer {
    pub fn open(place: &Place) -> Done<Self> {
        let connection = match place.path() {
            Some(path) => Connection::open(path)?,
            None => Connection::open_in_memory()?,
        };
        connection.busy_timeout(PATIENCE)?;
        connection.set_prepared_statement_cache_capacity(64);
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL")?;
        connection.execute_batch(schema::TABLES)?;
        let (sender, requests) = mpsc::channel();
        let thread =
            thread::Builder::new().name("sqlite".to_owned()).spawn(move || serve(&connection, &requests))?;
        Ok(Self { requests: std::sync::Mutex::new(Some((sender, thread))) })
    }

    /// Runs a request on the thread. Returns its result once the transaction is committed.
    pub async fn run<T: Send + 'static>(
        &self,
        request: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Done<T> {
        let (answer, answered) = oneshot::channel();
        let act: Act = Box::new(move |connection| {
            let value = request(connection)?;
            // The receiver is gone if the caller has given up.
            Ok(Box::new(move |outcome| drop(answer.send(outcome.map(|()| value)))))
        });
        {
            let requests = self.requests.lock().map_err(|_| "a caller has panicked")?;
            requests.as_ref().ok_or("the file is closed")?.0.send(act).map_err(|_| "the thread has ended")?;
        }
        Ok(answered.await.map_err(|_| "the transaction failed")??)
    }

    pub fn close(&self) -> Done {
        let open = self.requests.lock().map_err(|_| "a caller has panicked")?.take();
        let Some((sender, thread)) = open else { return Ok(()) };
        drop(sender);
        thread.join().map_err(|_| "the thread has panicked".into())
    }
}

fn serve(connection: &Connection, requests: &mpsc::Receiver<Act>) {
    while let Ok(first) = requests.recv() {
        let group = std::iter::once(first).chain(requests.try_iter().take(GROUP - 1));
        if let Err(error) = transact(connection, group) {
            // Its callers get no answer, which is an error for each of them.
            eprintln!("ceiling: {error}");
            if !connection.is_autocommit() {
                drop(connection.execute_batch("ROLLBACK"));
            }
        }
    }
}

fn transact(connection: &Connection, group: impl Iterator<Item = Act>) -> rusqlite::Result<()> {
    connection.prepare_cached("BEGIN IMMEDIATE")?.execute(())?;
    let mut answers = Vec::new();
    for request in group {
        connection.prepare_cached("SAVEPOINT request")?.execute(())?;
        match request(connection) {
            Ok(answer) => answers.push(answer),
            // Its caller gets no answer, which is an error.
            Err(error) => {
                eprintln!("ceiling: {error}");
                connection.prepare_cached("ROLLBACK TO request")?.execute(())?;
            }
        }
        connection.prepare_cached("RELEASE request")?.execute(())?;
    }
    connection.prepare_cached("COMMIT")?.execute(())?;
    for answer in answers {
        answer(Ok(()));
    }
    Ok(())
}
