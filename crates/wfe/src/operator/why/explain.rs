//! Makes the explanation of one instance.

use chrono::{DateTime, Utc};
use futures_util::{FutureExt, future::BoxFuture};
use serde_json::Value;
use wfe_core::{
    Result, WfeError,
    executor::view::Path,
    models::ExecutionPointer,
    steps::StepError,
    traits::{Control, Ending, InstanceState, Loaded, StepFailure},
};

use super::{
    By, Code, Explanation, Facts, Hint,
    hosts::Has,
    text::{ago, first_line, plain, since},
};
use crate::{
    operator::Operator,
    status::{Blocked, InstanceStatus, State},
};

/// How many positions of an instance are named, and explained.
const BREADTH: usize = 20;

/// An instance as it was read, without its data.
pub(super) struct Standing {
    pub loaded: Loaded,
    pub status: InstanceStatus,
    /// Who the instance is, for people: `order-17 · order v3`.
    pub title: String,
}

/// An explanation in the making.
pub(super) struct Draft {
    pub code: Code,
    pub by: By,
    /// The sentence behind the title.
    pub says: String,
    /// The sentence for the explanation of the parent. `None` means the same one.
    pub says_short: Option<String>,
    pub step: Option<String>,
    pub since: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
    pub is_stuck: bool,
    pub at: Vec<String>,
    pub hints: Vec<Hint>,
    pub chain: Vec<Explanation>,
}

impl Draft {
    pub fn new(code: Code, by: By, says: impl Into<String>) -> Self {
        Self {
            code,
            by,
            says: says.into(),
            says_short: None,
            step: None,
            since: None,
            until: None,
            is_stuck: false,
            at: Vec::new(),
            hints: Vec::new(),
            chain: Vec::new(),
        }
    }

    pub(super) fn finish(self, instance: &str, title: &str) -> Explained {
        let Self { code, by, says, says_short, step, since, until, is_stuck, at, hints, chain } = self;
        Explained {
            says: says_short.unwrap_or_else(|| says.clone()),
            title: title.to_owned(),
            explanation: Explanation {
                headline: format!("{title} {says}."),
                code,
                instance: instance.to_owned(),
                step,
                since,
                until,
                by,
                is_stuck,
                at,
                hints,
                chain,
            },
        }
    }
}

/// An explanation, and the parts of its sentence.
pub(super) struct Explained {
    pub explanation: Explanation,
    pub title: String,
    pub says: String,
}

impl Standing {
    pub fn id(&self) -> &str {
        &self.loaded.instance.id
    }

    /// The definition and its version, for people.
    pub fn definition(&self) -> String {
        format!("{} v{}", plain(&self.status.definition), self.status.version)
    }

    pub fn pointer(&self, id: &str) -> Option<&ExecutionPointer> {
        self.loaded.instance.execution_pointers.iter().find(|pointer| pointer.id == id)
    }
}

impl Operator {
    pub(in crate::operator) async fn explain(&self, facts: &Facts<'_>, id: &str) -> Result<Explanation> {
        Ok(self.explain_below(facts, id, &[]).await?.explanation)
    }

    /// Explains an instance that was read already.
    pub(in crate::operator) async fn explain_loaded(
        &self,
        facts: &Facts<'_>,
        loaded: Loaded,
        status: InstanceStatus,
    ) -> Result<Explanation> {
        Ok(self.explain_standing(facts, standing(loaded, status), &[]).await?.explanation)
    }

