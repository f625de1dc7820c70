//! Follows what happens to one instance.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use wfe_core::{
    Result,
    models::PointerStatus,
    traits::{Cursor, InstanceState, InstanceSummary, MAX_PAGE},
};

use super::{
    Following, News,
    positions::{last, newest_record, records_after},
};
use crate::operator::HistoryRow;

/// How far the news of one instance were read.
pub(super) struct One {
    history: u64,
    /// The steps of the live state that have ended.
    ended: HashMap<String, (PointerStatus, Option<DateTime<Utc>>)>,
    failures: u64,
    acted: Cursor,
    pub(super) state: InstanceState,
}

impl Following {
    pub(super) async fn look_at(&mut self, id: &str) -> Result<()> {
        let operator = &self.operator;
        let summary = operator.summary(id).await?;
        let Some(mut at) = self.each.remove(id) else {
            let at = One {
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

    async fn read_one(&mut self, id: &str, summary: InstanceSummary, at: &mut One) -> Result<()> {
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

fn live(row: HistoryRow) -> (String, (PointerStatus, Option<DateTime<Utc>>)) {
    (row.pointer, (row.status, row.end))
}
