//! Activities: work that is done by workers in processes of their own, with claims, leases and heartbeats.
//!
//! ```text
//! cargo run -p wfe --example worker -- [--db FILE]
//! ```
//!
//! Three pictures: one is done by a worker that works as it should; one is claimed by a worker that dies; one by a worker
//! that is too slow, and whose answer is refused. The program starts itself as each of the workers. It may be killed at
//! any moment: started again on the same file, it goes on where it was.

#[path = "../common/mod.rs"]
mod common;
mod outside;
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
    outside::Manner,
    workflow::{PICTURE, Picture},
};

const USAGE: &str = "\
usage: worker [--db FILE] [--work MANNER]

Has thumbnails of three pictures made by workers in other processes.

  --db FILE       the database, made when missing; by default one that is removed at the end
  --work MANNER   be such a worker, until the standard input ends: steady, hasty or slow";

/// How often it is looked how an instance stands: at once, for a person.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

#[tokio::main]
async fn main() -> ExitCode {
    common::main("worker", USAGE, &["db", "work"], run).await
}

async fn run(options: Options) -> Result<(), Failure> {
    let temporary = tempfile::tempdir()?;
    let db = options.path("db").unwrap_or_else(|| temporary.path().join("pictures.db"));
    if let Some(manner) = options.path("work") {
        return outside::work(&db, manner.to_string_lossy().parse()?).await;
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

/// Has one thumbnail made; `first` is the worker that claims it before the steady one comes.
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
            println!("  {file} is held by {}", holder(host, &id).await?.unwrap_or_default());
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

/// Who has the activity of this instance; `None`: it has ended.
async fn holder(host: &WorkflowHost, id: &str) -> Result<Option<String>, Failure> {
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

/// A worker: this program once more.
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

    /// Tells it to end, shows what it says until then, and waits for its end.
    fn end(&mut self, word: &str) -> Result<(), Failure> {
        if let Some(mut input) = self.input.take() {
            // It may have died, and hears nothing then.
            input.write_all(word.as_bytes()).ok();
        }
        for line in self.output.by_ref() {
            println!("  {}", line?);
        }
        self.child.wait()?;
        Ok(())
    }
}
