//! Schedules that start workflows.

pub use crate::engine::schedule::{
    tick::Tick,
    timetable::{CatchUp, Timetable},
};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use wfe_core::{
    Kind, Result, WfeError,
    definition::{Data, to_value},
    executor::{ACTIVITY, failed_in_a_row},
    limits::nanos,
    models::{ExecutionPointer, PointerStatus, WorkflowInstance, WorkflowStatus},
    redact,
    traits::{Cursor, Page, StepFailure},
};

use super::workflow_host::{RESERVED, WorkflowHost};
use crate::{
    engine::schedule::{
        definition::{LISTED, Spec, TICK, Ticked, own_definition},
        timetable::next_tick,
    },
    store::check_own,
};

/// Schedules that start workflows; from [`WorkflowHost::schedules`].
///
/// A schedule is kept in the store, and goes on with whatever host runs that knows the definition, or the version of it
/// that the schedule names. Each of its ticks starts one instance, whatever process dies meanwhile; the instance's
/// steps find out which one by [`Tick::of`].
///
/// ```
/// use wfe::{CatchUp, NewSchedule, Timetable, WorkflowHost, definition::{WorkflowBuilder, inline}};
/// use wfe_sqlite::SqlitePersistenceProvider;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> wfe::Result<()> {
/// let report = WorkflowBuilder::<String>::new("report", 1).then("write", inline(|_, _| async { Ok(()) })).build()?;
/// let host = WorkflowHost::new(SqlitePersistenceProvider::new(":memory:").await?);
/// host.register(report)?;
/// host.start().await?;
/// let at_three = Timetable::cron("0 3 * * *").in_zone("Europe/Berlin");
/// let nightly = NewSchedule::new("nightly", "report", at_three).catch_up(CatchUp::One);
/// host.schedules().create(nightly, &"sales".to_owned()).await?;
///
/// let now = host.schedules().trigger("nightly").await?; // and once at once
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

/// A schedule that is to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSchedule {
    id: String,
    definition: String,
    version: Option<u32>,
    timetable: Timetable,
    catch_up: CatchUp,
}

impl NewSchedule {
    /// One of this id, which starts instances of this definition: of the newest version known to the host at each tick.
    pub fn new(id: impl Into<String>, definition: impl Into<String>, timetable: Timetable) -> Self {
        let (id, definition) = (id.into(), definition.into());
        Self { id, definition, version: None, timetable, catch_up: CatchUp::default() }
    }

    /// This version of the definition.
    #[must_use]
    pub fn version(mut self, version: u32) -> Self {
        self.version = Some(version);
        self
    }

    /// What happens about missed ticks; by default, one instance is started.
    #[must_use]
    pub fn catch_up(mut self, catch_up: CatchUp) -> Self {
        self.catch_up = catch_up;
        self
    }
}

/// How a schedule stands.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ScheduleStatus {
    /// Its id.
    pub id: String,
    /// The definition whose instances it starts.
    pub definition: String,
    /// The version; `None`: the newest one known at each tick.
    pub version: Option<u32>,
    /// When.
    pub timetable: Timetable,
    /// What it does about missed ticks.
    pub catch_up: CatchUp,
    /// Whether it is paused.
    pub is_paused: bool,
    /// The last tick; `None`: there was none yet.
    pub last: Option<DateTime<Utc>>,
    /// The next one; a time that is over: no host has come to it yet. `None`: it is just being looked at, or there is none
    /// any more. Of a paused schedule, the tick that it stands at.
    pub next: Option<DateTime<Utc>>,
    /// Why the last attempt to start an instance failed: the store, a middleware that refused it, a definition that the
    /// host did not know. It is tried again, after pauses that grow up to 5 min. `None`: it did not fail.
    pub last_failure: Option<Box<StepFailure>>,
    /// The engine's own instance behind it.
    pub instance_id: String,
}

impl WorkflowHost {
    /// The schedules that start workflows.
    #[must_use]
    pub fn schedules(&self) -> Schedules {
        Schedules(self.clone())
    }

    pub(super) async fn start_scheduled(&self, spec: &Spec, reference: String) -> Result<String> {
        let shared = self.shared();
        let found = shared.find_definition(&spec.definition, spec.version).ok_or_else(|| {
            WfeError::DefinitionNotFound { id: spec.definition.clone(), version: spec.version.unwrap_or(0) }
        })?;
        let mut instance = blank(&spec.definition, found.version(), spec.data.clone(), shared.now());
        instance.reference = Some(reference);
        self.start_instance(instance).await
    }
}

