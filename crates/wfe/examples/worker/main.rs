//! Activities: external workers, each in its own process, do work for a workflow, with claims, leases and heartbeats.
//!
//! ```text
//! cargo run -p wfe --example worker -- [--db FILE]
//! ```
//!
//! Workers make thumbnails of three pictures. The first picture is claimed by a worker that works as it should, and the
//! second by a worker that crashes. The third is claimed by a worker that is too slow, so that its result is refused.
//! The program starts itself as each of the workers. The program may be killed at any moment. After a restart with the
//! same file, it continues where it stopped.

#[path = "../common/mod.rs"]
mod common;
mod worker_process;
mod workflow;

use std::{
    env,
    io::{BufRead, BufReader, Lines, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, ExitCode, Stdio},
    sync::Arc,
    time::Duration,
};

use wfe::{Outcome, StartOptions, Waits, WorkflowHost, clock::SystemClock};

use crate::{
    common::{Failure, Options},
    worker_process::Manner,
    workflow::{PICTURE, Picture},
};

const USAGE: &str = "\
usage: worker [--db FILE] [--work MANNER]

Makes thumbnails of three pictures with workers in other processes.

  --db FILE       the database, created if missing; by default one that is removed at the end
  --work MANNER   runs as a worker until the standard input ends; MANNER is steady, hasty or slow";

/// The interval at which the program reads the status of an instance. A person does not notice a delay this short.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

#[tokio::main]
async fn main() -> ExitCode {
    common::main("worker", USAGE, &["db", "work"], run).await
}

async fn run(options: Options) -> Result<(), Failure> {
    let temporary = tempfile::tempdir()?;
    let db = options.path("db").unwrap_or_else(|| temporary.path().join("pictures.db"));
    if let Some(manner) = options.path("work") {
        return worker_process::work(&db, manner.to_string_lossy().parse()?).await;
    }
    let store = common::open(Some(&db), Arc::new(SystemClock)).await?;
    let host = WorkflowHost::builder_shared(store).build();
    host.register(workflow::picture()?)?;
    host.start().await?;
    make(&host, &db, "elm.jpg", None).await?;
    make(&host, &db, "oak.jpg", Some(Manner::Hasty)).await?;
    make(&host, &db, "ash.jpg", Some(Manner::Slow)).await?;
    host.stop().await?;
    Ok(())
}

/// Gets one thumbnail made. `first` is the worker that claims the activity before the steady worker starts.
async fn make(host: &WorkflowHost, db: &Path, file: &str, first: Option<Manner>) -> Result<(), Failure> {
    let options = StartOptions {
        reference: Some(file.to_owned()),
        name: Some(file.to_owned()),
        ..StartOptions::default()
    };
    let picture = Picture { file: file.to_owned(), thumbnail: None };
    let id = host.start_workflow_with(PICTURE, &picture, options).await?;
    if !host.status(&id).await?.status.is_final() {
        let mut first = first.map(|manner| Process::start(db, manner)).transpose()?;
        if let Some(first) = &mut first {
            first.show_line()?;
            println!("  {file} is claimed by {}", claimant(host, &id).await?.unwrap_or_default());
        }
        let mut steady = Process::start(db, Manner::Steady)?;
        host.outcome::<Picture>(&id).await?;
        steady.end("")?;
        if let Some(first) = &mut first {
            first.end("go on")?;
        }
    }
    match host.outcome::<Picture>(&id).await? {
        Outcome::Completed(Picture { thumbnail: Some(made), .. }) => {
            println!("{file}: {}, made by the {} worker", made.file, made.by);
        }
        other => println!("{file}: {other:?}"),
    }
    Ok(())
}

/// Waits until a worker has claimed the activity of this instance, and returns the name of the worker. Returns `None`
/// if the instance has ended.
async fn claimant(host: &WorkflowHost, id: &str) -> Result<Option<String>, Failure> {
    loop {
        let status = host.status(id).await?;
        if status.status.is_final() {
            return Ok(None);
        }
        for position in status.positions {
            if let Waits::Activity { held: Some(held), .. } = position.waits {
                return Ok(held.worker);
            }
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// The process of a worker, which runs this program.
struct Process {
    child: Child,
    input: Option<ChildStdin>,
    output: Lines<BufReader<ChildStdout>>,
}

impl Process {
    fn start(db: &Path, manner: Manner) -> Result<Self, Failure> {
        let mut child = Command::new(env::current_exe()?)
            .arg("--db")
            .arg(db)
            .args(["--work", manner.name()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let output = BufReader::new(output.ok_or("the worker has no output")?).lines();
        Ok(Self { child, input, output })
    }

    fn show_line(&mut self) -> Result<(), Failure> {
        if let Some(line) = self.output.next() {
            println!("  {}", line?);
        }
        Ok(())
    }

    /// Writes `word` to the worker's standard input and closes the input, which makes the worker end. Prints the
    /// remaining output of the worker, and waits until its process has exited.
    fn end(&mut self, word: &str) -> Result<(), Failure> {
        if let Some(mut input) = self.input.take() {
            // The write fails if the worker's process has exited.
            input.write_all(word.as_bytes()).ok();
        }
        for line in self.output.by_ref() {
            println!("  {}", line?);
        }
        self.child.wait()?;
        Ok(())
    }
}
