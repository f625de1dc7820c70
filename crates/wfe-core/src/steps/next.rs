use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use super::{StepError, check, to_value, unstorable};

/// How the instance goes on after a body that ended well.
///
/// `Done`, `Outcome` and `Branch` end the step: its output closures are called. After the others the same body runs
/// again; what it is to remember until then it keeps ([`persist`](Self::persist), [`keeping`](Self::keeping)) and finds
/// again in [`Ctx::state`](super::Ctx::state).
///
/// ```
/// use std::time::Duration;
/// use wfe_core::steps::{Ctx, Next, Step, StepResult};
///
/// /// Asks a slow service until it is done: first every minute, later once an hour.
/// struct Poll { asked: u32 }
///
/// impl Step for Poll {
///     async fn run(&mut self, ctx: &Ctx) -> StepResult {
///         self.asked = ctx.state()?.unwrap_or(0) + 1;
///         if self.asked == 10 {
///             return Ok(Next::Done);
///         }
///         let pause = if self.asked < 5 { Duration::from_mins(1) } else { Duration::from_hours(1) };
///         Next::sleep(pause).keeping(&self.asked)
///     }
/// }
/// ```
///
/// A body that begins something outside, waits for it, and has it checked by somebody, in one step:
///
/// ```
/// use wfe_core::steps::{Ctx, Next, Step, StepError, StepResult};
///
/// struct Order;
///
/// impl Step for Order {
///     async fn run(&mut self, ctx: &Ctx) -> StepResult {
///         match ctx.state::<String>()?.as_deref() {
///             // Stored before anything is done: a run after a crash goes on from here.
///             None => Next::persist(&"ordered"),
///             Some("ordered") => Next::wait_for_event("delivered", ctx.instance_id()).keeping(&"delivery"),
///             Some("delivery") => {
///                 let parcel: Option<String> = ctx.event()?;
///                 Next::wait_for_activity("inspect", &parcel)?.keeping(&"inspection")
///             }
///             Some(_) => Next::outcome(&ctx.event::<bool>()?),
///         }
///     }
/// }
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Next {
    /// To the next step.
    Done,
    /// To the next step; the value is stored with the step as its outcome.
    Outcome(Value),
    /// The branch of the step runs for each of these values; the instance goes on when all of them have ended. Only a
    /// step that has a branch ([`then_each`](crate::definition::Sequence::then_each)) may answer this.
    Branch(Vec<Value>),
    /// The body runs again after this pause, which begins when the body ends. It costs nothing while it lasts, and goes on
    /// over a crash.
    Sleep(Duration),
    /// The body runs again at this time. It costs nothing meanwhile, and goes on over a crash.
    ///
    /// It is the clock's time, whatever becomes of the clock: unlike a pause that the body makes out of a time, it comes
    /// neither late nor early if the clock is set while the body runs or while the answer is stored. If the time has passed,
    /// the body runs again at once; so one that always answers a past time runs without end. A time that no store can hold
    /// (after the year 2262) fails the step: fatally, with the code [`UNSTORABLE`](StepError::UNSTORABLE).
    SleepUntil(DateTime<Utc>),
    /// The state is stored, and the body runs again at once.
    Persist(Value),
    /// The body runs again when this event has arrived; it finds it in [`Ctx::event`](super::Ctx::event). Names that begin
    /// with `wfe.` are the engine's: the step has failed then.
    WaitForEvent(EventWait),
    /// The body runs again when an external worker has done this; it finds the result in
    /// [`Ctx::event`](super::Ctx::event). If the worker fails, the attempt of the step has failed; so it has for a name that
    /// begins with `wfe.`, as above.
    WaitForActivity(ActivityWait),
    /// As `then`, and this state is stored: for the next run of the body, or for the step's compensation.
    Keep {
        /// What is to be remembered.
        state: Value,
        /// How to go on.
        then: Box<Next>,
    },
}

/// The event that a body waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventWait {
    /// Its name.
    pub name: String,
    /// Its key.
    pub key: String,
    /// Events dated earlier are passed over, unless the instance has consumed one of this name and key before: then the
    /// next one after that counts. A date that no store can hold is the nearest that one can. `None`: from the creation of
    /// the instance on; of a child workflow, that is when its parent came to the step.
    pub effective: Option<DateTime<Utc>>,
}

