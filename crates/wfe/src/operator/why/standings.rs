//! Drafts of explanations of a whole instance: it has ended, is suspended, closes, or waits for a host.

use chrono::{DateTime, Utc};
use wfe_core::{
    steps::StepError,
    traits::{Ending, StepFailure},
};

use super::{
    By, Code, Facts, Hint,
    explain::{Draft, Standing},
    hosts::Has,
    text::{ago, first_line, plain, since},
};
use crate::status::State;

pub(super) fn ended(facts: &Facts<'_>, standing: &Standing) -> Draft {
    let (status, id) = (&standing.status, standing.id());
    let when = status.complete_time.map_or_else(String::new, |time| format!(" {}", ago(time, facts.now)));
    let says = match (status.state, &status.cause) {
        (State::Completed, _) => format!("completed{when}"),
        (State::Cancelled, _) => format!("was cancelled{when}"),
        (State::Terminated, _) => format!("was terminated{when}"),
        (_, Some(cause)) => format!("failed{when}: {}", failure(cause)),
        (_, None) => format!("failed{when}"),
    };
    let mut draft = Draft::new(Code::Ended, By::Nobody, says);
    draft.since = status.complete_time;
    if let Some(next) = &status.restarted_as {
        draft.hints.push(Hint::with("it was restarted, as another instance", &["show", next]));
        return draft;
    }
    if matches!(status.state, State::Failed | State::Cancelled) {
        draft.hints.push(Hint::with("continue where it stood, with another idempotency key", &["retry", id]));
    }
    if status.state != State::Completed {
        draft.hints.push(Hint::with("begin anew, with the data that it has now", &["restart", id]));
    }
    if status.state == State::Failed {
        draft.hints.push(Hint::with("take it off the list of open failures", &["ack", id]));
    }
    draft
}

/// A failure in one clause: `step charge failed for good (card_declined, attempt 5): refused`.
fn failure(failure: &StepFailure) -> String {
    let (code, attempt) = (plain(&failure.code), failure.attempt);
    let message = first_line(&failure.message());
    match &*failure.step {
        "" => format!("{message} ({code})"),
        step => format!("step {} failed for good ({code}, attempt {attempt}): {message}", plain(step)),
    }
}

pub(super) fn suspended_by_failure(facts: &Facts<'_>, standing: &Standing, cause: &StepFailure) -> Draft {
    let (id, time) = (standing.id(), cause.error.error_time);
    let is_poison = cause.code == POISON;
    let code = if is_poison { Code::Poison } else { Code::SuspendedFailure };
    let says = if is_poison {
        format!("was suspended {}, because it seems to kill its process", ago(time, facts.now))
    } else {
        format!("was suspended {}: {}", ago(time, facts.now), failure(cause))
    };
    let mut draft = Draft::new(code, By::Operator, says);
    draft.since = Some(time);
    draft.step = Some(cause.step.clone()).filter(|step| !step.is_empty());
    draft.is_stuck = true;
    match &*cause.code {
        POISON => {
            draft.hints.push(Hint::note(first_line(&cause.message())));
            draft.hints.push(Hint::with("resume it when the step is mended: it runs again", &["resume", id]));
            draft.hints.push(Hint::with("or go on from another step", &["resume-from", "STEP", id]));
        }
        DEFINITION => {
            let text = "start a program whose definition fits the instance, then resume it";
            draft.hints.push(Hint::with(text, &["resume", id]));
        }
        StepError::CORRUPT => {
            draft.hints.push(Hint::with("resume it when the row is repaired", &["resume", id]));
        }
        _ => {
            draft.hints.push(Hint::with("try the step again, with all its retries", &["resume", id]));
            draft.hints.push(Hint::with("go on after the step, as if it had completed", &["skip", id]));
            draft.hints.push(Hint::with("go on from another step", &["resume-from", "STEP", id]));
        }
    }
    draft.hints.push(Hint::with("see more of it", &["show", id]));
    draft.hints.push(match standing.status.closing {
        None => Hint::with("compensate what it has done, and end it", &["cancel", id]),
        Some(_) => Hint::with("end it without the rest of its compensations", &["terminate", id]),
    });
    draft
}

