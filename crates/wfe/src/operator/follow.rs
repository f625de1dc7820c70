//! Follows what happens in a store.

use std::{
    collections::{HashMap, HashSet},
    fmt,
    time::Duration,
};

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::{StreamExt, stream::BoxStream};
use serde::Serialize;
use tokio::time::Instant;
use wfe_core::{
    Result, WfeError,
    models::PointerStatus,
    traits::{
        AuditFilter, AuditRecord, Cursor, ErrorRecord, InstanceState, InstanceSummary, ListCursor, MAX_PAGE,
        Order, Query, TextMatch,
    },
};

use super::{HistoryRow, Operator};

/// How often the store is read at most, also if it changes all the time. It is real time, because a store is no faster
/// under a virtual clock.
const REST: Duration = Duration::from_millis(200);
/// How often the store is read if it does not notify of changes.
const POLL: Duration = Duration::from_secs(1);
/// How many pages of one kind are read in one look. What comes behind them is not shown.
const PAGES: usize = 20;
/// By how much the clocks of hosts may differ: an instance that ends later may have an earlier time of its end.
const SKEW: TimeDelta = TimeDelta::seconds(10);
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
    all: Option<Positions>,
    each: HashMap<String, Followed>,
}

/// How far the news of all instances were read.
struct Positions {
    started: u64,
    /// The starts that the last look has found, some of which may come after that position.
    known_starts: HashSet<String>,
    ended: DateTime<Utc>,
    /// The ends since a while before that time.
    known_ends: HashSet<(String, DateTime<Utc>)>,
    failed: Cursor,
    acted: Cursor,
}

/// How far the news of one instance were read.
struct Followed {
    history: u64,
    /// The steps of the live state that have ended.
    ended: HashMap<String, (PointerStatus, Option<DateTime<Utc>>)>,
    failures: u64,
    acted: Cursor,
    state: InstanceState,
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

    async fn look_at_all(&mut self, query: &Query) -> Result<()> {
        let scope = Query { order: Order::Oldest, ..in_scope(query) };
        let Some(mut positions) = self.all.take() else {
            self.all = Some(self.begin(&scope).await?);
            return Ok(());
        };
        let looked = self.read_all(&scope, &mut positions).await;
        self.all = Some(positions);
        looked
    }

    async fn begin(&self, scope: &Query) -> Result<Positions> {
        let operator = &self.operator;
        let ended = operator.list(&ends(scope), None, MAX_PAGE).await?.rows;
        let last = ended.iter().filter_map(|row| row.complete_time).max();
        Ok(Positions {
            started: last_start(operator, scope, 0).await?,
            known_starts: HashSet::new(),
            ended: last.unwrap_or(DateTime::<Utc>::MIN_UTC),
            known_ends: ended.into_iter().filter_map(|row| Some((row.id, row.complete_time?))).collect(),
            failed: newest_failure(operator).await?,
            acted: newest_record(operator, None).await?,
        })
    }

    /// Each part moves its position only together with the news that it has found.
    async fn read_all(&mut self, scope: &Query, at: &mut Positions) -> Result<()> {
        self.read_starts(scope, at).await?;
        self.read_ends(scope, at).await?;
        let (failures, is_all) = failures_after(&self.operator, at.failed).await?;
        if let Some(last) = failures.last() {
            let last = last.cursor;
            let mut news = Vec::new();
            for failure in failures {
                if self.selects(scope, &failure.failure.error.workflow_id).await? {
                    news.push(News::Failed { failure });
                }
            }
            at.failed = last;
            self.add(news, is_all, "failed");
        }
        let (records, is_all) = records_after(&self.operator, None, at.acted).await?;
        if let Some(last) = records.last() {
            let last = last.cursor;
            let mut news = Vec::new();
            for record in records {
                let is_selected = match &record.audit.instance {
                    Some(id) => self.selects(scope, id).await?,
                    None => *scope == Query { order: Order::Oldest, ..Query::default() },
                };
                if is_selected {
                    news.push(News::Acted { record });
                }
            }
            at.acted = last;
            self.add(news, is_all, "acted");
        }
        Ok(())
    }

    fn add(&mut self, news: Vec<News>, is_all: bool, kind: &'static str) {
        if !is_all {
            self.pending.push(News::Missed { kind });
        }
        self.pending.extend(news);
    }

    async fn read_starts(&mut self, scope: &Query, at: &mut Positions) -> Result<()> {
        // The end is looked for first: what is stored meanwhile is found now, and known in the next look.
        let end = last_start(&self.operator, scope, at.started).await?;
        let (mut found, mut after, mut is_all) = (Vec::new(), Some(start_cursor(at.started)), false);
        for _ in 0..PAGES {
            let window = self.operator.list(scope, after, MAX_PAGE).await?;
            found.extend(window.rows);
            after = window.next;
            if after.is_none() {
                is_all = true;
                break;
            }
        }
        let known = std::mem::replace(&mut at.known_starts, found.iter().map(|row| row.id.clone()).collect());
        at.started = end;
        let news = found.into_iter().filter(|row| !known.contains(&row.id));
        let news = news.map(|instance| News::Started { instance }).collect();
        self.add(news, is_all, "started");
        Ok(())
    }

