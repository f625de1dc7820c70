//! Starts: idempotent by a reference, and those that replace an ended instance.

use serde_json::{Map, Value as Json};
use wfe_core::{
    Kind, Result, RetryRefusal, WfeError,
    models::WorkflowInstance,
    traits::{Ending, Fence, Known, Owner, Started},
};

use crate::{
    SqlitePersistenceProvider,
    codec::{self, Fields, names, to_integer},
    instance::diff::New,
    repository::{add_positions, with_id_and_name},
    request::{More, NOTHING, NewCopy, Role, Script, Value, Written},
    sql,
};

pub(super) async fn start(
    store: &SqlitePersistenceProvider,
    owner: Option<&Owner>,
    instance: &WorkflowInstance,
) -> Result<Started> {
    start_if(store, owner, instance, Known::Existing).await
}

pub(super) async fn start_if(
    store: &SqlitePersistenceProvider,
    owner: Option<&Owner>,
    instance: &WorkflowInstance,
    known: Known,
) -> Result<Started> {
    start_with(store, owner, instance, known, &Map::new()).await
}

pub(super) async fn start_with(
    store: &SqlitePersistenceProvider,
    owner: Option<&Owner>,
    instance: &WorkflowInstance,
    known: Known,
    attributes: &Map<String, Json>,
) -> Result<Started> {
    start_and(store, owner, instance, known, attributes, NOTHING).await
}

/// Starts an instance. `more` adds statements that run only if a new instance is stored.
pub(crate) async fn start_and(
    store: &SqlitePersistenceProvider,
    owner: Option<&Owner>,
    instance: &WorkflowInstance,
    known: Known,
    attributes: &Map<String, Json>,
    more: More<'_>,
) -> Result<Started> {
    let start = Start::new(store, owner, instance)?.with(attributes)?;
    let Some(reference) = &start.instance.reference else {
        loop {
            if let Some(started) = start.store(store, None, None, more).await? {
                return Ok(started);
            }
        }
    };
    let definition = &start.instance.workflow_definition_id;
    loop {
        if let Some(started) = start.store(store, Some(reference), None, more).await? {
            return Ok(started);
        }
        let mut script = Script::default();
        script.add(&sql::retries::KNOWN, [definition.into(), reference.into()]);
        let done = store.read(script).await?;
        // If that instance was deleted meanwhile, this start becomes the first one again.
        let Some(row) = done.first().and_then(|done| done.rows.first()) else { continue };
        let mut fields = Fields::new(row, "workflows", "");
        let id = fields.string("id")?;
        let has_failed = fields.optional_name("ending", names::as_ending)? == Some(Ending::Failed);
        let revision = fields.int("revision")?;
        match known {
            Known::Refuse => return Err(WfeError::AlreadyStarted { reference: reference.clone(), id }),
            Known::RestartIfFailed if has_failed => {
                let of = Replaced { id: &id, revision };
                // If the instance has changed since it was read, it may run again.
                if let Some(started) = start.store(store, Some(reference), Some(of), more).await? {
                    return Ok(started);
                }
            }
            _ => return Ok(Started { id, fence: None, is_new: false, restart_of: None }),
        }
    }
}

pub(super) async fn restart(
    store: &SqlitePersistenceProvider,
    owner: Option<&Owner>,
    of: &str,
    instance: &WorkflowInstance,
) -> Result<Started> {
    restart_and(store, owner, of, instance, NOTHING).await
}

/// Replaces an ended instance. `more` adds statements that run only if the new instance is stored.
pub(crate) async fn restart_and(
    store: &SqlitePersistenceProvider,
    owner: Option<&Owner>,
    of: &str,
    instance: &WorkflowInstance,
    more: More<'_>,
) -> Result<Started> {
    let mut start = Start::new(store, owner, instance)?;
    loop {
        let mut script = Script::default();
        script.add(&sql::retries::TO_RESTART, [of.into()]);
        let done = store.read(script).await?;
        let Some(row) = done.first().and_then(|done| done.rows.first()) else {
            return Err(WfeError::WorkflowNotFound(of.to_owned()));
        };
        let mut fields = Fields::new(row, "workflows", of);
        let (has_ended, revision) = (fields.flag("status")?, fields.int("revision")?);
        let restarted_as = fields.optional_string("restarted_as")?;
        let (key, reference) = (fields.optional_string("start_key")?, fields.optional_string("reference")?);
        let attributes = codec::attributes::decode(&mut fields)?;
        let refused = |reason| Err(WfeError::CannotRetry { id: of.to_owned(), reason });
        if !has_ended {
            return refused(RetryRefusal::NotEnded);
        }
        if let Some(id) = restarted_as {
            return refused(RetryRefusal::Restarted { id });
        }
        start.instance.reference = reference;
        start.new = New::encode(&start.instance)?;
        start = start.with(&attributes)?;
        if let Some(started) =
            start.store(store, key.as_ref(), Some(Replaced { id: of, revision }), more).await?
        {
            return Ok(started);
        }
    }
}

