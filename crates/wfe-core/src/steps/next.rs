use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::{Activity, Event, StepError, check, to_value, unstorable};

/// The return value of a successful body: how its instance continues.
///
/// `Done`, `Outcome` and `Branch` complete the step and call its output closures. After any other value, the
/// same body runs again. A body can store state for its next run with [`persist`](Self::persist) or
/// [`keeping`](Self::keeping). The next run reads this state with [`Ctx::state`](super::Ctx::state).
///
/// ```
/// use std::time::Duration;
/// use wfe_core::steps::{Ctx, Next, Step, StepResult};
///
/// /// Polls a slow service until its work is done: first every minute, later every hour.
/// #[derive(Clone)]
/// struct Poll { polls: u32 }
///
/// impl Step for Poll {
///     async fn run(&mut self, ctx: &Ctx) -> StepResult {
///         self.polls = ctx.state()?.unwrap_or(0) + 1;
///         if self.polls == 10 {
///             return Ok(Next::Done);
///         }
///         let interval = if self.polls < 5 { Duration::from_mins(1) } else { Duration::from_hours(1) };
///         Next::sleep(interval).keeping(&self.polls)
///     }
/// }
/// ```
///
/// One step that orders a parcel, waits for its delivery, and has an external worker inspect the parcel:
///
/// ```
/// use wfe_core::{
///     definition::{Activity, Event},
///     steps::{Ctx, Next, Step, StepResult},
/// };
///
/// const DELIVERED: Event<String> = Event::new("delivered");
/// const INSPECT: Activity<String, bool> = Activity::new("inspect");
///
/// #[derive(Clone)]
/// struct Order;
///
/// impl Step for Order {
///     async fn run(&mut self, ctx: &Ctx) -> StepResult {
///         match ctx.state::<String>()?.as_deref() {
///             // Stored before any side effect: after a crash, the body continues from this state.
///             None => return Next::persist(&"ordered"),
///             Some(_) => {}
///         }
///         if let Some(is_sound) = ctx.received(INSPECT)? {
///             return Next::outcome(&is_sound);
///         }
///         match ctx.received(DELIVERED)? {
///             None => Ok(Next::wait_for_event(DELIVERED, ctx.instance_id())),
///             Some(parcel) => Next::wait_for_activity(INSPECT, &parcel),
///         }
///     }
/// }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Next {
    /// The step is completed, without an outcome.
    Done,
    /// The step is completed; the value is stored as its outcome.
    Outcome(Value),
    /// The branch of the step runs once for each of these values. The step is completed when all of these runs
    /// have ended. Only a step with a branch ([`each`](crate::definition::Sequence::each)) may return this value.
    Branch(Vec<Value>),
    /// The body runs again after this duration, counted from the end of this run. Sleeping costs nothing. The
    /// wake-up time is stored, so it survives a crash.
    Sleep(Duration),
    /// The body runs again at this time. Sleeping costs nothing. The time is stored, so it survives a crash.
    ///
    /// Prefer this variant to a [`Sleep`](Self::Sleep) whose duration the body computes from a time. With this
    /// variant, the body runs again on time, even if the clock is set while the body runs or while its return
    /// value is stored. If the time has already passed, the body runs again at once, so a body that always
    /// returns a past time runs forever. A time that no store can hold (after the year 2262) fails the step
    /// with the fatal error [`UNSTORABLE`](StepError::UNSTORABLE).
    SleepUntil(DateTime<Utc>),
    /// The state is stored, and the body runs again at once.
    Persist(Value),
    /// The body runs again when this event has arrived, and reads the event's data with
    /// [`Ctx::received`](super::Ctx::received). Event names that begin with `wfe.` are reserved for the engine: they
    /// fail the attempt.
    WaitForEvent(EventWait),
    /// The body runs again when an external worker has done this activity, and reads the worker's result with
    /// [`Ctx::received`](super::Ctx::received). If the worker fails, the attempt of the step fails. Activity names
    /// that begin with `wfe.` are reserved for the engine: they fail the attempt too.
    WaitForActivity(ActivityWait),
    /// The instance continues as `then` specifies, and this state is stored for the next run of the body or for
    /// the step's compensation.
    Keep {
        /// The state to store.
        state: Value,
        /// How the instance continues.
        then: Box<Next>,
    },
}

/// The event that a body waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventWait {
    /// The name of the event.
    pub name: String,
    /// The key of the event.
    pub key: String,
    /// Only an event with this timestamp or a later timestamp ends the wait. `None` means that the event must
    /// be published after the creation of the instance. A child workflow is created when its parent reaches the
    /// sub-workflow step.
    ///
    /// The timestamp has no effect once the instance has consumed an event of this name and key. In that case,
    /// the wait ends with the first event that follows the consumed event. A timestamp that no store can hold
    /// is replaced by the nearest timestamp that a store can hold.
    pub effective: Option<DateTime<Utc>>,
}

/// The activity that a body waits for.
#[derive(Debug, Clone, PartialEq)]
pub struct ActivityWait {
    /// The name by which workers find the activity.
    pub name: String,
    /// The input for the worker.
    pub input: Value,
}

impl Next {
    /// [`Next::Outcome`] with any serializable value.
    ///
    /// # Errors
    /// JSON cannot represent the value. The error is fatal, because another attempt would give the same value.
    pub fn outcome(value: &impl Serialize) -> Result<Self, StepError> {
        json(value).map(Self::Outcome)
    }

    /// [`Next::Branch`] with these values.
    ///
    /// # Errors
    /// The same errors as [`outcome`](Self::outcome).
    pub fn branch<T: Serialize>(values: impl IntoIterator<Item = T>) -> Result<Self, StepError> {
        values.into_iter().map(|value| json(&value)).collect::<Result<_, _>>().map(Self::Branch)
    }

