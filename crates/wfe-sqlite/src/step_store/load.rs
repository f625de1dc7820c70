//! All that the engine has to know of an instance, from one commit.

use sqlx::sqlite::SqliteRow;
use wfe_core::{
    Result, WfeError,
    traits::{Delivery, Fence, Loaded},
};

use super::control;
use crate::{
    SqlitePersistenceProvider,
    codec::{self, Fields, names},
    script::Script,
    sql,
    stored::{add_reads, from_reads},
};

impl SqlitePersistenceProvider {
    pub(super) async fn load_all(&self, id: &str) -> Result<Loaded> {
        loop {
            let copy = self.cache.get(id);
            let mut script = Script::default();
            add_reads(&mut script, id, copy.as_deref());
            let beside = script.add(&sql::ownership::BESIDE, [id.into()]);
            let waits = script.add(&sql::streams::WAITS, [id.into()]);
            let deliveries = script.add(&sql::streams::DELIVERIES, [id.into()]);
            let is_ripe = script.add(&sql::events::IS_RIPE, [self.now().into()]);
            let done = self.read(script).await?;
            if self.ripen(done.get(is_ripe)).await? {
                continue;
            }
            let missing = || WfeError::WorkflowNotFound(id.to_owned());
            let stored = from_reads(&done, id, copy)?.ok_or_else(missing)?;
            let row = done.get(beside).and_then(|done| done.rows.first()).ok_or_else(missing)?;
            let rows = |at: usize| done.get(at).into_iter().flat_map(|done| &done.rows);
            return Ok(Loaded {
                waits: rows(waits).map(codec::subscription::decode).collect::<Result<_>>()?,
                deliveries: rows(deliveries).map(delivery).collect::<Result<_>>()?,
                ..beside_model(row, stored.to_instance(), stored.revision)?
            });
        }
    }
}

fn beside_model(
    row: &SqliteRow,
    instance: wfe_core::models::WorkflowInstance,
    revision: i64,
) -> Result<Loaded> {
    let mut fields = Fields::new(row, "workflows", &instance.id);
    let fence = Fence(fields.number("fence")?);
    let owner = fields.optional_number("owner")?;
    let control = control::decode(&mut fields)?;
    let (ending, cause) = (fields.optional_name("ending", names::as_ending)?, fields.optional_json("cause")?);
    let parent = fields.optional_string("parent")?;
    let revision = u64::try_from(revision)
        .map_err(|source| fields.corrupt("revision", "it is negative", Some(Box::new(source))))?;
    // A request that came before the end and was not answered by it is void.
    let control = control.filter(|_| !instance.status.is_final());
    Ok(Loaded {
        instance,
        revision,
        fence,
        owner,
        control,
        ending,
        cause,
        parent,
        waits: Vec::new(),
        deliveries: Vec::new(),
    })
}

fn delivery(row: &SqliteRow) -> Result<Delivery> {
    let subscription_id = Fields::new(row, "event_subscriptions", "").string("id")?;
    Ok(Delivery { subscription_id, event: codec::event::decode(row, 1)? })
}
