//! Closures over the data, with their types erased. An error or a panic in a closure fails only the step that
//! calls it.

use std::{panic::AssertUnwindSafe, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{AnyData, Apply, Data, Item};
use crate::steps::{StepError, storable};

/// A closure that computes a value from the data and the item of the for-each that encloses the step.
pub(crate) type Ask<T> = Arc<dyn Fn(&AnyData, Option<&Value>) -> Result<T, StepError> + Send + Sync>;

/// An output closure for external data (an event's data, a worker's answer). It returns the change to make to
/// the data.
pub(crate) type Receive = Arc<dyn Fn(&Value) -> Result<Apply, StepError> + Send + Sync>;

/// Erases the types of a closure. `what` names the closure in the error if the closure panics, for example
/// *the step's condition*.
pub(crate) fn ask<D: Data, I: Item, T>(
    what: &'static str,
    f: impl Fn(&D, &I) -> T + Send + Sync + 'static,
) -> Ask<T> {
    try_ask(what, move |data: &D, item: &I| Ok(f(data, item)))
}

/// Like [`ask`], but for a closure that returns a `Result`.
pub(crate) fn try_ask<D: Data, I: Item, T>(
    what: &'static str,
    f: impl Fn(&D, &I) -> Result<T, StepError> + Send + Sync + 'static,
) -> Ask<T> {
    Arc::new(move |data, item| {
        let data = data.downcast_ref::<D>().ok_or_else(another_type)?;
        // Deserializing the item runs the program's code too, so it may panic.
        std::panic::catch_unwind(AssertUnwindSafe(|| {
            let item = I::deserialize(item.unwrap_or(&Value::Null))
                .map_err(|e| StepError::fatal(e).with_code(StepError::DEFINITION))?;
            f(data, &item)
        }))
        .unwrap_or_else(|payload| Err(StepError::from_panic(what, payload)))
    })
}

/// Like [`ask`], but for a closure whose value is stored as JSON.
pub(crate) fn ask_value<D: Data, I: Item, T: Serialize>(
    what: &'static str,
    f: impl Fn(&D, &I) -> T + Send + Sync + 'static,
) -> Ask<Value> {
    try_ask(what, move |data: &D, item: &I| storable(what, &f(data, item)))
}

/// Erases the types of an output closure for external data. `what` names the closure in the error if the
/// closure panics.
pub(crate) fn receive<D: Data, T: DeserializeOwned + Send + 'static>(
    what: &'static str,
    f: impl Fn(&T, &mut D) + Send + Sync + 'static,
) -> Receive {
    let f = Arc::new(f);
    Arc::new(move |value| {
        let value = std::panic::catch_unwind(AssertUnwindSafe(|| T::deserialize(value)))
            .map_err(|payload| StepError::from_panic(what, payload))?
            .map_err(|e| StepError::fatal(e).with_code(StepError::UNREADABLE))?;
        let f = f.clone();
        Ok(change::<D>(what, move |data| f(&value, data)))
    })
}

/// A change of the data. The closure changes a copy, so that a panic in it leaves the data unchanged. Cloning,
/// serializing and dropping the data run the program's code too, so they may panic.
pub(crate) fn change<D: Data>(what: &'static str, f: impl FnOnce(&mut D) + Send + 'static) -> Apply {
    Apply::new(move |newest: &AnyData| {
        let newest = newest.downcast_ref::<D>().ok_or_else(another_type)?;
        std::panic::catch_unwind(AssertUnwindSafe(move || {
            let mut data = newest.clone();
            f(&mut data);
            let value = storable("the data", &data)?;
            Ok((AnyData::new(data), value))
        }))
        .unwrap_or_else(|payload| Err(StepError::from_panic(what, payload)))
    })
}

pub(crate) fn another_type() -> StepError {
    StepError::fatal("the instance's data is not of the definition's data type")
        .with_code(StepError::DEFINITION)
}
