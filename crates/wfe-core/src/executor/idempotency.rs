//! Idempotency keys: by them, external systems recognise a repeated request.

use crate::models::{ExecutionPointer, attributes, pointer_id};

/// The idempotency key of this execution of a step. Its body
/// ([`Ctx::idempotency_key`](crate::steps::Ctx::idempotency_key)) and an external worker get the same key.
///
/// The key is made of what was stored before the work can begin, so it is the same after a crash and over all attempts.
/// The key of a compensation stays the same also if the compensation was interrupted and another saga continues it.
/// Waits in a compensation that an earlier version stored lack this information; they have a key of their own.
#[must_use]
pub fn idempotency_key(instance: &str, pointer: &ExecutionPointer) -> String {
    let named = pointer.text(attributes::KEY);
    pointer_id::idempotency_key(instance, named.unwrap_or(&pointer.id))
}

/// The idempotency key of a pointer of which only the id is known. `None`: the pointer may belong to a compensation,
/// whose key only the stored pointer gives ([`idempotency_key`]).
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
