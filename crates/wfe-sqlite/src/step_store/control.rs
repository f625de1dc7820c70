//! Control requests. A request is stored in the row of its instance, and is read together with the instance.

use wfe_core::{
    Result, WfeError,
    traits::{Control, ControlRequest, Intervention},
};

use crate::{
    SqlitePersistenceProvider,
    codec::{Fields, names},
    request::{Own, Script, Sql, Value},
    sql,
};

pub(super) async fn request(store: &SqlitePersistenceProvider, id: &str, control: Control) -> Result<()> {
    store.put_request(id, control, None).await
}

pub(super) async fn intervene(
    store: &SqlitePersistenceProvider,
    id: &str,
    intervention: &Intervention,
) -> Result<()> {
    store.put_request(id, Control::Resume, Some(intervention)).await
}

impl SqlitePersistenceProvider {
    async fn put_request(
        &self,
        id: &str,
        control: Control,
        intervention: Option<&Intervention>,
    ) -> Result<()> {
        // JSON contains no NUL. SQLite's own functions would end the text at a NUL.
        let detail = intervention.map(serde_json::to_string).transpose()?;
        let mut script = Script::about(id).notifying();
        let missing = WfeError::WorkflowNotFound(id.to_owned());
        script.guard_or(&sql::ownership::EXISTS, [id.into()], missing);
        add_request(&mut script, &sql::ownership::REQUEST.own(Own::Instance), id, control, detail.into());
        self.writer.run(script).await?;
        Ok(())
    }
}

/// Adds a control request. It has no effect if the instance is unknown or has ended. `sql` is
/// [`REQUEST`](sql::ownership::REQUEST), which may be marked as a write to the script's own instance.
pub(super) fn add_request(script: &mut Script, sql: &Sql<4>, id: &str, control: Control, detail: Value) {
    let control = names::control(control);
    script.add(sql, [control.into(), detail, id.into(), control.into()]);
}

/// Decodes the pending request from the next three columns: `control`, `control_number` and `control_detail`.
pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Option<ControlRequest>> {
    let control = fields.optional_name("control", names::as_control)?;
    let number = fields.number("control_number")?;
    let intervention = fields.optional_json("control_detail")?;
    Ok(control.map(|control| ControlRequest { number, control, intervention }))
}
