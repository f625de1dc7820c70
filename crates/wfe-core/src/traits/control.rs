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

/// A way to resume a suspended instance other than running its failed steps again.
///
/// An instance does not change if it is not suspended when the request reaches it. If a suspended instance
/// cannot resume in the requested way, the instance does not change, and the reason is stored as a failure with
/// the code [`INTERVENTION`](crate::steps::StepError::INTERVENTION).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Intervention {
    /// Skips each failed step: the instance continues after it, as if the failed step had completed without an
    /// outcome. The step's outputs are not applied, and its failure stays stored. An instance without a failed
    /// step cannot resume in this way.
    ///
    /// The enclosing saga treats a skipped step as a step without effects, so the step's own compensation does
    /// not run. If a container is skipped, the saga compensates, one by one, the steps that completed inside
    /// the container. If a step of a compensation is skipped, the compensation continues after the skipped
    /// step. The step whose effects the compensation reverts then counts as compensated.
    Skip,
    /// Resumes from the step with this stable id. The step begins anew with a new execution pointer, which has
    /// its own attempts and its own idempotency key. The step must belong to the main path, to the sequence in
    /// which a step has failed, or to a sequence that encloses the failed step.
    ///
    /// Everything else that is active in the step's sequence (subscriptions, side branches, children, running
    /// bodies) is cancelled first, as by a cancel condition. An active saga in the sequence is not compensated,
    /// so its effects stay. If steps have failed in several runs of the sequence (iterations, for example),
    /// each of these runs continues from the given step. Steps that have failed in other sequences run again.
    /// An instance cannot resume in this way if one of its sagas would remain half compensated.
    ResumeFrom(String),
}

/// A pending control request, stored alongside its instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ControlRequest {
    /// A number that grows with every request for this instance.
    pub number: u64,
    /// The kind of the request.
    pub control: Control,
    /// How to resume, if this request is a [`Control::Resume`] that was stored by
    /// [`intervene`](StepStore::intervene). A host that does not support interventions refuses the request; it
    /// must not resume the instance without the intervention.
    pub intervention: Option<Intervention>,
}
