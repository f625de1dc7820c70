//! All that the engine has to know of an instance, from one commit.

use std::collections::HashMap;

use sqlx::sqlite::SqliteRow;
use wfe_core::{
    Result, WfeError,
    traits::{Delivery, Fence, Loaded},
};

use super::control;
use crate::{
    SqlitePersistenceProvider,
    admission::Caller,
    codec::{self, Fields, hexadecimal, names},
    script::{Script, Value},
    sql,
    stored::{add_reads, decode_many, from_reads},
};

impl SqlitePersistenceProvider {
    pub(super) async fn load_all(&self, caller: Caller, id: &str) -> Result<Loaded> {
        let copy = self.cache.get(id);
        let mut script = Script::default();
        add_reads(&mut script, id, copy.as_deref());
        let beside = script.add(&sql::ownership::BESIDE, [id.into()]);
        let waits = script.add(&sql::streams::WAITS, [id.into()]);
        let deliveries = script.add(&sql::streams::DELIVERIES, [id.into()]);
        let done = self.read_for(caller, script).await?;
        let missing = || WfeError::WorkflowNotFound(id.to_owned());
        let stored = from_reads(&done, id, copy)?.ok_or_else(missing)?;
        let row = done.get(beside).and_then(|done| done.rows.first()).ok_or_else(missing)?;
        let rows = |at: usize| done.get(at).into_iter().flat_map(|done| &done.rows);
        Ok(Loaded {
            waits: rows(waits).map(codec::subscription::decode).collect::<Result<_>>()?,
            deliveries: rows(deliveries).map(delivery).collect::<Result<_>>()?,
            ..beside_model(row, 0, stored.to_instance(), stored.revision)?
        })
    }

    /// With a bounded number of statements, however many ids.
    pub(super) async fn load_several(&self, ids: &[String]) -> Result<Vec<Loaded>> {
        if ids.is_empty() {
            return Ok(Vec::new());
        }
        let list = Value::from(hexadecimal::ids(ids));
        let mut script = Script::default();
        let instances = script.add(&sql::workflows::LOAD_MANY, [list.clone()]);
        let pointers = script.add(&sql::pointers::LOAD_MANY, [list.clone()]);
        let beside = script.add(&sql::ownership::BESIDE_MANY, [list.clone()]);
        let waits = script.add(&sql::streams::WAITS_OF_MANY, [list.clone()]);
        let deliveries = script.add(&sql::streams::DELIVERIES_OF_MANY, [list]);
        let done = self.read_for(Caller::Engine, script).await?;
        let (Some(instances), Some(pointers)) = (done.get(instances), done.get(pointers)) else {
            return Err(short());
        };
        let mut found = decode_many(instances, pointers)?;
        let rows = |at: usize| done.get(at).into_iter().flat_map(|done| &done.rows);
        let mut loaded = HashMap::with_capacity(found.len());
        for row in rows(beside) {
            let id = Fields::new(row, "workflows", "").string("id")?;
            let (revision, instance) = found.remove(&id).ok_or_else(short)?;
            loaded.insert(id, beside_model(row, 1, instance, revision)?);
        }
        let mut instance_of = HashMap::new();
        for row in rows(waits) {
            let wait = codec::subscription::decode(row)?;
            instance_of.insert(wait.id.clone(), wait.workflow_id.clone());
            // The wait of an instance that is unknown is nobody's.
            if let Some(one) = loaded.get_mut(&wait.workflow_id) {
                one.waits.push(wait);
            }
        }
        for row in rows(deliveries) {
            let delivery = delivery(row)?;
            let id = instance_of.get(&delivery.subscription_id).ok_or_else(short)?;
            if let Some(one) = loaded.get_mut(id) {
                one.deliveries.push(delivery);
            }
        }
        Ok(loaded.into_values().collect())
    }
}

/// What was read in one snapshot does not go together.
fn short() -> WfeError {
    WfeError::Persistence("a read came back short: a fault of wfe-sqlite".to_owned())
}

/// The columns from `skip` on.
fn beside_model(
    row: &SqliteRow,
    skip: usize,
    instance: wfe_core::models::WorkflowInstance,
    revision: i64,
) -> Result<Loaded> {
    let mut fields = Fields::new(row, "workflows", &instance.id);
    (0..skip).for_each(|_| fields.skip());
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
