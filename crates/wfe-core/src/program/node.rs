use std::sync::Arc;

use super::{Ask, OnFailure, Policy, Verb};
use crate::models::ExecutionPointer;

/// One step of a definition.
pub(crate) struct Node {
    pub index: usize,
    pub id: Arc<str>,
    pub name: Option<String>,
    pub verb: Arc<Verb>,
    pub policy: Policy,
    /// What happens when the step has failed for good. The default depends on where the step is in the
    /// definition.
    pub on_failure: OnFailure,
    /// The next step in the same sequence, or `None` if the sequence ends here.
    pub next: Option<usize>,
    /// The container that encloses the step, or `None` if the step is on the main path.
    pub container: Option<usize>,
    /// The number of the sequence that the step is in.
    pub sequence: usize,
    pub branches: Vec<Branch>,
    /// The steps that run when this step has failed for good.
    pub fallback: Option<Branch>,
    /// The steps that compensate this step when the enclosing saga is compensated.
    pub compensation: Option<Branch>,
    /// The condition that cancels the step.
    pub cancel_when: Option<Ask<bool>>,
    /// The target of a go-to.
    pub target: Option<usize>,
}

/// A sequence inside a container, given by its first step.
#[derive(Clone, Copy)]
pub(crate) struct Branch {
    pub first: usize,
}

impl Node {
    /// An active, pending pointer at this step. `id` is the path of the pointer, and shows where the pointer
    /// is. Creating the id needs neither a clock nor a random number.
    pub fn new_pointer(&self, id: String) -> ExecutionPointer {
        ExecutionPointer { step_name: Some(self.id.to_string()), ..ExecutionPointer::with_id(id, self.index) }
    }
}