    async fn read_ends(&mut self, scope: &Query, at: &mut Positions) -> Result<()> {
        let (query, from) = (ends(scope), at.ended.checked_sub_signed(SKEW).unwrap_or(at.ended));
        let (mut found, mut after, mut is_all) = (Vec::new(), None, false);
        for _ in 0..PAGES {
            let window = self.operator.list(&query, after, MAX_PAGE).await?;
            let mut is_old = false;
            for row in window.rows {
                let Some(time) = row.complete_time else { continue };
                is_old |= time < from;
                if !is_old && !at.known_ends.contains(&(row.id.clone(), time)) {
                    found.push((row, time));
                }
            }
            after = window.next;
            if is_old || after.is_none() {
                is_all = true;
                break;
            }
        }
        at.ended = found.iter().map(|(_, time)| *time).max().unwrap_or(at.ended).max(at.ended);
        at.known_ends.extend(found.iter().map(|(row, time)| (row.id.clone(), *time)));
        let from = at.ended.checked_sub_signed(SKEW).unwrap_or(at.ended);
        at.known_ends.retain(|(_, time)| *time >= from);
        let news = found.into_iter().map(|(instance, _)| News::Ended { instance }).collect();
        self.add(news, is_all, "ended");
        Ok(())
    }

    /// Whether the query selects the instance. One that was deleted is not selected, unless all are.
    async fn selects(&self, query: &Query, id: &str) -> Result<bool> {
        if *query == (Query { order: Order::Oldest, ..Query::default() }) {
            return Ok(true);
        }
        match self.operator.summary(id).await {
            Ok(summary) => Ok(matches(query, &summary)),
            Err(WfeError::WorkflowNotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn look_at(&mut self, id: &str) -> Result<()> {
        let operator = &self.operator;
        let summary = operator.summary(id).await?;
        let Some(mut at) = self.each.remove(id) else {
            let at = Followed {
                history: last(0, async |after| {
                    Ok(operator.stored_history(id, after, 1).await?.rows.is_empty())
                })
                .await?,
                ended: operator.live_history(id).await?.into_iter().map(live).collect(),
                failures: last(0, async |after| {
                    Ok(operator.errors(Some(id), Some(Cursor(after)), 1).await?.rows.is_empty())
                })
                .await?,
                acted: newest_record(operator, Some(id)).await?,
                state: summary.state,
            };
            self.each.insert(id.to_owned(), at);
            return Ok(());
        };
        let looked = self.read_one(id, summary, &mut at).await;
        self.each.insert(id.to_owned(), at);
        looked
    }

    async fn read_one(&mut self, id: &str, summary: InstanceSummary, at: &mut Followed) -> Result<()> {
        let operator = self.operator.clone();
        let step = |step| News::Step { instance: id.to_owned(), step };
        // What leaves the live state is found in the history, and was reported before.
        let mut known = std::mem::take(&mut at.ended);
        for row in operator.live_history(id).await? {
            let (pointer, now) = live(row.clone());
            if known.get(&pointer) != Some(&now) {
                self.pending.push(step(row));
            }
            known.remove(&pointer);
            at.ended.insert(pointer, now);
        }
        loop {
            let page = operator.stored_history(id, at.history, MAX_PAGE).await?;
            let last = page.rows.last().and_then(|row| row.number).or(page.next.map(|next| next.0));
            at.history = last.unwrap_or(at.history);
            let rows = page.rows.into_iter().filter(|row| !known.contains_key(&row.pointer));
            self.pending.extend(rows.map(step));
            if page.next.is_none() {
                break;
            }
        }
        loop {
            let page = operator.errors(Some(id), Some(Cursor(at.failures)), MAX_PAGE).await?;
            let last = page.rows.last().map(|failure| failure.cursor).or(page.next);
            at.failures = last.map_or(at.failures, |cursor| cursor.0);
            self.pending.extend(page.rows.into_iter().map(|failure| News::Failed { failure }));
            if page.next.is_none() {
                break;
            }
        }
        let (records, is_all) = records_after(&operator, Some(id), at.acted).await?;
        at.acted = records.last().map_or(at.acted, |record| record.cursor);
        self.add(records.into_iter().map(|record| News::Acted { record }).collect(), is_all, "acted");
        if summary.state != at.state {
            at.state = summary.state;
            self.pending.push(if summary.state.is_final() {
                News::Ended { instance: summary }
            } else {
                News::Changed { instance: summary }
            });
        }
        Ok(())
    }
}

impl fmt::Debug for Following {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Following").field("scope", &self.scope).finish_non_exhaustive()
    }
}

fn live(row: HistoryRow) -> (String, (PointerStatus, Option<DateTime<Utc>>)) {
    (row.pointer, (row.status, row.end))
}

/// The fields of a query by which instances are followed.
fn in_scope(query: &Query) -> Query {
    let Query { definition, version, reference, name, id_prefix, parent, attributes, include_own, .. } =
        query.clone();
    Query {
        definition,
        version,
        reference,
        name,
        id_prefix,
        parent,
        attributes,
        include_own,
        ..Query::default()
    }
}

fn ends(scope: &Query) -> Query {
    Query { states: InstanceState::ENDED.to_vec(), order: Order::LastEnded, ..scope.clone() }
}

fn matches(query: &Query, row: &InstanceSummary) -> bool {
    let is = |asked: &Option<String>, has: &str| asked.as_ref().is_none_or(|asked| asked == has);
    is(&query.definition, &row.definition)
        && query.version.is_none_or(|version| version == row.version)
        && is(&query.name, &row.name)
        && query.id_prefix.as_ref().is_none_or(|prefix| row.id.starts_with(prefix))
        && query.parent.as_ref().is_none_or(|parent| row.parent.as_ref() == Some(parent))
        && query.reference.as_ref().is_none_or(|asked| match (asked, &row.reference) {
            (TextMatch::Exact(asked), Some(has)) => asked == has,
            (TextMatch::Prefix(asked), Some(has)) => has.starts_with(asked),
            (_, None) => false,
        })
        && query.attributes.iter().all(|(key, value)| row.attributes.get(key) == Some(value))
}

async fn newest_failure(operator: &Operator) -> Result<Cursor> {
    let page = operator.errors(None, None, 1).await?;
    Ok(page.rows.first().map_or(Cursor(0), |failure| failure.cursor))
}

async fn newest_record(operator: &Operator, instance: Option<&str>) -> Result<Cursor> {
    let page = operator.audit(&records_of(instance), None, 1).await?;
    Ok(page.rows.first().map_or(Cursor(0), |record| record.cursor))
}

fn records_of(instance: Option<&str>) -> AuditFilter {
    AuditFilter { instance: instance.map(str::to_owned), ..AuditFilter::default() }
}

/// The failures behind this position, oldest first, and whether these are all.
async fn failures_after(operator: &Operator, last: Cursor) -> Result<(Vec<ErrorRecord>, bool)> {
    let (mut found, mut after) = (Vec::new(), None);
    for _ in 0..PAGES {
        let page = operator.errors(None, after, MAX_PAGE).await?;
        let is_old = page.rows.iter().any(|failure| failure.cursor <= last);
        found.extend(page.rows.into_iter().filter(|failure| failure.cursor > last));
        after = page.next;
        if is_old || after.is_none() {
            found.reverse();
            return Ok((found, true));
        }
    }
    found.reverse();
    Ok((found, false))
}

/// The records of actions behind this position, oldest first, and whether these are all.
async fn records_after(
    operator: &Operator,
    instance: Option<&str>,
    last: Cursor,
) -> Result<(Vec<AuditRecord>, bool)> {
    let (filter, mut found, mut after) = (records_of(instance), Vec::new(), None);
    for _ in 0..PAGES {
        let page = operator.audit(&filter, after, MAX_PAGE).await?;
        let is_old = page.rows.iter().any(|record| record.cursor <= last);
        found.extend(page.rows.into_iter().filter(|record| record.cursor > last));
        after = page.next;
        if is_old || after.is_none() {
            found.reverse();
            return Ok((found, true));
        }
    }
    found.reverse();
    Ok((found, false))
}

fn start_cursor(seq: u64) -> ListCursor {
    ListCursor { key: 0, seq }
}

/// The position of the start that was stored last, at or behind this position.
async fn last_start(operator: &Operator, scope: &Query, from: u64) -> Result<u64> {
    last(from, async |after| {
        let window = operator.list(scope, Some(start_cursor(after)), 1).await?;
        Ok(window.rows.is_empty() && window.next.is_none())
    })
    .await
}

/// The first position, at or behind this one, behind which nothing follows. It is found without reading what lies before.
async fn last(from: u64, is_end: impl AsyncFn(u64) -> Result<bool>) -> Result<u64> {
    if is_end(from).await? {
        return Ok(from);
    }
    // Something follows behind `low`, and nothing behind `high`.
    let (mut low, mut step) = (from, 1_u64);
    let mut high = loop {
        let high = low.saturating_add(step).min(LAST);
        if high == LAST || is_end(high).await? {
            break high;
        }
        (low, step) = (high, step.saturating_mul(2));
    };
    while low + 1 < high {
        let middle = low + (high - low) / 2;
        if is_end(middle).await? {
            high = middle;
        } else {
            low = middle;
        }
    }
    Ok(high)
}

/// The last position that a store can have.
const LAST: u64 = i64::MAX.unsigned_abs();
