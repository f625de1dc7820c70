//! Schedules that start workflows.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use wfe_core::{
    Kind, Result, WfeError,
    definition::{Data, to_value},
    executor::view,
    limits::nanos,
    models::{ExecutionPointer, PointerStatus, WorkflowInstance, WorkflowStatus},
    redact,
    traits::{Cursor, Page, Requested, StepFailure},
};

use super::workflow_host::{RESERVED, WorkflowHost};
use crate::{
    engine::{CatchUp, LISTED, Spec, TICK, Ticked, Timetable, next_tick, own_definition},
    store::check_own,
};

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

/// The settings of a new schedule, for [`Schedules::create`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSchedule {
    id: String,
    definition: String,
    version: Option<u32>,
    timetable: Timetable,
    catch_up: CatchUp,
}

impl NewSchedule {
    /// Describes a schedule with this id that starts instances of this definition. At each tick, it starts the newest
    /// version that is registered on the host that runs the schedule.
    pub fn new(id: impl Into<String>, definition: impl Into<String>, timetable: Timetable) -> Self {
        let (id, definition) = (id.into(), definition.into());
        Self { id, definition, version: None, timetable, catch_up: CatchUp::default() }
    }

    /// Sets the version of the definition to start, in place of the newest version.
    #[must_use]
    pub fn version(mut self, version: u32) -> Self {
        self.version = Some(version);
        self
    }

    /// Sets what happens to missed ticks. Default: one instance is started for all of them.
    #[must_use]
    pub fn catch_up(mut self, catch_up: CatchUp) -> Self {
        self.catch_up = catch_up;
        self
    }
}

/// The status of a schedule. [`Schedules::get`] and [`Schedules::list`] return this type.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScheduleStatus {
    /// The id of the schedule.
    pub id: String,
    /// The id of the definition whose instances the schedule starts.
    pub definition: String,
    /// The version of the definition. `None` means the newest version that is registered at each tick.
    pub version: Option<u32>,
    /// When the schedule starts instances.
    pub timetable: Timetable,
    /// How the schedule handles missed ticks.
    pub catch_up: CatchUp,
    /// Whether the schedule is paused.
    pub is_paused: bool,
    /// The last tick. `None` means that there was no tick yet.
    pub last: Option<DateTime<Utc>>,
    /// The next tick. For a paused schedule, this is the tick that was next when the schedule was paused. A time in
    /// the past means that no host has processed this tick yet. `None` means that a host is processing the tick now,
    /// or that no further tick follows.
    pub next: Option<DateTime<Utc>>,
    /// Why the last attempt to start an instance failed: an error of the store, a middleware that refused the start,
    /// or a definition that was not registered. The start is retried with a backoff of up to 5 min. `None` means that
    /// the last attempt did not fail.
    pub last_failure: Option<Box<StepFailure>>,
    /// The id of the engine's own instance that runs the schedule.
    pub instance_id: String,
}

impl WorkflowHost {
    /// Returns the schedules, which start workflows at set times.
    #[must_use]
    pub fn schedules(&self) -> Schedules {
        Schedules(self.clone())
    }
}

impl Schedules {
    /// Creates a schedule that starts instances with this data. When this returns, the schedule is stored, and hosts
    /// run it.
    ///
    /// # Errors
    /// * [`AlreadyExists`](WfeError::AlreadyExists): a schedule with this id exists. A deleted schedule exists until
    ///   a host on which its definition is registered has applied the deletion.
    /// * [`DefinitionNotFound`](WfeError::DefinitionNotFound): the definition is not registered on this host. The
    ///   error has version 0 if no version is registered.
    /// * [`Invalid`](WfeError::Invalid): the id is empty; the timetable is not valid, or has no tick in the future;
    ///   or the definition has another data type.
    /// * [`Unstorable`](WfeError::Unstorable): the clock shows a time that no store can hold.
    /// * [`Unsupported`](WfeError::Unsupported): the store implements only the base traits (those of
    ///   `PersistenceProvider`).
    pub async fn create<D: Data>(&self, schedule: NewSchedule, data: &D) -> Result<()> {
        self.0.require_events()?;
        let (engine, NewSchedule { id, definition, version, timetable, catch_up }) =
            (self.0.engine(), schedule);
        let found = engine.find_definition(&definition, version).ok_or_else(|| {
            WfeError::DefinitionNotFound { id: definition.clone(), version: version.unwrap_or(0) }
        })?;
        let now = engine.now();
        nanos("the time that the clock shows", now)?;
        let data = found.instance(data, now)?.data;
        let every = timetable.every();
        let problem = match every.problem() {
            _ if id.is_empty() => Some("its id is empty".to_owned()),
            None if next_tick(&every, now, now).is_none() => {
                Some("its timetable has no tick in the future".to_owned())
            }
            problem => problem,
        };
        if let Some(problem) = problem {
            return Err(WfeError::Invalid(format!("schedule {id:?}: {problem}")));
        }
        let name = match self.look_up(&id).await? {
            Found::Free(name) => name,
            Found::There(_) => return Err(WfeError::AlreadyExists { kind: Kind::Schedule, id }),
        };
        let (own, own_version) = own_definition(&definition, version);
        let spec = Spec { id, definition, version, data, timetable, catch_up, created: now };
        let mut instance = WorkflowInstance::created_at(own, own_version, to_value(&spec)?, now);
        instance.name = name;
        match engine.start(instance).await {
            Ok(_) => Ok(()),
            // Another caller created the schedule first. Only the name can conflict: the instance has no reference,
            // and the store chooses its id.
            Err(WfeError::AlreadyExists { .. }) => {
                Err(WfeError::AlreadyExists { kind: Kind::Schedule, id: spec.id })
            }
            Err(error) => Err(error),
        }
    }

