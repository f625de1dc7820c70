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

use wfe::{clock::SystemClock, prelude::*, status::Waits};

use crate::{
    common::{Options, Result},
    workflow::Picture,
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

async fn run(options: Options) -> Result {
    let temporary = tempfile::tempdir()?;
    let db = options.path("db").unwrap_or_else(|| temporary.path().join("pictures.db"));
    if let Some(manner) = options.path("work") {
        return worker_process::work(&db, &manner.to_string_lossy()).await;
    }
    let store = common::open(Some(&db), Arc::new(SystemClock)).await?;
    let host = WorkflowHost::builder_shared(store).build();
    let pictures = host.register(workflow::picture()?)?;
    host.start().await?;
    // Each picture, with the worker that claims the activity before the steady worker starts.
    for (file, first) in [("elm.jpg", None), ("oak.jpg", Some("hasty")), ("ash.jpg", Some("slow"))] {
        let picture = Picture { file: file.into(), thumbnail: None };
        let instance = pictures.start(&picture).reference(file).name(file).await?;
        if !instance.status().await?.state.is_final() {
            make(&instance, &db, file, first).await?;
        }
        let picture = instance.outcome().await?.completed()?;
        let made = picture.thumbnail.ok_or("the picture has no thumbnail")?;
        println!("{file}: {}, made by the {} worker", made.file, made.by);
    }
    host.stop().await?;
    Ok(())
}

/// Runs the workers until the thumbnail is made.
async fn make(instance: &Instance<Picture>, db: &Path, file: &str, first: Option<&str>) -> Result {
    let mut first = first.map(|manner| Process::start(db, manner)).transpose()?;
    if let Some(first) = &mut first {
        first.show_line()?;
        println!("  {file} is claimed by {}", claimant(instance).await?.unwrap_or_default());
    }
    let mut steady = Process::start(db, "steady")?;
    instance.outcome().await?;
    steady.end("")?;
    if let Some(first) = &mut first {
        first.end("go on")?;
    }
    Ok(())
}

/// Waits until a worker has claimed the activity of this instance, and returns the name of the worker. Returns `None`
/// if the instance has ended.
async fn claimant(instance: &Instance<Picture>) -> Result<Option<String>> {
    loop {
        let status = instance.status().await?;
        if status.state.is_final() {
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
    fn start(db: &Path, manner: &str) -> Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .arg("--db")
            .arg(db)
            .args(["--work", manner])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let output = BufReader::new(output.ok_or("the worker has no output")?).lines();
        Ok(Self { child, input, output })
    }

    fn show_line(&mut self) -> Result {
        if let Some(line) = self.output.next() {
            println!("  {}", line?);
        }
        Ok(())
    }

    /// Writes `word` to the worker's standard input and closes the input, which makes the worker end. Prints the
    /// remaining output of the worker, and waits until its process has exited.
    fn end(&mut self, word: &str) -> Result {
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
