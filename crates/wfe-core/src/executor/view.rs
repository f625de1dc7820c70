//! What stored rows tell, typed: for a host that shows them.

use serde::Deserialize;

use super::run::windows::Cursor;
use crate::models::{ExecutionPointer, PointerStatus, pointer_id};

/// The id of the step at which a pointer stands.
#[must_use]
pub fn step_of(pointer: &str) -> &str {
    pointer_id::step(pointer)
}

/// How far a running for-each has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForEachProgress {
    /// Its stable id.
    pub step: String,
    /// How many iterations have ended, well or badly.
    pub done: u64,
    /// How many items there are.
    pub total: u64,
}

impl ForEachProgress {
    /// What a stored pointer tells; `None`: it is no for-each whose items are known and which still runs.
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
