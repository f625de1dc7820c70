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
    /// What happens when the step has failed for good. The default depends on the surroundings of the step.
    pub on_failure: OnFailure,
    /// The next step in the same sequence; `None`: the sequence ends here.
    pub next: Option<usize>,
    /// The container around the step; `None`: the step is on the main path.
    pub container: Option<usize>,
    /// The number of the sequence that the step is in.
    pub sequence: usize,
    pub branches: Vec<Branch>,
    /// The steps that run when this one has failed for good.
    pub fallback: Option<Branch>,
    /// The steps that compensate this one when the saga around it is compensated.
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
    /// An active, pending pointer at this step. `id` is the path of the pointer: it shows where the pointer is,
    /// and creating it needs neither a clock nor a random number.
    pub fn new_pointer(&self, id: String) -> ExecutionPointer {
        ExecutionPointer { step_name: Some(self.id.to_string()), ..ExecutionPointer::with_id(id, self.index) }
    }
}
