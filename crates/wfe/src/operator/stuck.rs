//! Finds the instances that stand although they should not.
//!
//! Each reason has a query of its own that reads few rows, however many instances there are. What a query finds is a
//! candidate: whether it is stuck is decided by its explanation, so that both always agree.

use std::collections::HashSet;

use serde::Serialize;
use wfe_core::{
    Result, WfeError,
    executor::{USER_TASK, view},
    traits::{EventFilter, InstanceState, InstanceSummary, MAX_PAGE, OpenWait, Order, Query, WaitFilter},
};

use super::{Explanation, Operator, why::Facts};
use crate::host::RESERVED;

/// How many rows each query reads at most.
const ROWS: usize = 200;
/// How many candidates for one reason are explained in vain, one after the other. The oldest ones come first, so the rest
/// is not stuck either.
const IN_VAIN: usize = 16;
/// How many levels of parents are stuck with a child.
const PARENTS: usize = 8;

/// An instance that stands although it should not. What is `None` is left out of its JSON:
///
/// ```json
/// {
///   "id": "0199f3…", "definition": "order", "version": 3, "reference": "order-17",
///   "explanation": { "headline": "…", "code": "suspended_failure", … }
/// }
/// ```
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Stuck {
    /// The id of the instance.
    pub id: String,
    /// The id of its definition.
    pub definition: String,
    /// The version of its definition.
    pub version: u32,
    /// The reference with which it was started.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Why it stands.
    pub explanation: Explanation,
}

/// The ids of instances that may be stuck, each once.
#[derive(Default)]
struct Candidates {
    ids: Vec<String>,
    known: HashSet<String>,
}

impl Candidates {
    fn add(&mut self, ids: impl IntoIterator<Item = String>) {
        for id in ids {
            if self.known.insert(id.clone()) {
                self.ids.push(id);
            }
        }
    }
}

