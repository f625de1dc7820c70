//! The subjects `ceiling` and `ceiling+load`: `SQLite` through rusqlite on one thread, with group commit and cached statements.
//! They make the same logical writes as a store does, without checking anything.

mod flows;
mod instance;
mod schema;
mod steps;
mod store;
mod writer;

use std::process::ExitCode;

use wfe_bench_workloads::{
    Work, run_requested, work,
    workload::{
        CommitStep, Create, Event, Flow, Load, Mixed, Persist, Processes, Runnable, RunnableEvents, Schedule,
        Soak, StepCycle,
    },
};

use self::store::Ceiling;

fn works(subject: &str) -> Vec<Work> {
    match subject {
        "ceiling" => vec![
            work::<Create<Ceiling>>(),
            work::<Persist<Ceiling>>(),
            work::<Load<Ceiling>>(),
            work::<StepCycle<Ceiling>>(),
            work::<CommitStep<Ceiling>>(),
            work::<Event<Ceiling>>(),
            work::<Schedule<Ceiling>>(),
            work::<Runnable<Ceiling>>(),
            work::<RunnableEvents<Ceiling>>(),
            work::<Mixed<Ceiling>>(),
            work::<Flow<Ceiling>>(),
            work::<Processes<Ceiling>>(),
            work::<Soak<Ceiling>>(),
        ],
        "ceiling+load" => vec![work::<StepCycle<Ceiling<true>>>()],
        _ => Vec::new(),
    }
}

fn main() -> ExitCode {
    match run_requested(works) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => {
            eprintln!("ceiling: the benchmark's driver starts this program");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("ceiling: {error}");
            ExitCode::FAILURE
        }
    }
}
