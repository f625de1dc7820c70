//! All that the engine has to know of an instance, from one commit.

use std::collections::{BTreeSet, HashMap};

use sqlx::sqlite::SqliteRow;
use wfe_core::{
    Result, WfeError,
    traits::{Delivery, Fence, Loaded},
};

use super::control;
use crate::{
    SqlitePersistenceProvider,
    admission::Caller,
    codec::{self, Fields, hexadecimal, names, single_int},
    error,
    script::{Script, Value},
    sql,
    stored::{Found, add_reads, decode_many, from_reads},
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
        let loaded = Loaded {
            waits: rows(waits).map(codec::subscription::decode).collect::<Result<_>>()?,
            deliveries: rows(deliveries).map(delivery).collect::<Result<_>>()?,
            ..beside_model(row, 0, stored.to_instance(), stored.revision)?
        };
        self.with_pointers(caller, loaded).await
    }

    /// With a bounded number of statements, however many ids.
    pub(super) async fn load_several(&self, ids: &[String]) -> Result<Vec<(String, Result<Loaded>)>> {
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
        let rows = |at: usize| done.get(at).into_iter().flat_map(|done| &done.rows);
        let mut loaded = together(decode_many(instances, pointers)?, rows(beside))?;
        add_waits(&mut loaded, rows(waits), rows(deliveries))?;
        let mut many = Vec::with_capacity(loaded.len());
        for (id, one) in loaded {
            let one = match one {
                Ok(one) => self.with_pointers(Caller::Engine, one).await,
                Err(error) => Err(error),
            };
            match one {
                Err(error) if !matches!(error, WfeError::Corrupt { .. }) => return Err(error),
                one => many.push((id, one)),
            }
        }
        Ok(many)
    }

    /// The same, unless the pointers that it had are gone: then it would begin anew.
    async fn with_pointers(&self, caller: Caller, loaded: Loaded) -> Result<Loaded> {
        let instance = &loaded.instance;
        if instance.status.is_final() || !instance.execution_pointers.is_empty() {
            return Ok(loaded);
        }
        // Asked apart, because it concerns those alone that have not begun.
        let mut script = Script::default();
        script.add(&sql::ownership::HAS_LOST_POINTERS, [(&instance.id).into()]);
        if single_int(self.read_for(caller, script).await?.first()) == Some(1) {
            let lost = "the instance has begun, but the rows of its live pointers are gone";
            return Err(error::corrupt("execution_pointers", "workflow", &instance.id, lost, None));
        }
        Ok(loaded)
    }

    pub(super) async fn check_closed(&self, id: &str, waits: &[String]) -> Result<()> {
        let mut script = Script::default();
        script.add(&sql::subscriptions::FATES, [hexadecimal::ids(waits).into()]);
        let done = self.read_for(Caller::Engine, script).await?;
        let mut gone: BTreeSet<&str> = waits.iter().map(String::as_str).collect();
        for row in done.iter().flat_map(|done| &done.rows) {
            let mut fields = Fields::new(row, "event_subscriptions", "");
            gone.remove(fields.key("id")?);
            if fields.text("workflow_id")? != id {
                let message = format!("a pointer of {id:?} stands at it, but it is another instance's");
                return Err(fields.corrupt("workflow_id", message, None));
            }
            // Open by now: somebody has mended it.
            if !fields.flag("is_open")? && fields.optional_int("terminated")? == Some(0) {
                let message =
                    format!("a pointer of {id:?} stands at it, but it is closed, and nobody closed it");
                return Err(fields.corrupt("is_open", message, None));
            }
        }
        match gone.first() {
            None => Ok(()),
            Some(wait) => {
                let message = format!("a pointer of {id:?} stands at it, but the row is gone");
                Err(error::corrupt("event_subscriptions", "id", wait, message, None))
            }
        }
    }
}

/// Each instance with what stands beside the model.
fn together<'r>(
    mut found: Found,
    beside: impl Iterator<Item = &'r SqliteRow>,
) -> Result<HashMap<String, Result<Loaded>>> {
    let mut loaded = HashMap::with_capacity(found.len());
    for row in beside {
        let id = Fields::new(row, "workflows", "").string("id")?;
        let one = found.remove(&id).ok_or_else(short)?;
        loaded.insert(id, one.and_then(|(revision, instance)| beside_model(row, 1, instance, revision)));
    }
    Ok(loaded)
}

/// Their waits, and what these take next.
fn add_waits<'r>(
    loaded: &mut HashMap<String, Result<Loaded>>,
    waits: impl Iterator<Item = &'r SqliteRow>,
    deliveries: impl Iterator<Item = &'r SqliteRow>,
) -> Result<()> {
    let mut instance_of = HashMap::new();
    for row in waits {
        let instance = codec::subscription::instance(row)?;
        // The wait of an instance that is unknown is nobody's.
        let Some(one) = loaded.get_mut(instance) else { continue };
        let wait = codec::subscription::decode(row);
        instance_of.extend(wait.iter().map(|wait| (wait.id.clone(), instance)));
        spoil(one, wait, |one, wait| one.waits.push(wait));
    }
    for row in deliveries {
        // One of a wait that does not decode has its instance spoilt already.
        let Ok(id) = Fields::new(row, "event_subscriptions", "").key("id") else { continue };
        if let Some(one) = instance_of.get(id).and_then(|instance| loaded.get_mut(*instance)) {
            spoil(one, delivery(row), |one, delivery| one.deliveries.push(delivery));
        }
    }
    Ok(())
}

/// What does not decode spoils the one instance that it belongs to.
fn spoil<T>(one: &mut Result<Loaded>, part: Result<T>, add: impl FnOnce(&mut Loaded, T)) {
    match (&mut *one, part) {
        (Ok(loaded), Ok(part)) => add(loaded, part),
        (Ok(_), Err(error)) => *one = Err(error),
        (Err(_), _) => {}
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
