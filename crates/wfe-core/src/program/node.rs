use std::{collections::HashMap, sync::Arc};

use super::{Ask, OnFailure, Policy, Verb};
use crate::models::ExecutionPointer;

/// One step of a definition.
pub(crate) struct Node {
    pub index: usize,
    pub id: Arc<str>,
    pub name: Option<String>,
    pub verb: Arc<Verb>,
    pub policy: Policy,
    /// What happens when the step has failed for good. The default depends on the place of the step in the
    /// definition.
    pub on_failure: OnFailure,
    /// The next step in the same sequence, or `None` if the sequence ends here.
    pub next: Option<usize>,
    /// The container that encloses the step, or `None` if the step is on the main path.
    pub container: Option<usize>,
    /// The number of the sequence to which the step belongs.
    pub sequence: usize,
    pub branches: Vec<Branch>,
    /// The steps that run when this step has failed for good.
    pub fallback: Option<Branch>,
    /// The steps that compensate this step when the enclosing saga is compensated.
    pub compensation: Option<Branch>,
    /// Whether the step is also compensated if it has begun and did not complete.
    pub compensates_unfinished: bool,
    /// The condition that cancels the step.
    pub cancel_when: Option<CancelCondition>,
    /// If a helper function made the step: the full ids of the helper's for-eaches, by their ids inside the helper.
    pub for_eaches: Option<Arc<HashMap<String, Arc<str>>>>,
    /// If the step is a go-to: the step with which it continues.
    pub target: Option<usize>,
}

/// The condition that cancels a step.
#[derive(Clone)]
pub(crate) struct CancelCondition {
    pub holds: Ask<bool>,
    /// Whether the sequence of the step ends too. Otherwise, the instance continues with the next step.
    pub ends_branch: bool,
}

/// A sequence inside a container. It is identified by its first step.
#[derive(Clone, Copy)]
pub(crate) struct Branch {
    pub first: usize,
}

impl Node {
    /// Whether the sequence of the step ends when the cancel condition of the step holds.
    pub fn cancel_ends_branch(&self) -> bool {
        self.cancel_when.as_ref().is_some_and(|condition| condition.ends_branch)
    }

    /// Creates a pointer at this step. The pointer is active and pending. `id` is the path of the pointer,
    /// and shows where the pointer is. To make such an id, neither a clock nor a random number is needed.
    pub fn new_pointer(&self, id: String) -> ExecutionPointer {
        ExecutionPointer {
            step_name: Some(String::from(&*self.id)),
            ..ExecutionPointer::with_id(id, self.index)
        }
    }
}
