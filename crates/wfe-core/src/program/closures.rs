//! Closures over the data with their types forgotten. Whatever they do, a panic included, is a failure of the step that
//! asks, and of nothing else.

use std::{panic::AssertUnwindSafe, sync::Arc};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use super::{AnyData, Apply, Data, Item};
use crate::steps::{StepError, storable};

/// A question to the data and the item at hand.
pub(crate) type Ask<T> = Arc<dyn Fn(&AnyData, Option<&Value>) -> Result<T, StepError> + Send + Sync>;

/// From what came from outside (an event's data, a worker's answer), what is written into the data.
pub(crate) type Receive = Arc<dyn Fn(&Value) -> Result<Apply, StepError> + Send + Sync>;

/// `what` names the closure where it panics: *the step's condition*.
pub(crate) fn ask<D: Data, I: Item, T>(
    what: &'static str,
    f: impl Fn(&D, &I) -> T + Send + Sync + 'static,
) -> Ask<T> {
    try_ask(what, move |data: &D, item: &I| Ok(f(data, item)))
}

/// As [`ask`], for what can fail by itself.
pub(crate) fn try_ask<D: Data, I: Item, T>(
    what: &'static str,
    f: impl Fn(&D, &I) -> Result<T, StepError> + Send + Sync + 'static,
) -> Ask<T> {
    Arc::new(move |data, item| {
        let data = data.downcast_ref::<D>().ok_or_else(another_type)?;
        // Reading the item is the user's code too.
        std::panic::catch_unwind(AssertUnwindSafe(|| {
            let item = I::deserialize(item.unwrap_or(&Value::Null))
                .map_err(|e| StepError::fatal(e).with_code(StepError::DEFINITION))?;
            f(data, &item)
        }))
        .unwrap_or_else(|payload| Err(StepError::from_panic(what, payload)))
    })
}

/// A question whose answer is kept as JSON.
pub(crate) fn ask_value<D: Data, I: Item, T: Serialize>(
    what: &'static str,
    f: impl Fn(&D, &I) -> T + Send + Sync + 'static,
) -> Ask<Value> {
    try_ask(what, move |data: &D, item: &I| storable(what, &f(data, item)))
}

/// `what` names the closure where it panics.
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

/// A change of the data. On a copy: a closure that panics half-way must not leave half a change. Cloning, serializing and
/// dropping are the user's code too.
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
    StepError::fatal("the instance's data has another type than the definition's")
        .with_code(StepError::DEFINITION)
}
