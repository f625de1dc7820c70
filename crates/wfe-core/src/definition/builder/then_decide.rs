//! Decisions by the value that the step before gave.

use std::fmt;

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{App, Awaits, Block, Decision, OfActivity, OfEvent, OutputSet, Returns, Sequence, place::Sealed};
use crate::{
    definition::Data,
    program::Matches,
    steps::{StepError, to_value},
};

/// What a step leaves that [`then_decide`](Sequence::then_decide) can follow: it gives a value.
#[diagnostic::on_unimplemented(
    message = "this step gives no value that `then_decide` could decide by",
    label = "comes after a body that returns a value, after `wait_for` or after `activity`",
    note = "a container, a `Next`, and a struct that is a step give none: write into the data, and use `decide`"
)]
#[expect(private_bounds, reason = "programs cannot add kinds of steps")]
pub trait Gives: Sealed {
    /// The value.
    type Value: Serialize + fmt::Debug;

    /// Brings the stored value into the form in which the values of the branches are compared.
    #[doc(hidden)]
    fn read(value: &Value) -> Result<Value, StepError>;
}

/// The value that others have stored, perhaps with fields that a `V` does not have.
fn received<V: Serialize + DeserializeOwned>(value: &Value) -> Result<Value, StepError> {
    let unreadable = |error| StepError::fatal(error).with_code(StepError::UNREADABLE);
    to_value(&V::deserialize(value).map_err(unreadable)?).map_err(unreadable)
}

// Written out, because the compiler shows these lines in its messages.
impl<R: Serialize + fmt::Debug> Gives for Returns<R> {
    type Value = R;

    fn read(value: &Value) -> Result<Value, StepError> {
        Ok(value.clone()) // stored by this definition
    }
}

impl<R: Serialize + fmt::Debug> Gives for OutputSet<R> {
    type Value = R;

    fn read(value: &Value) -> Result<Value, StepError> {
        Ok(value.clone()) // stored by this definition
    }
}

impl<V: Serialize + DeserializeOwned + fmt::Debug> Gives for Awaits<V, OfEvent> {
    type Value = V;

    fn read(value: &Value) -> Result<Value, StepError> {
        received::<V>(value)
    }
}

impl<V: Serialize + DeserializeOwned + fmt::Debug> Gives for Awaits<V, OfActivity> {
    type Value = V;

    fn read(value: &Value) -> Result<Value, StepError> {
        received::<V>(value)
    }
}

/// Branches that run by what the step before them gave.
impl<D: Data, P, A: App, L> Sequence<D, P, A, L> {
    /// Runs the branches whose value equals the one that the step before gave: the value that its body returned, the data
    /// of the event that it waited for, or the result of its activity. Several such branches run at once. If there is
    /// none, the [`otherwise`](Decision::otherwise) branch runs; without that branch, the instance continues.
    ///
    /// Values are equal if their JSON is. The `otherwise` branch also runs if the step before gave no value: it was
    /// skipped or cancelled, it failed and the instance continued, or its wait reached its time limit. A
    /// [`go_to`](Self::go_to) cannot lead to this step.
    ///
    /// ```
    /// use serde::Serialize;
    /// use wfe_core::definition::WorkflowBuilder;
    ///
    /// #[derive(Debug, Serialize)]
    /// enum Risk { Low, High }
    ///
    /// let definition = WorkflowBuilder::<u32>::new("order", 1)
    ///     .then("check", async |_, cents| Ok(if *cents < 10_000 { Risk::Low } else { Risk::High }))
    ///     .then_decide("by-risk", |by| {
    ///         by.when(Risk::Low, |low| low.then("ship", async |_, _| Ok(())))
    ///             .when(Risk::High, |high| high.end("refused"))
    ///     })
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    pub fn then_decide(
        mut self,
        id: impl Into<String>,
        branches: impl FnOnce(Decision<D, P, A, L::Value>) -> Decision<D, P, A, L::Value>,
    ) -> Sequence<D, P, A, Block>
    where
        L: Gives,
    {
        let id = id.into();
        let mut parts = branches(Decision::new(self.inner())).parts;
        let (mut values, read) = (Vec::new(), L::read);
        for value in std::mem::take(&mut parts.extras) {
            match to_value(&value) {
                Ok(value) => values.push(value),
                Err(error) => self
                    .parts
                    .problems
                    .push(format!("step {id:?}: {value:?} is not a value of JSON: {error}")),
            }
        }
        self.decision(id, parts, Matches::Given { values, read })
    }
}
