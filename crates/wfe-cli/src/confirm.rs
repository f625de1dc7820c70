//! Asks before many instances are changed, or anything is removed.

use std::io::{self, BufRead, IsTerminal, Write};

use wfe::traits::{Count, InstanceSummary};

use crate::{
    failure::{Exit, Failure, Result},
    interrupt::Interrupt,
    output::{note, safe},
};

/// From so many instances on, the number has to be typed.
const TYPED_FROM: u64 = 101;

/// What is to be confirmed.
pub(crate) struct Question<'q> {
    /// What would be done, as in `suspend 12 instances`.
    pub(crate) what: String,
    pub(crate) count: Count,
    pub(crate) examples: &'q [InstanceSummary],
}

impl Question<'_> {
    /// A question about one thing that is no instance.
    pub(crate) fn one(what: String) -> Self {
        Self { what, count: Count { n: 1, is_exact: true }, examples: &[] }
    }
}

/// Asks on a terminal. Elsewhere, only `--yes` confirms.
///
/// # Errors
/// [`Exit::Refused`]: not confirmed. [`Exit::Interrupted`]: Ctrl-C was the answer.
pub(crate) async fn ask(question: &Question<'_>, yes: bool, interrupt: &Interrupt) -> Result<()> {
    if yes {
        return Ok(());
    }
    let refused = |text: String| Failure::new(Exit::Refused, text);
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return Err(refused(format!("this would {}; nothing was done: add --yes to do it", question.what)));
    }
    note(&format!("This will {}.", question.what));
    for example in question.examples {
        note(&format!("  {}", named(example)));
    }
    if question.count.n > question.examples.len() as u64 && !question.examples.is_empty() {
        note("  …");
    }
    let count = question.count.n.to_string();
    let is_typed = question.count.n >= TYPED_FROM;
    let prompt = if is_typed { format!("Type {count} to go on: ") } else { "Go on? [y/N] ".to_owned() };
    let answer = match interrupt.or(move || read(&prompt)).await {
        Err(Failure { exit: Exit::Interrupted, .. }) => {
            note("\ninterrupted; nothing was done");
            return Err(Failure::silent(Exit::Interrupted));
        }
        answer => answer?,
    };
    let is_confirmed = if is_typed { answer == count } else { matches!(&*answer, "y" | "Y" | "yes") };
    if is_confirmed { Ok(()) } else { Err(refused("not confirmed, nothing was done".to_owned())) }
}

fn read(prompt: &str) -> Result<String> {
    let mut err = io::stderr().lock();
    err.write_all(prompt.as_bytes())?;
    err.flush()?;
    drop(err);
    let mut answer = String::new();
    let failed = |error| Failure::new(Exit::Refused, format!("cannot read the answer: {error}"));
    io::stdin().lock().read_line(&mut answer).map_err(failed)?;
    Ok(answer.trim().to_owned())
}

/// One instance in a line.
pub(crate) fn named(summary: &InstanceSummary) -> String {
    let InstanceSummary { id, definition, version, reference, state, .. } = summary;
    let reference = reference.as_deref().map(|reference| format!("{} ", safe::one_line(reference)));
    format!("{} {id} {} v{version} {state}", reference.unwrap_or_default(), safe::one_line(definition))
        .trim()
        .to_owned()
}

/// A count as text: `1`, `12`, `10000+`.
pub(crate) fn counted(count: Count, noun: &str) -> String {
    let Count { n, is_exact } = count;
    let plural = if n == 1 && is_exact { "" } else { "s" };
    format!("{n}{} {noun}{plural}", if is_exact { "" } else { "+" })
}