impl Operator {
    /// The instances that stand although they should not, at most `limit` (and at most 500), each with its
    /// [explanation](Self::why). The [thresholds](Self::thresholds) decide what counts:
    ///
    /// * It is suspended, by a failure, by an operator, or because it seems to kill its process.
    /// * It is due, or has got what it waits for, and no host has taken it up for too long.
    /// * A control request waits for too long.
    /// * Hosts are alive, and none of them has its definition.
    /// * It waits for an activity that no worker has claimed for too long, or whose lease has run out.
    /// * It waits for the answer of a person, past the time at which the task should have been escalated or ended.
    /// * It waits for a child that is stuck.
    ///
    /// The cost does not grow with the number of instances. If more instances are stuck than `limit`, these are the ones
    /// that are found first: mend them, and ask again.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn stuck(&self, limit: usize) -> Result<Vec<Stuck>> {
        let limit = limit.min(MAX_PAGE);
        let facts = Facts::known(self).await?;
        let (mut stuck, mut seen) = (Vec::new(), HashSet::new());
        for reason in Reason::ALL {
            if stuck.len() >= limit {
                break;
            }
            let mut candidates = Candidates::default();
            self.candidates(*reason, &facts, limit - stuck.len(), &mut candidates).await?;
            let mut in_vain = 0;
            for id in candidates.ids {
                let before = stuck.len();
                self.add_stuck(&facts, id, limit, &mut stuck, &mut seen).await?;
                in_vain = if stuck.len() == before { in_vain + 1 } else { 0 };
                if stuck.len() >= limit || in_vain == IN_VAIN {
                    break;
                }
            }
        }
        Ok(stuck)
    }

    /// Adds the instance if it is stuck, and then its parents, which are stuck with it.
    async fn add_stuck(
        &self,
        facts: &Facts<'_>,
        id: String,
        limit: usize,
        stuck: &mut Vec<Stuck>,
        seen: &mut HashSet<String>,
    ) -> Result<()> {
        let mut next = Some(id);
        for _ in 0..=PARENTS {
            let Some(id) = next.take() else { return Ok(()) };
            if stuck.len() >= limit || !seen.insert(id.clone()) {
                return Ok(());
            }
            facts.refill();
            let explained = async { Ok((self.summary(&id).await?, self.explain(facts, &id).await?)) };
            let (summary, explanation) = match explained.await {
                Ok(explained) => explained,
                // It has ended and was removed meanwhile.
                Err(WfeError::WorkflowNotFound(_)) => return Ok(()),
                Err(error) => return Err(error),
            };
            if !explanation.is_stuck {
                return Ok(());
            }
            let InstanceSummary { definition, version, reference, parent, .. } = summary;
            stuck.push(Stuck { id, definition, version, reference, explanation });
            next = parent;
        }
        Ok(())
    }

    async fn candidates(
        &self,
        reason: Reason,
        facts: &Facts<'_>,
        wanted: usize,
        found: &mut Candidates,
    ) -> Result<()> {
        let open = |states: &[InstanceState]| Query { states: states.to_vec(), ..Query::default() };
        match reason {
            Reason::Suspended => found.add(self.ids(&open(&[InstanceState::Suspended]), wanted).await?),
            Reason::Due => {
                let query = Query { order: Order::FirstDue, ..open(&[InstanceState::Due]) };
                let window = self.management.list(&query, facts.now, None, wanted.min(ROWS)).await;
                let rows = self.seen(window)?.rows.into_iter();
                // A task is stuck as soon as its time has passed.
                let is_task =
                    |row: &InstanceSummary| row.waits.as_ref().is_some_and(|waits| waits.name == USER_TASK);
                let is_late = |row: &InstanceSummary| {
                    row.due.is_some_and(|due| facts.is_over(due, self.thresholds.due))
                };
                found.add(rows.filter(|row| is_late(row) || is_task(row)).map(|row| row.id));
            }
            Reason::Requested => {
                let query = Query { requested: true, order: Order::Oldest, ..Query::default() };
                found.add(self.ids(&query, wanted).await?);
            }
            Reason::OwnerDead => {
                // As many as hosts have in memory, so there are not many.
                let query = Query { order: Order::Oldest, ..open(&[InstanceState::Running]) };
                let window = self.seen(self.management.list(&query, facts.now, None, MAX_PAGE).await)?;
                let dead = |row: &InstanceSummary| row.owner.is_some_and(|owner| facts.hosts.is_dead(owner));
                found.add(window.rows.into_iter().filter(dead).map(|row| row.id));
            }
            Reason::NoDefinition => {
                for (definition, version) in self.without_host(facts).await? {
                    let query = Query {
                        definition: Some(definition),
                        version: Some(version),
                        include_own: true,
                        ..open(&[InstanceState::Due, InstanceState::Asleep, InstanceState::Waiting])
                    };
                    found.add(self.ids(&query, wanted).await?);
                    if found.ids.len() >= wanted {
                        break;
                    }
                }
            }
            Reason::Activities => {
                for count in self.seen(self.management.task_counts().await)? {
                    let Some(name) = view::activity_name(&count.event_name) else { continue };
                    // Schedules wait for this one, which no worker does.
                    if name.starts_with(RESERVED) {
                        continue;
                    }
                    let filter = WaitFilter::Activity { name: name.to_owned() };
                    // The oldest ones come first. Those that a worker does now are not stuck.
                    let page = self.seen(self.management.waits(Some(&filter), None, ROWS).await)?;
                    let is_held = |wait: &OpenWait| {
                        let expiry = wait.subscription.external_token_expiry;
                        wait.subscription.external_token.is_some() && expiry.is_none_or(|end| end > facts.now)
                    };
                    let open = page.rows.into_iter().filter(|wait| wait.is_answerable && !is_held(wait));
                    found.add(open.map(|wait| wait.subscription.workflow_id));
                }
            }
            Reason::Events => {
                // Events that no instance has consumed, although one may wait for them.
                let filter = EventFilter { unprocessed: true, ..EventFilter::default() };
                let page = self.seen(self.management.events(&filter, None, ROWS).await)?;
                for stored in page.rows.into_iter().filter(|stored| !stored.is_consumed) {
                    if stored.position.is_none()
                        || !facts.is_over(stored.event.event_time, self.thresholds.due)
                    {
                        continue;
                    }
                    let (name, key) = (stored.event.event_name, Some(stored.event.event_key));
                    let filter = WaitFilter::Event { name, key };
                    let waits =
                        self.seen(self.management.waits(Some(&filter), None, wanted.min(ROWS)).await)?;
                    found.add(waits.rows.into_iter().map(|wait| wait.subscription.workflow_id));
                    if found.ids.len() >= wanted {
                        break;
                    }
                }
            }
        }
        Ok(())
    }

    async fn ids(&self, query: &Query, wanted: usize) -> Result<Vec<String>> {
        let window = self.management.list(query, self.now(), None, wanted.min(ROWS)).await;
        Ok(self.seen(window)?.rows.into_iter().map(|row| row.id).collect())
    }

    /// The versions of definitions that open instances need, and that no living host has.
    pub(super) async fn without_host(&self, facts: &Facts<'_>) -> Result<Vec<(String, u32)>> {
        if facts.hosts.cards().next().is_none() {
            return Ok(Vec::new());
        }
        let mut missing = Vec::new();
        for count in self.open_counts().await? {
            let needed = (count.definition, count.version);
            let is_known = missing.contains(&needed);
            if !is_known && count.state != InstanceState::Suspended && facts.hosts.lacks(&needed.0, needed.1)
            {
                missing.push(needed);
            }
        }
        Ok(missing)
    }
}

/// What a query looks for.
#[derive(Debug, Clone, Copy)]
enum Reason {
    Suspended,
    Due,
    Requested,
    OwnerDead,
    NoDefinition,
    Activities,
    Events,
}

impl Reason {
    const ALL: &[Self] = &[
        Self::Suspended,
        Self::Due,
        Self::Requested,
        Self::OwnerDead,
        Self::NoDefinition,
        Self::Activities,
        Self::Events,
    ];
}
