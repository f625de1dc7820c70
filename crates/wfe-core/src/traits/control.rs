use serde::{Deserialize, Serialize};

#[cfg(doc)]
use super::StepStore;

/// A control request to an instance, which may be busy or idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Control {
    /// Suspend: running steps finish, and no further steps start.
    Suspend,
    /// Resume a suspended instance.
    Resume,
    /// Cancel: compensate open sagas, then end.
    Cancel,
    /// Terminate: end at once, without compensation.
    Terminate,
}

/// How a suspended instance resumes, other than by running its failed steps again.
///
/// An instance that is not suspended when the request reaches it does not change. An instance that cannot
/// resume in the requested way does not change either; then the reason is stored as a failure with the code
/// [`INTERVENTION`](crate::steps::StepError::INTERVENTION).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Intervention {
    /// Skips each failed step: the instance continues after it, as if the failed step had completed without an
    /// outcome. The step's outputs are not applied, and its failure stays stored. This is not possible if no
    /// step has failed.
    ///
    /// For the enclosing saga, a skipped step has done nothing, so the step's own compensation does not run. If
    /// a container is skipped, the compensation of the saga compensates the steps that completed in the
    /// container one by one. If a step of a compensation is skipped, the compensation continues after that
    /// step, and the step that it should have compensated counts as compensated.
    Skip,
    /// Resumes from the step with this stable id. The step begins anew with a new execution pointer, which has
    /// its own attempts and its own idempotency key. The step must belong to the main path, to the sequence in
    /// which a step has failed, or to a sequence that encloses the failed step.
    ///
    /// Everything else that is active in the step's sequence (subscriptions, side branches, children, running
    /// bodies) is cancelled first, as by a cancel condition. An active saga in the sequence is not compensated,
    /// so its effects stay. If steps have failed in several runs of the sequence (iterations, for example),
    /// each of these runs continues from the given step. Steps that have failed in other sequences run again.
    /// This is not possible if a saga would remain half compensated.
    ResumeFrom(String),
}

/// A pending control request, stored alongside its instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ControlRequest {
    /// A number that grows with every request for this instance.
    pub number: u64,
    /// The kind of the request.
    pub control: Control,
    /// How to resume, if this is a [`Control::Resume`] that [`intervene`](StepStore::intervene) requested. A
    /// host that does not support interventions refuses the request; it must not resume the instance without
    /// the intervention.
    pub intervention: Option<Intervention>,
}
