//! Frees the instances of dead owners, and records the deaths of their processes for these instances.

use wfe_core::{
    Result, logging,
    traits::{Deaths, Fence, Isolation},
};

use super::claim::Candidate;
use crate::{
    SqlitePersistenceProvider,
    codec::{Fields, names, time, to_integer},
    connection::admission::Caller,
    metrics,
    processes::owner_files::Liveness,
    request::{Script, Value},
    sql,
};

pub(super) async fn isolate(
    store: &SqlitePersistenceProvider,
    id: &str,
    fence: Fence,
    isolation: Isolation,
) -> Result<bool> {
    let Ok(fence) = i64::try_from(fence.0) else { return Ok(false) };
    let mut script = Script::about(id);
    let isolation = names::isolation(isolation);
    let note = script.add(&sql::ownership::ISOLATE, [isolation, id.into(), fence.into()]);
    let done = store.writer.run_for(Caller::Engine, script).await?;
    Ok(done.get(note).is_some_and(|done| done.changes > 0))
}

impl SqlitePersistenceProvider {
    /// Frees the instances of these owners. The lock file of a dead process is removed only after the death
    /// was counted, so that no death is lost.
    pub(super) async fn free_owned(&self, dead: &[(u64, Liveness)]) -> Result<()> {
        let (mut script, mut frees) = (Script::default(), Vec::new());
        for (owner, ended) in dead {
            logging::info!(owner, "the process of an owner died; its instances can be claimed");
            frees.push(self.add_freeing(&mut script, to_integer("an owner's id", *owner)?, *ended));
        }
        if !dead.is_empty() {
            let done = self.writer.run_for(Caller::Engine, script).await?;
            // Another process may have freed the instances of an owner meanwhile.
            let has_freed = |at: &usize| done.get(*at).is_some_and(|done| done.changes > 0);
            frees.iter().filter(|at| has_freed(at)).for_each(|_| metrics::took_over("dead"));
        }
        for (owner, _) in dead.iter().filter(|(_, ended)| *ended == Liveness::Dead) {
            self.owners.remove_lock_file(*owner);
        }
        Ok(())
    }

    /// Adds the statements that free the instances of an owner. Returns the index of the last one, which frees them.
    pub(super) fn add_freeing(&self, script: &mut Script, owner: i64, ended: Liveness) -> usize {
        let (now, died) = (Value::from(time::millis_bound(self.clock.now())), ended == Liveness::Dead);
        if died {
            script.add(&sql::ownership::JUDGE, [owner.into()]);
        }
        let now = || now.clone();
        script.add(&sql::ownership::FREE, [now(), now(), died.into(), now(), now(), owner.into()])
    }

    /// Removes the lock files of dead owners that own no instances. The lock file of any other dead owner is
    /// removed when the instances of this owner are freed.
    pub(super) async fn remove_dead_files(&self, own: u64) -> Result<()> {
        let mut dead = self.owners.dead()?;
        if dead.is_empty() {
            return Ok(());
        }
        let mut script = Script::default();
        script.add(&sql::ownership::OWNERS, [to_integer("an owner's id", own)?.into()]);
        for row in self.read_for(Caller::Engine, script).await?.iter().flat_map(|done| &done.rows) {
            let owner = Fields::new(row, "workflows", "").int("owner")?;
            dead.retain(|dead| i64::try_from(*dead) != Ok(owner));
        }
        for owner in dead {
            self.owners.remove_lock_file(owner);
        }
        Ok(())
    }

    /// Reads the recorded deaths of the suspects among the candidates. This read comes before the claim. If
    /// it came after the claim and failed, the caller would not learn of the claim.
    pub(super) async fn add_deaths(&self, candidates: &mut [Candidate]) -> Result<()> {
        let suspects = candidates.iter().filter(|candidate| candidate.deaths.is_suspect());
        let suspects: Vec<_> = suspects.map(|candidate| candidate.seq).collect();
        if suspects.is_empty() {
            return Ok(());
        }
        let mut script = Script::default();
        script.add(&sql::ownership::DEATHS, [serde_json::to_string(&suspects)?.into()]);
        let done = self.read_for(Caller::Engine, script).await?;
        let known = self.sound(done.iter().flat_map(|done| &done.rows).map(|row| {
            let mut fields = Fields::new(row, "workflows", "");
            Ok((fields.int("seq")?, fields.number("deaths_alone")?, fields.number("deaths_beside")?))
        }))?;
        for (seq, alone, beside) in known {
            if let Some(of) = candidates.iter_mut().find(|candidate| candidate.seq == seq) {
                of.deaths = Deaths { alone, beside, ..of.deaths };
            }
        }
        Ok(())
    }
}
