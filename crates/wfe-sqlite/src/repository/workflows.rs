//! Implements [`WorkflowRepository`].

use std::collections::HashMap;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use wfe_core::{
    Kind, Result, WfeError,
    limits::check_json,
    models::{EventSubscription, WorkflowInstance},
    traits::WorkflowRepository,
};

use super::{add_positions, add_subscriptions, id_or_fresh};
use crate::{
    SqlitePersistenceProvider,
    codec::{self, Fields, hexadecimal, time},
    connection::admission::Caller,
    error,
    instance::diff::{New, add_difference, check_pointers, decode_many},
    request::{NewCopy, Role, Script, Written},
    sql,
};

#[async_trait]
impl WorkflowRepository for SqlitePersistenceProvider {
    async fn create_new_workflow(&self, workflow: &WorkflowInstance) -> Result<String> {
        let instance = with_id_and_name(workflow)?;
        let id = instance.id.clone();
        let new = New::encode(&instance)?;
        let copy = new.stored(instance);
        loop {
            let mut script = Script::about(&id).notifying();
            add_positions(&mut script, self.clock.now());
            let inserted = script.add_with(
                &sql::workflows::INSERT,
                [new.revision.into(), new.begun()],
                &new.columns,
                [],
            );
            script.last_is(Role::MustChange);
            new.add_pointers(&mut script, &id);
            script.copy = Some(NewCopy { stored: copy.clone(), inserted: Some(inserted) });
            if let Written::Done(_) = self.writer.write(script).await? {
                return Ok(id);
            }
            self.check_free(&copy.instance, None).await?;
            // The instance that had the id or the name was deleted meanwhile, so the insert is tried again.
        }
    }

    async fn persist_workflow(&self, workflow: &WorkflowInstance) -> Result<()> {
        self.persist_workflow_with_subscriptions(workflow, &[]).await
    }

    async fn persist_workflow_with_subscriptions(
        &self,
        workflow: &WorkflowInstance,
        subscriptions: &[EventSubscription],
    ) -> Result<()> {
        check_pointers(&workflow.execution_pointers)?;
        let id = workflow.id.as_str();
        loop {
            let stored = match self.cache.get(id) {
                Some(copy) => copy,
                None => self
                    .named(self.stored(id).await)?
                    .ok_or_else(|| WfeError::WorkflowNotFound(id.to_owned()))?,
            };
            let mut script = Script::about(id).notifying();
            let new = add_difference(&mut script, &stored, workflow)?;
            add_subscriptions(&mut script, subscriptions)?;
            script.copy = Some(NewCopy { stored: new, inserted: None });
            match self.writer.write(script).await? {
                Written::Done(_) => return Ok(()),
                // Another writer has changed the instance since the copy was made.
                Written::Refused(_) => self.cache.remove(id),
            }
        }
    }

    async fn get_runnable_instances(&self, as_at: DateTime<Utc>) -> Result<Vec<String>> {
        let mut script = Script::default();
        script.add(&sql::workflows::DUE, [time::millis_bound(as_at).into()]);
        self.ids(script, "workflows").await
    }

    async fn get_workflow_instance(&self, workflow_id: &str) -> Result<WorkflowInstance> {
        match self.named(self.stored(workflow_id).await)? {
            Some(stored) => Ok(stored.into_instance()),
            None => Err(WfeError::WorkflowNotFound(workflow_id.to_owned())),
        }
    }

    async fn get_workflow_instance_by_name(&self, name: &str) -> Result<WorkflowInstance> {
        loop {
            let mut script = Script::default();
            script.add(&sql::workflows::ID_OF_NAME, [name.into()]);
            let ids = self.ids(script, "workflows").await?;
            let Some(id) = ids.first() else { return Err(WfeError::WorkflowNotFound(name.to_owned())) };
            // If the instance was renamed or deleted between the two reads, the loop reads again.
            if let Some(stored) = self.named(self.stored(id).await)?
                && stored.instance.name == name
            {
                return Ok(stored.into_instance());
            }
        }
    }

