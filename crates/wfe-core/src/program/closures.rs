//! Closures over the data, with their types erased. An error or a panic in a closure fails only the step that
//! calls it.
//!
//! Each closure takes the data and the item of the enclosing for-each. The closures of steps on the main path take
//! [`IgnoredAny`](serde::de::IgnoredAny) as their item: such a step may also stand in a for-each.

use std::{any::Any, panic::AssertUnwindSafe, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{AnyData, Apply, Data, Input, Left, Output};
use crate::steps::{StepError, StepInfo, storable};

/// A closure that computes a value from the data and the item of the enclosing for-each.
pub(crate) type Ask<T> = Arc<dyn Fn(&AnyData, Option<&Value>) -> Result<T, StepError> + Send + Sync>;

/// Like [`Ask`], for a closure that also takes the step.
pub(crate) type AskAt<T> =
    Arc<dyn Fn(&StepInfo, &AnyData, Option<&Value>) -> Result<T, StepError> + Send + Sync>;

/// An output closure for external data (an event's data, a worker's answer) and the item of the enclosing for-each. It
/// returns the change to make to the data.
pub(crate) type Receive = Arc<dyn Fn(&Value, Option<&Value>) -> Result<Apply, StepError> + Send + Sync>;

// A definition has hundreds of closures, each of a type of its own. What is done with them is therefore written for
// boxed closures, and compiled once for each data type, not once for each closure.

/// A closure that computes a value of type `T` from the data and the item.
type Compute<D, I, T> = Box<dyn Fn(&D, &I) -> T + Send + Sync>;

/// Erases the types of a closure. `what` names the closure in the error if it panics: *the step's condition*.
pub(crate) fn ask<D: Data, I: DeserializeOwned + 'static, T: 'static>(
    what: &'static str,
    f: impl Fn(&D, &I) -> T + Send + Sync + 'static,
) -> Ask<T> {
    ask_boxed(what, Box::new(f))
}

fn ask_boxed<D: Data, I: DeserializeOwned + 'static, T: 'static>(
    what: &'static str,
    f: Compute<D, I, T>,
) -> Ask<T> {
    Arc::new(move |data, item| {
        let data = data.downcast_ref::<D>().ok_or_else(another_type)?;
        // Deserializing the item runs the program's code too, so it may panic.
        contained(what, || Ok(f(data, &read_item(item)?)))
    })
}

/// Like [`ask`], for a closure that also takes the step.
pub(crate) fn ask_at<D: Data, I: DeserializeOwned + 'static, T: 'static>(
    what: &'static str,
    f: impl Fn(&StepInfo, &D, &I) -> T + Send + Sync + 'static,
) -> AskAt<T> {
    Arc::new(move |at, data, item| {
        let data = data.downcast_ref::<D>().ok_or_else(another_type)?;
        contained(what, || Ok(f(at, data, &read_item(item)?)))
    })
}

/// A closure that does not take the step, where one that takes it may stand.
pub(crate) fn anywhere<T: 'static>(ask: Ask<T>) -> AskAt<T> {
    Arc::new(move |_, data, item| ask(data, item))
}

/// Like [`ask`], for a closure whose result is converted to JSON.
pub(crate) fn ask_value<D: Data, I: DeserializeOwned + 'static, T: Serialize + 'static>(
    what: &'static str,
    f: impl Fn(&D, &I) -> T + Send + Sync + 'static,
) -> Ask<Value> {
    ask_value_boxed(what, Box::new(f))
}

fn ask_value_boxed<D: Data, I: DeserializeOwned + 'static, T: Serialize + 'static>(
    what: &'static str,
    f: Compute<D, I, T>,
) -> Ask<Value> {
    Arc::new(move |data, item| {
        let data = data.downcast_ref::<D>().ok_or_else(another_type)?;
        contained(what, || storable(what, &f(data, &read_item(item)?)))
    })
}

/// A closure that writes a value of type `L` into the data.
type Write<L, D, I> = Arc<dyn Fn(L, &mut D, &I) + Send + Sync>;

