//! What explanations need besides the instance: hosts, outlines, records of actions. It is read once for a question,
//! however many instances it explains.

use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tokio::sync::Mutex;
use wfe_core::{
    Result, WfeError,
    definition::Outline,
    traits::{AuditFilter, AuditRecord, EventFilter, StoredEvent, WaitFilter},
};

use super::hosts::Hosts;
use crate::operator::Operator;

/// How long hosts have to write their cards anew.
const FRESH: Duration = Duration::from_millis(200);
/// How many explanations one question makes at most.
const MOST: usize = 200;
/// How many stored events are looked at for one that was meant for a wait.
const EVENTS: usize = 100;
/// How many of them are named.
const NEAR: usize = 3;

type Outlines = HashMap<(String, u32), Option<Arc<Outline>>>;

pub(in crate::operator) struct Facts<'o> {
    pub operator: &'o Operator,
    pub now: DateTime<Utc>,
    pub hosts: Hosts,
    outlines: Mutex<Outlines>,
    rest: std::sync::atomic::AtomicUsize,
}

impl<'o> Facts<'o> {
    /// Asks the hosts for what they do now.
    pub async fn fresh(operator: &'o Operator) -> Result<Self> {
        Self::read(operator, FRESH).await
    }

    /// Takes what the hosts have said last.
    pub async fn known(operator: &'o Operator) -> Result<Self> {
        Self::read(operator, Duration::ZERO).await
    }

    async fn read(operator: &'o Operator, fresh: Duration) -> Result<Self> {
        let hosts = operator.store.hosts(fresh).await?;
        let living = operator.store.living_owners().await?;
        Ok(Self {
            operator,
            now: operator.now(),
            hosts: Hosts::new(hosts, living),
            outlines: Mutex::default(),
            rest: MOST.into(),
        })
    }

    /// Whether another explanation may be made for this question.
    pub fn takes_one(&self) -> bool {
        use std::sync::atomic::Ordering::Relaxed;
        self.rest.fetch_update(Relaxed, Relaxed, |rest| rest.checked_sub(1)).is_ok()
    }

    /// Begins to explain another instance.
    pub fn refill(&self) {
        self.rest.store(MOST, std::sync::atomic::Ordering::Relaxed);
    }

    /// The outline of a version, or `None` if no host has stored one.
    pub async fn outline(&self, definition: &str, version: u32) -> Result<Option<Arc<Outline>>> {
        let key = (definition.to_owned(), version);
        let mut outlines = self.outlines.lock().await;
        if let Some(known) = outlines.get(&key) {
            return Ok(known.clone());
        }
        let outline = supported(self.operator.newest_outline(definition, Some(version)).await)?.flatten();
        let outline = outline.map(Arc::new);
        outlines.insert(key, outline.clone());
        Ok(outline)
    }

    /// The newest record of this action on this instance.
    pub async fn record(&self, instance: &str, action: &str) -> Result<Option<AuditRecord>> {
        let filter = AuditFilter {
            instance: Some(instance.to_owned()),
            action: Some(action.to_owned()),
            ..AuditFilter::default()
        };
        let page = supported(self.operator.audit(&filter, None, 1).await)?;
        Ok(page.and_then(|page| page.rows.into_iter().next()))
    }

    /// Stored events that may have been meant for a wait of an instance that was started at `since`: of the same name,
    /// consumed by no instance, and with another key, for which no instance waits. The second list has those with the same
    /// key.
    pub async fn near_misses(
        &self,
        name: &str,
        key: &str,
        since: DateTime<Utc>,
    ) -> Result<(Vec<StoredEvent>, Vec<StoredEvent>)> {
        let filter = EventFilter { name: Some(name.to_owned()), ..EventFilter::default() };
        let Some(page) = supported(self.operator.events(&filter, None, EVENTS).await)? else {
            return Ok((Vec::new(), Vec::new()));
        };
        let left = page.rows.into_iter().filter(|stored| !stored.is_consumed && stored.position.is_some());
        let (same, others): (Vec<_>, Vec<_>) = left.partition(|stored| stored.event.event_key == key);
        let mut meant = Vec::new();
        for stored in others.into_iter().filter(|stored| stored.event.event_time >= since) {
            if meant.len() == NEAR {
                break;
            }
            let (name, key) = (name.to_owned(), Some(stored.event.event_key.clone()));
            let waits = self.operator.waits(Some(&WaitFilter::Event { name, key }), None, 1).await?;
            if waits.rows.is_empty() {
                meant.push(stored);
            }
        }
        Ok((meant, same))
    }
}

/// A store may lack a part of the contract: what it cannot tell is then left out.
pub(in crate::operator) fn supported<T>(answer: Result<T>) -> Result<Option<T>> {
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(WfeError::Unsupported(_)) => Ok(None),
        Err(error) => Err(error),
    }
}
