//! Schedules that start workflows.

mod find;
mod settings;
mod status;
mod text;

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::Value;
use wfe_core::{
    Kind, NoEffectReason, Result, WfeError,
    definition::{Data, to_value},
    limits::nanos,
    models::{WorkflowInstance, WorkflowStatus},
    traits::{Control, Cursor, Loaded, Page, Requested},
};

use self::find::NAMES;
pub(crate) use self::{
    find::{Found, find, look_up},
    status::{Stored, is_over},
};
pub use self::{
    settings::{Change, NewSchedule, Scheduling, Updating},
    status::ScheduleStatus,
};
use super::{
    start::Workflow,
    workflow_host::{RESERVED, WorkflowHost},
};
use crate::{
    engine::{Spec, StartRule, Timetable, own_definition},
    store::StoreAccess,
};

/// How many schedules of a page are read at once.
const READ_AT_ONCE: usize = 8;

/// Creates and controls schedules, which start workflows at set times. [`WorkflowHost::schedules`] returns this type.
///
/// A schedule is kept in the store. Any running host on which the schedule's definition is registered runs it; if the
/// schedule names a version, that version must be registered. Each tick of a schedule starts exactly one instance,
/// even if processes crash meanwhile. The steps of the instance can read the tick with
/// [`Tick::of`](crate::schedules::Tick::of).
///
/// ```
/// use wfe::{prelude::*, schedules::{CatchUp, NewSchedule, Timetable}};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> wfe::Result<()> {
/// let report = WorkflowBuilder::<String>::new("report", 1).then("write", async |_, _| Ok(())).build()?;
/// let host = WorkflowHost::new(SqliteStore::new(":memory:").await?);
/// host.register(report)?;
/// host.start().await?;
/// let at_three = Timetable::cron("0 3 * * *").in_zone("Europe/Berlin");
/// let nightly = NewSchedule::new("nightly", "report", at_three).catch_up(CatchUp::One);
/// host.schedules().create(nightly, &"sales".to_owned()).await?;
///
/// let now = host.schedules().trigger("nightly").await?; // starts one more instance, now
/// host.outcome::<String>(&now).await?;
/// host.schedules().pause("nightly").await?;
///
/// for schedule in host.schedules().list(None, 100).await?.rows {
///     println!("{}: next {:?}", schedule.id, schedule.next);
/// }
/// # host.stop().await
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Schedules(WorkflowHost);

impl WorkflowHost {
    /// Returns the schedules, which start workflows at set times.
    #[must_use]
    pub fn schedules(&self) -> Schedules {
        Schedules(self.clone())
    }
}

impl<D: Data> Workflow<D> {
    /// Creates a schedule that starts instances of this workflow with this data, or changes the schedule with this id,
    /// once the result is awaited: `reports.schedule("nightly", at_three, &topic).await?`. Options come before:
    /// `reports.schedule("nightly", at_three, &topic).catch_up(CatchUp::None).await?`.
    ///
    /// A program can call this at every start. If the schedule has the same settings already, nothing changes, and its
    /// rhythm stays. [`Schedules::create_or_replace`] has the rules.
    ///
    /// # Errors
    /// The awaited result has the errors of [`Schedules::create_or_replace`].
    pub fn schedule(&self, id: impl Into<String>, timetable: Timetable, data: &D) -> Scheduling<D> {
        let new = NewSchedule::new(id, self.id(), timetable);
        Scheduling::new(self.host().schedules(), new, data)
    }
}

impl Schedules {
    /// Creates a schedule that starts instances with this data. When this returns, the schedule is stored, and hosts
    /// run it. The host need not be started.
    ///
    /// # Errors
    /// * [`AlreadyExists`](WfeError::AlreadyExists): a schedule with this id exists. The id of a deleted schedule is
    ///   free at once.
    /// * [`DefinitionNotFound`](WfeError::DefinitionNotFound): the definition is not registered on this host. The
    ///   error has version 0 if no version is registered.
    /// * [`Invalid`](WfeError::Invalid): the id is empty; the timetable is not valid, or has no tick in the future;
    ///   or the definition has another data type.
    /// * [`Unstorable`](WfeError::Unstorable): the clock shows a time that no store can hold.
    /// * [`Unsupported`](WfeError::Unsupported): the store implements only the base traits (those of
    ///   `PersistenceProvider`).
    pub async fn create<D: Data>(&self, schedule: NewSchedule, data: &D) -> Result<()> {
        let (spec, paused) = self.check::<D>(schedule, to_value(data))?;
        loop {
            match look_up(self.0.store(), &spec.id).await? {
                Found::There(_) => return Err(WfeError::AlreadyExists { kind: Kind::Schedule, id: spec.id }),
                found => {
                    if self.store_new(found, &spec, paused).await? {
                        return Ok(());
                    }
                }
            }
        }
    }