/// Erases the types of an output closure for external data of type `T`.
pub(crate) fn receive<D: Data, I: DeserializeOwned + Send + 'static, T: DeserializeOwned + Send + 'static>(
    f: impl Fn(T, &mut D, &I) + Send + Sync + 'static,
) -> Receive {
    receive_boxed(Arc::new(f))
}

fn receive_boxed<D: Data, I: DeserializeOwned + Send + 'static, T: DeserializeOwned + Send + 'static>(
    f: Write<T, D, I>,
) -> Receive {
    Arc::new(move |value, item| {
        // The item comes first: no value of the program is dropped outside of `contained` if the other one is
        // unreadable.
        let (item, value) = contained(OUTPUT, || {
            let item: I = read_item(item)?;
            let value =
                T::deserialize(value).map_err(|e| StepError::fatal(e).with_code(StepError::UNREADABLE))?;
            Ok((item, value))
        })?;
        let f = f.clone();
        Ok(change::<D>(OUTPUT, move |data| {
            f(value, data, &item);
            Ok(())
        }))
    })
}

/// Erases the types of an output closure for what a body leaves.
pub(crate) fn output<D: Data, I: DeserializeOwned + 'static, L: Send + 'static>(
    f: impl Fn(L, &mut D, &I) + Send + Sync + 'static,
) -> Output {
    output_boxed(Arc::new(f))
}

fn output_boxed<D: Data, I: DeserializeOwned + 'static, L: Send + 'static>(f: Write<L, D, I>) -> Output {
    Arc::new(move |left: Left, item: Option<Value>| {
        let f = f.clone();
        change::<D>(OUTPUT, move |data| {
            let left = left.downcast::<L>().map_err(|_| another_type())?;
            f(*left, data, &read_item(item.as_ref())?);
            Ok(())
        })
    })
}

/// Erases the types of an input closure.
pub(crate) fn input<D: Data, I: DeserializeOwned, S: 'static>(
    f: impl Fn(&mut S, &D, &I) + Send + Sync + 'static,
) -> Input {
    Arc::new(move |step: &mut dyn Any, data, item| {
        let data = data.downcast_ref::<D>().ok_or_else(another_type)?;
        let step = step.downcast_mut::<S>().ok_or_else(another_type)?;
        f(step, data, &read_item(item)?);
        Ok(())
    })
}

/// The change that `f` makes to the data. The data is typed by the definition; `what` names the closure in the error if
/// it panics. All of the program's code runs inside: cloning the data, the closure, serializing the result.
fn change<D: Data>(
    what: &'static str,
    f: impl FnOnce(&mut D) -> Result<(), StepError> + Send + 'static,
) -> Apply {
    Apply::new(move |newest: &AnyData| {
        let newest = newest.downcast_ref::<D>().ok_or_else(another_type)?;
        contained(what, move || {
            let mut data = newest.clone();
            f(&mut data)?;
            let value = storable("the data", &data)?;
            Ok((AnyData::new(data), value))
        })
    })
}

/// Runs code of the program. A panic becomes the error of the closure that `what` names.
fn contained<T>(what: &str, f: impl FnOnce() -> Result<T, StepError>) -> Result<T, StepError> {
    std::panic::catch_unwind(AssertUnwindSafe(f))
        .unwrap_or_else(|payload| Err(StepError::from_panic(what, payload)))
}

/// The item of the enclosing for-each, as the closure's type.
pub(crate) fn read_item<I: DeserializeOwned>(item: Option<&Value>) -> Result<I, StepError> {
    I::deserialize(item.unwrap_or(&Value::Null))
        .map_err(|e| StepError::fatal(e).with_code(StepError::DEFINITION))
}

const OUTPUT: &str = "the step's output";

pub(crate) fn another_type() -> StepError {
    StepError::fatal("the instance's data is not of the definition's data type")
        .with_code(StepError::DEFINITION)
}
