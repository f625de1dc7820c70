//! Control requests. A request is stored in the row of its instance, and is read together with the instance.

use wfe_core::{
    Result, WfeError,
    traits::{Control, ControlRequest, ControlState, Intervention, Requested},
};

use crate::{
    SqlitePersistenceProvider,
    codec::{Fields, names},
    request::{More, NOTHING, Role, Script, Value, Written},
    sql,
};

pub(super) async fn request(
    store: &SqlitePersistenceProvider,
    id: &str,
    control: Control,
) -> Result<Requested> {
    store.put_request(id, control, None, NOTHING).await
}

pub(super) async fn intervene(
    store: &SqlitePersistenceProvider,
    id: &str,
    intervention: &Intervention,
) -> Result<Requested> {
    store.put_request(id, Control::Resume, Some(intervention), NOTHING).await
}

impl SqlitePersistenceProvider {
    /// Stores a request, unless it is redundant. `more` adds statements that run only if the request is stored.
    pub(crate) async fn put_request(
        &self,
        id: &str,
        control: Control,
        intervention: Option<&Intervention>,
        more: More<'_>,
    ) -> Result<Requested> {
        // JSON contains no NUL. SQLite's own functions would end the text at a NUL.
        let detail = Value::from(intervention.map(serde_json::to_string).transpose()?);
        loop {
            let mut script = Script::default();
            script.add(&sql::ownership::CONTROL_STATE, [id.into()]);
            let done = self.read(script).await?;
            let row = done.first().and_then(|done| done.rows.first());
            let row = row.ok_or_else(|| WfeError::WorkflowNotFound(id.to_owned()))?;
            let mut fields = Fields::new(row, "workflows", id);
            let (state, as_read) = control_state(&mut fields)?;
            let requested = state.decide(id, control, intervention)?;
            if requested == Requested::Redundant {
                return Ok(requested);
            }
            let [status, pending, number] = as_read;
            let mut script = Script::about(id).notifying();
            let control = names::control(control);
            script.add_as(
                Role::MustChange,
                &sql::ownership::REQUEST,
                [control, detail.clone(), id.into(), status, pending, number],
            );
            more(&mut script);
            if let Written::Done(_) = self.writer.write(script).await? {
                return Ok(requested);
            }
            // The state has changed since it was read, so the request is decided again.
        }
    }
}

/// Decodes the row of `CONTROL_STATE`. Also returns the columns by which the request is stored only if the
/// state is still the same.
///
/// A pending request that does not decode counts as none, so that an instance whose row is corrupt can be
/// resumed and ended. An ending that does not decode counts as not stored: the status alone says that the
/// instance has ended, and a read of the instance reports the corrupt value.
fn control_state(fields: &mut Fields<'_>) -> Result<(ControlState, [Value; 3])> {
    let status = fields.name("status", names::as_status)?;
    let ending = fields.optional_name("ending", names::as_ending).unwrap_or_default();
    let control = fields.optional_text("control")?;
    let number = fields.int("control_number")?;
    let (pending, intervention) = match fields.optional_json("control_detail") {
        Ok(intervention) => (control.and_then(names::as_control), intervention),
        Err(_) => (None, None),
    };
    let as_read = [names::status(status), control.map(str::to_owned).into(), number.into()];
    Ok((ControlState { status, ending, pending, intervention }, as_read))
}

/// Decodes the pending request from the next three columns: `control`, `control_number` and `control_detail`.
pub(super) fn decode(fields: &mut Fields<'_>) -> Result<Option<ControlRequest>> {
    let control = fields.optional_name("control", names::as_control)?;
    let number = fields.number("control_number")?;
    let intervention = fields.optional_json("control_detail")?;
    Ok(control.map(|control| ControlRequest { number, control, intervention }))
}
