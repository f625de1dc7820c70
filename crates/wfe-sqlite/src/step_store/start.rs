//! Idempotent starts.

use std::sync::Arc;

use wfe_core::{
    Result,
    models::WorkflowInstance,
    traits::{Fence, Owner, Started},
};

use crate::{
    SqlitePersistenceProvider,
    codec::{single_int, to_integer},
    instance::diff::New,
    repository::{add_guards, add_positions, with_id_and_name},
    request::{Script, Value, Written},
    sql,
};

pub(super) async fn start(
    store: &SqlitePersistenceProvider,
    owner: Option<&Owner>,
    instance: &WorkflowInstance,
) -> Result<Started> {
    if let Some(owner) = owner {
        store.owners.check_lock_file(owner.id())?;
    }
    let instance = with_id_and_name(instance)?;
    let new = New::encode(&instance)?;
    let id = instance.id.clone();
    let owner_id = owner.map(|owner| to_integer("an owner's id", owner.id())).transpose()?;
    let fence = i64::from(owner.is_some());
    loop {
        // An instance that its owner runs at once does not concern other hosts.
        let mut script = Script::about(&id);
        script.notifies = owner.is_none();
        let definition = Value::from(&instance.workflow_definition_id);
        if let Some(reference) = &instance.reference {
            script.guard(&sql::commits::START_IS_FREE, [definition.clone(), reference.into()]);
        }
        add_guards(&mut script, &instance);
        add_positions(&mut script, store.clock.now());
        let key = Value::from(&instance.reference);
        let engine_columns =
            [owner_id.into(), fence.into(), key.clone(), Value::Null, new.begun(), new.revision.into()];
        let inserted = script.add_with(&sql::commits::INSERT, engine_columns, &new.columns, []);
        new.add_pointers(&mut script, &id);
        match store.writer.write(script).await? {
            Written::Done(done) => {
                if let Some(seq) = single_int(done.get(inserted)) {
                    store.cache.put(Arc::new(new.stored(seq, instance)));
                }
                return Ok(Started { id, fence: owner.map(|_| Fence(1)), is_new: true });
            }
            Written::Refused(_) => {
                let mut script = Script::default();
                script.add(&sql::commits::STARTED, [definition, key]);
                // If that instance was deleted meanwhile, this start becomes the first one again.
                if let Some(id) = store.ids(script, "workflows").await?.pop() {
                    return Ok(Started { id, fence: None, is_new: false });
                }
            }
        }
    }
}