    /// Creates a schedule that starts instances with this data, or gives the schedule with this id these settings and
    /// this data. When this returns, the change is stored, and takes effect no matter which host runs the schedule. The
    /// host need not be started. A change is one transaction: after a crash or a dropped future, the schedule has
    /// either its old settings or the new ones.
    ///
    /// A changed schedule keeps its last tick. The former timetable decides the ticks until now, and the new one those
    /// after now, so that no tick is lost and none happens twice. Former ticks that were missed are caught up with as
    /// the new settings say, with the new data. An interval counts from the last tick. If the timetable is the same as
    /// before, its rhythm stays. A paused schedule stays paused, unless [`NewSchedule::paused`] says otherwise. Instances
    /// that the schedule has started are not affected.
    ///
    /// # Errors
    /// The errors of [`create`](Self::create) except [`AlreadyExists`](WfeError::AlreadyExists), and
    /// [`Corrupt`](WfeError::Corrupt): this version of the program cannot read the stored schedule; delete it first.
    pub async fn create_or_replace<D: Data>(&self, schedule: NewSchedule, data: &D) -> Result<Change> {
        self.put::<D>(schedule, to_value(data)).await
    }

    /// Like [`create_or_replace`](Self::create_or_replace), for data of type `D` that were serialised before.
    async fn put<D: Data>(&self, schedule: NewSchedule, data: serde_json::Result<Value>) -> Result<Change> {
        let (spec, paused) = self.check::<D>(schedule, data)?;
        loop {
            match look_up(self.0.store(), &spec.id).await? {
                Found::There(loaded) => {
                    let changed = self.replace(Stored::read(*loaded)?, spec.clone(), paused).await?;
                    if let Some(change) = changed {
                        return Ok(change);
                    }
                }
                found => {
                    if self.store_new(found, &spec, paused).await? {
                        return Ok(Change::Created);
                    }
                }
            }
        }
    }

    /// Changes some settings of a schedule, once the result is awaited, and keeps the others:
    /// `schedules.update("nightly").timetable(at_four).await?`. The change happens as described for
    /// [`create_or_replace`](Self::create_or_replace). Two concurrent changes of different settings both take effect.
    ///
    /// # Errors
    /// The awaited result is an error in these cases:
    ///
    /// * [`ScheduleNotFound`](WfeError::ScheduleNotFound): no schedule has this id.
    /// * [`DefinitionNotFound`](WfeError::DefinitionNotFound): data are given, and the schedule's definition is not
    ///   registered on this host.
    /// * [`Invalid`](WfeError::Invalid): the timetable is not valid, or has no tick in the future; or the definition has
    ///   another data type.
    /// * [`Corrupt`](WfeError::Corrupt): this version of the program cannot read the stored schedule.
    pub fn update(&self, id: impl Into<String>) -> Updating {
        Updating { schedules: self.clone(), id: id.into(), timetable: None, catch_up: None, data: None }
    }

    async fn change(&self, update: Updating) -> Result<Change> {
        let Updating { id, timetable, catch_up, data, .. } = update;
        loop {
            let stored = Stored::read(find(self.0.store(), &id).await?)?;
            let (now, mut spec) = (self.0.engine().now(), stored.spec.clone());
            if let Some(timetable) = &timetable {
                check_timetable(&id, timetable, now)?;
                spec.timetable.clone_from(timetable);
            }
            spec.catch_up = catch_up.unwrap_or(spec.catch_up);
            if let Some(convert) = &data {
                spec.data = convert(&self.0.engine().definition(&spec.definition, spec.version)?, now)?;
            }
            if let Some(change) = self.replace(stored, spec, None).await? {
                return Ok(change);
            }
        }
    }

    /// Checks the settings of a new schedule. Also returns whether it must be paused.
    fn check<D: Data>(
        &self,
        schedule: NewSchedule,
        data: serde_json::Result<Value>,
    ) -> Result<(Spec, Option<bool>)> {
        self.0.require_events()?;
        let NewSchedule { id, definition, version, timetable, catch_up, paused } = schedule;
        let found = self.0.engine().definition(&definition, version)?;
        let now = self.0.engine().now();
        nanos("the time that the clock shows", now)?;
        let data = found.instance_of::<D>(data, now)?.data;
        if id.is_empty() {
            return Err(WfeError::Invalid(format!("schedule {id:?}: its id is empty")));
        }
        check_timetable(&id, &timetable, now)?;
        let spec = Spec { id, definition, version, data, timetable, catch_up, created: now, before: None };
        Ok((spec, paused))
    }

