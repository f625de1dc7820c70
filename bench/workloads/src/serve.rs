//! The side of a subject: its program runs what the driver requests.

use std::{future::Future, path::PathBuf, pin::Pin};

use crate::{Done, Measured, Run};

/// The option behind which the driver passes a [`Run`] as JSON.
pub const ONE_RUN: &str = "--one-run";

/// A workload, for one subject.
pub trait Workload: 'static {
    /// The name without parameters.
    const NAME: &'static str;

    /// Prepares the files of the run's folder, once for all rounds and numbers of clients.
    fn prepare(_run: &Run) -> impl Future<Output = Done> {
        async { Ok(()) }
    }

    /// Measures, reads back, checks.
    fn run(run: &Run) -> impl Future<Output = Done<Measured>>;
}

type Pending<'a, T> = Pin<Box<dyn Future<Output = Done<T>> + 'a>>;

/// A workload that a subject has, as a value.
pub struct Work {
    pub name: &'static str,
    prepare: fn(&Run) -> Pending<'_, ()>,
    run: fn(&Run) -> Pending<'_, Measured>,
}

pub fn work<W: Workload>() -> Work {
    Work { name: W::NAME, prepare: |run| Box::pin(W::prepare(run)), run: |run| Box::pin(W::run(run)) }
}

/// Carries out the [`Run`] that the arguments of this process contain, and prints its result. `false`: they contain none.
pub fn run_requested(works: impl Fn(&str) -> Vec<Work>) -> Done<bool> {
    let mut arguments = std::env::args_os().skip_while(|argument| argument != ONE_RUN).skip(1);
    let Some(text) = arguments.next() else { return Ok(false) };
    let run: Run = serde_json::from_str(&text.to_string_lossy())?;
    let works = works(&run.subject);
    let Some(work) = works.iter().find(|work| work.name == run.name()) else {
        return Err(format!("{} cannot do {}", run.subject, run.workload).into());
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if run.prepare {
        runtime.block_on((work.prepare)(&run))?;
    } else {
        println!("{}", serde_json::to_string(&runtime.block_on((work.run)(&run))?)?);
    }
    Ok(true)
}

/// Another process of the same program, which carries out `run`.
pub fn program_for(run: &Run) -> Done<tokio::process::Command> {
    let own: PathBuf = std::env::current_exe()?;
    let mut command = tokio::process::Command::new(own);
    command.arg(ONE_RUN).arg(serde_json::to_string(run)?).kill_on_drop(true);
    Ok(command)
}
