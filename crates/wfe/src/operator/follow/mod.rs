//! Follows what happens in a store.

mod all;
mod one;
mod positions;

use std::{collections::HashMap, fmt, time::Duration};

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream::BoxStream};
use serde::Serialize;
use tokio::time::Instant;
use wfe_core::{
    Result, WfeError,
    traits::{AuditRecord, ErrorRecord, InstanceSummary, Query},
};

use self::{all::All, one::One};
use super::{HistoryRow, Operator};

/// How often the store is read at most, also if it changes all the time. It is real time, because a store is no faster
/// under a virtual clock.
const REST: Duration = Duration::from_millis(200);
/// How often the store is read if it does not notify of changes.
const POLL: Duration = Duration::from_secs(1);
/// How many instances are followed at once at most.
const INSTANCES: usize = 100;

/// What is followed.
#[derive(Debug, Clone, PartialEq)]
#[expect(clippy::large_enum_variant, reason = "there is one for each that follows")]
#[non_exhaustive]
pub enum Follow {
    /// These instances, at most 100, with their steps.
    Instances(Vec<String>),
    /// The instances that the query selects by their definition, version, reference, name, id, parent and attributes; the
    /// other fields of the query do not matter. Of these: their starts, ends, failures, and the actions on them. The
    /// default query follows everything, also actions on the whole store.
    Query(Query),
}

/// Something that has happened. Its JSON has the tag `news`:
///
/// ```json
/// { "news": "started", "instance": { "id": "0193…", … } }
/// { "news": "ended", "instance": { "id": "0193…", "state": "failed", … } }
/// { "news": "failed", "failure": { "instance": "0193…", "step": "pay", … } }
/// { "news": "acted", "record": { "actor": "ann@host1", "action": "resume", … } }
/// { "news": "step", "instance": "0193…", "step": { "number": 3, "step": "charge", … } }
/// { "news": "changed", "instance": { "id": "0193…", "state": "suspended", … } }
/// { "news": "missed", "kind": "started" }
/// ```
///
/// The parts are an [`InstanceSummary`], an [`ErrorRecord`], an [`AuditRecord`] and a [`HistoryRow`].
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "news", rename_all = "snake_case")]
#[non_exhaustive]
pub enum News {
    /// An instance was started.
    Started {
        /// The instance, as it stands now.
        instance: InstanceSummary,
    },
    /// An instance has ended.
    Ended {
        /// The instance.
        instance: InstanceSummary,
    },
    /// An attempt of a step has failed.
    Failed {
        /// The failure.
        failure: ErrorRecord,
    },
    /// An operator has acted.
    Acted {
        /// The record of the action.
        record: AuditRecord,
    },
    /// A step of a followed instance has ended.
    Step {
        /// The id of the instance.
        instance: String,
        /// The step.
        step: HistoryRow,
    },
    /// A followed instance has another state, and has not ended: it was suspended or resumed, or is due or asleep now.
    Changed {
        /// The instance.
        instance: InstanceSummary,
    },
    /// More has happened than can be shown.
    Missed {
        /// Of which kind of news: `started`, `ended`, `failed` or `acted`.
        kind: &'static str,
    },
}

impl News {
    /// When it happened, as far as that is stored.
    fn time(&self) -> Option<DateTime<Utc>> {
        match self {
            Self::Started { instance } => Some(instance.create_time),
            Self::Ended { instance } => instance.complete_time,
            Self::Failed { failure } => Some(failure.failure.error.error_time),
            Self::Acted { record } => Some(record.time),
            Self::Step { step, .. } => step.end,
            Self::Changed { .. } | Self::Missed { .. } => None,
        }
    }
}

/// Follows what happens. [`Operator::follow`] returns it.
///
/// It reads the store when the store notifies of a change, at most five times a second, and once a second otherwise; only
/// while [`next`](Self::next) is awaited. It goes on over stops and starts of hosts.
pub struct Following {
    operator: Operator,
    scope: Follow,
    store_news: BoxStream<'static, ()>,
    last_look: Option<Instant>,
    pending: Vec<News>,
    all: Option<All>,
    each: HashMap<String, One>,
}

impl Operator {
    /// Follows what happens from the first call of [`next`](Following::next) on.
    ///
    /// ```no_run
    /// # use wfe::{operator::{Follow, News}, traits::Query};
    /// # async fn example(operator: wfe::Operator) -> wfe::Result<()> {
    /// let mut following = operator.follow(Follow::Query(Query::default()));
    /// loop {
    ///     for news in following.next().await? {
    ///         if let News::Failed { failure } = news {
    ///             println!("{}: {}", failure.failure.error.workflow_id, failure.failure);
    ///         }
    ///     }
    /// }
    /// # }
    /// ```
    #[must_use]
    pub fn follow(&self, scope: Follow) -> Following {
        Following {
            operator: self.clone(),
            scope,
            store_news: self.store.news(),
            last_look: None,
            pending: Vec::new(),
            all: None,
            each: HashMap::new(),
        }
    }
}

impl Following {
    /// Waits for something to happen, and returns it, in order of time. The first call begins to follow. If the future is
    /// dropped, or returns an error, nothing is lost: call it again.
    ///
    /// # Errors
    /// * [`WorkflowNotFound`](WfeError::WorkflowNotFound): a followed instance does not exist, or was deleted.
    /// * [`Invalid`](WfeError::Invalid): more than 100 instances are followed.
    /// * [`Forbidden`](WfeError::Forbidden): the query searches for what is hidden.
    /// * The errors of the store.
    pub async fn next(&mut self) -> Result<Vec<News>> {
        loop {
            if let Some(last) = self.last_look {
                tokio::time::sleep_until(last + REST).await;
            }
            self.look().await?;
            self.last_look = Some(Instant::now());
            if !self.pending.is_empty() {
                let mut news = std::mem::take(&mut self.pending);
                news.sort_by_key(News::time);
                return Ok(news);
            }
            if self.is_over() {
                return Ok(Vec::new());
            }
            tokio::select! {
                // A store that was dropped has no more news.
                Some(()) = self.store_news.next() => {}
                () = tokio::time::sleep(POLL) => {}
            }
        }
    }

    /// Whether instances are followed and all of them have ended. Then [`next`](Self::next) returns without news at once.
    #[must_use]
    pub fn is_over(&self) -> bool {
        matches!(self.scope, Follow::Instances(_))
            && self.last_look.is_some()
            && self.each.values().all(|followed| followed.state.is_final())
    }

    async fn look(&mut self) -> Result<()> {
        match self.scope.clone() {
            Follow::Query(query) => self.look_at_all(&query).await,
            Follow::Instances(ids) if ids.len() > INSTANCES => {
                Err(WfeError::Invalid(format!("at most {INSTANCES} instances can be followed at once")))
            }
            Follow::Instances(ids) => {
                for id in &ids {
                    self.look_at(id).await?;
                }
                Ok(())
            }
        }
    }

    fn add(&mut self, news: Vec<News>, is_all: bool, kind: &'static str) {
        if !is_all {
            self.pending.push(News::Missed { kind });
        }
        self.pending.extend(news);
    }
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Following").field("scope", &self.scope).finish_non_exhaustive()
    }
}
