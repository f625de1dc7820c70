//! Loads everything that the engine needs to know about an instance, as of one commit.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex},
};

use wfe_core::{
    Result, WfeError,
    models::{EventSubscription, ExecutionPointer, WorkflowInstance},
    sync::lock,
    traits::{Delivery, Fence, Loaded, Pending, StoredFailure},
};

use super::control;
use crate::{
    SqlitePersistenceProvider,
    codec::{self, Fields, hexadecimal, names, single_int},
    connection::admission::Caller,
    error,
    instance::diff::{INSTANCE, POINTERS, add_reads},
    metrics,
    request::{Script, Taken, Value},
    row::Row,
    sql,
};

pub(super) async fn load(store: &SqlitePersistenceProvider, id: &str) -> Result<Loaded> {
    store.load_for(Caller::Engine, id).await
}

pub(super) async fn inspect(store: &SqlitePersistenceProvider, id: &str) -> Result<Loaded> {
    store.load_for(Caller::Program, id).await
}

pub(super) async fn pending(
    store: &SqlitePersistenceProvider,
    id: &str,
    waits: Option<&[String]>,
) -> Result<Pending> {
    let mut script = Script::default();
    let columns = script.add(&sql::ownership::PENDING, [id.into()]);
    let deliveries = match waits {
        None => script.add(&sql::streams::DELIVERIES, [id.into()]),
        Some(waits) => script.add(&sql::streams::DELIVERIES_TO, [hexadecimal::ids(waits).into(), id.into()]),
    };
    let done = store.read_for(Caller::Engine, script).await?;
    let rows = |at: usize| done.get(at).into_iter().flat_map(|done| &done.rows);
    let row = rows(columns).next().ok_or_else(|| WfeError::WorkflowNotFound(id.to_owned()))?;
    let mut fields = Fields::new(row, "workflows", id);
    Ok(Pending {
        fence: Fence(fields.number("fence")?),
        control: control::decode(&mut fields)?,
        deliveries: rows(deliveries).map(delivery).collect::<Result<_>>()?,
    })
}

/// Loads several instances. This takes five statements for any number of ids, and one more statement for each
/// instance that has not ended and has no live pointers.
pub(super) async fn load_many(
    store: &SqlitePersistenceProvider,
    ids: &[String],
) -> Result<Vec<(String, Result<Loaded>)>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let list = Value::from(hexadecimal::ids(ids));
    let mut script = Script::default();
    // The order matters, because later statements refer to rows of earlier statements.
    script.add(&sql::workflows::LOAD_MANY, [list.clone()]);
    script.add(&sql::pointers::LOAD_MANY, [list.clone()]);
    script.add(&sql::ownership::ENGINE_COLUMNS_OF_MANY, [list.clone()]);
    script.add(&sql::streams::WAITS_OF_MANY, [list.clone()]);
    script.add(&sql::streams::DELIVERIES_OF_MANY, [list]);
    let several = Arc::new(Mutex::new((Several::default(), None)));
    let taken = Arc::clone(&several);
    script.take = Some(Box::new(move |at, row| {
        let (several, error) = &mut *lock(&taken);
        if error.is_none() {
            *error = several.add(at, row).err();
        }
        Taken::Skip
    }));
    store.read_for(Caller::Engine, script).await?;
    let (Several { loaded, .. }, error) = std::mem::take(&mut *lock(&several));
    if let Some(error) = error {
        return Err(error);
    }
    let mut many = Vec::with_capacity(loaded.len());
    for (id, one) in loaded {
        let one = match one {
            Ok(one) => store.with_pointers(Caller::Engine, one).await,
            Err(error) => Err(error),
        };
        match one {
            Err(error) if !matches!(error, WfeError::Corrupt { .. }) => return Err(error),
            one => many.push((id, store.named(one))),
        }
    }
    Ok(many)
}

