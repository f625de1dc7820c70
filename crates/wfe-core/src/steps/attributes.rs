//! The attributes of an instance, as one run of a body sees and sets them.

use std::sync::{Arc, Mutex};

use serde_json::{Map, Value};

use super::{Ctx, StepError};
use crate::{limits::check_attribute, sync::lock};

/// The attributes at the beginning of a run of a body, and those that the body has set.
#[derive(Debug, Default)]
pub(crate) struct Attributes {
    before: Arc<Map<String, Value>>,
    /// `null` means that the attribute is removed.
    set: Mutex<Map<String, Value>>,
}

impl Attributes {
    pub fn of(before: &Arc<Map<String, Value>>) -> Self {
        Self { before: before.clone(), set: Mutex::default() }
    }

    /// Takes the attributes that the body has set. `null` stands for one that it has removed.
    pub fn take_set(&self) -> Map<String, Value> {
        std::mem::take(&mut *lock(&self.set))
    }
}

impl<A> Ctx<A> {
    /// Sets an attribute of the instance: a text, a number or a boolean, by which operators find the instance in listings.
    /// `Value::Null` removes the attribute.
    ///
    /// The attribute is stored in the same transaction as the result of the body. An attempt that fails sets none. If two
    /// bodies set the same attribute, the one whose result is stored later wins. Children of the instance do not inherit
    /// attributes; a [restart](crate::traits::StepStore::restart) keeps them.
    ///
    /// ```
    /// use wfe_core::definition::WorkflowBuilder;
    ///
    /// let definition = WorkflowBuilder::<String>::new("order", 1)
    ///     .then("check", async |ctx, customer| {
    ///         ctx.set_attribute("customer", customer.as_str())?;
    ///         ctx.set_attribute("priority", 1)
    ///     })
    ///     .build()?;
    /// # Ok::<(), wfe_core::WfeError>(())
    /// ```
    ///
    /// # Errors
    /// The key or the value is not allowed: see [`check_attribute`]. The error is fatal. If the instance then has more than
    /// [`MOST_ATTRIBUTES`](crate::limits::MOST_ATTRIBUTES) attributes, the step fails when the body has ended.
    pub fn set_attribute(&self, key: impl Into<String>, value: impl Into<Value>) -> Result<(), StepError> {
        let (key, value) = (key.into(), value.into());
        let checked = if value.is_null() { Value::Bool(false) } else { value.clone() };
        check_attribute(&key, &checked).map_err(StepError::fatal)?;
        lock(&self.attributes().set).insert(key, value);
        Ok(())
    }

    /// An attribute of the instance, as it was stored when the body began, or as the body has set it since. `None` if the
    /// instance has no such attribute.
    #[must_use]
    pub fn attribute(&self, key: &str) -> Option<Value> {
        let Attributes { before, set } = self.attributes();
        match lock(set).get(key) {
            Some(Value::Null) => None,
            Some(value) => Some(value.clone()),
            None => before.get(key).cloned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::limits::{LONGEST_ATTRIBUTE, LONGEST_ATTRIBUTE_KEY, MOST_ATTRIBUTES, check_attributes};

    #[test]
    fn a_body_reads_what_it_has_set() {
        let ctx = Ctx::detached("step");
        assert_eq!(ctx.attribute("a"), None);
        ctx.set_attribute("a", "text").unwrap();
        ctx.set_attribute("b", 1).unwrap();
        ctx.set_attribute("b", Value::Null).unwrap();
        assert_eq!((ctx.attribute("a"), ctx.attribute("b")), (Some(json!("text")), None));
        assert_eq!(Value::from(ctx.attributes().take_set()), json!({"a": "text", "b": null}));
    }

    #[test]
    fn a_key_or_a_value_that_no_attribute_can_have_is_refused() {
        let ctx = Ctx::detached("step");
        let (long_key, long) = ("ä".repeat(LONGEST_ATTRIBUTE_KEY / 2), "ä".repeat(LONGEST_ATTRIBUTE / 2));
        for (key, value) in [
            ("k", json!(long)),
            (&*long_key, json!(true)),
            ("Wfe.", json!(u64::MAX)),
            ("\" \\ $.é", json!(-0.5)),
        ] {
            ctx.set_attribute(key, value).unwrap();
        }
        for (key, value) in [
            ("", json!(1)),
            ("a\nb", json!(1)),
            ("\0", json!(1)),
            ("\u{9c}", json!(1)),
            ("wfe.ack", json!(true)),
            ("wfe.ack", Value::Null),
            (&*format!("{long_key}a"), json!(1)),
            ("k", json!(format!("{long}a"))),
            ("k", json!([])),
            ("k", json!({})),
        ] {
            let error = ctx.set_attribute(key, value.clone()).unwrap_err();
            assert!(!error.is_retryable(), "{key:?} {value}");
        }
        let many = |n: usize| (0..n).map(|n| (n.to_string(), json!(n))).collect();
        check_attributes(&many(MOST_ATTRIBUTES)).unwrap();
        assert!(check_attributes(&many(MOST_ATTRIBUTES + 1)).is_err());
    }
}
