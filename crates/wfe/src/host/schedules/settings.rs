use std::{
    fmt,
    future::{Future, IntoFuture},
    marker::PhantomData,
    pin::Pin,
};

use chrono::{DateTime, Utc};
use serde_json::Value;
use wfe_core::{
    Result,
    definition::{AnyDefinition, Data, to_value},
};

use super::Schedules;
use crate::engine::{CatchUp, Timetable};

/// The settings of a new schedule, for [`Schedules::create`] and [`Schedules::create_or_replace`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewSchedule {
    pub(crate) id: String,
    pub(crate) definition: String,
    pub(crate) version: Option<u32>,
    pub(crate) timetable: Timetable,
    pub(crate) catch_up: CatchUp,
    pub(crate) paused: Option<bool>,
}

impl NewSchedule {
    /// Describes a schedule with this id that starts instances of this definition. At each tick, it starts the newest
    /// version that is registered on the host that runs the schedule.
    pub fn new(id: impl Into<String>, definition: impl Into<String>, timetable: Timetable) -> Self {
        let (id, definition) = (id.into(), definition.into());
        Self { id, definition, version: None, timetable, catch_up: CatchUp::default(), paused: None }
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

    /// Sets whether the schedule is paused. By default, a new schedule is not paused, and a replaced one is paused if it
    /// was paused before.
    #[must_use]
    pub fn paused(mut self, paused: bool) -> Self {
        self.paused = Some(paused);
        self
    }
}

/// What a call has done to a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Change {
    /// No schedule had the id, and one was created.
    Created,
    /// The schedule has other settings now.
    Replaced,
    /// The schedule had these settings already. Nothing was written.
    Unchanged,
}

type Checked<T> = Pin<Box<dyn Future<Output = Result<T>> + Send>>;

/// A schedule with its options. It is stored when it is awaited. [`Workflow::schedule`](crate::host::Workflow::schedule)
/// returns it.
#[must_use = "no schedule is stored before it is awaited"]
pub struct Scheduling<D> {
    schedules: Schedules,
    new: NewSchedule,
    /// The data, or why they cannot be serialised, which the awaited result tells.
    data: serde_json::Result<Value>,
    of: PhantomData<fn(D)>,
}

impl<D: Data> Scheduling<D> {
    pub(super) fn new(schedules: Schedules, new: NewSchedule, data: &D) -> Self {
        Self { schedules, new, data: to_value(data), of: PhantomData }
    }
}

impl<D> Scheduling<D> {
    /// Sets the version of the definition to start. By default, each tick starts the newest version that is registered
    /// on the host that runs the schedule.
    pub fn version(mut self, version: u32) -> Self {
        self.new = self.new.version(version);
        self
    }

    /// Sets what happens to missed ticks. Default: one instance is started for all of them.
    pub fn catch_up(mut self, catch_up: CatchUp) -> Self {
        self.new = self.new.catch_up(catch_up);
        self
    }

    /// Sets whether the schedule is paused. By default, a new schedule is not paused, and a replaced one is paused if it
    /// was paused before.
    pub fn paused(mut self, paused: bool) -> Self {
        self.new = self.new.paused(paused);
        self
    }
}

impl<D: Data> IntoFuture for Scheduling<D> {
    type Output = Result<Change>;
    type IntoFuture = Checked<Change>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.schedules.put::<D>(self.new, self.data).await })
    }
}

impl<D> fmt::Debug for Scheduling<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scheduling").field("new", &self.new).finish_non_exhaustive()
    }
}

/// Converts data of the program, once the definition is known whose instances get the data.
pub(super) type Convert = Box<dyn Fn(&AnyDefinition, DateTime<Utc>) -> Result<Value> + Send + Sync>;

/// A change of some settings of a schedule. It happens when it is awaited. [`Schedules::update`] returns it.
#[must_use = "nothing changes before it is awaited"]
pub struct Updating {
    pub(super) schedules: Schedules,
    pub(super) id: String,
    pub(super) timetable: Option<Timetable>,
    pub(super) catch_up: Option<CatchUp>,
    pub(super) data: Option<Convert>,
}

impl Updating {
    /// Sets when the schedule starts instances.
    pub fn timetable(mut self, timetable: Timetable) -> Self {
        self.timetable = Some(timetable);
        self
    }

    /// Sets what happens to missed ticks.
    pub fn catch_up(mut self, catch_up: CatchUp) -> Self {
        self.catch_up = Some(catch_up);
        self
    }

    /// Sets the data of the instances that the schedule starts from now on. The definition must be registered on this
    /// host.
    pub fn data<D: Data>(mut self, data: &D) -> Self {
        let data = data.clone();
        self.data = Some(Box::new(move |definition, now| Ok(definition.instance(&data, now)?.data)));
        self
    }
}

impl IntoFuture for Updating {
    type Output = Result<Change>;
    type IntoFuture = Checked<Change>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.schedules.clone().change(self).await })
    }
}

impl fmt::Debug for Updating {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { id, timetable, catch_up, .. } = self;
        let mut debug = f.debug_struct("Updating");
        debug
            .field("id", id)
            .field("timetable", timetable)
            .field("catch_up", catch_up)
            .finish_non_exhaustive()
    }
}