    /// [`Next::Sleep`] for this duration.
    #[must_use]
    pub fn sleep(duration: Duration) -> Self {
        Self::Sleep(duration)
    }

    /// [`Next::SleepUntil`] this time.
    ///
    /// ```
    /// use chrono::{DateTime, Utc};
    /// use wfe_core::steps::{Ctx, Next, StepResult};
    ///
    /// /// Waits for the opening, then completes.
    /// async fn open(ctx: &Ctx, opening: DateTime<Utc>) -> StepResult {
    ///     match ctx.state::<bool>()? {
    ///         None => Next::sleep_until(opening).keeping(&true),
    ///         Some(_) => Ok(Next::Done),
    ///     }
    /// }
    /// ```
    #[must_use]
    pub fn sleep_until(time: DateTime<Utc>) -> Self {
        Self::SleepUntil(time)
    }

    /// [`Next::Persist`] with any serializable value.
    ///
    /// # Errors
    /// The same errors as [`outcome`](Self::outcome).
    pub fn persist(state: &impl Serialize) -> Result<Self, StepError> {
        json(state).map(Self::Persist)
    }

    /// [`Next::WaitForEvent`] for an event published after the creation of the instance. The next run of the body gets
    /// the event's data from [`Ctx::received`](super::Ctx::received).
    pub fn wait_for_event<V>(event: Event<V>, key: impl Into<String>) -> Self {
        Self::WaitForEvent(EventWait { name: event.into(), key: key.into(), effective: None })
    }

    /// [`Next::WaitForActivity`] with this input. The next run of the body gets the worker's result from
    /// [`Ctx::received`](super::Ctx::received).
    ///
    /// # Errors
    /// The same errors as [`outcome`](Self::outcome).
    pub fn wait_for_activity<I: Serialize, O>(
        activity: Activity<I, O>,
        input: &I,
    ) -> Result<Self, StepError> {
        Ok(Self::WaitForActivity(ActivityWait { name: activity.into(), input: json(input)? }))
    }

    /// This return value, together with state to store; see [`Next::Keep`].
    ///
    /// # Errors
    /// The same errors as [`outcome`](Self::outcome).
    pub fn keeping(self, state: &impl Serialize) -> Result<Self, StepError> {
        Ok(Self::Keep { state: json(state)?, then: Box::new(self) })
    }

    /// The values, if this is a [`Next::Branch`] or a [`Next::Keep`] that contains a [`Next::Branch`]. Any
    /// other return value is returned unchanged as `Err`.
    pub(crate) fn branches(self) -> Result<Vec<Value>, Self> {
        match self {
            Self::Branch(values) => Ok(values),
            Self::Keep { state, then } => {
                then.branches().map_err(|then| Self::Keep { state, then: Box::new(then) })
            }
            other => Err(other),
        }
    }

    /// Refuses values that no store accepts. Programs can construct the variants directly, so checks in the
    /// constructors would not suffice.
    pub(crate) fn check(&self) -> Result<(), StepError> {
        let mut next = self;
        while let Self::Keep { state, then } = next {
            check("the state that the step keeps", state)?;
            next = then;
        }
        match next {
            Self::Outcome(value) => check("the step's outcome", value),
            Self::Branch(values) => values.iter().try_for_each(|value| check("a value of a branch", value)),
            Self::Persist(state) => check("the state that the step keeps", state),
            Self::WaitForActivity(wait) => check("the activity's input", &wait.input),
            // An event timestamp out of range is replaced by the nearest timestamp that can be stored.
            Self::WaitForEvent(_) | Self::Done | Self::Sleep(_) | Self::SleepUntil(_) | Self::Keep { .. } => {
                Ok(())
            }
        }
    }

    /// The return value without any enclosing [`Next::Keep`], and the state to store, if there is any. If there
    /// are several states, the outermost state is stored.
    pub(crate) fn split(self) -> (Self, Option<Value>) {
        let (mut next, mut kept) = (self, None);
        loop {
            match next {
                Self::Keep { state, then } => {
                    kept.get_or_insert(state);
                    next = *then;
                }
                Self::Persist(ref state) => {
                    let kept = kept.or_else(|| Some(state.clone()));
                    return (next, kept);
                }
                next => return (next, kept),
            }
        }
    }
}

fn json(value: &impl Serialize) -> Result<Value, StepError> {
    to_value(value).map_err(unstorable)
}

/// The values that a body may return: [`Next`], or any serializable value. A serializable value becomes
/// the step's outcome; `()`, and any other value that serializes to `null`, gives no outcome.
pub trait IntoNext {
    /// The [`Next`] that this value represents.
    ///
    /// # Errors
    /// JSON cannot represent the value.
    fn next(&self) -> Result<Next, StepError>;
}

impl<T: Serialize> IntoNext for T {
    fn next(&self) -> Result<Next, StepError> {
        Ok(match Next::outcome(self)? {
            Next::Outcome(Value::Null) => Next::Done,
            next => next,
        })
    }
}

impl IntoNext for Next {
    fn next(&self) -> Result<Next, StepError> {
        Ok(self.clone())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn of_several_states_the_last_one_is_stored() {
        let next = Next::sleep(Duration::ZERO).keeping(&1).unwrap().keeping(&2).unwrap();
        assert_eq!(next.split(), (Next::Sleep(Duration::ZERO), Some(json!(2))));
        let persist = Next::persist(&1).unwrap();
        assert_eq!(persist.clone().split(), (persist, Some(json!(1))));
        let branches = Next::branch([7]).unwrap().keeping(&1).unwrap();
        assert_eq!(branches.branches(), Ok(vec![json!(7)]));
    }
}
