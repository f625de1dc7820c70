//! The command line.

use std::{ffi::OsString, path::PathBuf};

use lexopt::prelude::*;
use wfe_bench_workloads::Done;

use crate::table::{Subject, WORKLOADS};

/// The text of `--help`.
pub fn help() -> String {
    let mut names: Vec<&str> = WORKLOADS.iter().map(|spec| spec.name).collect();
    names.dedup();
    format!(
        "\
Measures WFE beside its peers, and checks that no write was lost. All wait for the disk, except durare
(synchronous = NORMAL).

wfe-bench [OPTIONS]
  --quick              shorter runs: one workload takes less than three minutes, soak and growth less than ten
  --only WORKLOAD      measure only this workload; can be repeated
  --clients LIST       numbers of concurrent clients, such as 1,64 (default 1,16,64,256)
  --rounds N           runs of each subject, at least 1 (default 3; with --against 12)
  --json FILE          write one line of JSON for each workload, subject and number of clients
  --svg DIR            draw a chart of each workload
  --subject NAME       measure only this subject; can be repeated
  --against REVISION   instead of the peers, measure a build of this Git revision: both run alternately, and this
                       build also runs a second time as a control. The benchmark is this one, so the revision must
                       have the API that it uses

Workloads: {}
Subjects: {}
",
        names.join(", "),
        Subject::ALL.map(Subject::name).join(", ")
    )
}

/// What to measure, and what to report.
#[derive(Debug, PartialEq)]
pub struct Plan {
    pub is_quick: bool,
    /// Names of workloads. Empty: all of them.
    pub only: Vec<String>,
    /// Empty: all subjects.
    pub subjects: Vec<Subject>,
    /// `None`: the usual numbers of clients of each workload.
    pub clients: Option<Vec<usize>>,
    pub rounds: usize,
    pub against: Option<String>,
    pub json: Option<PathBuf>,
    pub svg: Option<PathBuf>,
}

#[derive(Debug, PartialEq)]
pub enum Command {
    Help,
    Drive(Plan),
}

pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Done<Command> {
    let (mut is_quick, mut only, mut subjects, mut clients) = (false, Vec::new(), Vec::new(), None);
    let (mut rounds, mut against, mut json, mut svg) = (None, None, None, None);
    let mut parser = lexopt::Parser::from_args(arguments);
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Command::Help),
            Long("quick") => is_quick = true,
            Long("only") => only.push(workload(parser.value()?.string()?)?),
            Long("subject") => subjects.push(subject(&parser.value()?.string()?)?),
            Long("clients") => clients = Some(list(&parser.value()?.string()?)?),
            Long("rounds") => rounds = Some(number_of_rounds(&parser.value()?.string()?)?),
            Long("against") => against = Some(parser.value()?.string()?),
            Long("json") => json = Some(parser.value()?.into()),
            Long("svg") => svg = Some(parser.value()?.into()),
            argument => return Err(argument.unexpected().into()),
        }
    }
    // A few rounds are enough for a figure; a small difference needs many.
    let rounds = rounds.unwrap_or(if against.is_some() { 12 } else { 3 });
    Ok(Command::Drive(Plan { is_quick, only, subjects, clients, rounds, against, json, svg }))
}

fn workload(text: String) -> Done<String> {
    if WORKLOADS.iter().any(|spec| spec.name == text) {
        return Ok(text);
    }
    let hint = text.split_once('/').map(|(name, _)| format!("; leave out the parameter: --only {name}"));
    Err(format!("there is no workload {text:?}{}; --help lists them", hint.unwrap_or_default()).into())
}

fn subject(text: &str) -> Done<Subject> {
    let found = Subject::ALL.into_iter().find(|subject| subject.name() == text);
    found.ok_or_else(|| format!("there is no subject {text:?}; --help lists them").into())
}

fn number_of_rounds(text: &str) -> Done<usize> {
    match text.parse() {
        Ok(0) | Err(_) => {
            Err(format!("--rounds: {text:?} is not a number of rounds; write at least 1").into())
        }
        Ok(rounds) => Ok(rounds),
    }
}

fn list(text: &str) -> Done<Vec<usize>> {
    let numbers = text.split(',').map(|number| match number.trim().parse() {
        Ok(0) | Err(_) => {
            Err(format!("--clients: {number:?} is not a number of clients; write a list such as 1,64"))
        }
        Ok(number) => Ok(number),
    });
    let mut numbers = numbers.collect::<Result<Vec<_>, _>>()?;
    let mut found = std::collections::BTreeSet::new();
    numbers.retain(|number| found.insert(*number));
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(line: &str) -> Done<Plan> {
        match parse(line.split_whitespace().map(Into::into))? {
            Command::Drive(plan) => Ok(plan),
            Command::Help => Err("help".into()),
        }
    }

    #[test]
    fn the_options_of_the_command_line() {
        let plan = plan("--quick --only flow --clients 1,64 --rounds 5 --json a.jsonl --svg charts").unwrap();
        assert!(plan.is_quick);
        assert_eq!((plan.only, plan.clients, plan.rounds), (vec!["flow".to_owned()], Some(vec![1, 64]), 5));
        assert_eq!((plan.json, plan.svg), (Some("a.jsonl".into()), Some("charts".into())));
    }

    #[test]
    fn without_options_everything_is_measured_in_three_rounds() {
        let plan = plan("").unwrap();
        assert!(!plan.is_quick && plan.only.is_empty() && plan.subjects.is_empty() && plan.clients.is_none());
        assert_eq!(plan.rounds, 3);
    }

    #[test]
    fn what_cannot_be_measured_is_refused() {
        for line in [
            "--only persist/10",
            "--only nothing",
            "--clients 0",
            "--clients x",
            "--rounds 0",
            "--subject y",
            "more",
        ] {
            assert!(plan(line).is_err(), "{line}");
        }
        let error = plan("--only persist/10").unwrap_err().to_string();
        assert!(error.contains("--only persist;"), "{error}");
    }
}