    /// Returns the status of a schedule.
    ///
    /// # Errors
    /// * [`ScheduleNotFound`](WfeError::ScheduleNotFound): no schedule has this id.
    /// * [`Corrupt`](WfeError::Corrupt): the stored state of the schedule does not decode.
    pub async fn get(&self, id: &str) -> Result<ScheduleStatus> {
        self.status_of(self.find(id).await?).await
    }

    async fn status_of(&self, mut instance: WorkflowInstance) -> Result<ScheduleStatus> {
        let store = self.0.store();
        let mut is_claimed = false;
        // The sleep is over, but the end of a sleep is stored only together with the result of the tick. Either a
        // host is processing the tick now, or no host runs.
        if instance.status == WorkflowStatus::Runnable
            && tick_of(&instance)
                .and_then(|tick| tick.sleep_until)
                .is_some_and(|until| until <= self.0.engine().now())
        {
            let loaded = store.inspect(&instance.id).await?;
            (instance, is_claimed) = (loaded.instance, loaded.owner.is_some());
        }
        let failing =
            tick_of(&instance).filter(|tick| view::has_failed_attempt(tick)).map(|tick| tick.id.clone());
        let mut status = ScheduleStatus::of(instance)?;
        if is_claimed {
            status.next = None;
        }
        if let Some(tick) = failing {
            let last = store.last_failures(&status.instance_id, &[tick]).await?;
            status.last_failure = last.into_iter().next().map(Box::new);
        }
        Ok(status)
    }

    /// Returns a page of all schedules, oldest first. A new schedule is listed as soon as a host on which its
    /// definition is registered has processed it for the first time. A page may have fewer than `limit` rows although
    /// more follow; [`Page::next`] shows whether more follow. A schedule that this version of the program cannot read
    /// is left out and logged once.
    ///
    /// # Errors
    /// [`Unsupported`](WfeError::Unsupported): the store implements only the base traits (those of
    /// `PersistenceProvider`).
    pub async fn list(&self, after: Option<Cursor>, limit: usize) -> Result<Page<ScheduleStatus>> {
        let store = self.0.store();
        let page = store.open_waits(&view::activity_event(LISTED), after, limit).await?;
        let mut ids = Vec::with_capacity(page.rows.len());
        for wait in page.rows {
            ids.extend(store.sound(check_own(&wait).map(|()| wait.workflow_id))?);
        }
        let instances = store.loss.seen(store.provider.get_workflow_instances(&ids).await)?;
        // A schedule may have ended since its wait was read.
        let mut rows = Vec::new();
        for instance in instances.into_iter().filter(|instance| !instance.status.is_final()) {
            rows.extend(store.sound(self.status_of(instance).await)?);
        }
        Ok(Page { rows, next: page.next })
    }

    /// Starts an instance at once, in addition to the timetable, even if the schedule is paused. Returns the
    /// instance's id.
    ///
    /// # Errors
    /// * [`ScheduleNotFound`](WfeError::ScheduleNotFound): no schedule has this id.
    /// * The errors of [`start_workflow`](WorkflowHost::start_workflow).
    #[expect(clippy::disallowed_methods, reason = "unique in the world, so not repeatable")]
    pub async fn trigger(&self, id: &str) -> Result<String> {
        let instance = self.find(id).await?;
        let spec = spec_of(&instance)?;
        let reference = format!("{}/trigger/{:032x}", instance.id, fastrand::u128(..));
        self.0.engine().start_scheduled(&spec, reference).await
    }

