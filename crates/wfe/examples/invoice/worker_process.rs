//! The worker that transfers money, in a process of its own. It needs only the store and the activity.

use std::{
    env,
    io::{self, Read},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    thread,
};

use tokio::sync::oneshot;
use wfe::prelude::*;

use crate::{calendar::Calendar, common::Result, workflow::TRANSFER};

/// Transfers money until the standard input ends, and then finishes the transfers that are running.
pub async fn work(db: &Path) -> Result {
    // The store and the host use the same clock as the program that runs the workflows.
    let clock = Calendar::open(Some(db))?.clock();
    let store = SqliteStore::file(db).clock(clock.clone()).open().await?;
    // The host is not started, because it runs no workflows.
    let host = WorkflowHost::builder(store).clock(clock).build();
    let worker = host.activities().worker(TRANSFER, "bank clerk");
    let work = worker.run_until(input_end(), async |transfer, _| {
        // A worker that crashed after this line would transfer again. The bank recognises the invoice.
        println!("  bank: {} cents to {}", transfer.cents, transfer.supplier);
        Ok(format!("transfer of {}", transfer.invoice))
    });
    Ok(work.await?)
}

/// Resolves when the standard input ends: when the parent process closes it, or has died.
fn input_end() -> oneshot::Receiver<()> {
    let (sender, receiver) = oneshot::channel();
    // This runs on a separate thread and not on the runtime, because the runtime would wait for the read when the
    // process ends.
    thread::spawn(move || {
        let mut input = String::new();
        let _end = io::stdin().read_to_string(&mut input);
        // Sending fails if the receiver was dropped.
        sender.send(()).ok();
    });
    receiver
}

/// The process of a worker, seen by the process that started it.
pub struct Worker {
    child: Child,
    input: Option<ChildStdin>,
}

impl Worker {
    pub fn start(db: &Path) -> Result<Self> {
        let mut child = Command::new(env::current_exe()?)
            .arg("--db")
            .arg(db)
            .args(["--work", "transfers"])
            .stdin(Stdio::piped())
            .spawn()?;
        let input = child.stdin.take();
        Ok(Self { child, input })
    }

    /// Lets the worker finish its transfer, and waits until its process has exited.
    pub fn end(mut self) -> Result {
        drop(self.input.take());
        self.child.wait()?;
        Ok(())
    }
}
