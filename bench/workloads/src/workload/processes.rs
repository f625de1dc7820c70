use std::{marker::PhantomData, process::Stdio};

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout},
};

use super::step_cycle;
use crate::{Done, Extra, Measured, Place, Range, Run, Workload, ability::Instances, serve};

/// `processes/COUNT`. So many processes run the operation of [`step-cycle`](super::StepCycle) on one file, each with one
/// client. The speed is that of all processes together; the median time is the median of theirs, and the others are the longest
/// of theirs, so `max` is the longest wait. Besides, the table shows the share of the process that came off worst, in percent
/// of an equal share. Each process reads back its own instances.
pub struct Processes<S>(PhantomData<S>);

impl<S: Instances> Workload for Processes<S> {
    const NAME: &'static str = "processes";

    async fn run(run: &Run) -> Done<Measured> {
        if run.process.is_some() {
            return member::<S>(run).await;
        }
        let (count, scratch) = (run.number(1)?, run.scratch()?);
        // The first to open the file creates the tables.
        super::open::<S>(&Place::file(scratch.path().join("shared.db"))).await?.close().await?;
        let range = Range::begin();
        let mut members = Vec::new();
        for number in 0..count {
            members.push(Member::start(&Run {
                process: Some(number),
                clients: 1,
                folder: scratch.path().to_owned(),
                ..run.clone()
            })?);
        }
        // All of them run before one begins.
        for member in &mut members {
            member.is_ready().await?;
        }
        for member in &mut members {
            member.input.write_all(b"go\n").await?;
        }
        let mut all: Vec<Measured> = Vec::new();
        for member in members {
            all.push(member.end().await?);
        }
        together(&range.end().of(vec![run.measured()])?, &all)
    }
}

/// The figures of all processes together. `parent` has those of the machine.
fn together(parent: &Measured, all: &[Measured]) -> Done<Measured> {
    let longest = |of: fn(&Measured) -> f64| all.iter().map(of).fold(0.0, f64::max);
    let mean = |of: fn(&Measured) -> Option<f64>| {
        let speed: f64 = all.iter().map(|one| one.ops_per_s).sum();
        all.iter().map(|one| Some(of(one)? * one.ops_per_s / speed)).sum::<Option<f64>>()
    };
    let mut speeds: Vec<f64> = all.iter().map(|one| one.ops_per_s).collect();
    speeds.sort_unstable_by(f64::total_cmp);
    let mut medians: Vec<f64> = all.iter().map(|one| one.p50_us).collect();
    medians.sort_unstable_by(f64::total_cmp);
    let total: f64 = speeds.iter().sum();
    let count = u32::try_from(all.len())?;
    let least = 100.0 * speeds.first().ok_or("no process ran")? * f64::from(count) / total;
    let measured = Measured {
        ops_per_s: total,
        p50_us: medians[medians.len() / 2],
        p99_us: longest(|one| one.p99_us),
        max_us: longest(|one| one.max_us),
        written_bytes_per_op: mean(|one| one.written_bytes_per_op),
        cpu_us_per_op: mean(|one| one.cpu_us_per_op),
        errors: all.iter().map(|one| one.errors).sum(),
        error: all.iter().find_map(|one| one.error.clone()),
        others_cores: parent.others_cores,
        extras: Vec::new(),
    };
    Ok(measured.with(Extra::new("least share", least, "%")))
}

/// The side of one of the processes.
async fn member<S: Instances>(run: &Run) -> Done<Measured> {
    println!("ready");
    BufReader::new(tokio::io::stdin()).read_line(&mut String::new()).await?;
    step_cycle::measure::<S>(run, &Place::file(run.folder.join("shared.db"))).await
}

/// One of the processes, seen by the one that has started it.
struct Member {
    child: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Member {
    fn start(run: &Run) -> Done<Self> {
        let mut command = serve::program_for(run)?;
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let input = child.stdin.take().ok_or("a process has no input")?;
        let output = BufReader::new(child.stdout.take().ok_or("a process has no output")?);
        Ok(Self { child, input, output })
    }

    async fn is_ready(&mut self) -> Done {
        let mut line = String::new();
        self.output.read_line(&mut line).await?;
        if line.trim() == "ready" { Ok(()) } else { Err("a process did not begin".into()) }
    }

    async fn end(mut self) -> Done<Measured> {
        let mut text = String::new();
        self.output.read_to_string(&mut text).await?;
        if !self.child.wait().await?.success() {
            return Err("one of the processes failed".into());
        }
        Ok(serde_json::from_str(&text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(ops_per_s: f64, max_us: f64) -> Measured {
        Measured {
            ops_per_s,
            p50_us: max_us / 10.0,
            p99_us: max_us / 2.0,
            max_us,
            written_bytes_per_op: Some(max_us),
            cpu_us_per_op: None,
            errors: 1,
            error: None,
            others_cores: Some(0.0),
            extras: Vec::new(),
        }
    }

    #[test]
    fn the_figures_of_processes_are_added_or_those_of_the_slowest() {
        let all = together(&measured(1.0, 1.0), &[measured(100.0, 40.0), measured(300.0, 20.0)]).unwrap();
        let figures = [all.ops_per_s, all.p99_us, all.max_us].map(f64::to_bits);
        assert_eq!(figures, [400.0, 20.0, 40.0].map(f64::to_bits));
        assert_eq!(all.written_bytes_per_op, Some(25.0));
        assert_eq!((all.cpu_us_per_op, all.errors), (None, 2));
        assert_eq!(all.extras, [Extra::new("least share", 50.0, "%")]);
    }
}
