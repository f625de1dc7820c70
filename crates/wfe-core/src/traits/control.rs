use serde::{Deserialize, Serialize};

#[cfg(doc)]
use super::StepStore;

/// What somebody outside asks of an instance, busy or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Control {
    /// Stand still once the running steps have ended.
    Suspend,
    /// Go on.
    Resume,
    /// End before the end, undoing open sagas.
    Cancel,
    /// End before the end, as it stands.
    Terminate,
}

/// How a suspended instance is to go on, where it is not to try its failed steps again. An instance that is not suspended
/// when the request reaches it does not change.
///
/// An instance that cannot go on in this way stays as it is, and the reason is stored as a failure with the code
/// [`INTERVENTION`](crate::steps::StepError::INTERVENTION).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Intervention {
    /// Behind each of its failed steps, as if that had completed without an outcome. Its outputs are not applied, and its
    /// failure stays stored. Not possible if no step has failed.
    ///
    /// For the saga around it, a skipped step has done nothing: when the saga is undone, the step's own compensation does not
    /// run. Of a skipped container, what had completed in it before is undone step by step. A skipped step of a
    /// compensation is passed over in the same way: the undoing goes on behind it, and what it was to undo counts as undone.
    Skip,
    /// From the step with this stable id, which begins anew: as another visit, with attempts and an idempotency key of its
    /// own. It has to be a step of the main path, of the sequence in which a step has failed, or of one around that.
    ///
    /// Whatever else is at work in that sequence (waits, side branches, children, running bodies) is taken away first,
    /// as by a cancel condition; a saga among it is not undone, its effects stay. If steps have failed in several runs of
    /// the sequence (iterations, say), each of these runs goes on from there. What has failed elsewhere is tried
    /// again. Not possible if a saga would be left half undone.
    ResumeFrom(String),
}

/// A control request that waits beside its instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ControlRequest {
    /// Grows with every request for this instance.
    pub number: u64,
    /// What is asked.
    pub control: Control,
    /// With [`Control::Resume`]: how, if an [`intervene`](StepStore::intervene) asked for it. Whoever cannot do that
    /// refuses the request; it is no plain resume.
    pub intervention: Option<Intervention>,
}
