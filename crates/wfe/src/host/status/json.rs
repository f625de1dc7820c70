//! The JSON of the parts of a status that have another stored form.

use serde::{Serialize, Serializer};
use wfe_core::traits::{Control, ControlRequest, Ending, Intervention};

use super::Blocked;

/// The word for a request in JSON and in text.
pub(super) fn word(request: &ControlRequest) -> &'static str {
    match (request.control, &request.intervention) {
        (Control::Resume, Some(Intervention::Skip)) => "skip",
        (Control::Resume, Some(Intervention::ResumeFrom(_))) => "resume_from",
        (Control::Resume, None) => "resume",
        (Control::Suspend, _) => "suspend",
        (Control::Cancel, _) => "cancel",
        (Control::Terminate, _) => "terminate",
    }
}

#[expect(clippy::ref_option, reason = "serde's signature")]
pub(super) fn request<S: Serializer>(
    request: &Option<ControlRequest>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    request.as_ref().map(word).serialize(serializer)
}

#[expect(clippy::ref_option, clippy::trivially_copy_pass_by_ref, reason = "serde's signature")]
pub(super) fn ending<S: Serializer>(ending: &Option<Ending>, serializer: S) -> Result<S::Ok, S::Error> {
    ending.map(|ending| ending.to_string()).serialize(serializer)
}

impl Serialize for Blocked {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::DefinitionMissing { .. } => "definition_missing",
            Self::Suspended(_) => "suspended",
        })
    }
}
