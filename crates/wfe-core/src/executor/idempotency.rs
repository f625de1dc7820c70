//! Idempotency keys, by which external systems recognise a repeated request.

use crate::models::{ExecutionPointer, attributes, pointer_id};

/// The idempotency key of this execution of a step. The step's body
/// ([`Ctx::idempotency_key`](crate::steps::Ctx::idempotency_key)) and an external worker get the same key.
///
/// The key is derived from state that is stored before the work can begin, so the key is the same after a crash and in
/// all attempts. The key of a compensation stays the same even if the compensation was interrupted and another saga
/// continues the compensation. Earlier versions did not store the pointer's key when a pointer waited in a
/// compensation. For such a pointer, the key is derived from the pointer's id.
#[must_use]
pub fn idempotency_key(instance: &str, pointer: &ExecutionPointer) -> String {
    let named = pointer.text(attributes::KEY);
    pointer_id::idempotency_key(instance, named.unwrap_or(&pointer.id))
}

/// The idempotency key of a pointer, derived from the pointer's id alone. Returns `None` if the pointer may belong to a
/// compensation. The key of a compensation must be computed from the stored pointer ([`idempotency_key`]).
#[must_use]
pub fn idempotency_key_of_path(instance: &str, pointer: &str) -> Option<String> {
    (!pointer_id::is_in_compensation(pointer)).then(|| pointer_id::idempotency_key(instance, pointer))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_pointer_in_a_compensation_has_to_be_read_for_its_key() {
        for plain in ["a", "undo1", "each/7/undo2", "saga/1/undo/2/x#3"] {
            assert_eq!(idempotency_key_of_path("i", plain), Some(format!("i/{plain}")));
        }
        for in_compensation in ["saga/undo0/x", "saga/1/inner/undo12/all/3/x"] {
            assert_eq!(idempotency_key_of_path("i", in_compensation), None);
        }
    }
}
