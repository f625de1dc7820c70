//! Typed views of stored rows, for hosts that show them.

use serde::Deserialize;

use super::run::windows::Cursor;
use crate::models::{ExecutionPointer, PointerStatus, pointer_id};

/// The id of a pointer's step.
#[must_use]
pub fn step_of(pointer: &str) -> &str {
    pointer_id::step(pointer)
}

/// The progress of a running for-each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForEachProgress {
    /// The stable id of the for-each.
    pub step: String,
    /// How many iterations have ended, whether they completed or failed.
    pub done: u64,
    /// How many items there are.
    pub total: u64,
}

impl ForEachProgress {
    /// Reads the progress from a stored pointer. `None`: the pointer is not a running for-each whose items are known.
    #[must_use]
    pub fn of(pointer: &ExecutionPointer) -> Option<Self> {
        if pointer.status != PointerStatus::Running {
            return None;
        }
        let cursor = Cursor::deserialize(pointer.persistence_data.as_ref()?).ok()?; // another kind of container
        let done = cursor.next.saturating_sub(pointer.children.len() as u64);
        Some(Self { step: pointer.step_name.clone()?, done, total: cursor.total })
    }
}