    /// Pauses a schedule. Instances that it has started continue. Ticks that are due while the schedule is paused
    /// count as missed. [`CatchUp`] decides what happens to them when the schedule is resumed.
    ///
    /// # Errors
    /// [`ScheduleNotFound`](WfeError::ScheduleNotFound): no schedule has this id.
    pub async fn pause(&self, id: &str) -> Result<()> {
        unless_void(self.0.suspend(&self.find(id).await?.id).await)
    }

    /// Resumes a paused schedule.
    ///
    /// # Errors
    /// [`ScheduleNotFound`](WfeError::ScheduleNotFound): no schedule has this id.
    pub async fn resume(&self, id: &str) -> Result<()> {
        unless_void(self.0.resume(&self.find(id).await?.id).await)
    }

    /// Deletes a schedule. Instances that it has started continue.
    ///
    /// # Errors
    /// [`ScheduleNotFound`](WfeError::ScheduleNotFound): no schedule has this id.
    pub async fn delete(&self, id: &str) -> Result<()> {
        unless_void(self.0.terminate(&self.find(id).await?.id).await)
    }

    async fn find(&self, id: &str) -> Result<WorkflowInstance> {
        match self.look_up(id).await? {
            Found::There(instance) => Ok(*instance),
            Found::Free(_) => Err(WfeError::ScheduleNotFound(id.to_owned())),
        }
    }

    /// Finds the instance behind a schedule by its name. The name consists of the schedule's id and a number, which
    /// counts the earlier schedules with this id, because an instance's name cannot be used again.
    async fn look_up(&self, id: &str) -> Result<Found> {
        for count in 1_u64.. {
            let name = format!("{RESERVED}schedule:{count}:{id}");
            let store = self.0.store();
            match store.loss.seen(store.provider.get_workflow_instance_by_name(&name).await) {
                Ok(instance) if instance.status.is_final() => {}
                Ok(instance) => return Ok(Found::There(Box::new(instance))),
                Err(WfeError::WorkflowNotFound(_)) => return Ok(Found::Free(name)),
                Err(error) => return Err(error),
            }
        }
        Err(WfeError::Invalid(format!("schedule {id:?} was created too many times; choose another id")))
    }
}

enum Found {
    There(Box<WorkflowInstance>),
    /// No schedule has the id. Holds the name for the instance of a new schedule with this id.
    Free(String),
}

/// The execution pointer at which a schedule's instance sleeps until the next tick.
fn tick_of(instance: &WorkflowInstance) -> Option<&ExecutionPointer> {
    instance.execution_pointers.iter().find(|pointer| pointer.step_name.as_deref() == Some(TICK))
}

fn spec_of(instance: &WorkflowInstance) -> Result<Spec> {
    Spec::deserialize(&instance.data)
        .map_err(|source| not_of_a_schedule("workflows", "data", instance.id.clone(), source))
}

fn not_of_a_schedule(
    table: &'static str,
    column: &'static str,
    row: String,
    source: serde_json::Error,
) -> WfeError {
    let message = "not a schedule that this version of the program can read".to_owned();
    WfeError::Corrupt { table, column, row, message, source: Some(Box::new(redact(source))) }
}

impl ScheduleStatus {
    fn of(instance: WorkflowInstance) -> Result<Self> {
        let spec = spec_of(&instance)?;
        let tick = tick_of(&instance);
        let ticked = tick.map(view::kept_state::<Ticked>).transpose().map(Option::flatten);
        let ticked = ticked.map_err(|source| {
            let row = format!("{} of {}", tick.map_or(TICK, |tick| &tick.id), instance.id);
            not_of_a_schedule("execution_pointers", "persistence_data", row, source)
        })?;
        let asleep = tick.filter(|tick| tick.status == PointerStatus::Sleeping);
        // Before the first tick, `last` is the time at which the schedule was created, which is not a tick.
        let last = ticked.map(|ticked| ticked.last).filter(|last| *last != spec.created);
        Ok(Self {
            id: spec.id,
            definition: spec.definition,
            version: spec.version,
            next: asleep.and_then(|_| {
                spec.timetable.every().next(last.unwrap_or(spec.created), last.unwrap_or(spec.created))
            }),
            timetable: spec.timetable,
            catch_up: spec.catch_up,
            is_paused: instance.status == WorkflowStatus::Suspended,
            last,
            last_failure: None,
            instance_id: instance.id,
        })
    }
}

/// The answer to a request for the instance of a schedule. A request that can have no effect is no error here.
fn unless_void(requested: Result<Requested>) -> Result<()> {
    match requested {
        Ok(_) | Err(WfeError::NoEffect { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}