    async fn get_workflow_instances(&self, workflow_ids: &[String]) -> Result<Vec<WorkflowInstance>> {
        if workflow_ids.is_empty() {
            return Ok(Vec::new());
        }
        let list = hexadecimal::ids(workflow_ids);
        let mut script = Script::default();
        script.add(&sql::workflows::LOAD_MANY, [list.as_str().into()]);
        script.add(&sql::pointers::LOAD_MANY, [list.into()]);
        let done = self.read(script).await?;
        let [instances, pointers] = &done[..] else {
            return Err(WfeError::Persistence(
                "a read returned fewer rows than expected: a bug in wfe-sqlite".to_owned(),
            ));
        };
        let mut found = HashMap::new();
        for (id, instance) in self.named(decode_many(instances, pointers))? {
            if let Some((_, instance)) = self.sound_one(instance)? {
                found.insert(id, instance);
            }
        }
        Ok(workflow_ids.iter().filter_map(|id| found.get(id).cloned()).collect())
    }

    async fn next_definition_sequence(&self, definition_id: &str) -> Result<u64> {
        self.named(self.draw(Caller::Program, &format!("definition:{definition_id}")).await)
    }
}

impl SqlitePersistenceProvider {
    /// Reads ids, for a call of the program. An id is the first column of each row. Ids that are not text are left out.
    pub(crate) async fn ids(&self, script: Script, table: &'static str) -> Result<Vec<String>> {
        self.ids_for(Caller::Program, script, table).await
    }

    /// Like [`ids`](Self::ids), but for a call of any caller.
    pub(crate) async fn ids_for(
        &self,
        caller: Caller,
        script: Script,
        table: &'static str,
    ) -> Result<Vec<String>> {
        let done = self.read_for(caller, script).await?;
        let rows = done.iter().flat_map(|done| &done.rows);
        self.sound(rows.map(|row| Fields::new(row, table, "").key("id").map(str::to_owned)))
    }

    /// Checks that no instance has the id or the name of `instance`. `except` is the id of an instance that gives up its
    /// name, and takes its id as its name.
    ///
    /// # Errors
    /// * [`WfeError::AlreadyExists`]: another instance has the id or the name.
    /// * The errors of a read.
    pub(crate) async fn check_free(&self, instance: &WorkflowInstance, except: Option<&str>) -> Result<()> {
        let mut script = Script::default();
        script.add(&sql::workflows::ID, [(&instance.id).into()]);
        script.add(&sql::workflows::ID_OF_NAME, [(&instance.name).into()]);
        let done = self.read(script).await?;
        let holder = |at: usize| {
            let row = done.get(at).and_then(|done| done.rows.first());
            row.map(|row| Fields::new(row, "workflows", "").string("id")).transpose()
        };
        if let Some(id) = holder(0)? {
            return Err(WfeError::AlreadyExists { kind: Kind::Workflow, id });
        }
        match holder(1)? {
            // An instance whose name is its id cannot give it up.
            Some(id) if except != Some(&id) || id == instance.name => {
                Err(WfeError::AlreadyExists { kind: Kind::WorkflowName, id: instance.name.clone() })
            }
            _ => Ok(()),
        }
    }

    /// The next number of a named counter: 1, 2, 3 …
    pub(crate) async fn draw(&self, caller: Caller, counter: &str) -> Result<u64> {
        let mut script = Script::about(counter);
        script.add(&sql::counters::MAKE, [counter.into(), counter.into()]);
        let next = script.add(&sql::counters::NEXT, [counter.into()]);
        let done = self.writer.run_for(caller, script).await?;
        codec::single_int(done.get(next))
            .and_then(|number| u64::try_from(number).ok())
            .ok_or_else(|| error::corrupt("sqlite_sequence", "seq", counter, "it is not a counter", None))
    }
}

/// A copy of the instance. An empty id is replaced with a new id, and an empty name with the id.
///
/// The values are checked before the copy is made, because cloning a value that is nested too deeply would
/// overflow the stack.
pub(crate) fn with_id_and_name(workflow: &WorkflowInstance) -> Result<WorkflowInstance> {
    check_json("a workflow's data", &workflow.data)?;
    for pointer in &workflow.execution_pointers {
        let optional =
            [&pointer.persistence_data, &pointer.event_data, &pointer.context_item, &pointer.outcome];
        for value in optional.into_iter().flatten().chain(pointer.extension_attributes.values()) {
            check_json("a value of a pointer", value)?;
        }
    }
    let mut instance = workflow.clone();
    instance.id = id_or_fresh(&instance.id);
    if instance.name.is_empty() {
        instance.name.clone_from(&instance.id);
    }
    Ok(instance)
}
