use std::sync::Arc;

/// The step that a closure of a definition computes a value for: where it stands, and the instance that it belongs to.
///
/// [`wait_for_keyed`](crate::definition::Sequence::wait_for_keyed) and
/// [`activity_named`](crate::definition::Sequence::activity_named) give it to their closures. The methods return texts
/// of their own, so that a closure can return them.
#[derive(Debug, Clone)]
pub struct StepInfo {
    pub(crate) instance: Arc<str>,
    pub(crate) definition: Arc<str>,
    pub(crate) version: u32,
    pub(crate) reference: Option<Arc<str>>,
    pub(crate) step: Arc<str>,
}

impl StepInfo {
    /// The id of the instance that the step belongs to.
    #[must_use]
    pub fn instance_id(&self) -> String {
        self.instance.to_string()
    }

    /// The id of the definition that the instance runs.
    #[must_use]
    pub fn definition_id(&self) -> String {
        self.definition.to_string()
    }

    /// The version of the definition that the instance runs.
    #[must_use]
    pub fn definition_version(&self) -> u32 {
        self.version
    }

    /// The instance's reference, as [`Ctx::reference`](super::Ctx::reference) returns it. `None` if the instance was
    /// started without a reference, or is a child workflow.
    #[must_use]
    pub fn reference(&self) -> Option<String> {
        self.reference.as_deref().map(str::to_owned)
    }

    /// The step's stable id.
    #[must_use]
    pub fn step_id(&self) -> String {
        self.step.to_string()
    }
}
