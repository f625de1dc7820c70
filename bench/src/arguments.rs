//! The command line.

use std::{path::PathBuf, time::Duration};

use lexopt::prelude::*;

use crate::{Done, workload::Workload};

pub const HELP: &str = "\
Measures WFE on a file, at full durability, and checks that nothing was lost.

wfe-bench [OPTIONS]
  --quick              shorter runs
  --only WORKLOAD      one workload: step-cycle or flow
  --clients LIST       how many clients at once, such as 1,64
  --rounds N           runs of each subject, at least 1 (3; with --against 12)
  --against REVISION   also a build of this Git revision, in turn with this one, and this one once more
  --json FILE          one line of JSON for each workload, subject and number of clients
";

/// What to measure, and how long.
pub struct Plan {
    pub lasting: Lasting,
    pub workloads: Vec<Workload>,
    /// `None`: what each workload is usually measured with.
    pub clients: Option<Vec<usize>>,
    pub rounds: usize,
    pub against: Option<String>,
    pub json: Option<PathBuf>,
}

/// How long a run takes.
#[derive(Clone, Copy)]
pub struct Lasting {
    /// Not counted: caches fill, and the log gets its size.
    pub warm_up: Duration,
    pub measured: Duration,
}

const USUAL: Lasting = Lasting { warm_up: Duration::from_millis(500), measured: Duration::from_secs(3) };
const QUICK: Lasting = Lasting { warm_up: Duration::from_millis(200), measured: Duration::from_millis(800) };

pub enum Command {
    Help,
    /// One run in this process: what the driver starts.
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
            // Between the driver and the processes that it starts.
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
    // Few rounds show a figure, many a small difference.
    let rounds = rounds.unwrap_or(if against.is_some() { 12 } else { 3 });
    Ok(Command::Drive(Plan { lasting, workloads, clients, rounds, against, json }))
}

impl Lasting {
    /// The option that gives these times.
    pub fn option(self) -> Option<&'static str> {
        (self.measured == QUICK.measured).then_some("--quick")
    }
}

fn list(text: &str) -> Done<Vec<usize>> {
    let numbers = text.split(',').map(|number| match number.trim().parse() {
        Ok(0) | Err(_) => Err(format!("--clients: {number:?} is no number of clients; write such as 1,64")),
        Ok(number) => Ok(number),
    });
    Ok(numbers.collect::<Result<_, _>>()?)
}
