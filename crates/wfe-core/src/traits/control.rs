use serde::{Deserialize, Serialize};

#[cfg(doc)]
use super::StepStore;

/// A request to an instance, whether it is busy or not.
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

/// How a suspended instance resumes, if not by running its failed steps again.
///
/// An instance that is not suspended when the request reaches it does not change. Nor does one that cannot
/// resume in this way; then the reason is stored as a failure with the code
/// [`INTERVENTION`](crate::steps::StepError::INTERVENTION).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Intervention {
    /// Skips each failed step: the instance continues after it, as if it had completed without an outcome. The
    /// step's outputs are not applied, and its failure stays stored. Not possible if no step has failed.
    ///
    /// To the saga around it, a skipped step has done nothing: its own compensation does not run. If a
    /// container is skipped, the steps that completed in it are compensated one by one. If a step of a
    /// compensation is skipped, the compensation continues after it, and what that step was to compensate
    /// counts as compensated.
    Skip,
    /// Resumes from the step with this stable id. The step begins anew, as another execution pointer with its
    /// own attempts and its own idempotency key. It must be a step of the main path, of the sequence in which a
    /// step has failed, or of a sequence around that one.
    ///
    /// Everything else at work in that sequence (subscriptions, side branches, children, running bodies) is
    /// cancelled first, as by a cancel condition; a saga among it is not compensated, so its effects stay. If
    /// steps have failed in several runs of the sequence (iterations, for example), each of these runs
    /// continues from there. Steps that have failed elsewhere run again. Not possible if a saga would remain
    /// half compensated.
    ResumeFrom(String),
}

/// A pending control request, stored beside its instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ControlRequest {
    /// Grows with every request for this instance.
    pub number: u64,
    /// What is requested.
    pub control: Control,
    /// With [`Control::Resume`]: how to resume, if [`intervene`](StepStore::intervene) requested it. A host
    /// that does not support that refuses the request; it must not resume in the plain way instead.
    pub intervention: Option<Intervention>,
}