pub(super) async fn check_closed_waits(
    store: &SqlitePersistenceProvider,
    id: &str,
    waits: &[String],
) -> Result<()> {
    let mut script = Script::default();
    script.add(&sql::subscriptions::FATES, [hexadecimal::ids(waits).into()]);
    let done = store.read_for(Caller::Engine, script).await?;
    let mut gone: BTreeSet<&str> = waits.iter().map(String::as_str).collect();
    for row in done.iter().flat_map(|done| &done.rows) {
        let mut fields = Fields::new(row, "event_subscriptions", "");
        gone.remove(fields.key("id")?);
        if fields.text("workflow_id")? != id {
            let message = format!("a pointer of {id:?} waits for it, but it belongs to another instance");
            return Err(fields.corrupt("workflow_id", message, None));
        }
        // If the subscription is open now, its row was repaired meanwhile.
        if !fields.flag("is_open")? && fields.optional_int("terminated")? == Some(0) {
            let message =
                format!("a pointer of {id:?} waits for it, but it is closed, although WFE has not closed it");
            return Err(fields.corrupt("is_open", message, None));
        }
    }
    match gone.first() {
        None => Ok(()),
        Some(wait) => {
            let message = format!("a pointer of {id:?} waits for it, but the row is missing");
            Err(error::corrupt("event_subscriptions", "id", wait, message, None))
        }
    }
}

impl SqlitePersistenceProvider {
    async fn load_for(&self, caller: Caller, id: &str) -> Result<Loaded> {
        let copy = self.cache.get(id);
        let mut script = Script::default();
        add_reads(&mut script, id, copy.as_deref());
        let columns = script.add(&sql::ownership::ENGINE_COLUMNS, [id.into()]);
        let waits = script.add(&sql::streams::WAITS, [id.into()]);
        let deliveries = script.add(&sql::streams::DELIVERIES, [id.into()]);
        // An instance may have thousands of pointers, subscriptions and deliveries.
        let parts = Arc::new(Mutex::new(Parts::default()));
        let (taken, of) = (Arc::clone(&parts), id.to_owned());
        script.take = Some(Box::new(move |at, row| {
            let mut parts = lock(&taken);
            match at {
                POINTERS => {
                    let decoded = codec::pointer::decode(row, 0, &of);
                    parts.pointers.push(decoded.map(|(position, pointer, _)| (position, pointer)));
                }
                _ if at == waits => parts.waits.push(codec::subscription::decode_open(row)),
                _ if at == deliveries => parts.deliveries.push(delivery(row)),
                _ => return Taken::Collect,
            }
            Taken::Skip
        }));
        let done = self.read_for(caller, script).await?;
        let Parts { pointers, waits, deliveries } = std::mem::take(&mut *lock(&parts));
        let missing = || WfeError::WorkflowNotFound(id.to_owned());
        let first = |at: usize| done.get(at).and_then(|done| done.rows.first());
        let row = first(columns).ok_or_else(missing)?;
        metrics::looked_up(first(INSTANCE).is_none());
        let (instance, revision) = match (first(INSTANCE), copy) {
            (Some(row), _) => {
                let (_, revision, instance, _) = codec::workflow::decode(row)?;
                let mut pointers = pointers.into_iter().collect::<Result<Vec<_>>>()?;
                pointers.sort_by_key(|(position, _)| *position);
                let execution_pointers = pointers.into_iter().map(|(_, pointer)| pointer).collect();
                (WorkflowInstance { execution_pointers, ..instance }, revision)
            }
            (None, Some(copy)) => (copy.to_instance(), copy.revision),
            (None, None) => return Err(missing()),
        };
        let loaded = Loaded {
            waits: waits.into_iter().collect::<Result<_>>()?,
            deliveries: deliveries.into_iter().collect::<Result<_>>()?,
            ..with_engine_columns(row, 0, instance, revision)?
        };
        self.with_pointers(caller, loaded).await
    }

    /// Returns the error `Corrupt` if the instance has lost its live pointers. Otherwise the instance would
    /// begin again from the start.
    async fn with_pointers(&self, caller: Caller, loaded: Loaded) -> Result<Loaded> {
        let instance = &loaded.instance;
        if instance.status.is_final() || !instance.execution_pointers.is_empty() {
            return Ok(loaded);
        }
        // This is a separate read, because it concerns only instances without pointers.
        let mut script = Script::default();
        script.add(&sql::ownership::HAS_LOST_POINTERS, [(&instance.id).into()]);
        if single_int(self.read_for(caller, script).await?.first()) == Some(1) {
            let lost = "the instance has begun, but the rows of its live pointers are missing";
            return Err(error::corrupt("execution_pointers", "workflow", &instance.id, lost, None));
        }
        Ok(loaded)
    }
}

/// Several instances, which are assembled while rows arrive. One instance may have thousands of rows, so the
/// rows are not collected first.
#[derive(Default)]
struct Several {
    /// The instances by row number. Once their pointers are complete, they move to `instances`, which holds
    /// them by id.
    found: HashMap<i64, (String, Result<(i64, WorkflowInstance)>)>,
    instances: HashMap<String, Result<(i64, WorkflowInstance)>>,
    loaded: HashMap<String, Result<Loaded>>,
    /// Maps the id of each subscription to the id of its instance.
    instance_of: HashMap<String, String>,
}

