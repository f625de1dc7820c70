//! The data of an instance.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::{
    program::{AnyData, Apply},
    steps::StepError,
};

/// The newest data of an instance, both decoded and as JSON, and the pointers that observe this data.
pub(super) struct InstanceData {
    /// The decoded data. `None` means that the instance does not fit its definition, and is quarantined.
    decoded: Option<AnyData>,
    value: Value,
    /// Whether the data has changed since the observers' conditions were evaluated.
    has_changed: bool,
    /// Active pointers with a condition on the data.
    observers: BTreeSet<String>,
}

impl InstanceData {
    pub fn new(value: Value) -> Self {
        Self { decoded: None, value, has_changed: false, observers: BTreeSet::new() }
    }

    pub fn value(&self) -> &Value {
        &self.value
    }

    /// Moves the stored form of the data into a commit, until it is returned.
    pub fn take_value(&mut self) -> Value {
        std::mem::take(&mut self.value)
    }

    pub fn return_value(&mut self, value: Value) {
        self.value = value;
    }

    pub fn decoded(&mut self, data: AnyData) {
        self.decoded = Some(data);
    }

    /// # Errors
    /// The instance is quarantined.
    pub fn get(&self) -> Result<&AnyData, StepError> {
        self.decoded.as_ref().ok_or_else(|| {
            StepError::fatal("the instance does not fit its definition").with_code(StepError::DEFINITION)
        })
    }

    /// Applies the outputs to the newest data. If one output fails, none is applied. Returns whether the data
    /// has changed.
    pub fn apply(&mut self, outputs: impl IntoIterator<Item = Apply>) -> Result<bool, StepError> {
        let mut changed: Option<(AnyData, Value)> = None;
        for apply in outputs {
            let newest = match &changed {
                Some((data, _)) => data,
                None => self.get()?,
            };
            changed = Some(apply.call(newest)?);
        }
        match changed {
            Some((data, value)) if value != self.value => {
                (self.decoded, self.value, self.has_changed) = (Some(data), value, true);
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    /// Requests another evaluation of the conditions, as if the data had changed.
    pub fn touch(&mut self) {
        self.has_changed = true;
    }

    /// Returns whether the conditions must be evaluated, and clears this flag.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.has_changed)
    }

    /// Registers a pointer that has a condition on the data.
    pub fn observe(&mut self, pointer: &str) {
        self.observers.insert(pointer.to_owned());
    }

    pub fn stop_observing(&mut self, pointer: &str) {
        self.observers.remove(pointer);
    }

    pub fn is_observed_by(&self, pointer: &str) -> bool {
        self.observers.contains(pointer)
    }

    pub fn observers(&self) -> Vec<String> {
        self.observers.iter().cloned().collect()
    }

    pub fn stop_all_observers(&mut self) {
        self.observers.clear();
    }
}
