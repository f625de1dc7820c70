//! Follows what happens to all instances that a query selects.

use std::collections::HashSet;

use chrono::{DateTime, TimeDelta, Utc};
use wfe_core::{
    Result, WfeError,
    traits::{Cursor, InstanceState, InstanceSummary, ListCursor, MAX_PAGE, Order, Query, TextMatch},
};

use super::{
    Following, News,
    positions::{PAGES, failures_after, last, newest_failure, newest_record, records_after},
};
use crate::operator::Operator;

/// By how much the clocks of hosts may differ: an instance that ends later may have an earlier time of its end.
const SKEW: TimeDelta = TimeDelta::seconds(10);

/// How far the news of all instances were read.
pub(super) struct All {
    started: u64,
    /// The starts that the last look has found, some of which may come after that position.
    known_starts: HashSet<String>,
    ended: DateTime<Utc>,
    /// The ends since a while before that time.
    known_ends: HashSet<(String, DateTime<Utc>)>,
    failed: Cursor,
    acted: Cursor,
}

impl Following {
    pub(super) async fn look_at_all(&mut self, query: &Query) -> Result<()> {
        let scope = Query { order: Order::Oldest, ..in_scope(query) };
        let Some(mut positions) = self.all.take() else {
            self.all = Some(self.begin(&scope).await?);
            return Ok(());
        };
        let looked = self.read_all(&scope, &mut positions).await;
        self.all = Some(positions);
        looked
    }

    async fn begin(&self, scope: &Query) -> Result<All> {
        let operator = &self.operator;
        let ended = operator.list(&ends(scope), None, MAX_PAGE).await?.rows;
        let last = ended.iter().filter_map(|row| row.complete_time).max();
        Ok(All {
            started: last_start(operator, scope, 0).await?,
            known_starts: HashSet::new(),
            ended: last.unwrap_or(DateTime::<Utc>::MIN_UTC),
            known_ends: ended.into_iter().filter_map(|row| Some((row.id, row.complete_time?))).collect(),
            failed: newest_failure(operator).await?,
            acted: newest_record(operator, None).await?,
        })
    }

    /// Each part moves its position only together with the news that it has found.
    async fn read_all(&mut self, scope: &Query, at: &mut All) -> Result<()> {
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
                    None => is_everything(scope),
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

    async fn read_starts(&mut self, scope: &Query, at: &mut All) -> Result<()> {
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

    async fn read_ends(&mut self, scope: &Query, at: &mut All) -> Result<()> {
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
        if is_everything(query) {
            return Ok(true);
        }
        match self.operator.summary(id).await {
            Ok(summary) => Ok(matches(query, &summary)),
            Err(WfeError::WorkflowNotFound(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }
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

/// Whether this is the scope of the default query.
fn is_everything(scope: &Query) -> bool {
    *scope == Query { order: Order::Oldest, ..Query::default() }
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
