//! Claims. A claim reads first, so that it writes nothing if there are no candidates. Then it takes those
//! candidates that have not changed since they were read.

use std::time::Duration;

use chrono::{DateTime, Utc};
use wfe_core::{
    Result, WfeError, logging,
    traits::{Claimed, Deaths, Fence, Intervention, Owner, StepFailure},
};

use super::limit::rows;
use crate::{
    SqlitePersistenceProvider,
    codec::{self, Fields, hexadecimal, names, single_int, time, to_integer},
    connection::{admission::Caller, thread},
    metrics,
    processes::{
        freeze_detector::Progress,
        owner_files::{Liveness, SECOND_CHECK},
    },
    repository::add_positions,
    request::{Done, Script, Value, Written},
    row::Row,
    sql::{
        self,
        ownership::{LAST_FENCE, LAST_REVISION},
    },
};

/// The number of columns of a candidate.
const CANDIDATE: usize = 9;
/// The number of columns before the columns of the definition, in the row of an instance that is acquired by
/// its id.
const ONE: usize = CANDIDATE + 2;

/// An instance that can be claimed if it is still as it was read.
pub(super) struct Candidate {
    pub seq: i64,
    id: String,
    fence: i64,
    pub deaths: Deaths,
    revision: i64,
    control_number: i64,
}

/// One instance, with the facts because of which it may not be claimable.
struct One {
    candidate: Candidate,
    owner: Option<u64>,
    has_work: bool,
}

pub(super) async fn claim(
    store: &SqlitePersistenceProvider,
    owner: &Owner,
    definitions: &[(String, u32)],
    as_at: DateTime<Utc>,
    limit: usize,
) -> Result<Vec<Claimed>> {
    if definitions.is_empty() || limit == 0 {
        return Ok(Vec::new());
    }
    store.owners.check_lock_file(owner.id())?;
    let definitions = Value::from(hexadecimal::definitions(definitions));
    let own = Value::from(to_integer("an owner's id", owner.id())?);
    loop {
        let looked = store.clock.monotonic();
        let looks = store.owners.is_observation_due(looked);
        let mut script = Script::default();
        script.add(&sql::events::HAS_UNPOSITIONED, [store.now().into()]);
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
        let done = store.read_for(Caller::Engine, script).await?;
        let is_mended = store.position_due(done.first()).await?
            | store.free_dead(done.get(1)).await?
            | store.take_from_frozen(looked, progress.and_then(|at| done.get(at))).await?;
        if is_mended {
            continue;
        }
        let found_some = done.get(2).is_some_and(|done| !done.rows.is_empty());
        let (candidates, corrupt) = candidates(done.get(2))?;
        store.quarantine(corrupt).await?;
        let claimed = store.take(owner, candidates).await?;
        // Other owners took all candidates, or the candidates were quarantined. There may be more candidates.
        if !claimed.is_empty() || !found_some {
            return Ok(claimed);
        }
    }
}

pub(super) async fn acquire(
    store: &SqlitePersistenceProvider,
    owner: &Owner,
    definitions: &[(String, u32)],
    id: &str,
    as_at: DateTime<Utc>,
) -> Result<Option<Claimed>> {
    store.owners.check_lock_file(owner.id())?;
    loop {
        let mut script = Script::default();
        script.add(&sql::events::HAS_UNPOSITIONED, [store.now().into()]);
        script.add(&sql::ownership::ACQUIRABLE, [time::millis_bound(as_at).into(), id.into()]);
        let done = store.read_for(Caller::Engine, script).await?;
        let Some(row) = done.get(1).and_then(|done| done.rows.first()) else { return Ok(None) };
        if !runs_one_of(row, definitions) {
            return not_for_caller(row);
        }
        let One { candidate, owner: other, has_work } = match one(row) {
            Ok(one) => one,
            Err(error) => {
                let owner = owner_of(row)?;
                store.quarantine(vec![Corrupt { stamp: stamp(row, owner)?, error }]).await?;
                // Try again, because a request to end the instance may still be pending.
                continue;
            }
        };
        if let Some(other) = other {
            let dead = store.find_dead(&[other]).await?;
            if dead.is_empty() {
                return Ok(None);
            }
            store.free_owned(&dead).await?;
            continue;
        }
        if !has_work {
            if store.position_due(done.first()).await? {
                continue;
            }
            return Ok(None);
        }
        if let Some(claimed) = store.take(owner, vec![candidate]).await?.pop() {
            return Ok(Some(claimed));
        }
    }
}

impl SqlitePersistenceProvider {
    /// Gives positions to the events that have become due, if `has_unpositioned` says that some of them have
    /// no position.
    pub(super) async fn position_due(&self, has_unpositioned: Option<&Done>) -> Result<bool> {
        if single_int(has_unpositioned) != Some(1) {
            return Ok(false);
        }
        let mut script = Script::default();
        add_positions(&mut script, self.clock.now());
        self.writer.run_for(Caller::Engine, script).await?;
        Ok(true)
    }

