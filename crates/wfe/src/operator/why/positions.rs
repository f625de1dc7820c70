//! Explains one execution pointer of an instance.

use chrono::{DateTime, Utc};
use wfe_core::{
    Result, WfeError,
    models::ExecutionPointer,
    steps::UserTaskView,
    traits::{StepFailure, StoredEvent},
};

use super::{
    By, Code, Facts, Hint,
    explain::{Draft, Standing},
    standings::{due_now, host_hint},
    text::{first_line, length, plain, since, until},
};
use crate::{
    operator::Operator,
    status::{Held, Position, Waits},
};

/// How far down children are followed.
const DEPTH: usize = 8;
/// How many options of a task have a hint of their own.
const OPTIONS: usize = 5;

impl Operator {
    pub(super) async fn position(
        &self,
        facts: &Facts<'_>,
        standing: &Standing,
        position: &Position,
        above: &[&str],
    ) -> Result<Draft> {
        let (now, step, id) = (facts.now, plain(&position.step).to_string(), standing.id());
        let pointer = standing.pointer(&position.pointer);
        let began = pointer.and_then(|pointer| pointer.start_time);
        let mut draft = match &position.waits {
            Waits::Running { since } => running(facts, standing, &position.step, since.or(began)),
            Waits::Slot => {
                let says = format!("waits for a free slot to run {step}");
                Draft::new(Code::Place, By::Host, says + &since(began, now))
            }
            Waits::AttemptBefore => {
                let says = format!("waits until an earlier attempt of {step} has ended");
                Draft::new(Code::Place, By::Host, says + &since(began, now))
            }
            Waits::Due => self.arrived(facts, standing, position, pointer),
            Waits::Timer { until: end } => {
                let says = format!("sleeps at {step}{}{}", since(began, now), until(Some(*end), now));
                let mut draft = Draft::new(Code::Timer, By::Time, says);
                draft.until = Some(*end);
                draft
            }
            Waits::Tick { next } => {
                let says = format!("waits for the next tick of {step}, for another {}", length(*next - now));
                let mut draft = Draft::new(Code::Tick, By::Time, says);
                draft.until = Some(*next);
                draft
            }
            Waits::Retry { at, attempt, last_failure } => {
                self.backoff(facts, standing, &position.step, (*at, *attempt), last_failure.as_deref())
                    .await?
            }
            Waits::Event { name, key, until: end } => {
                let says = format!(
                    "waits for the event {}/{}{}{}",
                    plain(name),
                    plain(key),
                    since(began, now),
                    until(*end, now)
                );
                let mut draft = Draft::new(Code::Event, By::Event, says);
                draft.until = *end;
                draft.hints = self.event_hints(facts, standing, name, key).await?;
                draft
            }
            Waits::Activity { name, id: activity, held, until: end } => {
                self.activity(facts, (name, activity), held.as_ref(), began, *end)
            }
            Waits::UserTask { id: task, task: view, held, until: end } => {
                let mut draft = user_task(task, view.as_ref(), held.as_ref(), (began, *end), now);
                (draft.until, draft.is_stuck) = (*end, end.is_some_and(|end| end < now));
                draft
            }
            Waits::Child { id: child, until: end } => {
                let mut draft = self.child(facts, standing, (child, began), above).await?;
                draft.until = *end;
                draft
            }
            Waits::Resume => {
                let mut draft =
                    Draft::new(Code::SuspendedFailure, By::Operator, format!("has failed at {step}"));
                draft.is_stuck = true;
                draft.hints.push(Hint::with("try the step again", &["resume", id]));
                draft
            }
        };
        draft.since = draft.since.or(began);
        draft.step = Some(position.step.clone());
        if matches!(
            draft.code,
            Code::Event | Code::Timer | Code::Task | Code::ActivityUnclaimed | Code::LeaseOver
        ) {
            draft.hints.extend(self.way_around(facts, standing, pointer).await?);
        }
        draft.at = Vec::new();
        Ok(draft)
    }

    /// A failed attempt, before the next one.
    async fn backoff(
        &self,
        facts: &Facts<'_>,
        standing: &Standing,
        step: &str,
        (at, attempt): (DateTime<Utc>, u32),
        last_failure: Option<&StepFailure>,
    ) -> Result<Draft> {
        let status = &standing.status;
        let outline = facts.outline(&status.definition, status.version).await?;
        let retry = outline.as_deref().and_then(|outline| outline.step(step)?.retry.clone());
        let of = retry.filter(|retry| retry.limit < u32::MAX);
        let of = of.map_or_else(String::new, |retry| format!(" of {}", retry.limit + 1));
        let failed = last_failure.map_or_else(String::new, |failure| {
            format!("; the last one failed ({}): {}", plain(&failure.code), first_line(&failure.message()))
        });
        let rest = length(at - facts.now);
        let says = format!("waits for attempt {attempt}{of} of {}, for another {rest}{failed}", plain(step));
        let mut draft = Draft::new(Code::Retry, By::Time, says);
        (draft.until, draft.since) = (Some(at), last_failure.map(|failure| failure.error.error_time));
        draft.hints.push(Hint::with("see more of it", &["show", standing.id()]));
        Ok(draft)
    }