/// An instance that has not begun: only its own definition knows its first step.
fn blank(
    definition: &str,
    version: u32,
    data: serde_json::Value,
    create_time: DateTime<Utc>,
) -> WorkflowInstance {
    WorkflowInstance {
        id: String::new(),
        name: String::new(),
        root_workflow_id: None,
        workflow_definition_id: definition.to_owned(),
        version,
        description: None,
        reference: None,
        execution_pointers: Vec::new(),
        next_execution: Some(0),
        status: WorkflowStatus::Runnable,
        data,
        create_time,
        complete_time: None,
    }
}

impl Schedules {
    /// Makes a schedule, which starts instances with this data. It is stored when this returns, and goes on by itself.
    ///
    /// # Errors
    /// * [`AlreadyExists`](WfeError::AlreadyExists): there is one of this id. One that was deleted is there until a host
    ///   that knows its definition has taken note.
    /// * [`DefinitionNotFound`](WfeError::DefinitionNotFound) (with version 0: no version is registered here).
    /// * [`Invalid`](WfeError::Invalid): an empty id; a timetable that makes no sense, or never comes true any more;
    ///   the definition runs on data of another type.
    /// * [`Unstorable`](WfeError::Unstorable): the clock shows a time that no store can hold.
    /// * [`Unsupported`](WfeError::Unsupported): the store has only the plain traits.
    pub async fn create<D: Data>(&self, schedule: NewSchedule, data: &D) -> Result<()> {
        self.0.require_events()?;
        let (shared, NewSchedule { id, definition, version, timetable, catch_up }) =
            (self.0.shared(), schedule);
        let found = shared.find_definition(&definition, version).ok_or_else(|| {
            WfeError::DefinitionNotFound { id: definition.clone(), version: version.unwrap_or(0) }
        })?;
        let now = shared.now();
        nanos("the time that the clock shows", now)?;
        let data = found.instance(data, now)?.data;
        let every = timetable.every();
        let problem = match every.problem() {
            _ if id.is_empty() => Some("its id is empty".to_owned()),
            None if next_tick(&every, now, now).is_none() => {
                Some("its timetable never comes true".to_owned())
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
        let mut instance = blank(&own, own_version, to_value(&spec)?, now);
        instance.name = name;
        match self.0.start_instance(instance).await {
            Ok(_) => Ok(()),
            // Somebody else was quicker. Only its name can be taken: it has no reference, and its id is the store's.
            Err(WfeError::AlreadyExists { .. }) => {
                Err(WfeError::AlreadyExists { kind: Kind::Schedule, id: spec.id })
            }
            Err(error) => Err(error),
        }
    }

    /// How a schedule stands.
    ///
    /// # Errors
    /// * [`ScheduleNotFound`](WfeError::ScheduleNotFound): there is no such schedule.
    /// * [`Corrupt`](WfeError::Corrupt): what is stored of it does not decode.
    pub async fn get(&self, id: &str) -> Result<ScheduleStatus> {
        self.status_of(self.find(id).await?).await
    }

    async fn status_of(&self, mut instance: WorkflowInstance) -> Result<ScheduleStatus> {
        let shared = self.0.shared();
        let mut is_looked_at = false;
        // Its pause is over, which is stored with what comes of it: somebody is at it, or nobody is there.
        if instance.status == WorkflowStatus::Runnable
            && tick_of(&instance).and_then(|tick| tick.sleep_until).is_some_and(|until| until <= shared.now())
        {
            let loaded = shared.store.inspect(&instance.id).await?;
            (instance, is_looked_at) = (loaded.instance, loaded.owner.is_some());
        }
        let failing = tick_of(&instance).filter(|tick| failed_in_a_row(tick) > 0).map(|tick| tick.id.clone());
        let mut status = ScheduleStatus::of(instance)?;
        if is_looked_at {
            status.next = None;
        }
        if let Some(tick) = failing {
            let last = shared.store.last_failures(&status.instance_id, &[tick]).await?;
            status.last_failure = last.into_iter().next().map(Box::new);
        }
        Ok(status)
    }

    /// A page of all schedules, oldest first. A new one is in it as soon as a host that knows its definition has taken it
    /// up. A page may be shorter than `limit` although others follow: [`Page::next`] tells. One that this program cannot
    /// read is left out, and logged once.
    ///
    /// # Errors
    /// [`Unsupported`](WfeError::Unsupported): the store has only the plain traits.
    pub async fn list(&self, after: Option<Cursor>, limit: usize) -> Result<Page<ScheduleStatus>> {
        let shared = self.0.shared();
        let page = shared.store.open_waits(&format!("{ACTIVITY}{LISTED}"), after, limit).await?;
        let mut ids = Vec::with_capacity(page.rows.len());
        for wait in page.rows {
            ids.extend(shared.sound(check_own(&wait).map(|()| wait.workflow_id))?);
        }
        let instances = shared.loss.seen(shared.provider.get_workflow_instances(&ids).await)?;
        // One may have ended meanwhile.
        let mut rows = Vec::new();
        for instance in instances.into_iter().filter(|instance| !instance.status.is_final()) {
            rows.extend(shared.sound(self.status_of(instance).await)?);
        }
        Ok(Page { rows, next: page.next })
    }

    /// Starts an instance at once, beside the timetable, paused or not; gives its id.
    ///
    /// # Errors
    /// * [`ScheduleNotFound`](WfeError::ScheduleNotFound): there is no such schedule.
    /// * Those of [`start_workflow`](WorkflowHost::start_workflow).
    #[expect(clippy::disallowed_methods, reason = "unique in the world, so not repeatable")]
    pub async fn trigger(&self, id: &str) -> Result<String> {
        let instance = self.find(id).await?;
        let spec = spec_of(&instance)?;
        let reference = format!("{}/trigger/{:032x}", instance.id, fastrand::u128(..));
        self.0.start_scheduled(&spec, reference).await
    }

    /// Lets it stand still. What it started goes on. Ticks that come until it is resumed are missed ones.
    ///
    /// # Errors
    /// [`ScheduleNotFound`](WfeError::ScheduleNotFound): there is no such schedule.
    pub async fn pause(&self, id: &str) -> Result<()> {
        self.0.suspend(&self.find(id).await?.id).await
    }

    /// Lets it go on.
    ///
    /// # Errors
    /// [`ScheduleNotFound`](WfeError::ScheduleNotFound): there is no such schedule.
    pub async fn resume(&self, id: &str) -> Result<()> {
        self.0.resume(&self.find(id).await?.id).await
    }

    /// Ends it. What it started goes on.
    ///
    /// # Errors
    /// [`ScheduleNotFound`](WfeError::ScheduleNotFound): there is no such schedule.
    pub async fn delete(&self, id: &str) -> Result<()> {
        self.0.terminate(&self.find(id).await?.id).await
    }

    async fn find(&self, id: &str) -> Result<WorkflowInstance> {
        match self.look_up(id).await? {
            Found::There(instance) => Ok(*instance),
            Found::Free(_) => Err(WfeError::ScheduleNotFound(id.to_owned())),
        }
    }

    /// A schedule's instance has a name made from its id, and from a count of those that had the id before: names are never
    /// given twice.
    async fn look_up(&self, id: &str) -> Result<Found> {
        for count in 1_u64.. {
            let name = format!("{RESERVED}schedule:{count}:{id}");
            let shared = self.0.shared();
            match shared.loss.seen(shared.provider.get_workflow_instance_by_name(&name).await) {
                Ok(instance) if instance.status.is_final() => {}
                Ok(instance) => return Ok(Found::There(Box::new(instance))),
                Err(WfeError::WorkflowNotFound(_)) => return Ok(Found::Free(name)),
                Err(error) => return Err(error),
            }
        }
        Err(WfeError::Invalid(format!("schedule {id:?} was made too often")))
    }
}

enum Found {
    There(Box<WorkflowInstance>),
    /// The name for a new one.
    Free(String),
}

/// Where a schedule's own instance sleeps until the next tick.
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
    let message = "it is not what this program keeps of a schedule".to_owned();
    WfeError::Corrupt { table, column, row, message, source: Some(Box::new(redact(source))) }
}

impl ScheduleStatus {
    fn of(instance: WorkflowInstance) -> Result<Self> {
        let spec = spec_of(&instance)?;
        let tick = tick_of(&instance);
        let ticked = tick.and_then(|tick| tick.persistence_data.as_ref()).map(Ticked::deserialize);
        let ticked = ticked.transpose().map_err(|source| {
            let row = format!("{} of {}", tick.map_or(TICK, |tick| &tick.id), instance.id);
            not_of_a_schedule("execution_pointers", "persistence_data", row, source)
        })?;
        let asleep = tick.filter(|tick| tick.status == PointerStatus::Sleeping);
        // Its first sleep counts from when it was made, which is no tick.
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
