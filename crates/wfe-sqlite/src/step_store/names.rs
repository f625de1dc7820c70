//! Names of instances: a name passes from one instance to another, and instances are listed by their names.

use wfe_core::{
    Kind, Result, WfeError,
    models::WorkflowInstance,
    traits::{Control, Cursor, Expected, OWN_NAMES, Page},
};

use super::limit::rows;
use crate::{
    SqlitePersistenceProvider,
    codec::{Fields, names, prefix::behind},
    instance::diff::New,
    repository::{add_positions, with_id_and_name},
    request::{More, NOTHING, Role, Script, Value, Written},
    row::Row,
    sql,
};

pub(super) async fn replace(
    store: &SqlitePersistenceProvider,
    old: &Expected,
    new: &WorkflowInstance,
) -> Result<Option<String>> {
    replace_and(store, old, new, NOTHING).await
}

/// Replaces an instance. `more` adds statements that run only if the new instance is stored.
pub(crate) async fn replace_and(
    store: &SqlitePersistenceProvider,
    old: &Expected,
    new: &WorkflowInstance,
    more: More<'_>,
) -> Result<Option<String>> {
    if let Some(reference) = &new.reference {
        return Err(WfeError::Invalid(format!(
            "an instance that replaces another one has no reference, but {reference:?} is given"
        )));
    }
    let instance = with_id_and_name(new)?;
    let new = New::encode(&instance)?;
    // A number that the column cannot hold is not the stored one.
    let stored = |number| i64::try_from(number).ok();
    let (Some(revision), Some(request)) = (stored(old.revision), stored(old.request.unwrap_or(0))) else {
        return Ok(None);
    };
    let mut script = Script::about(&old.id).notifying();
    let id = || Value::from(&old.id);
    script.guard(&sql::commits::IS_UNCHANGED, [id(), revision.into(), request.into()]);
    let taken = WfeError::AlreadyExists { kind: Kind::WorkflowName, id: old.id.clone() };
    script.guard_or(&sql::workflows::NAME_IS_FREE_FOR, [id(), id()], taken);
    script.add(&sql::commits::TAKE_NAME, [id()]);
    let terminate = || names::control(Control::Terminate);
    script.add(&sql::ownership::REQUEST_OF_COMMIT, [terminate(), id(), terminate()]);
    add_positions(&mut script, store.clock.now());
    let engine_columns =
        [Value::Null, 0_i64.into(), Value::Null, Value::Null, new.begun(), new.revision.into()];
    let inserted = script.add_with(&sql::commits::INSERT, engine_columns, &new.columns, []);
    script.last_is(Role::MustChange);
    new.add_pointers(&mut script, &instance.id);
    more(&mut script);
    match store.writer.write(script).await? {
        Written::Done(_) => {
            store.cache.remove(&old.id);
            Ok(Some(instance.id))
        }
        Written::Refused(at) => {
            if at == inserted {
                store.check_free(&instance, Some(&old.id)).await?;
            }
            Ok(None)
        }
    }
}

pub(super) async fn named(
    store: &SqlitePersistenceProvider,
    prefix: &str,
    after: Option<Cursor>,
    limit: usize,
) -> Result<Page<String>> {
    if !prefix.starts_with(OWN_NAMES) {
        return Err(WfeError::Invalid(format!(
            "instances are listed by a prefix of their names that begins with {OWN_NAMES:?}, not by {prefix:?}"
        )));
    }
    let Ok(after) = i64::try_from(after.map_or(0, |cursor| cursor.0)) else {
        return Ok(Page { rows: Vec::new(), next: None });
    };
    let mut script = Script::default();
    script.add(
        &sql::workflows::NAMED,
        [prefix.into(), behind(prefix).into(), after.into(), rows(limit).into()],
    );
    let cursor = |row: Row<'_>| Fields::new(row, "workflows", "").number("seq").map(Cursor);
    let id = |row: Row<'_>| {
        let mut fields = Fields::new(row, "workflows", "");
        fields.skip();
        fields.key("id").map(str::to_owned)
    };
    let (rows, next) = store.page(script, limit, cursor, id).await?;
    Ok(Page { rows, next })
}