    /// What the step waited for has come.
    fn arrived(
        &self,
        facts: &Facts<'_>,
        standing: &Standing,
        position: &Position,
        pointer: Option<&ExecutionPointer>,
    ) -> Draft {
        let (loaded, now) = (&standing.loaded, facts.now);
        let wait = loaded.waits.iter().find(|wait| wait.execution_pointer_id == position.pointer);
        let came =
            wait.and_then(|wait| loaded.deliveries.iter().find(|came| came.subscription_id == wait.id));
        let Some(came) = came else {
            let due = pointer.and_then(|pointer| pointer.sleep_until).or(standing.status.due);
            let due = due.unwrap_or(standing.status.create_time).max(standing.status.create_time).min(now);
            return due_now(facts, standing, Some(&position.step), due);
        };
        let event = &came.event;
        let is_own = event.event_name.starts_with(crate::host::RESERVED);
        let what = if is_own {
            format!("the answer for {}", plain(&position.step))
        } else {
            format!("the event {}/{}", plain(&event.event_name), plain(&event.event_key))
        };
        // Answers have no time of their own.
        let time = Some(event.event_time).filter(|_| !is_own);
        let has = facts.hosts.has(&standing.status.definition, standing.status.version);
        let none = if facts.hosts.is_none_alive() { ", and no host is alive" } else { "" };
        let says = format!("has got {what}, and a host has to take it up{}{none}", since(time, now));
        let mut draft = Draft::new(Code::EventWaitingForHost, By::Host, says);
        draft.since = time;
        draft.is_stuck = time.is_some_and(|time| facts.is_over(time, self.thresholds.due))
            || (time.is_none() && facts.hosts.is_none_alive());
        draft.hints.push(host_hint(has, standing));
        draft
    }

    fn activity(
        &self,
        facts: &Facts<'_>,
        (name, activity): (&str, &str),
        held: Option<&Held>,
        began: Option<DateTime<Utc>>,
        end: Option<DateTime<Utc>>,
    ) -> Draft {
        let (now, shown) = (facts.now, plain(name));
        let release = || Hint::with("give it to the next worker now", &["activities", "release", activity]);
        let worker = |held: &Held| {
            held.worker
                .as_deref()
                .map_or_else(|| "a worker".to_owned(), |who| format!("worker {}", plain(who)))
        };
        let mut draft = match held {
            None => {
                let says =
                    format!("waits for a worker that does {shown}{}{}", since(began, now), until(end, now));
                let mut draft = Draft::new(Code::ActivityUnclaimed, By::Worker, says);
                draft.is_stuck = match began {
                    Some(began) => facts.is_over(began, self.thresholds.unclaimed),
                    // An earlier version of WFE has stored the wait, so it has waited since its program was replaced.
                    None => true,
                };
                draft.hints.push(Hint::note(format!("start a worker that claims {shown}")));
                draft
            }
            Some(held) if held.until.is_some_and(|lease| lease <= now) => {
                let ran_out =
                    held.until.map_or_else(String::new, |lease| format!(" {} ago", length(now - lease)));
                let says = format!(
                    "waits for a worker that does {shown}: the lease of {} has run out{ran_out}",
                    worker(held)
                );
                let mut draft = Draft::new(Code::LeaseOver, By::Worker, says);
                (draft.since, draft.is_stuck) = (held.until, true);
                draft
                    .hints
                    .push(Hint::note(format!("start a worker that claims {shown}: the next one gets it")));
                draft
            }
            Some(held) => {
                let lease = held.until.map_or_else(String::new, |lease| {
                    format!(", whose lease lasts another {}", length(lease - now))
                });
                let says =
                    format!("waits for {}, which does {shown}{}{lease}", worker(held), since(began, now));
                let mut draft = Draft::new(Code::ActivityHeld, By::Worker, says);
                draft.hints.push(release());
                draft
            }
        };
        draft.until = end;
        draft
    }

    async fn child(
        &self,
        facts: &Facts<'_>,
        standing: &Standing,
        (child, began): (&str, Option<DateTime<Utc>>),
        above: &[&str],
    ) -> Result<Draft> {
        let new = |says: String| Draft::new(Code::Child, By::Child, says);
        let since = since(began, facts.now);
        let mut line = above.to_vec();
        line.push(standing.id());
        if line.len() >= DEPTH || line.contains(&child) || !facts.takes_one() {
            let mut draft = new(format!("waits for its child {}{since}", plain(child)));
            draft.hints.push(Hint::with("see what the child waits for", &["why", child]));
            return Ok(draft);
        }
        let explained = match self.explain_below(facts, child, &line).await {
            Ok(explained) => explained,
            Err(WfeError::WorkflowNotFound(_)) => {
                let says =
                    format!("waits for its child {}, which is not stored any more{since}", plain(child));
                let mut draft = new(says);
                draft.is_stuck = true;
                draft.hints.push(Hint::with("cancel it", &["cancel", standing.id()]));
                return Ok(draft);
            }
            Err(error) => return Err(error),
        };
        let (title, explanation) = (&explained.title, explained.explanation);
        // A sentence has the times of what it names last: here those of the child, above those of this wait.
        let mut draft = new(format!("waits for its child {title}, which {}", explained.says));
        draft.says_short = Some(format!("waits for its child {title}{since}"));
        draft.is_stuck = explanation.is_stuck;
        draft.hints.push(Hint::with("see what the child waits for", &["why", child]));
        draft.chain.push(explanation);
        Ok(draft)
    }