    /// Stores a schedule whose id is free. Returns `false` if the id is no longer free.
    async fn store_new(&self, found: Found, spec: &Spec, paused: Option<bool>) -> Result<bool> {
        let engine = self.0.engine();
        let is_paused = paused.unwrap_or(false);
        let stored = match found {
            Found::Free(name) => {
                let instance = own_instance(spec, name, is_paused, spec.created)?;
                engine.start(instance, StartRule::default()).await.map(|_| true)
            }
            Found::Over(loaded) => {
                let name = loaded.instance.name.clone();
                let instance = own_instance(spec, name, is_paused, spec.created)?;
                engine.replace(loaded.expected(), instance).await.map(|id| id.is_some())
            }
            Found::There(_) => Ok(false),
        };
        stored.or_else(is_taken)
    }

    /// Gives a schedule these settings. Returns `None` if the schedule has changed since it was read.
    async fn replace(&self, old: Stored, spec: Spec, paused: Option<bool>) -> Result<Option<Change>> {
        let is_paused = paused.unwrap_or(old.stays_paused());
        if spec.is_like(&old.spec) && is_paused == old.is_paused() {
            return Ok(Some(Change::Unchanged));
        }
        let now = self.0.engine().now();
        let Loaded { instance, .. } = &old.loaded;
        let spec = spec.in_place_of(&old.spec, &instance.id, old.last, now);
        let new = own_instance(&spec, instance.name.clone(), is_paused, now)?;
        let stored = self.0.engine().replace(old.loaded.expected(), new).await.map(|id| id.is_some());
        Ok(stored.or_else(is_taken)?.then_some(Change::Replaced))
    }

    /// Returns the status of a schedule.
    ///
    /// # Errors
    /// * [`ScheduleNotFound`](WfeError::ScheduleNotFound): no schedule has this id.
    /// * [`Corrupt`](WfeError::Corrupt): the stored state of the schedule does not decode.
    pub async fn get(&self, id: &str) -> Result<ScheduleStatus> {
        self.status_of(find(self.0.store(), id).await?).await
    }

    async fn status_of(&self, loaded: Loaded) -> Result<ScheduleStatus> {
        status_of(self.0.store(), Stored::read(loaded)?, self.0.engine().now()).await
    }

    /// Returns a page of all schedules, in the order in which they were created or last changed. A page may have fewer
    /// than `limit` rows although more follow; [`Page::next`] shows whether more follow. A schedule that this version of
    /// the program cannot read is left out and logged once.
    ///
    /// # Errors
    /// [`Unsupported`](WfeError::Unsupported): the store implements only the base traits (those of
    /// `PersistenceProvider`).
    pub async fn list(&self, after: Option<Cursor>, limit: usize) -> Result<Page<ScheduleStatus>> {
        let (store, now) = (self.0.store(), self.0.engine().now());
        let page = list(store, after, limit).await?;
        let rows =
            stream::iter(page.rows).map(async |stored| store.sound(status_of(store, stored, now).await));
        let rows: Vec<_> = rows.buffered(READ_AT_ONCE).try_collect().await?;
        Ok(Page { rows: rows.into_iter().flatten().collect(), next: page.next })
    }

    /// Starts an instance at once, in addition to the timetable, even if the schedule is paused. Returns the
    /// instance's id.
    ///
    /// # Errors
    /// * [`ScheduleNotFound`](WfeError::ScheduleNotFound): no schedule has this id.
    /// * [`Invalid`](WfeError::Invalid): the definition cannot read the schedule's data.
    /// * The errors of [`start_workflow`](WorkflowHost::start_workflow).
    #[expect(clippy::disallowed_methods, reason = "unique in the world, so not repeatable")]
    pub async fn trigger(&self, id: &str) -> Result<String> {
        let stored = Stored::read(find(self.0.store(), id).await?)?;
        let schedule = stored.spec.first_instance(&stored.loaded.instance.id);
        let reference = format!("{schedule}/trigger/{:032x}", fastrand::u128(..));
        self.0.engine().trigger(&stored.spec, reference).await
    }

    /// Pauses a schedule. Instances that it has started continue. Ticks that are due while the schedule is paused
    /// count as missed. [`CatchUp`](crate::schedules::CatchUp) decides what happens to them when the schedule is
    /// resumed. Returns [`Redundant`](Requested::Redundant) if the schedule is paused already.
    ///
    /// # Errors
    /// [`ScheduleNotFound`](WfeError::ScheduleNotFound): no schedule has this id.
    pub async fn pause(&self, id: &str) -> Result<Requested> {
        self.request(id, Control::Suspend).await
    }

