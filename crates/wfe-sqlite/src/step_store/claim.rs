//! Claims: read first, so that nothing to do writes nothing; then take what is still as it was read.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::sqlite::SqliteRow;
use wfe_core::{
    Result, logging,
    traits::{Claimed, Fence, Owner},
};

use super::rows;
use crate::{
    SqlitePersistenceProvider,
    admission::Caller,
    codec::{Fields, hexadecimal, single_int, time, to_integer},
    observer::Progress,
    owner_files::{Life, SECOND_LOOK},
    repository::add_ripening,
    script::{Done, Script, Value, Written},
    sql, thread,
};

/// An instance that could be claimed, as it was read.
struct Candidate {
    seq: i64,
    id: String,
    fence: i64,
    claims: u32,
    revision: i64,
    control_number: i64,
}

/// One instance, and what stands in the way of claiming it.
struct One {
    candidate: Candidate,
    owner: Option<u64>,
    has_work: bool,
}

impl SqlitePersistenceProvider {
    pub(super) async fn claim_any(
        &self,
        owner: &Owner,
        definitions: &[(String, u32)],
        as_at: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<Claimed>> {
        if definitions.is_empty() || limit == 0 {
            return Ok(Vec::new());
        }
        self.owners.look_after(owner.id())?;
        let definitions = Value::from(hexadecimal::definitions(definitions));
        let own = Value::from(to_integer("an owner's id", owner.id())?);
        loop {
            let looked = self.clock.monotonic();
            let looks = self.owners.is_time_to_look(looked);
            let mut script = Script::default();
            script.add(&sql::events::IS_RIPE, [self.now().into()]);
            script.add(&sql::ownership::OWNERS, [own.clone()]);
            let (due, limit) = (time::millis_bound(as_at).into(), Value::from(rows(limit)));
            let definitions = || definitions.clone();
            script.add(
                &sql::ownership::CLAIMABLE,
                [
                    due,
                    definitions(),
                    limit.clone(),
                    definitions(),
                    limit.clone(),
                    definitions(),
                    limit.clone(),
                    limit,
                ],
            );
            let progress = looks.then(|| script.add(&sql::ownership::PROGRESS, [own.clone()]));
            let done = self.read_for(Caller::Engine, script).await?;
            let is_mended = self.position_due(done.first()).await?
                | self.bury(done.get(1)).await?
                | self.take_from_frozen(looked, progress.and_then(|at| done.get(at))).await?;
            if is_mended {
                continue;
            }
            let candidates = done.get(2).into_iter().flat_map(|done| &done.rows).map(candidate);
            let candidates = candidates.collect::<Result<Vec<_>>>()?;
            let found_some = !candidates.is_empty();
            let claimed = self.take(owner, candidates).await?;
            // Others took all of them: there may be more.
            if !claimed.is_empty() || !found_some {
                return Ok(claimed);
            }
        }
    }

    pub(super) async fn claim_one(
        &self,
        owner: &Owner,
        id: &str,
        as_at: DateTime<Utc>,
    ) -> Result<Option<Claimed>> {
        self.owners.look_after(owner.id())?;
        loop {
            let mut script = Script::default();
            script.add(&sql::events::IS_RIPE, [self.now().into()]);
            script.add(&sql::ownership::ACQUIRABLE, [time::millis_bound(as_at).into(), id.into()]);
            let done = self.read_for(Caller::Engine, script).await?;
            let Some(row) = done.get(1).and_then(|done| done.rows.first()) else { return Ok(None) };
            let One { candidate, owner: other, has_work } = one(row)?;
            if let Some(other) = other {
                let dead = self.dead_of(&[other]).await?;
                if dead.is_empty() {
                    return Ok(None);
                }
                self.free(&dead).await?;
                continue;
            }
            if !has_work {
                if self.position_due(done.first()).await? {
                    continue;
                }
                return Ok(None);
            }
            if let Some(claimed) = self.take(owner, vec![candidate]).await?.pop() {
                return Ok(Some(claimed));
            }
        }
    }

    pub(super) async fn wanted_of(&self, owner: &Owner) -> Result<Vec<String>> {
        let owner = Value::from(to_integer("an owner's id", owner.id())?);
        let mut script = Script::default();
        script.add(&sql::ownership::ASKED_OF, [owner.clone(), owner]);
        let done = self.read_for(Caller::Engine, script).await?;
        let rows = done.iter().flat_map(|done| &done.rows);
        rows.map(|row| Fields::new(row, "workflows", "").string("id")).collect()
    }

    pub(super) async fn due_after(
        &self,
        definitions: &[(String, u32)],
        after: DateTime<Utc>,
        limit: usize,
    ) -> Result<Vec<(i64, String)>> {
        let mut script = Script::default();
        script.add(
            &sql::ownership::UPCOMING,
            [
                time::millis_bound(after).into(),
                hexadecimal::definitions(definitions).into(),
                rows(limit).into(),
            ],
        );
        let done = self.read_for(Caller::Engine, script).await?;
        let rows = done.iter().flat_map(|done| &done.rows);
        rows.map(|row| {
            let mut fields = Fields::new(row, "workflows", "");
            Ok((fields.int("next_execution")?, fields.string("id")?))
        })
        .collect()
    }

    pub(super) async fn position_all_due(&self) -> Result<bool> {
        let mut script = Script::default();
        script.add(&sql::events::IS_RIPE, [self.now().into()]);
        let done = self.read_for(Caller::Engine, script).await?;
        self.position_due(done.first()).await
    }

    /// Gives positions to the events that have become due, if `is_ripe` says that there are any.
    async fn position_due(&self, is_ripe: Option<&Done>) -> Result<bool> {
        if single_int(is_ripe) != Some(1) {
            return Ok(false);
        }
        let mut script = Script::default();
        add_ripening(&mut script, self.clock.now());
        self.writer.run_for(Caller::Engine, script).await?;
        Ok(true)
    }

    /// Frees what belongs to those of these owners that are dead; whether there was one.
    async fn bury(&self, owners: Option<&Done>) -> Result<bool> {
        let owners = owners.into_iter().flat_map(|done| &done.rows);
        let owners = owners.map(|row| Fields::new(row, "workflows", "").number("owner"));
        let dead = self.dead_of(&owners.collect::<Result<Vec<_>>>()?).await?;
        self.free(&dead).await?;
        Ok(!dead.is_empty())
    }

    /// Those of these owners that are dead. One of which there is nothing to be found is looked at again a little later:
    /// if it lives, it puts back what was taken from it.
    async fn dead_of(&self, owners: &[u64]) -> Result<Vec<u64>> {
        let (mut dead, mut missing) = (Vec::new(), Vec::new());
        for &owner in owners {
            match self.owners.life(owner) {
                Life::Alive => {}
                Life::Dead => dead.push(owner),
                Life::Missing => missing.push(owner),
            }
        }
        if !missing.is_empty() {
            thread::pause(SECOND_LOOK).await?;
            dead.extend(missing.into_iter().filter(|&owner| self.owners.life(owner) != Life::Alive));
        }
        Ok(dead)
    }

    async fn free(&self, dead: &[u64]) -> Result<()> {
        let mut script = Script::default();
        for owner in dead {
            logging::info!(owner, "an owner died; its instances are free");
            self.add_freeing(&mut script, to_integer("an owner's id", *owner)?);
        }
        if !dead.is_empty() {
            self.writer.run_for(Caller::Engine, script).await?;
        }
        Ok(())
    }

    fn add_freeing(&self, script: &mut Script, owner: i64) {
        let now = Value::from(time::millis_bound(self.clock.now()));
        script.add(&sql::ownership::FREE, [now.clone(), now.clone(), now, owner.into()]);
    }

    /// Frees what belongs to owners that live, but have given no sign of it for their lease; whether there was one. They
    /// may be back in this very moment: then they keep it.
    async fn take_from_frozen(&self, looked: Duration, progress: Option<&Done>) -> Result<bool> {
        let Some(progress) = progress else { return Ok(false) };
        let progress = progress.rows.iter().map(read_progress).collect::<Result<Vec<_>>>()?;
        let mut is_mended = false;
        for Progress { owner, rows, fences, revisions } in self.owners.look(looked, progress) {
            let id = to_integer("an owner's id", owner)?;
            let mut script = Script::default();
            let seen = [id.into(), rows.into(), fences.into(), revisions.into()];
            script.guard(&sql::ownership::STANDS, seen);
            self.add_freeing(&mut script, id);
            if let Written::Done(_) = self.writer.write_for(Caller::Engine, script).await? {
                logging::warn!(owner, "an owner gave no sign of life for its lease; its instances are free");
                is_mended = true;
            }
        }
        Ok(is_mended)
    }

    /// Takes those candidates that are still as they were read.
    async fn take(&self, owner: &Owner, candidates: Vec<Candidate>) -> Result<Vec<Claimed>> {
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        let owner = Value::from(to_integer("an owner's id", owner.id())?);
        let mut script = Script::about(&candidates[0].id);
        for Candidate { seq, fence, revision, control_number, .. } in &candidates {
            script.add(
                &sql::ownership::CLAIM,
                [owner.clone(), (*seq).into(), (*fence).into(), (*revision).into(), (*control_number).into()],
            );
        }
        let done = self.writer.run_for(Caller::Engine, script).await?;
        let taken = candidates.into_iter().zip(&done).filter(|(_, done)| done.changes > 0);
        Ok(taken
            .map(|(candidate, _)| Claimed {
                id: candidate.id,
                fence: Fence(candidate.fence.unsigned_abs() + 1),
                claims: candidate.claims.saturating_add(1),
            })
            .collect())
    }
}

fn read_progress(row: &SqliteRow) -> Result<Progress> {
    let mut fields = Fields::new(row, "workflows", "");
    Ok(Progress {
        owner: fields.number("owner")?,
        rows: fields.int("seq")?,
        fences: fields.int("fence")?,
        revisions: fields.int("revision")?,
    })
}

fn candidate(row: &SqliteRow) -> Result<Candidate> {
    read_candidate(&mut Fields::new(row, "workflows", ""))
}

fn one(row: &SqliteRow) -> Result<One> {
    let mut fields = Fields::new(row, "workflows", "");
    let candidate = read_candidate(&mut fields)?;
    let owner = fields.optional_number("owner")?;
    Ok(One { candidate, owner, has_work: fields.flag("status")? })
}

fn read_candidate(fields: &mut Fields<'_>) -> Result<Candidate> {
    Ok(Candidate {
        seq: fields.int("seq")?,
        id: fields.string("id")?,
        fence: fields.int("fence")?,
        claims: fields.number("claims")?,
        revision: fields.int("revision")?,
        control_number: fields.int("control_number")?,
    })
}