    /// Frees the instances of the owners that are dead. Quarantines the instances in whose rows the owner is
    /// a number that cannot be the id of an owner. Returns whether there was any such owner or number.
    async fn free_dead(&self, owners: Option<&Done>) -> Result<bool> {
        let (mut known, mut is_mended) = (Vec::new(), false);
        for row in owners.into_iter().flat_map(|done| &done.rows) {
            let number = Fields::new(row, "workflows", "").int("owner")?;
            if let Ok(owner) = u64::try_from(number) {
                known.push(owner);
            } else {
                self.quarantine_owned(number).await?;
                is_mended = true;
            }
        }
        let dead = self.find_dead(&known).await?;
        self.free_owned(&dead).await?;
        Ok(is_mended || !dead.is_empty())
    }

    /// Quarantines all instances in whose rows the owner is this number. The number cannot be the id of an
    /// owner.
    async fn quarantine_owned(&self, owner: i64) -> Result<()> {
        let mut script = Script::default();
        script.add(&sql::ownership::OF_OWNER, [owner.into()]);
        let done = self.read_for(Caller::Engine, script).await?;
        let mut corrupt = Vec::new();
        for row in done.iter().flat_map(|done| &done.rows) {
            if let Err(error) = read_owned(row) {
                corrupt.push(Corrupt { stamp: stamp(row, Some(owner))?, error });
            }
        }
        self.quarantine(corrupt).await?;
        let mut script = Script::default();
        script.add(&sql::ownership::CLEAR_OWNER, [owner.into()]);
        self.writer.run_for(Caller::Engine, script).await?;
        Ok(())
    }

    /// Quarantines instances that cannot be claimed because of values in their rows. For each of these
    /// instances, a failure is stored and written to the log. An instance that has changed since it was read
    /// is skipped; the next claim reads it again.
    async fn quarantine(&self, corrupt: Vec<Corrupt>) -> Result<()> {
        for Corrupt { stamp: Stamp { seq, fence, claims, revision, owner }, error } in corrupt {
            let WfeError::Corrupt { row: id, .. } = &error else { return Err(error) };
            let id = id.clone();
            let told = error.to_string();
            let failure = StepFailure::corrupt(&id, error, self.clock.now());
            let mut script = Script::about(&id).notifying();
            let as_read = [seq.into(), fence.into(), claims.into(), revision.into(), owner.into()];
            script.guard(&sql::ownership::IS_AS_READ, as_read);
            script.add(&sql::ownership::QUARANTINE, [codec::failure::cause(&failure)?.into(), seq.into()]);
            script.add(&sql::errors::INSERT, codec::failure::encode(&failure)?);
            if let Written::Done(_) = self.writer.write_for(Caller::Engine, script).await? {
                self.cache.remove(&id);
                logging::error!(
                    wfe.instance.id = id,
                    error = told,
                    "an instance was quarantined: its row is corrupt"
                );
            }
        }
        Ok(())
    }

    /// Returns the owners of this list that are dead. An owner without a lock file is checked again a little
    /// later, because an owner that is alive restores its file.
    async fn find_dead(&self, owners: &[u64]) -> Result<Vec<(u64, Liveness)>> {
        let (mut dead, mut missing) = (Vec::new(), Vec::new());
        for &owner in owners {
            match self.owners.liveness(owner) {
                Liveness::Alive => {}
                Liveness::Missing => missing.push(owner),
                ended => dead.push((owner, ended)),
            }
        }
        if !missing.is_empty() {
            thread::pause(SECOND_CHECK).await;
            let looked = missing.into_iter().map(|owner| (owner, self.owners.liveness(owner)));
            dead.extend(looked.filter(|(_, life)| *life != Liveness::Alive));
        }
        Ok(dead)
    }

    /// Frees the instances of unresponsive owners. The process of such an owner is alive, but the owner gave
    /// no sign of life for the length of its lease. An owner that makes progress before its instances are
    /// freed keeps them. Returns whether the instances of some owner were freed.
    async fn take_from_frozen(&self, looked: Duration, progress: Option<&Done>) -> Result<bool> {
        let Some(progress) = progress else { return Ok(false) };
        let progress = self.sound(progress.rows.iter().map(read_progress))?;
        let mut is_mended = false;
        for Progress { owner, rows, fences, revisions } in self.owners.find_frozen(looked, progress) {
            let id = to_integer("an owner's id", owner)?;
            let mut script = Script::default();
            let seen = [id.into(), rows.into(), fences.into(), revisions.into()];
            script.guard(&sql::ownership::STANDS, seen);
            let frees = self.add_freeing(&mut script, id, Liveness::Alive);
            if let Written::Done(done) = self.writer.write_for(Caller::Engine, script).await? {
                logging::warn!(
                    owner,
                    "an owner gave no sign of life for its lease; its instances can be claimed"
                );
                if done.get(frees).is_some_and(|done| done.changes > 0) {
                    metrics::took_over("frozen");
                }
                is_mended = true;
            }
        }
        Ok(is_mended)
    }

