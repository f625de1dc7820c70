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
    /// What happens when it has failed for good, at the place where it stands.
    pub on_failure: OnFailure,
    /// What follows in the same sequence; `None`: the sequence ends here.
    pub next: Option<usize>,
    /// The container around it; `None`: it is on the main path.
    pub container: Option<usize>,
    /// Which sequence it is in: steps of one have one number.
    pub sequence: usize,
    pub branches: Vec<Branch>,
    /// What runs in its place when it has failed for good.
    pub fallback: Option<Branch>,
    /// What compensates it when the saga around it is compensated.
    pub compensation: Option<Branch>,
    /// Takes it away, whenever this holds.
    pub cancel_when: Option<Ask<bool>>,
    /// Where a go-to leads.
    pub target: Option<usize>,
}

/// A sequence inside a container, by its first step.
#[derive(Clone, Copy)]
pub(crate) struct Branch {
    pub first: usize,
}

impl Node {
    /// An active, pending pointer here. Its id is the path to it: reading it tells where it stands, and no clock or random
    /// number is needed for it.
    pub fn new_pointer(&self, id: String) -> ExecutionPointer {
        ExecutionPointer { step_name: Some(self.id.to_string()), ..ExecutionPointer::with_id(id, self.index) }
    }
}