/// What a body wants an external worker to do.
#[derive(Debug, Clone, PartialEq)]
pub struct ActivityWait {
    /// The name by which workers find it.
    pub name: String,
    /// What the worker is given.
    pub input: Value,
}

impl Next {
    /// [`Next::Outcome`] of any value.
    ///
    /// # Errors
    /// The value does not fit JSON. The error is fatal: another attempt would make the same value.
    pub fn outcome(value: &impl Serialize) -> Result<Self, StepError> {
        json(value).map(Self::Outcome)
    }

    /// [`Next::Branch`] for each of these values.
    ///
    /// # Errors
    /// As [`outcome`](Self::outcome).
    pub fn branch<T: Serialize>(values: impl IntoIterator<Item = T>) -> Result<Self, StepError> {
        values.into_iter().map(|value| json(&value)).collect::<Result<_, _>>().map(Self::Branch)
    }

    /// [`Next::Sleep`].
    #[must_use]
    pub fn sleep(pause: Duration) -> Self {
        Self::Sleep(pause)
    }

    /// [`Next::SleepUntil`].
    ///
    /// ```
    /// use chrono::{DateTime, Utc};
    /// use wfe_core::steps::{Ctx, Next, StepResult};
    ///
    /// /// Waits for the opening, then does what is to be done.
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

    /// [`Next::Persist`] of any value.
    ///
    /// # Errors
    /// As [`outcome`](Self::outcome).
    pub fn persist(state: &impl Serialize) -> Result<Self, StepError> {
        json(state).map(Self::Persist)
    }

    /// [`Next::WaitForEvent`], from the creation of the instance on.
    pub fn wait_for_event(name: impl Into<String>, key: impl Into<String>) -> Self {
        Self::WaitForEvent(EventWait { name: name.into(), key: key.into(), effective: None })
    }

    /// [`Next::WaitForActivity`].
    ///
    /// # Errors
    /// As [`outcome`](Self::outcome).
    pub fn wait_for_activity(name: impl Into<String>, input: &impl Serialize) -> Result<Self, StepError> {
        Ok(Self::WaitForActivity(ActivityWait { name: name.into(), input: json(input)? }))
    }

    /// The same, and this state is stored with it; see [`Next::Keep`].
    ///
    /// # Errors
    /// As [`outcome`](Self::outcome).
    pub fn keeping(self, state: &impl Serialize) -> Result<Self, StepError> {
        Ok(Self::Keep { state: json(state)?, then: Box::new(self) })
    }

    /// The values of [`Next::Branch`], whatever is kept with it; or the same answer.
    pub(crate) fn branches(self) -> Result<Vec<Value>, Self> {
        match self {
            Self::Branch(values) => Ok(values),
            Self::Keep { state, then } => {
                then.branches().map_err(|then| Self::Keep { state, then: Box::new(then) })
            }
            other => Err(other),
        }
    }

    /// Refuses what no store takes, however it was made: the variants can be filled by hand.
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
            // A date out of range is moved to the nearest that can be stored.
            Self::WaitForEvent(_) | Self::Done | Self::Sleep(_) | Self::SleepUntil(_) | Self::Keep { .. } => {
                Ok(())
            }
        }
    }

    /// The answer without its state, and the outermost state.
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

/// What an inline step may return: [`Next`] itself, or any serializable value, which becomes the step's outcome
/// (`()` and whatever else serializes to `null`: no outcome).
pub trait IntoNext {
    /// How to go on.
    ///
    /// # Errors
    /// The value does not fit JSON.
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
    fn of_several_states_the_one_that_was_kept_last_counts() {
        let next = Next::sleep(Duration::ZERO).keeping(&1).unwrap().keeping(&2).unwrap();
        assert_eq!(next.split(), (Next::Sleep(Duration::ZERO), Some(json!(2))));
        let persist = Next::persist(&1).unwrap();
        assert_eq!(persist.clone().split(), (persist, Some(json!(1))));
        let branches = Next::branch([7]).unwrap().keeping(&1).unwrap();
        assert_eq!(branches.branches(), Ok(vec![json!(7)]));
    }
}