    /// Takes the candidates that are unchanged since they were read.
    async fn take(&self, owner: &Owner, mut candidates: Vec<Candidate>) -> Result<Vec<Claimed>> {
        if candidates.is_empty() {
            return Ok(Vec::new());
        }
        self.add_deaths(&mut candidates).await?;
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
                deaths: candidate.deaths,
            })
            .collect())
    }
}

fn read_progress(row: Row<'_>) -> Result<Progress> {
    let mut fields = Fields::new(row, "workflows", "");
    Ok(Progress {
        owner: fields.number("owner")?,
        rows: fields.int("seq")?,
        fences: fields.int("fence")?,
        revisions: fields.int("revision")?,
    })
}

/// A row that cannot be claimed, because one of its values is corrupt.
struct Corrupt {
    stamp: Stamp,
    error: WfeError,
}

/// The values that show whether a corrupt row is still as it was read.
struct Stamp {
    seq: i64,
    fence: i64,
    claims: i64,
    revision: i64,
    owner: Option<i64>,
}

/// Divides the rows into those that can be claimed and those that cannot.
fn candidates(done: Option<&Done>) -> Result<(Vec<Candidate>, Vec<Corrupt>)> {
    let (mut sound, mut corrupt) = (Vec::new(), Vec::new());
    for row in done.into_iter().flat_map(|done| &done.rows) {
        match read_candidate(&mut Fields::new(row, "workflows", "")) {
            Ok(candidate) => sound.push(candidate),
            Err(error) => corrupt.push(Corrupt { stamp: stamp(row, None)?, error }),
        }
    }
    Ok((sound, corrupt))
}

fn one(row: Row<'_>) -> Result<One> {
    let (candidate, owner, mut fields) = read_owned(row)?;
    Ok(One { candidate, owner, has_work: fields.flag("status")? })
}

/// Reads a candidate and its owner. Also returns the reader of the remaining columns.
fn read_owned(row: Row<'_>) -> Result<(Candidate, Option<u64>, Fields<'_>)> {
    let mut fields = Fields::new(row, "workflows", "");
    let candidate = read_candidate(&mut fields)?;
    let owner = fields.optional_number("owner")?;
    Ok((candidate, owner, fields))
}

fn read_candidate(fields: &mut Fields<'_>) -> Result<Candidate> {
    let seq = fields.int("seq")?;
    let id = fields.key("id")?.to_owned();
    let fence = fields.within("fence", 0..=LAST_FENCE - 1)?;
    let deaths = Deaths { in_a_row: fields.number("claims")?, ..Deaths::default() };
    let revision = fields.within("revision", 1..=LAST_REVISION - 1)?;
    fields.optional_name("control", names::as_control)?;
    let control_number = fields.within("control_number", 0..=LAST_FENCE - 1)?;
    fields.optional_json::<Intervention>("control_detail")?;
    fields.within("completions", 0..=LAST_FENCE - 1)?;
    Ok(Candidate { seq, id, fence, deaths, revision, control_number })
}

fn stamp(row: Row<'_>, owner: Option<i64>) -> Result<Stamp> {
    let mut fields = Fields::new(row, "workflows", "");
    let seq = fields.int("seq")?;
    fields.skip();
    let (fence, claims, revision) = (fields.int("fence")?, fields.int("claims")?, fields.int("revision")?);
    Ok(Stamp { seq, fence, claims, revision, owner })
}

/// Whether an instance runs one of these definitions. If the definition of the instance does not decode, the
/// result is false.
fn runs_one_of(row: Row<'_>, definitions: &[(String, u32)]) -> bool {
    definition(row).is_ok_and(|(id, version)| definitions.iter().any(|(of, at)| of == id && *at == version))
}

/// Returns the result for a caller that does not have the definition of the instance. The instance stays
/// unchanged, because other hosts may have the definition.
fn not_for_caller(row: Row<'_>) -> Result<Option<Claimed>> {
    match (one(row), definition(row)) {
        (Ok(One { owner: None, has_work: true, .. }), Ok((id, version))) => {
            Err(WfeError::DefinitionNotFound { id: id.to_owned(), version })
        }
        _ => Ok(None),
    }
}

/// Reads the definition. Its columns come after the columns of [`One`].
fn definition(row: Row<'_>) -> Result<(&str, u32)> {
    let mut fields = Fields::new(row, "workflows", "");
    (0..ONE).for_each(|_| fields.skip());
    Ok((fields.text("workflow_definition_id")?, fields.number("version")?))
}

/// Reads the owner. Its column comes after the columns of a [`Candidate`].
fn owner_of(row: Row<'_>) -> Result<Option<i64>> {
    let mut fields = Fields::new(row, "workflows", "");
    (0..CANDIDATE).for_each(|_| fields.skip());
    fields.optional_int("owner")
}