pub(super) async fn find(
    store: &SqlitePersistenceProvider,
    definition: &str,
    reference: &str,
) -> Result<Option<String>> {
    let mut script = Script::default();
    script.add(&sql::commits::STARTED, [definition.into(), reference.into()]);
    Ok(store.ids(script, "workflows").await?.pop())
}

/// An ended instance that another one replaces, as it was read.
#[derive(Clone, Copy)]
struct Replaced<'a> {
    id: &'a str,
    revision: i64,
}

/// A new instance to store.
struct Start {
    instance: WorkflowInstance,
    new: New,
    /// The text of its attributes, if it has some.
    attributes: Option<String>,
    owner: Option<i64>,
}

impl Start {
    fn new(
        store: &SqlitePersistenceProvider,
        owner: Option<&Owner>,
        instance: &WorkflowInstance,
    ) -> Result<Self> {
        if let Some(owner) = owner {
            store.owners.check_lock_file(owner.id())?;
        }
        let instance = with_id_and_name(instance)?;
        let new = New::encode(&instance)?;
        let owner = owner.map(|owner| to_integer("an owner's id", owner.id())).transpose()?;
        Ok(Self { instance, new, attributes: None, owner })
    }

    /// The same instance, with these attributes.
    fn with(self, attributes: &Map<String, Json>) -> Result<Self> {
        let text = (!attributes.is_empty()).then(|| codec::attributes::encode(attributes)).transpose()?;
        Ok(Self { attributes: text, ..self })
    }

    /// Stores the instance under this key. Returns `None` if the key is taken, if the replaced instance has changed since
    /// it was read, or if the instance that had the id or the name was deleted meanwhile.
    ///
    /// # Errors
    /// [`WfeError::AlreadyExists`]: the key is free, but another instance has the id or the name.
    async fn store(
        &self,
        store: &SqlitePersistenceProvider,
        key: Option<&String>,
        of: Option<Replaced<'_>>,
        more: More<'_>,
    ) -> Result<Option<Started>> {
        let Self { instance, new, attributes, owner } = self;
        let id = &instance.id;
        // An instance that its owner runs at once does not concern other hosts.
        let mut script = Script::about(id);
        script.notifies = owner.is_none();
        if let Some(Replaced { id: of, revision }) = of {
            script.guard(&sql::retries::MAY_RESTART, [of.into(), revision.into()]);
            let taken = WfeError::AlreadyExists { kind: Kind::WorkflowName, id: of.to_owned() };
            script.guard_or(&sql::retries::CAN_GIVE_UP_NAME, [of.into(), (&instance.name).into()], taken);
            script.add(&sql::retries::REPLACE, [id.into(), (&instance.name).into(), of.into()]);
        }
        add_positions(&mut script, store.clock.now());
        let fence = i64::from(owner.is_some());
        let engine_columns =
            [(*owner).into(), fence.into(), key.into(), Value::Null, new.begun(), new.revision.into()];
        let inserted = script.add_with(&sql::commits::INSERT, engine_columns, &new.columns, []);
        script.last_is(Role::MustChange);
        new.add_pointers(&mut script, id);
        if let Some(attributes) = attributes {
            script.add(&sql::commits::SET_ATTRIBUTES, [attributes.into(), id.into()]);
        }
        if let Some(Replaced { id: of, .. }) = of {
            script.add(&sql::retries::LINK, [of.into(), id.into()]);
        }
        more(&mut script);
        // An owner runs the instance at once, and its first commit would make a copy useless.
        if owner.is_none() && of.is_none() {
            script.copy = Some(NewCopy { stored: new.stored(instance.clone()), inserted: Some(inserted) });
        }
        match store.writer.write(script).await? {
            Written::Done(_) => {}
            Written::Refused(at) => {
                // The replaced instance gives up its key, so the key of another one is at fault only.
                let known = match key {
                    Some(key) => find(store, &instance.workflow_definition_id, key).await?,
                    None => None,
                };
                let is_known = known.is_some() && known.as_deref() != of.map(|of| of.id);
                if at == inserted && !is_known {
                    store.check_free(instance, of.map(|of| of.id)).await?;
                }
                return Ok(None);
            }
        }
        let fence = owner.map(|_| Fence(1));
        let restart_of = of.map(|of| of.id.to_owned());
        Ok(Some(Started { id: id.clone(), fence, is_new: true, restart_of }))
    }
}
