//! What stored rows tell, typed: for a host that shows them.

use crate::models::pointer_id;

/// The id of the step at which a pointer stands.
#[must_use]
pub fn step_of(pointer: &str) -> &str {
    pointer_id::step(pointer)
}
