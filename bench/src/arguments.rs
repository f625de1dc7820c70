//! The command line.

use std::{path::PathBuf, time::Duration};

use lexopt::prelude::*;

use crate::{Done, workload::Workload};

pub const HELP: &str = "\
Measures WFE on a file with full durability, and checks that no write was lost.

wfe-bench [OPTIONS]
  --quick              shorter runs
  --only WORKLOAD      measure one workload: step-cycle or flow
  --clients LIST       numbers of concurrent clients, such as 1,64
  --rounds N           runs of each build, at least 1 (default 3; with --against 12)
  --against REVISION   compare with a build of this Git revision: both run alternately, and this build also
                       runs a second time as a control. The benchmark is this one, so the revision must
                       have the API that it uses: verbs that take closures
  --json FILE          write one line of JSON for each workload, build and number of clients
";

/// What to measure, and for how long.
pub struct Plan {
    pub lasting: Lasting,
    pub workloads: Vec<Workload>,
    /// `None`: the usual numbers of clients of each workload.
    pub clients: Option<Vec<usize>>,
    pub rounds: usize,
    pub against: Option<String>,
    pub json: Option<PathBuf>,
}

/// The duration of a run.
#[derive(Clone, Copy)]
pub struct Lasting {
    /// Not measured: meanwhile the caches fill, and the write-ahead log grows to its usual size.
    pub warm_up: Duration,
    pub measured: Duration,
}

const USUAL: Lasting = Lasting { warm_up: Duration::from_millis(500), measured: Duration::from_secs(3) };
const QUICK: Lasting = Lasting { warm_up: Duration::from_millis(200), measured: Duration::from_millis(800) };

pub enum Command {
    Help,
    /// One run in this process. The driver starts these.
    Measure {
        workload: Workload,
        clients: usize,
        lasting: Lasting,
    },
    Drive(Plan),
}

pub fn parse() -> Done<Command> {
    let (mut lasting, mut workloads, mut clients) = (USUAL, Workload::ALL.to_vec(), None);
    let (mut rounds, mut against, mut json) = (None, None, None);
    let mut is_one_run = false;
    let mut parser = lexopt::Parser::from_env();
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help),
            Long("quick") => lasting = QUICK,
            Long("only") => workloads = vec![parser.value()?.parse()?],
            Long("clients") => clients = Some(list(&parser.value()?.string()?)?),
            Long("rounds") => rounds = Some(parser.value()?.parse::<usize>()?.max(1)),
            Long("against") => against = Some(parser.value()?.string()?),
            Long("json") => json = Some(parser.value()?.into()),
            // Not in the help: only the driver passes it, to the processes that it starts.
            Long("one-run") => is_one_run = true,
            argument => return Err(argument.unexpected().into()),
        }
    }
    if is_one_run {
        let (Some([clients]), [workload]) = (clients.as_deref(), &*workloads) else {
            return Err("--one-run takes one workload and one number of clients".into());
        };
        return Ok(Command::Measure { workload: *workload, clients: *clients, lasting });
    }
    // A few rounds are enough for a figure; a small difference needs many.
    let rounds = rounds.unwrap_or(if against.is_some() { 12 } else { 3 });
    Ok(Command::Drive(Plan { lasting, workloads, clients, rounds, against, json }))
}

impl Lasting {
    /// The option that selects these durations.
    pub fn option(self) -> Option<&'static str> {
        (self.measured == QUICK.measured).then_some("--quick")
    }
}

fn list(text: &str) -> Done<Vec<usize>> {
    let numbers = text.split(',').map(|number| match number.trim().parse() {
        Ok(0) | Err(_) => {
            Err(format!("--clients: {number:?} is not a number of clients; write a list such as 1,64"))
        }
        Ok(number) => Ok(number),
    });
    Ok(numbers.collect::<Result<_, _>>()?)
}
