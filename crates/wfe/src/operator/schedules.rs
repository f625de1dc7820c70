//! Schedules, without a host.

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::{Map, Value, json};
use wfe_core::{
    Kind, NoEffectReason, Result, WfeError,
    limits::nanos,
    models::WorkflowInstance,
    traits::{Acted, Action, Control, Cursor, Known, MAX_PAGE, Page, Requested},
};

use super::{
    ActionKind, Operator, StartedView,
    rights::{Of, unexpected},
    start::fresh_id,
};
use crate::{
    engine::Spec,
    host::schedules::{self, Found, Stored, check_timetable, is_taken, own_instance},
    schedules::{NewSchedule, ScheduleStatus},
};

/// How many ticks a view shows.
const TICKS: usize = 5;

/// A schedule, and its next ticks.
///
/// Its JSON is that of the [`ScheduleStatus`], with `"ticks": ["2026-01-05T02:00:00Z", … ]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct ScheduleView {
    /// The status of the schedule.
    #[serde(flatten)]
    pub status: ScheduleStatus,
    /// The next five ticks after now, as if the schedule were not paused.
    pub ticks: Vec<DateTime<Utc>>,
}

impl Operator {
    /// A page of all schedules, in the order in which they were created or last changed. A schedule that this version of
    /// the program cannot read is left out and logged once.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn schedules(&self, after: Option<Cursor>, limit: usize) -> Result<Page<ScheduleView>> {
        let page = schedules::list(&self.store, after, limit.min(MAX_PAGE)).await?;
        let mut rows = Vec::with_capacity(page.rows.len());
        for stored in page.rows {
            rows.push(self.schedule_view(stored).await?);
        }
        Ok(Page { rows, next: page.next })
    }

    /// The schedule with this id.
    ///
    /// # Errors
    /// * [`ScheduleNotFound`](WfeError::ScheduleNotFound): no schedule has this id.
    /// * [`Corrupt`](WfeError::Corrupt): the stored state of the schedule does not decode.
    pub async fn schedule(&self, id: &str) -> Result<ScheduleView> {
        self.schedule_view(Stored::read(schedules::find(&self.store, id).await?)?).await
    }

    async fn schedule_view(&self, stored: Stored) -> Result<ScheduleView> {
        let now = self.now();
        let ticks = stored.ticks(now, TICKS);
        let mut status = schedules::status_of(&self.store, stored, now).await?;
        if let Some(failure) = &mut status.last_failure {
            self.hide_failure(&status.definition, failure);
        }
        Ok(ScheduleView { status, ticks })
    }

    /// Creates a schedule that starts instances with this data. Any host that has the definition runs it. Whether the
    /// definition can read the data is known only when a host starts the first instance; if it cannot, the schedule shows
    /// it as its last failure.
    ///
    /// # Errors
    /// * [`Forbidden`](WfeError::Forbidden).
    /// * [`AlreadyExists`](WfeError::AlreadyExists): a schedule with this id exists.
    /// * [`OutlineNotFound`](WfeError::OutlineNotFound): no host has stored an outline of the definition, or of the version
    ///   that the schedule names.
    /// * [`Invalid`](WfeError::Invalid): the id is empty; or the timetable is not valid, or has no tick in the future.
    /// * The errors of the store.
    pub async fn create_schedule(&self, schedule: NewSchedule, data: Value) -> Result<()> {
        let NewSchedule { id, definition, version, timetable, catch_up, paused } = schedule;
        let permit = self.permit(ActionKind::CreateSchedule, Of::Definition(&definition)).await?;
        let now = self.now();
        nanos("the time that the clock shows", now)?;
        if id.is_empty() {
            return Err(WfeError::Invalid(format!("schedule {id:?}: its id is empty")));
        }
        check_timetable(&id, &timetable, now)?;
        self.outline(&definition, version).await?;
        let permit = permit.detail(json!({ "schedule": id, "definition": definition }));
        let spec = Spec { id, definition, version, data, timetable, catch_up, created: now, before: None };
        let none = Map::new();
        loop {
            let is_paused = paused.unwrap_or(false);
            let stored = match schedules::look_up(&self.store, &spec.id).await? {
                Found::There(_) => return Err(WfeError::AlreadyExists { kind: Kind::Schedule, id: spec.id }),
                Found::Free(name) => {
                    let instance = own_instance(&spec, name, is_paused, now)?;
                    permit.act(new(&instance, &none)).await
                }
                Found::Over(loaded) => {
                    let instance = own_instance(&spec, loaded.instance.name.clone(), is_paused, now)?;
                    permit.act(Action::Replace { old: &loaded.expected(), new: &instance }).await
                }
            };
            let is_stored = match stored {
                Ok(Acted::Started(started)) => started.is_new,
                Ok(Acted::Replaced(replaced)) => replaced.is_some(),
                Ok(other) => return unexpected(&other),
                Err(error) => is_taken(error)?,
            };
            if is_stored {
                return Ok(());
            }
        }
    }

    /// Pauses a schedule: see [`Schedules::pause`](crate::schedules::Schedules::pause).
    ///
    /// # Errors
    /// * [`Forbidden`](WfeError::Forbidden).
    /// * [`ScheduleNotFound`](WfeError::ScheduleNotFound): no schedule has this id.
    pub async fn pause_schedule(&self, id: &str) -> Result<Requested> {
        self.control_schedule(ActionKind::PauseSchedule, id, Control::Suspend).await
    }

    /// Resumes a paused schedule: see [`Schedules::resume`](crate::schedules::Schedules::resume).
    ///
    /// # Errors
    /// The errors of [`pause_schedule`](Self::pause_schedule).
    pub async fn resume_schedule(&self, id: &str) -> Result<Requested> {
        self.control_schedule(ActionKind::ResumeSchedule, id, Control::Resume).await
    }

    /// Deletes a schedule: see [`Schedules::delete`](crate::schedules::Schedules::delete).
    ///
    /// # Errors
    /// The errors of [`pause_schedule`](Self::pause_schedule).
    pub async fn delete_schedule(&self, id: &str) -> Result<()> {
        match self.control_schedule(ActionKind::DeleteSchedule, id, Control::Terminate).await? {
            Requested::Accepted => Ok(()),
            // Another caller deleted it meanwhile.
            Requested::Redundant => Err(WfeError::ScheduleNotFound(id.to_owned())),
        }
    }

    async fn control_schedule(&self, kind: ActionKind, id: &str, control: Control) -> Result<Requested> {
        self.check_role(kind)?;
        loop {
            let found = schedules::find(&self.store, id).await?;
            // A schedule that does not decode can still be paused and deleted.
            let definition =
                Stored::read(found.clone()).map(|stored| stored.spec.definition).unwrap_or_default();
            let own = &found.instance.id;
            let permit = self.permit(kind, Of::Definition(&definition)).await?;
            let permit = permit.detail(json!({ "schedule": id })).of(own);
            let answer = permit.act(Action::Request { id: own, control, intervention: None }).await;
            match answer {
                Ok(Acted::Requested(requested)) => return Ok(requested),
                Ok(other) => return unexpected(&other),
                Err(WfeError::NoEffect { reason: NoEffectReason::NotSuspended, .. }) => {
                    return Ok(Requested::Redundant);
                }
                // The schedule was changed or deleted since it was found.
                Err(WfeError::NoEffect { .. } | WfeError::WorkflowNotFound(_)) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Starts an instance of a schedule at once, in addition to its timetable, even if it is paused.
    ///
    /// # Errors
    /// * [`Forbidden`](WfeError::Forbidden).
    /// * [`ScheduleNotFound`](WfeError::ScheduleNotFound): no schedule has this id.
    /// * [`OutlineNotFound`](WfeError::OutlineNotFound): the schedule names no version, and no host has stored an outline of
    ///   its definition.
    /// * [`Corrupt`](WfeError::Corrupt): the stored state of the schedule does not decode.
    #[expect(clippy::disallowed_methods, reason = "unique in the world, so not repeatable")]
    pub async fn trigger_schedule(&self, id: &str) -> Result<StartedView> {
        self.check_role(ActionKind::TriggerSchedule)?;
        let Stored { loaded, spec, .. } = Stored::read(schedules::find(&self.store, id).await?)?;
        let permit = self.permit(ActionKind::TriggerSchedule, Of::Definition(&spec.definition)).await?;
        let version = self.version_to_start(&spec.definition, spec.version).await?;
        let schedule = spec.first_instance(&loaded.instance.id);
        let reference = format!("{schedule}/trigger/{:032x}", fastrand::u128(..));
        let mut instance =
            WorkflowInstance::created_at(&spec.definition, version, spec.data.clone(), self.now());
        (instance.id, instance.reference) = (fresh_id(), Some(reference));
        let permit = permit.detail(json!({ "schedule": id })).of(&instance.id);
        match permit.act(new(&instance, &Map::new())).await? {
            Acted::Started(started) => Ok(StartedView {
                id: started.id,
                version,
                is_new: started.is_new,
                restart_of: started.restart_of,
            }),
            other => unexpected(&other),
        }
    }
}

fn new<'a>(instance: &'a WorkflowInstance, attributes: &'a Map<String, Value>) -> Action<'a> {
    Action::Start { instance, known: Known::Existing, attributes }
}