impl Several {
    /// Adds a row that the statement at this index of the script has returned.
    fn add(&mut self, at: usize, row: Row<'_>) -> Result<()> {
        match at {
            0 => {
                // The row was found by its id, which the caller gave as a string.
                let (seq, id) = codec::workflow::key(row)?;
                let decoded = codec::workflow::decode(row);
                let found = decoded.map(|(_, revision, instance, _)| (revision, instance));
                self.found.insert(seq, (id.to_owned(), found));
            }
            1 => {
                // The instance is found: both statements read the same snapshot, and the foreign key holds.
                let seq = Fields::new(row, "execution_pointers", "").int("workflow")?;
                let Some((id, one)) = self.found.get_mut(&seq) else { return Ok(()) };
                let pointer = codec::pointer::decode(row, 1, id).map(|(_, pointer, _)| pointer);
                spoil(one, pointer, |(_, instance), pointer| instance.execution_pointers.push(pointer));
            }
            2 => {
                let id = Fields::new(row, "workflows", "").string("id")?;
                if self.loaded.is_empty() {
                    let found = std::mem::take(&mut self.found).into_values();
                    self.instances = found.collect();
                }
                let one = self.instances.remove(&id).ok_or_else(short)?;
                let one =
                    one.and_then(|(revision, instance)| with_engine_columns(row, 1, instance, revision));
                self.loaded.insert(id, one);
            }
            3 => {
                let instance = codec::subscription::instance(row)?;
                // A subscription of an unknown instance is ignored.
                let Some(one) = self.loaded.get_mut(instance) else { return Ok(()) };
                let wait = codec::subscription::decode_open(row);
                self.instance_of.extend(wait.iter().map(|wait| (wait.id.clone(), instance.to_owned())));
                spoil(one, wait, |one, wait| one.waits.push(wait));
            }
            _ => {
                // If the subscription does not decode, its instance is corrupt already.
                let Ok(id) = Fields::new(row, "event_subscriptions", "").key("id") else { return Ok(()) };
                let instance = self.instance_of.get(id);
                if let Some(one) = instance.and_then(|instance| self.loaded.get_mut(instance)) {
                    spoil(one, delivery(row), |one, delivery| one.deliveries.push(delivery));
                }
            }
        }
        Ok(())
    }
}

/// Adds a part to an instance. If the part does not decode, only this instance becomes corrupt.
fn spoil<W, T>(one: &mut Result<W>, part: Result<T>, add: impl FnOnce(&mut W, T)) {
    match (&mut *one, part) {
        (Ok(whole), Ok(part)) => add(whole, part),
        (Ok(_), Err(error)) => *one = Err(error),
        (Err(_), _) => {}
    }
}

/// The parts of an instance that may have many rows.
#[derive(Default)]
struct Parts {
    /// With their positions.
    pointers: Vec<Result<(i64, ExecutionPointer)>>,
    waits: Vec<Result<EventSubscription>>,
    deliveries: Vec<Result<Delivery>>,
}

/// Returns the error for rows of one snapshot that contradict each other.
fn short() -> WfeError {
    WfeError::Persistence("a read returned fewer rows than expected: a bug in wfe-sqlite".to_owned())
}

/// Combines an instance with the engine's columns, which come after the first `skip` columns of the row.
fn with_engine_columns(
    row: Row<'_>,
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
    let cause = cause.map(|StoredFailure(cause)| cause);
    let parent = fields.optional_string("parent")?;
    let retried = fields.optional_time("retried")?;
    let restart_of = fields.optional_string("restart_of")?;
    let restarted_as = fields.optional_string("restarted_as")?;
    let attributes = codec::attributes::decode(&mut fields)?;
    let revision = u64::try_from(revision)
        .map_err(|source| fields.corrupt("revision", "it is negative", Some(Box::new(source))))?;
    // A request that was stored before the instance ended, but was not carried out, is void.
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
        retried,
        restart_of,
        restarted_as,
        attributes,
        waits: Vec::new(),
        deliveries: Vec::new(),
    })
}

fn delivery(row: Row<'_>) -> Result<Delivery> {
    let subscription_id = Fields::new(row, "event_subscriptions", "").string("id")?;
    Ok(Delivery { subscription_id, event: codec::event::decode(row, 1)? })
}
