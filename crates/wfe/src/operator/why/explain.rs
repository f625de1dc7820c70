//! Makes the explanation of one instance.

use chrono::{DateTime, Utc};
use futures_util::{FutureExt, future::BoxFuture};
use serde_json::Value;
use wfe_core::{
    Result, WfeError,
    executor::view::Path,
    models::ExecutionPointer,
    traits::{Control, InstanceState, Loaded},
};

use super::{
    By, Code, Explanation, Facts, Hint,
    hosts::Has,
    standings::{closing, ended, host_hint, no_definition, not_begun, suspended_by_failure},
    text::{ago, first_line, plain, since},
};
use crate::{
    host::RESERVED,
    operator::Operator,
    status::{Blocked, InstanceStatus, Waits},
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
        // Every schedule waits for an activity of the engine's own, which no worker does.
        let is_own =
            |waits: &Waits| matches!(waits, Waits::Activity { name, .. } if name.starts_with(RESERVED));
        for position in status.positions.iter().filter(|one| !is_own(&one.waits)).take(BREADTH) {
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

impl Facts<'_> {
    /// Whether a time is longer ago than this.
    pub(in crate::operator) fn is_over(&self, time: DateTime<Utc>, threshold: std::time::Duration) -> bool {
        (self.now - time).to_std().is_ok_and(|passed| passed > threshold)
    }
}

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