    /// Explains an instance that stands below these others, of which it is a child.
    pub(super) fn explain_below<'f>(
        &'f self,
        facts: &'f Facts<'_>,
        id: &'f str,
        above: &'f [&'f str],
    ) -> BoxFuture<'f, Result<Explained>> {
        async move {
            let mut loaded = match self.store.inspect(id).await {
                Ok(loaded) => loaded,
                Err(error @ WfeError::Corrupt { .. }) => return self.explain_corrupt(id, &error).await,
                Err(error) => return Err(error),
            };
            loaded.instance.data = Value::Null;
            let status = self.status_of(loaded.clone()).await?;
            self.explain_standing(facts, standing(loaded, status), above).await
        }
        .boxed()
    }

    /// Explains an instance whose rows do not decode.
    async fn explain_corrupt(&self, id: &str, error: &WfeError) -> Result<Explained> {
        let summary = self.summary(id).await?;
        let label = summary.reference.as_deref().unwrap_or(&summary.name);
        let title = format!("{} · {} v{}", plain(label), plain(&summary.definition), summary.version);
        let says = format!("cannot run: {}", first_line(&error.to_string()));
        let mut draft = Draft::new(Code::SuspendedFailure, By::Operator, says);
        draft.since = summary.cause.map(|cause| cause.time);
        draft.is_stuck = !summary.state.is_final();
        draft
            .hints
            .push(Hint::note("repair or remove the row that the error names, then resume the instance"));
        if summary.state == InstanceState::Suspended {
            draft.hints.push(Hint::with("resume it when the row is repaired", &["resume", id]));
        }
        draft.hints.push(Hint::with("end it without its compensations", &["terminate", id]));
        Ok(draft.finish(id, &title))
    }

    async fn explain_standing(
        &self,
        facts: &Facts<'_>,
        standing: Standing,
        above: &[&str],
    ) -> Result<Explained> {
        let mut draft = self.draft(facts, &standing, above).await?;
        draft.at = self.paths(facts, &standing).await?;
        if facts.hosts.is_none_alive() && !standing.status.state.is_final() && draft.code != Code::DueNoHost {
            draft.hints.push(Hint::note("no host is alive: nothing continues before one is started"));
        }
        Ok(draft.finish(standing.id(), &standing.title))
    }

    async fn draft(&self, facts: &Facts<'_>, standing: &Standing, above: &[&str]) -> Result<Draft> {
        let status = &standing.status;
        if status.state.is_final() {
            return Ok(ended(facts, standing));
        }
        if let Some(draft) = self.requested(facts, standing).await? {
            return Ok(draft);
        }
        if let Some(Blocked::Suspended(cause)) = &status.blocked {
            return match cause {
                Some(cause) => Ok(suspended_by_failure(facts, standing, cause)),
                None => self.suspended_by_request(facts, standing).await,
            };
        }
        match facts.hosts.has(&status.definition, status.version) {
            Has::No => return Ok(no_definition(facts, standing)),
            Has::Yes | Has::NoHost | Has::Unknown => {}
        }
        let mut positions = Vec::new();
        for position in status.positions.iter().take(BREADTH) {
            if !facts.takes_one() {
                break;
            }
            let draft = self.position(facts, standing, position, above).await?;
            positions.push(draft);
        }
        // What stands although it should not comes first, then what moves, then what ends by itself.
        positions.sort_by_key(|draft| (!draft.is_stuck, rank(draft.code)));
        let mut positions = positions.into_iter();
        let mut first = match positions.next() {
            Some(first) => first,
            None => not_begun(facts, standing),
        };
        for other in positions {
            first.is_stuck |= other.is_stuck;
            first.chain.push(other.finish(standing.id(), &standing.title).explanation);
        }
        let more = status.positions.len().saturating_sub(BREADTH);
        if more > 0 {
            first.hints.push(Hint::note(format!("{more} more branches wait, which are not shown")));
        }
        if let Some(ending) = status.closing {
            return Ok(closing(standing, ending, first));
        }
        Ok(first)
    }

    /// Where the instance stands.
    async fn paths(&self, facts: &Facts<'_>, standing: &Standing) -> Result<Vec<String>> {
        let status = &standing.status;
        if status.positions.is_empty() {
            return Ok(Vec::new());
        }
        let outline = facts.outline(&status.definition, status.version).await?;
        let pointers = &standing.loaded.instance.execution_pointers;
        let positions = status.positions.iter().take(BREADTH);
        Ok(positions
            .filter_map(|position| standing.pointer(&position.pointer))
            .map(|pointer| {
                let Path { steps, item, items, .. } = Path::of(pointer, pointers);
                let name = |id: &String| {
                    let step = outline.as_deref().and_then(|outline| outline.step(id));
                    plain(step.and_then(|step| step.name.as_deref()).unwrap_or(id)).to_string()
                };
                let path = steps.iter().map(name).collect::<Vec<_>>().join(" › ");
                match (item, items) {
                    (Some(item), Some(items)) => format!("{path} (item {item} of {items})"),
                    (Some(item), None) => format!("{path} (item {item})"),
                    _ => path,
                }
            })
            .collect())
    }

    /// A control request that a host has to apply.
    async fn requested(&self, facts: &Facts<'_>, standing: &Standing) -> Result<Option<Draft>> {
        let status = &standing.status;
        let Some(request) = &status.request else { return Ok(None) };
        let verb = request.control.verb(request.intervention.as_ref());
        let recorded = facts.record(standing.id(), verb).await?.map(|record| record.time);
        let words = verb.replace('_', " ");
        let (has, threshold) = (facts.hosts.has(&status.definition, status.version), self.thresholds.request);
        let (says, waits_for_ever) = match has {
            Has::No => (format!("waits for a host that has {}, to {words} it", standing.definition()), true),
            Has::NoHost => (format!("waits for a host to {words} it, and no host is alive"), true),
            Has::Yes | Has::Unknown => {
                let busy = if standing.loaded.owner.is_some() { ": a step of it still runs" } else { "" };
                (format!("waits for a host to {words} it, as requested{busy}"), false)
            }
        };
        let mut draft = Draft::new(Code::RequestWaiting, By::Host, says + &since(recorded, facts.now));
        draft.since = recorded;
        let waits_long = recorded.is_some_and(|time| facts.is_over(time, threshold));
        draft.is_stuck = waits_long || (waits_for_ever && recorded.is_none());
        draft.hints.push(host_hint(has, standing));
        if request.control != Control::Terminate {
            draft.hints.push(Hint::with("end it without its compensations", &["terminate", standing.id()]));
        }
        Ok(Some(draft))
    }

    async fn suspended_by_request(&self, facts: &Facts<'_>, standing: &Standing) -> Result<Draft> {
        let (id, record) = (standing.id(), facts.record(standing.id(), "suspend").await?);
        let mut draft = Draft::new(Code::SuspendedBy, By::Operator, "was suspended by a program");
        if let Some(record) = record {
            let actor = plain(&record.audit.actor);
            let reason = record
                .audit
                .reason
                .as_deref()
                .map_or_else(String::new, |why| format!(": {}", first_line(why)));
            draft.says = format!("was suspended by {actor} {}{reason}", ago(record.time, facts.now));
            draft.since = Some(record.time);
        }
        draft.is_stuck = true;
        draft.hints.push(Hint::with("resume it", &["resume", id]));
        draft.hints.push(Hint::with("compensate what it has done, and end it", &["cancel", id]));
        Ok(draft)
    }
}

