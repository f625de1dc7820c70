//! The deletion of one instance.

use wfe_core::{Result, WfeError, traits::PurgeReport};

use super::{
    purge::BATCH,
    removal::{self, Batch, Ended},
};
use crate::{
    SqlitePersistenceProvider,
    codec::Fields,
    request::{Script, Written},
    sql::removals as sql,
};

pub(super) async fn delete(store: &SqlitePersistenceProvider, id: &str) -> Result<PurgeReport> {
    delete_with(store, id, |_| {}).await
}

/// Deletes an instance. `more` adds statements to the first transaction, which run only if the removal has begun.
pub(super) async fn delete_with(
    store: &SqlitePersistenceProvider,
    id: &str,
    more: impl Fn(&mut Script) + Send + Sync,
) -> Result<PurgeReport> {
    store.writer.may_write()?;
    loop {
        let instance = candidate(store, id).await?;
        let batch = Batch::read(store, std::slice::from_ref(&instance), BATCH).await?;
        let mut script = batch.script();
        removal::must_change(&mut script);
        more(&mut script);
        match store.writer.write(script).await? {
            // The instance has changed since it was read.
            Written::Refused(_) => {}
            Written::Done(done) => {
                let mut report = batch.removed(store, &done);
                if report.instances == 0 {
                    removal::add(&mut report, removal::finish(store, instance.seq, BATCH).await?);
                }
                return Ok(report);
            }
        }
    }
}

/// Reads an instance that is to be deleted.
async fn candidate(store: &SqlitePersistenceProvider, id: &str) -> Result<Ended> {
    let mut script = Script::default();
    script.add(&sql::CANDIDATE, [id.into()]);
    let done = store.read(script).await?;
    let Some(row) = done.first().and_then(|done| done.rows.first()) else {
        return Err(WfeError::WorkflowNotFound(id.to_owned()));
    };
    let mut fields = Fields::new(row, "workflows", id);
    let (seq, revision) = (fields.int("seq")?, fields.int("revision")?);
    if !fields.flag("status")? {
        return Err(WfeError::Invalid(format!(
            "instance {id:?} has not ended; terminate it before you delete it"
        )));
    }
    if let Some(child) = fields.optional_string("id")? {
        return Err(WfeError::Invalid(format!(
            "instance {id:?} is the parent of {child:?}, which has not ended; terminate that one before you delete this one"
        )));
    }
    Ok(Ended { seq, revision, id: id.to_owned(), is_going: false })
}
