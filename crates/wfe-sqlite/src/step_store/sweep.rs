//! The sweep: marks many events as processed that no subscription needs. A sweep reads first, so that it
//! writes nothing if there is no such event.

use wfe_core::{Result, traits::Swept};

use super::limit::rows;
use crate::{
    SqlitePersistenceProvider,
    codec::{self, Fields, time},
    connection::admission::Caller,
    repository::{add_event_existence, add_positions},
    request::Script,
    sql,
};

pub(super) async fn finish_event(store: &SqlitePersistenceProvider, event_id: &str) -> Result<bool> {
    let mut script = Script::about(event_id);
    add_event_existence(&mut script, event_id);
    add_positions(&mut script, store.clock.now());
    let finish = script.add(&sql::streams::FINISH_EVENT, [event_id.into()]);
    let done = store.writer.run_for(Caller::Engine, script).await?;
    Ok(done.get(finish).is_some_and(|done| done.changes > 0))
}

pub(super) async fn finish_events(
    store: &SqlitePersistenceProvider,
    after: Option<&str>,
    limit: usize,
) -> Result<Swept> {
    let Some((mut at, mut seq)) = store.position_after(after).await? else { return Ok(Swept::default()) };
    // An event with a position is due, unless the clock was set back after the event got its position.
    let until = time::bound(store.clock.now());
    let mut finished = 0;
    loop {
        let mut script = Script::default();
        script.add(&sql::streams::UNFINISHED, [at.into(), seq.into(), until.into(), rows(limit).into()]);
        let done = store.read_for(Caller::Engine, script).await?;
        let (mut free, mut missed, mut last, mut looked_at) = (Vec::new(), Vec::new(), None, 0);
        for row in done.iter().flat_map(|done| &done.rows) {
            let mut fields = Fields::new(row, "events", "");
            (at, seq) = (fields.int("event_time")?, fields.int("seq")?);
            let (is_wanted, is_needed) = (fields.int("wanted")? != 0, fields.flag("is_processed")?);
            (last, looked_at) = (store.sound_one(fields.key("id"))?, looked_at + 1);
            // An event with an impossible value is skipped. Once it is repaired, it is checked like any other
            // event.
            let is_sound = last.is_none() || store.sound_one(codec::event::check(&mut fields))?.is_some();
            match (is_wanted, is_needed) {
                (_, false) if is_sound => free.push(seq),
                (false, true) => missed.push(seq),
                (true, true) | (_, false) => {}
            }
        }
        finished += store.finish_listed(&free, &missed).await?;
        // If the last event has no readable id, the caller cannot continue after it, so this loop continues.
        if looked_at == 0 || looked_at < limit || last.is_some() {
            let next = last.filter(|_| looked_at == limit).map(str::to_owned);
            return Ok(Swept { finished, next });
        }
    }
}

impl SqlitePersistenceProvider {
    /// Returns the place in the order of the sweep after which the sweep continues. Returns `None` if the
    /// event with this id is gone.
    async fn position_after(&self, after: Option<&str>) -> Result<Option<(i64, i64)>> {
        let Some(id) = after else { return Ok(Some((i64::MIN, 0))) };
        let mut script = Script::default();
        script.add(&sql::streams::SWEEP_POSITION, [id.into()]);
        let done = self.read_for(Caller::Engine, script).await?;
        let Some(row) = done.first().and_then(|done| done.rows.first()) else { return Ok(None) };
        let mut fields = Fields::new(row, "events", id);
        Ok(Some((fields.int("event_time")?, fields.int("seq")?)))
    }

    async fn finish_listed(&self, free: &[i64], missed: &[i64]) -> Result<usize> {
        let mut script = Script::about("finish_events");
        let finish = (!free.is_empty())
            .then(|| script.add(&sql::streams::FINISH_LISTED, [serde_json::json!(free).to_string().into()]));
        if !missed.is_empty() {
            script.add(&sql::streams::WANT_LISTED, [serde_json::json!(missed).to_string().into()]);
            script.notifies = true;
        }
        if script.statements.is_empty() {
            return Ok(0);
        }
        let done = self.writer.run_for(Caller::Engine, script).await?;
        let finished = finish.and_then(|at| done.get(at)).map_or(0, |done| done.changes);
        Ok(usize::try_from(finished).unwrap_or(usize::MAX))
    }
}