fn standing(loaded: Loaded, status: InstanceStatus) -> Standing {
    let label = status.reference.as_deref().or(status.name.as_deref()).unwrap_or(&status.id);
    let title = format!("{} · {} v{}", plain(label), plain(&status.definition), status.version);
    Standing { loaded, status, title }
}

fn ended(facts: &Facts<'_>, standing: &Standing) -> Draft {
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

fn suspended_by_failure(facts: &Facts<'_>, standing: &Standing, cause: &StepFailure) -> Draft {
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

fn no_definition(facts: &Facts<'_>, standing: &Standing) -> Draft {
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
fn not_begun(facts: &Facts<'_>, standing: &Standing) -> Draft {
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

fn closing(standing: &Standing, ending: Ending, first: Draft) -> Draft {
    let id = standing.id();
    let says = format!("compensates its sagas, then ends as {ending}; now it {}", first.says);
    let mut draft = Draft::new(Code::Closing, first.by, says);
    (draft.since, draft.until, draft.is_stuck) = (first.since, first.until, first.is_stuck);
    draft.step.clone_from(&first.step);
    draft.hints.push(Hint::with("end it without the rest of its compensations", &["terminate", id]));
    draft.chain.push(first.finish(id, &standing.title).explanation);
    draft
}

impl Facts<'_> {
    /// Whether a time is longer ago than this.
    pub(in crate::operator) fn is_over(&self, time: DateTime<Utc>, threshold: std::time::Duration) -> bool {
        (self.now - time).to_std().is_ok_and(|passed| passed > threshold)
    }
}

/// The codes of failures by which the engine suspends an instance.
const POISON: &str = StepError::POISON;
const DEFINITION: &str = StepError::DEFINITION;

/// Which of several branches comes first in the explanation.
fn rank(code: Code) -> u8 {
    match code {
        Code::Running => 0,
        Code::Place | Code::Due | Code::DueNoHost | Code::EventWaitingForHost => 1,
        Code::Retry => 2,
        Code::Task => 3,
        Code::ActivityUnclaimed | Code::ActivityHeld | Code::LeaseOver => 4,
        Code::Event => 5,
        Code::Child => 6,
        Code::Tick => 7,
        Code::Timer => 8,
        _ => 9,
    }
}