    async fn event_hints(
        &self,
        facts: &Facts<'_>,
        standing: &Standing,
        name: &str,
        key: &str,
    ) -> Result<Vec<Hint>> {
        let publish = Hint::with("publish the event, with its data as JSON", &["publish", name, key, "DATA"]);
        let mut hints = vec![publish];
        let (meant, same) = facts.near_misses(name, key, standing.status.create_time).await?;
        let stored = |event: &StoredEvent| {
            format!("{}/{}", plain(&event.event.event_name), plain(&event.event.event_key))
        };
        for event in &meant {
            hints.push(Hint::note(format!(
                "an event {} is stored that nobody waits for: a wrong key?",
                stored(event)
            )));
        }
        if let Some(early) = same.first() {
            let before = length(facts.now - early.event.event_time);
            hints.push(Hint::note(format!(
                "an event {} is stored that came too early, {before} ago: publish it again with another id",
                stored(early)
            )));
        }
        Ok(hints)
    }

    /// How an operator goes on without what the step waits for.
    async fn way_around(
        &self,
        facts: &Facts<'_>,
        standing: &Standing,
        pointer: Option<&ExecutionPointer>,
    ) -> Result<Vec<Hint>> {
        let Some(pointer) = pointer.filter(|pointer| pointer.scope.is_empty()) else { return Ok(Vec::new()) };
        let status = &standing.status;
        let outline = facts.outline(&status.definition, status.version).await?;
        let step = outline.as_deref().and_then(|outline| outline.step(pointer.step_name.as_deref()?));
        let Some(next) = step.and_then(|step| step.next.as_deref()) else { return Ok(Vec::new()) };
        Ok(vec![
            Hint::with("to go on without it: suspend the instance", &["suspend", standing.id()]),
            Hint::with(format!("then resume it from {}", plain(next)), &["resume-from", next, standing.id()]),
        ])
    }
}

/// A body that runs, or is about to.
fn running(facts: &Facts<'_>, standing: &Standing, step: &str, began: Option<DateTime<Utc>>) -> Draft {
    let now = facts.now;
    let Some(owner) = standing.loaded.owner else {
        let due = standing.status.due.unwrap_or(now).min(now);
        return due_now(facts, standing, Some(step), due);
    };
    if facts.hosts.is_dead(owner) {
        let due = standing.status.due.unwrap_or(now).min(now).max(standing.status.create_time);
        let mut draft = due_now(facts, standing, Some(step), due);
        draft.says = format!("{}; host {owner}, which worked on it, has died", draft.says);
        return draft;
    }
    let card = facts.hosts.card(owner);
    let host = card.map_or_else(
        || format!("host {owner}"),
        |card| format!("host {owner} ({}, pid {})", plain(&card.program), card.pid),
    );
    let step_ = plain(step);
    if let Some(body) = facts.hosts.body(owner, standing.id(), step) {
        let says = format!("runs {step_} on {host}{}", since(Some(body.since), now));
        let mut draft = Draft::new(Code::Running, By::Host, says);
        draft.since = Some(body.since);
        return draft;
    }
    if let Some(card) = card.filter(|card| card.bodies_limit > 0 && card.bodies_running >= card.bodies_limit)
    {
        let (limit, waits) = (card.bodies_limit, since(began, now));
        let says = format!(
            "waits for a free slot to run {step_}: {host} runs {limit} bodies, as many as it may{waits}"
        );
        let mut draft = Draft::new(Code::Place, By::Host, says);
        draft.hints.push(Hint::with("see what the host does", &["hosts"]));
        return draft;
    }
    let says = format!("runs {step_} on {host}{}", since(began, now));
    Draft::new(Code::Running, By::Host, says)
}

fn user_task(
    id: &str,
    view: Option<&UserTaskView>,
    held: Option<&Held>,
    (began, end): (Option<DateTime<Utc>>, Option<DateTime<Utc>>),
    now: DateTime<Utc>,
) -> Draft {
    let assignee = view.and_then(|view| view.assignee.as_deref());
    let whom = held.and_then(|held| held.worker.as_deref()).or(assignee).unwrap_or("anyone");
    let asks = view.map_or_else(String::new, |view| format!(" to answer “{}”", first_line(&view.prompt)));
    let says = format!("waits for {}{asks}{}{}", plain(whom), since(began, now), until(end, now));
    let mut draft = Draft::new(Code::Task, By::Person, says);
    for option in view.iter().flat_map(|view| view.options.iter()).take(OPTIONS) {
        draft.hints.push(Hint::with(format!("answer {}", plain(option)), &["tasks", "answer", id, option]));
    }
    draft
}
