//! The attributes of an instance, which bodies set and operators search for.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::Run;
use crate::{executor::Moved, limits::check_attributes, steps::StepError};

/// The attributes before a body set some: those of the instance, and those that the next commit would have stored.
pub(super) struct Before {
    newest: Arc<Map<String, Value>>,
    pending: Option<Arc<Map<String, Value>>>,
}

impl Run {
    /// Adds the attributes that a body has set to those of the instance. `null` removes an attribute. Returns how the
    /// attributes were before. `None` means that nothing has changed.
    pub(super) fn set_attributes(&mut self, set: Map<String, Value>) -> Moved<Option<Before>> {
        if set.is_empty() {
            return Ok(None);
        }
        let mut newest = Map::clone(&self.attributes);
        for (key, value) in set {
            if value.is_null() {
                newest.remove(&key);
            } else {
                newest.insert(key, value);
            }
        }
        if newest == *self.attributes {
            return Ok(None);
        }
        check_attributes(&newest).map_err(StepError::fatal)?;
        let newest = Arc::new(newest);
        let pending = self.pending.set_attributes(Some(newest.clone()));
        Ok(Some(Before { newest: std::mem::replace(&mut self.attributes, newest), pending }))
    }

    /// Restores the attributes, because the body that has set them counts as failed.
    pub(super) fn restore_attributes(&mut self, before: Option<Before>) {
        if let Some(Before { newest, pending }) = before {
            self.attributes = newest;
            self.pending.set_attributes(pending);
        }
    }
}