    /// Resumes a paused schedule. Returns [`Redundant`](Requested::Redundant) if the schedule is not paused.
    ///
    /// # Errors
    /// [`ScheduleNotFound`](WfeError::ScheduleNotFound): no schedule has this id.
    pub async fn resume(&self, id: &str) -> Result<Requested> {
        self.request(id, Control::Resume).await
    }

    /// Deletes a schedule. Instances that it has started continue. The schedule's id is free at once.
    ///
    /// # Errors
    /// [`ScheduleNotFound`](WfeError::ScheduleNotFound): no schedule has this id.
    pub async fn delete(&self, id: &str) -> Result<()> {
        match self.request(id, Control::Terminate).await? {
            Requested::Accepted => Ok(()),
            // Another caller deleted it meanwhile.
            Requested::Redundant => Err(WfeError::ScheduleNotFound(id.to_owned())),
        }
    }

    async fn request(&self, id: &str, control: Control) -> Result<Requested> {
        loop {
            let found = find(self.0.store(), id).await?.instance.id;
            let answer = match control {
                Control::Suspend => self.0.suspend(&found).await,
                Control::Resume => self.0.resume(&found).await,
                Control::Cancel | Control::Terminate => self.0.terminate(&found).await,
            };
            match answer {
                Err(WfeError::NoEffect { reason: NoEffectReason::NotSuspended, .. }) => {
                    return Ok(Requested::Redundant);
                }
                // The schedule was changed or deleted since it was found.
                Err(WfeError::NoEffect { .. } | WfeError::WorkflowNotFound(_)) => {}
                answer => return answer,
            }
        }
    }
}

/// The status of a schedule, with its last failure.
pub(crate) async fn status_of(
    store: &StoreAccess,
    stored: Stored,
    now: DateTime<Utc>,
) -> Result<ScheduleStatus> {
    let failing = stored.failing();
    let mut status = stored.into_status(now);
    if let Some(tick) = failing {
        let last = store.last_failures(&status.instance_id, &[tick]).await?;
        status.last_failure = last.into_iter().next().map(Box::new).or(status.last_failure);
    }
    Ok(status)
}

/// A page of all schedules. One that does not decode is left out and logged once.
pub(crate) async fn list(store: &StoreAccess, after: Option<Cursor>, limit: usize) -> Result<Page<Stored>> {
    let page = store.named(&format!("{RESERVED}{NAMES}"), after, limit).await?;
    let rows = stream::iter(page.rows).map(|id| async move {
        let read = match store.inspect(&id).await {
            // It was deleted since the page was read.
            Err(WfeError::WorkflowNotFound(_)) => return Ok(None),
            Ok(loaded) if is_over(&loaded) => return Ok(None),
            Ok(loaded) => Stored::read(loaded),
            Err(error) => Err(error),
        };
        store.sound(read)
    });
    let rows: Vec<_> = rows.buffered(READ_AT_ONCE).try_collect().await?;
    Ok(Page { rows: rows.into_iter().flatten().collect(), next: page.next })
}

/// The instance that runs a schedule with these settings.
pub(crate) fn own_instance(
    spec: &Spec,
    name: String,
    is_paused: bool,
    now: DateTime<Utc>,
) -> Result<WorkflowInstance> {
    let (own, own_version) = own_definition(&spec.definition, spec.version);
    let mut instance = WorkflowInstance::created_at(own, own_version, to_value(spec)?, now);
    instance.name = name;
    if is_paused {
        instance.status = WorkflowStatus::Suspended;
        instance.next_execution = None;
    }
    Ok(instance)
}

pub(crate) fn check_timetable(id: &str, timetable: &Timetable, now: DateTime<Utc>) -> Result<()> {
    let every = timetable.every();
    let problem = match every.problem() {
        None if every.next(now, now).is_none_or(|next| next.timestamp_nanos_opt().is_none()) => {
            "its timetable has no tick in the future".to_owned()
        }
        None => return Ok(()),
        Some(problem) => problem,
    };
    Err(WfeError::Invalid(format!("schedule {id:?}: {problem}")))
}

/// Another caller took the name meanwhile. Only the name can conflict: the instance has no reference, and the store
/// chooses its id.
pub(crate) fn is_taken(error: WfeError) -> Result<bool> {
    match error {
        WfeError::AlreadyExists { .. } => Ok(false),
        error => Err(error),
    }
}
