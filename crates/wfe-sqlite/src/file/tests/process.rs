//! A process that works on a store. It runs this test binary once more, and reads commands from its standard input.

use std::{
    env, fs,
    io::{BufRead, BufReader, Lines, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    sync::atomic::Ordering,
    time::Duration,
};

use futures_util::StreamExt;
use serde_json::json;
use tempfile::TempDir;
use wfe_core::{
    Result, WfeError,
    models::WorkflowInstance,
    traits::{StepStore, WorkflowRepository},
};

use crate::{
    SqlitePersistenceProvider,
    file::{locks, sidecar_names::sidecar_path},
    sqlx::{self, ConnectOptions, Connection, SqliteConnection, sqlite::SqliteConnectOptions},
};

/// The environment variable that tells a child process which database to open.
const DATABASE: &str = "WFE_LOST_DATABASE";

/// The environment variable that makes a child process behave as it would on a system that has no open file description
/// (OFD) locks.
const POSIX: &str = "WFE_LOST_POSIX";

/// The kind of locks that a process uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Locks {
    Description,
    Posix,
}

/// The result of a call, in one line.
fn outcome<T>(result: Result<T>) -> String {
    match result {
        Ok(_) => "ok".to_owned(),
        Err(WfeError::Unusable { path, reason, .. }) => format!("unusable {} {reason}", path.display()),
        Err(WfeError::CommitUnknown { message, .. }) => format!("unknown {message}"),
        Err(other) => format!("{other:?}"),
    }
}

pub(super) async fn create(store: &SqlitePersistenceProvider, name: &str) -> Result<String> {
    let mut instance = WorkflowInstance::new("d", 1, json!(null));
    name.clone_into(&mut instance.name);
    store.create_new_workflow(&instance).await
}

/// The child's side. If the variable [`DATABASE`] is not set, this is an ordinary run of the tests, and the function
/// does nothing.
#[tokio::test]
async fn serve() {
    let Some(database) = env::var_os(DATABASE).map(PathBuf::from) else { return };
    locks::POSIX_ONLY.store(env::var_os(POSIX).is_some(), Ordering::Relaxed);
    let mut store = match SqlitePersistenceProvider::file(&database).open().await {
        Ok(store) => {
            println!("\n@ok");
            store
        }
        Err(error) => return println!("\n@{}", outcome::<()>(Err(error))),
    };
    let owner = store.register().await.unwrap();
    for line in std::io::stdin().lines() {
        let line = line.unwrap();
        let answer = match line.split_once(' ').unwrap_or((&line, "")) {
            ("create", name) => outcome(create(&store, name).await),
            ("read", name) => outcome(store.get_workflow_instance_by_name(name).await),
            ("beat", _) => outcome(store.heartbeat(&owner).await),
            ("verify", _) => outcome(store.verify().await),
            // As an idle host: no other call is made.
            ("listen", _) => {
                store.news().next().await;
                outcome(store.ended(&[]).await)
            }
            // As a program that reads or copies its own database.
            ("copy", _) => {
                for suffix in ["", "-wal", "-shm"] {
                    fs::read(sidecar_path(&database, suffix)).unwrap();
                }
                "ok".to_owned()
            }
            ("again", _) => outcome(SqlitePersistenceProvider::file(&database).open().await),
            ("reopen", _) => {
                store.close().await;
                match SqlitePersistenceProvider::file(&database).open().await {
                    Ok(new) => {
                        store = new;
                        "ok".to_owned()
                    }
                    Err(error) => outcome::<()>(Err(error)),
                }
            }
            ("close", _) => {
                store.close().await;
                "ok".to_owned()
            }
            (other, _) => panic!("{other}"),
        };
        println!("\n@{answer}");
    }
}

pub(super) struct Process {
    pub(super) child: Child,
    input: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Process {
    /// Starts a process. Returns the process, and the result of its attempt to open the database.
    pub(super) fn start(database: &Path, locks: Locks) -> (Self, String) {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["--exact", "file::tests::process::serve", "--nocapture", "--test-threads=1"]);
        command.env(DATABASE, database).stdin(Stdio::piped()).stdout(Stdio::piped());
        if locks == Locks::Posix {
            command.env(POSIX, "");
        }
        let mut child = command.spawn().unwrap();
        let input = child.stdin.take();
        let answers = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut process = Self { child, input, answers };
        let opened = process.answer();
        (process, opened)
    }

    pub(super) fn answer(&mut self) -> String {
        let mut lines = self.answers.by_ref().map(std::result::Result::unwrap);
        lines.find_map(|line| line.strip_prefix('@').map(str::to_owned)).expect("the child answers")
    }

    pub(super) fn send(&mut self, line: &str) {
        writeln!(self.input.as_ref().unwrap(), "{line}").unwrap();
    }

    pub(super) fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.answer()
    }

    /// Makes the process close its store, and waits until the process has ended.
    pub(super) fn end(mut self) {
        self.ask("close");
        drop(self.input.take());
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has ended by itself, or the test has failed and must not leave it behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(super) struct Place {
    pub(super) folder: TempDir,
    pub(super) database: PathBuf,
    locks: Locks,
}

impl Place {
    pub(super) fn new(locks: Locks) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("a.db");
        Self { folder, database, locks }
    }

    pub(super) fn path(&self, suffix: &str) -> PathBuf {
        sidecar_path(&self.database, suffix)
    }

    pub(super) fn process(&self) -> Process {
        let (process, opened) = Process::start(&self.database, self.locks);
        assert_eq!(opened, "ok");
        process
    }

    /// The names of the stored instances. They are read through SQLite, without WFE.
    pub(super) async fn stored(&self) -> Vec<String> {
        let mut connection = self.connect().await;
        let names = sqlx::query_scalar("SELECT name FROM workflows ORDER BY name").fetch_all(&mut connection);
        let names = names.await.unwrap();
        connection.close().await.unwrap();
        names
    }

    pub(super) async fn connect(&self) -> SqliteConnection {
        let mut connection = self.options().connect().await.unwrap();
        sqlx::query("SELECT count(*) FROM sqlite_schema").execute(&mut connection).await.unwrap();
        connection
    }

    /// The options for opening the database through SQLite, without WFE.
    pub(super) fn options(&self) -> SqliteConnectOptions {
        SqliteConnectOptions::new().filename(&self.database).busy_timeout(Duration::from_mins(1))
    }
}
