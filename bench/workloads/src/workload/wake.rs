use std::{marker::PhantomData, process::Stdio, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{Child, ChildStdin, ChildStdout},
    time,
};

use super::{
    arrivals::{self, Arrivals, after},
    now_ns, open, sleepers,
};
use crate::{
    Done, Measured, Place, Range, Run, Workload,
    ability::{self, Host},
    serve,
};

/// Between two workflows: not a part of the interval at which processes read each other's change signals.
const APART: Duration = Duration::from_millis(13);
/// For each of so many milliseconds that a run is measured, one workflow is woken, but neither very few nor very many.
const MS_EACH: u64 = 30;
/// How long before its due time a timer is started. All of them are started before the first one is due.
const AHEAD_NS: u64 = 3_000_000_000;

/// `wake/CAUSE/FROM`: how long it takes until a step begins, while nothing else happens. The cause is `start`, `event` or
/// `timer`. It comes from the same process (`same`), from another process (`other`), or from the same process while 100 000
/// other workflows sleep (`crowd`). An operation is one workflow; its time is that from the call, or from the due time, to the
/// beginning of its step. Each workflow is read back: its step must have begun with the number that belongs to it.
pub struct Wake<S>(PhantomData<S>);

#[derive(Clone, Copy, PartialEq)]
enum Cause {
    Start,
    Event,
    Timer,
}

impl<S: ability::Sleepers> Workload for Wake<S> {
    const NAME: &'static str = "wake";

    async fn prepare(run: &Run) -> Done {
        if run.parameter(2)? == "crowd" { sleepers::prepare::<S>(&run.prepared()).await } else { Ok(()) }
    }

    async fn run(run: &Run) -> Done<Measured> {
        let cause = match run.parameter(1)? {
            "start" => Cause::Start,
            "event" => Cause::Event,
            "timer" => Cause::Timer,
            other => return Err(format!("wake: {other:?} is neither start nor event nor timer").into()),
        };
        let count = (run.measured_ms / MS_EACH).clamp(20, 100);
        let scratch = run.scratch()?;
        let own = Place::file(scratch.path().join("run.db"));
        match (run.process, run.parameter(2)?) {
            (Some(_), _) => other_process::<S>(&Place::file(run.folder.join("run.db"))).await,
            (None, "same") => measure::<S>(cause, count, &own, None).await,
            (None, "crowd") => measure::<S>(cause, count, &run.prepared(), None).await,
            (None, "other") => {
                let folder = scratch.path().to_owned();
                let other = Run { process: Some(1), folder, ..run.clone() };
                measure::<S>(cause, count, &own, Some(other)).await
            }
            (None, other) => Err(format!("wake: {other:?} is neither same nor other nor crowd").into()),
        }
    }
}

async fn measure<S: Host>(cause: Cause, count: u64, place: &Place, other: Option<Run>) -> Done<Measured> {
    let arrivals = Arrivals::default();
    let host = Arc::new(S::host(place, arrivals.on_step()).await?);
    host.run().await?;
    let mut caller = match other {
        Some(run) => Caller::Other(Box::new(Remote::start(&run)?)),
        None => Caller::Own(host.clone()),
    };
    let (mut workflows, mut waiting) = (Vec::new(), Vec::new());
    let first_key = now_ns() / 1_000_000;
    if cause == Cause::Event {
        for key in first_key..first_key + count {
            waiting.push(host.start_waiting(key).await?);
        }
        host.idle().await?;
    }
    let range = Range::begin();
    for number in 0..count {
        let woken = match cause {
            Cause::Start => caller.call("start").await?,
            Cause::Timer => caller.call("timer").await?,
            Cause::Event => {
                let (_, sent) = caller.call(&format!("publish {}", first_key + number)).await?;
                (waiting[workflows.len()].clone(), sent)
            }
        };
        workflows.push(woken);
        if cause != Cause::Timer {
            arrivals.reach(workflows.len()).await?;
        }
        time::sleep(APART).await;
    }
    arrivals.reach(workflows.len()).await?;
    let sum = range.end();
    let mut times = Vec::new();
    for (id, number) in &workflows {
        times.push(after(*number, arrivals.of(*number).ok_or("a step began with another number")?));
        host.outcome(id).await?;
    }
    caller.end().await?;
    host.close().await?;
    drop(host);
    let host = open::<S>(place).await?;
    arrivals::check(&host, workflows).await?;
    host.close().await?;
    sum.of(times)
}

/// Who starts and publishes.
enum Caller<S> {
    Own(Arc<S>),
    Other(Box<Remote>),
}

impl<S: Host> Caller<S> {
    /// Makes the call, and returns the id of the workflow, if the call starts one, and the number of its step.
    async fn call(&mut self, text: &str) -> Done<(String, u64)> {
        match self {
            Self::Own(host) => call(&**host, text).await,
            Self::Other(remote) => remote.call(text).await,
        }
    }

    async fn end(self) -> Done {
        match self {
            Self::Own(_) => Ok(()),
            Self::Other(mut remote) => {
                drop(remote.input);
                if remote.child.wait().await?.success() {
                    Ok(())
                } else {
                    Err("the other process failed".into())
                }
            }
        }
    }
}

async fn call<S: Host>(host: &S, text: &str) -> Done<(String, u64)> {
    let now = now_ns();
    match text.split_once(' ').unwrap_or((text, "")) {
        ("start", _) => Ok((host.start(now).await?, now)),
        ("timer", _) => {
            let due = now + AHEAD_NS;
            Ok((host.start_timer(due).await?, due))
        }
        ("publish", key) => {
            host.publish(key.parse()?, now).await?;
            Ok((String::new(), now))
        }
        _ => Err(format!("wake: there is no call {text:?}").into()),
    }
}

/// The side of the other process: makes the calls that it reads, one a line, and answers each.
async fn other_process<S: Host>(place: &Place) -> Done<Measured> {
    let host = S::host(place, Arc::new(|_| ())).await?;
    let mut calls = BufReader::new(tokio::io::stdin()).lines();
    while let Some(text) = calls.next_line().await? {
        let (id, number) = call(&host, &text).await?;
        println!("{id} {number}");
    }
    host.close().await?;
    Range::begin().end().of(vec![APART])
}

/// The other process, seen by the one that measures.
struct Remote {
    child: Child,
    input: ChildStdin,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Remote {
    fn start(run: &Run) -> Done<Self> {
        let mut command = serve::program_for(run)?;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().ok_or("the other process has no input")?;
        let answers = BufReader::new(child.stdout.take().ok_or("the other process has no output")?).lines();
        Ok(Self { child, input, answers })
    }

    async fn call(&mut self, text: &str) -> Done<(String, u64)> {
        self.input.write_all(format!("{text}\n").as_bytes()).await?;
        let answer = self.answers.next_line().await?.ok_or("the other process has ended")?;
        let (id, number) = answer.split_once(' ').ok_or("the other process gave no answer")?;
        Ok((id.to_owned(), number.parse()?))
    }
}
