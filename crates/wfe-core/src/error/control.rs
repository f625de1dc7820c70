//! The control requests. They stand beside the errors, because [`NoEffectReason`](super::NoEffectReason) holds one.

use std::fmt;

use serde::{Deserialize, Serialize};

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

impl Control {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Suspend => "suspend",
            Self::Resume => "resume",
            Self::Cancel => "cancel",
            Self::Terminate => "terminate",
        }
    }
}

/// One word: `suspend`, `resume`, `cancel` or `terminate`.
impl fmt::Display for Control {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