pub(super) fn no_definition(facts: &Facts<'_>, standing: &Standing) -> Draft {
    let (status, definition) = (&standing.status, standing.definition());
    let mut draft = Draft::new(
        Code::NoDefinition,
        By::Host,
        format!("waits for a host that has {definition}; none does"),
    );
    draft.since = status.due.filter(|due| *due <= facts.now).map(|due| due.max(status.create_time));
    draft.says += &since(draft.since, facts.now);
    draft.is_stuck = true;
    draft.hints.push(Hint::with(
        format!("start a program that has {definition}"),
        &["definitions", &status.definition],
    ));
    for card in facts.hosts.cards().take(5) {
        let versions: Vec<String> = card
            .definitions
            .iter()
            .filter(|(id, _)| *id == status.definition)
            .map(|(_, version)| format!("v{version}"))
            .collect();
        let has = if versions.is_empty() {
            format!("does not have {}", plain(&status.definition))
        } else {
            format!("has {} {}", plain(&status.definition), versions.join(", "))
        };
        draft.hints.push(Hint::note(format!(
            "host {} ({}, pid {}) {has}",
            card.owner,
            plain(&card.program),
            card.pid
        )));
    }
    draft
}

/// An instance without a position: its first step has not begun, or a host has just taken it.
pub(super) fn not_begun(facts: &Facts<'_>, standing: &Standing) -> Draft {
    let status = &standing.status;
    let due = status.due.unwrap_or(status.create_time).max(status.create_time);
    match standing.loaded.owner.filter(|owner| !facts.hosts.is_dead(*owner)) {
        Some(owner) => {
            let mut draft =
                Draft::new(Code::Running, By::Host, format!("is with host {owner}, which moves it on"));
            draft.since = Some(due);
            draft
        }
        None => due_now(facts, standing, None, due),
    }
}

/// An instance, or a step of it, that a host could take now.
pub(super) fn due_now(
    facts: &Facts<'_>,
    standing: &Standing,
    step: Option<&str>,
    due: DateTime<Utc>,
) -> Draft {
    let status = &standing.status;
    let at =
        step.map_or_else(|| " for its first step".to_owned(), |step| format!(" at step {}", plain(step)));
    let is_late = facts.is_over(due, facts.operator.thresholds.due);
    let has = facts.hosts.has(&status.definition, status.version);
    if has == Has::NoHost {
        let mut draft = Draft::new(Code::DueNoHost, By::Host, format!("is due{at}, and no host is alive"));
        draft.says += &since(Some(due), facts.now);
        (draft.since, draft.is_stuck) = (Some(due), is_late);
        draft.hints.push(host_hint(has, standing));
        return draft;
    }
    let mut cards = facts.hosts.with(&status.definition, status.version).peekable();
    let is_full = cards.peek().is_some()
        && cards.all(|card| card.instances_limit > 0 && card.instances_busy >= card.instances_limit);
    if is_full {
        let says = format!("is due{at}, and every host that has it works on as many instances as it may");
        let mut draft = Draft::new(Code::Place, By::Host, says + &since(Some(due), facts.now));
        (draft.since, draft.is_stuck) = (Some(due), is_late);
        draft.hints.push(Hint::with("see what the hosts do", &["hosts"]));
        return draft;
    }
    let mut draft = Draft::new(Code::Due, By::Host, format!("is due{at}{}", since(Some(due), facts.now)));
    (draft.since, draft.is_stuck) = (Some(due), is_late);
    draft.hints.push(host_hint(has, standing));
    draft
}

/// What an operator does about an instance that waits for a host.
pub(super) fn host_hint(has: Has, standing: &Standing) -> Hint {
    let definition = standing.definition();
    match has {
        Has::Yes => Hint::with("a host takes it as soon as it can; see what the hosts do", &["hosts"]),
        Has::No | Has::NoHost => Hint::with(
            format!("start a program that has {definition}"),
            &["definitions", &standing.status.definition],
        ),
        Has::Unknown => Hint::with(format!("see whether a host runs that has {definition}"), &["hosts"]),
    }
}

pub(super) fn closing(standing: &Standing, ending: Ending, first: Draft) -> Draft {
    let id = standing.id();
    let says = format!("compensates its sagas, then ends as {ending}; now it {}", first.says);
    let mut draft = Draft::new(Code::Closing, first.by, says);
    (draft.since, draft.until, draft.is_stuck) = (first.since, first.until, first.is_stuck);
    draft.step.clone_from(&first.step);
    draft.hints.push(Hint::with("end it without the rest of its compensations", &["terminate", id]));
    draft.chain.push(first.finish(id, &standing.title).explanation);
    draft
}

/// The codes of failures by which the engine suspends an instance.
const POISON: &str = StepError::POISON;
const DEFINITION: &str = StepError::DEFINITION;
