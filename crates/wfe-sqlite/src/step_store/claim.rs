//! Claims: read first, so that nothing to do writes nothing; then take what is still as it was read.

use chrono::{DateTime, Utc};
use sqlx::{Row, sqlite::SqliteRow};
use wfe_core::{
    Result,
    traits::{Claimed, Fence, Owner},
};

use super::rows;
use crate::{
    SqlitePersistenceProvider,
    codec::{Fields, hexadecimal, single_int, time, to_integer},
    error,
    repository::add_ripening,
    script::{Done, Script, Value},
    sql,
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
        let definitions = Value::from(hexadecimal::definitions(definitions));
        loop {
            let mut script = Script::default();
            script.add(&sql::events::IS_RIPE, [self.now().into()]);
            script.add(&sql::ownership::OWNERS, []);
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
            let done = self.read(script).await?;
            let is_mended = self.ripen(done.first()).await? | self.bury(done.get(1)).await?;
            if is_mended {
                continue;
            }
            let candidates = done.iter().skip(2).flat_map(|done| &done.rows).map(candidate);
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
        loop {
            let mut script = Script::default();
            script.add(&sql::events::IS_RIPE, [self.now().into()]);
            script.add(&sql::ownership::ACQUIRABLE, [time::millis_bound(as_at).into(), id.into()]);
            let done = self.read(script).await?;
            let Some(row) = done.get(1).and_then(|done| done.rows.first()) else { return Ok(None) };
            let One { candidate, owner: other, has_work } = one(row)?;
            if let Some(other) = other {
                if self.owners.is_alive(other)? {
                    return Ok(None);
                }
                self.free(&[other]).await?;
                continue;
            }
            if !has_work {
                if self.ripen(done.first()).await? {
                    continue;
                }
                return Ok(None);
            }
            if let Some(claimed) = self.take(owner, vec![candidate]).await?.pop() {
                return Ok(Some(claimed));
            }
        }
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
        let done = self.read(script).await?;
        let rows = done.iter().flat_map(|done| &done.rows);
        rows.map(|row| {
            let mut fields = Fields::new(row, "workflows", "");
            Ok((fields.int("next_execution")?, fields.string("id")?))
        })
        .collect()
    }

    /// Gives places to the events that have become due, if `is_ripe` says that there are any.
    pub(super) async fn ripen(&self, is_ripe: Option<&Done>) -> Result<bool> {
        if single_int(is_ripe) != Some(1) {
            return Ok(false);
        }
        let mut script = Script::default();
        add_ripening(&mut script, self.clock.now());
        self.writer.run(script).await?;
        Ok(true)
    }

    /// Frees what belongs to those of these owners that are dead; whether there was one.
    async fn bury(&self, owners: Option<&Done>) -> Result<bool> {
        let mut dead = Vec::new();
        for row in owners.into_iter().flat_map(|done| &done.rows) {
            let owner: i64 = row.try_get(0).map_err(|source| {
                error::corrupt("workflows", "owner", "", "it is no number", Some(Box::new(source)))
            })?;
            match u64::try_from(owner) {
                Ok(owner) if self.owners.is_alive(owner)? => {}
                Ok(owner) => dead.push(owner),
                Err(_) => {
                    return Err(error::corrupt(
                        "workflows",
                        "owner",
                        &owner.to_string(),
                        "it is negative",
                        None,
                    ));
                }
            }
        }
        self.free(&dead).await?;
        Ok(!dead.is_empty())
    }

    async fn free(&self, dead: &[u64]) -> Result<()> {
        let mut script = Script::default();
        for owner in dead {
            tracing::info!(owner, "an owner died; its instances are free");
            script.add(&sql::ownership::FREE, [to_integer("an owner's id", *owner)?.into()]);
        }
        if !dead.is_empty() {
            self.writer.run(script).await?;
        }
        Ok(())
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
        let done = self.writer.run(script).await?;
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

fn candidate(row: &SqliteRow) -> Result<Candidate> {
    read_candidate(&mut Fields::new(row, "workflows", ""))
}

fn one(row: &SqliteRow) -> Result<One> {
    let mut fields = Fields::new(row, "workflows", "");
    let candidate = read_candidate(&mut fields)?;
    let owner = fields.optional_int("owner")?;
    let owner = owner
        .map(u64::try_from)
        .transpose()
        .map_err(|source| fields.corrupt("owner", "it is negative", Some(Box::new(source))))?;
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
