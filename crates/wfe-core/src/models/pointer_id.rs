//! The ids of execution pointers, and other ids that are made from them. The id of a pointer is the path to
//! it:
//!
//! ```text
//! pointer = step { `/` branch `/` step }     price/17/look-up#2
//! step    = id of the step [ `#` number ]    the number of the execution, from the second one on
//! branch  = key [ `#` number ]               the number of the container's start, from the second one on
//! key     = number | `fallback` | `timeout` | `escalation` | `undo` number
//! ```
//!
//! The number in a key is the number of a branch, of an iteration, of a tick, or of a round of a saga. After
//! `undo`, it is the number of an entry of the saga's log. The id of a step contains neither `/` nor `#`.
//! This is checked when the definition is built.

/// The key of the branch that is the fallback of a step.
pub(crate) const FALLBACK: &str = "fallback";
/// The key of the branch that runs when the time limit of a wait has passed.
pub(crate) const TIMEOUT: &str = "timeout";
/// The key of the branch that runs when a user task is escalated.
pub(crate) const ESCALATION: &str = "escalation";
/// The first part of the key of a compensation. The second part is the number of the log entry.
const COMPENSATION: &str = "undo";

/// The key of the branch that compensates this entry of a saga's log.
pub(crate) fn compensation(entry: u64) -> String {
    format!("{COMPENSATION}{entry}")
}

/// Whether a branch with this key is a compensation.
pub(crate) fn is_compensation(key: &str) -> bool {
    key.starts_with(COMPENSATION)
}

/// The id of the first pointer in a branch of this container. `start` says how often the container has been
/// started, or is `None` if the container has been started only once.
pub(crate) fn first_in_branch(container: &str, key: &str, start: Option<u64>, step: &str) -> String {
    match start {
        None => [container, "/", key, "/", step].concat(),
        Some(start) => format!("{container}/{key}#{start}/{step}"),
    }
}

/// The id of the first execution of this step in the sequence that contains `pointer`.
pub(crate) fn in_sequence_of(pointer: &str, step: &str) -> String {
    [sequence(pointer), step].concat()
}

/// The prefix of the ids of all pointers in the sequence that contains `pointer`. It is empty, or a path that
/// ends with `/`.
pub(crate) fn sequence(pointer: &str) -> &str {
    pointer.rfind('/').map_or("", |end| &pointer[..=end])
}

/// Whether a pointer belongs to this sequence itself. A pointer inside a container of the
/// sequence does not.
pub(crate) fn is_in_sequence(pointer: &str, sequence: &str) -> bool {
    pointer.strip_prefix(sequence).is_some_and(|rest| !rest.contains('/'))
}

/// The id of a later execution of a step. `first` is the id of the first execution. `number` counts from 2.
pub(crate) fn execution(first: &str, number: u64) -> String {
    format!("{first}#{number}")
}

/// The prefix of the ids of all later executions of a step. `first` is the id of the first execution.
pub(crate) fn later_executions(first: &str) -> String {
    format!("{first}#")
}

/// Which execution of its step the pointer is: 1 for the first, 2 for the second, and so on.
pub(crate) fn execution_number(pointer: &str) -> u64 {
    let step = &pointer[sequence(pointer).len()..];
    step.split_once('#').map_or(1, |(_, number)| number.parse().unwrap_or(1))
}

/// The id of the pointer's step.
pub(crate) fn step(pointer: &str) -> &str {
    let step = &pointer[sequence(pointer).len()..];
    step.split_once('#').map_or(step, |(step, _)| step)
}

/// The prefix of the ids of all pointers inside this container.
pub(crate) fn inside(container: &str) -> String {
    format!("{container}/")
}

/// Whether a pointer is inside this container, at any depth.
pub(crate) fn is_inside(pointer: &str, container: &str) -> bool {
    pointer.strip_prefix(container).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a pointer is in the same sequence as the pointer `seen_from`, or in a sequence that encloses it.
pub(crate) fn is_visible_from(pointer: &str, seen_from: &str) -> bool {
    seen_from.starts_with(sequence(pointer))
}

/// The prefix of the ids of all pointers in a branch of `container`. The branch is the one in which `pointer`
/// is. The prefix ends with `/`. Returns `None` if the pointer is not inside this container.
pub(crate) fn branch_path<'p>(container: &str, pointer: &'p str) -> Option<&'p str> {
    let branch = pointer.strip_prefix(container)?.strip_prefix('/')?;
    pointer.get(..container.len() + 1 + branch.find('/')? + 1)
}

/// The key of that branch of `container` in which `pointer` is, at any depth.
pub(crate) fn branch_key<'p>(container: &str, pointer: &'p str) -> &'p str {
    let rest = pointer.get(container.len() + 1..).unwrap_or_default();
    let branch = rest.split('/').next().unwrap_or_default();
    branch.split_once('#').map_or(branch, |(key, _)| key)
}

/// Whether a pointer is part of a compensation.
pub(crate) fn is_in_compensation(pointer: &str) -> bool {
    // In a path, steps and branches alternate.
    pointer.split('/').skip(1).step_by(2).any(is_compensation)
}

/// The attempt path: the path that all attempts of a step have in common. To get it, three kinds of numbers
/// are removed from the pointer's id: numbers of executions, numbers of a container's starts, and numbers of
/// rounds. Attempts with the same attempt path never run at the same time.
pub(crate) fn attempt_place(pointer: &str, has_rounds: impl Fn(&str) -> bool) -> String {
    let mut place = String::with_capacity(pointer.len());
    let mut is_counted = false;
    for (index, part) in pointer.split('/').enumerate() {
        let (name, is_step) = (part.split('#').next().unwrap_or_default(), index % 2 == 0);
        if index > 0 {
            place.push('/');
        }
        let is_round = !is_step && is_counted && name.bytes().all(|byte| byte.is_ascii_digit());
        place.push_str(if is_round { "" } else { name });
        is_counted = is_step && has_rounds(name);
    }
    place
}

/// Whether the attempt path `place` is equal to the attempt path `around`, or inside it.
pub(crate) fn is_place_within(place: &str, around: &str) -> bool {
    place == around || is_inside(place, around)
}

/// The key under which an entry of a saga's log is stored.
pub(crate) fn log_entry(saga: &str, number: u64) -> String {
    format!("{saga}/log/{number}")
}

/// The id of a subscription of a pointer. `count` is 1 for the first subscription that the pointer opens. No
/// two subscriptions have the same id, because a pointer's id does not contain `//`.
pub(crate) fn subscription(instance: &str, pointer: &str, count: u64) -> String {
    format!("{instance}//{pointer}//{count}")
}

/// The id of the child workflow that a pointer starts in this attempt.
pub(crate) fn child(instance: &str, pointer: &str, attempt: u32) -> String {
    format!("{instance}//{pointer}//{attempt}")
}

/// The idempotency key that stands for this pointer.
pub(crate) fn idempotency_key(instance: &str, pointer: &str) -> String {
    [instance, "/", pointer].concat()
}

/// The pointer that an [idempotency key](idempotency_key) of this instance stands for. Returns `None` if
/// `key` is not an idempotency key of this instance.
pub(crate) fn named_by_key<'k>(instance: &str, key: &'k str) -> Option<&'k str> {
    key.strip_prefix(instance)?.strip_prefix('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_tells_step_execution_sequence_and_branch() {
        let id = "price/17#3/look-up#2";
        assert_eq!((step(id), execution_number(id), sequence(id)), ("look-up", 2, "price/17#3/"));
        assert_eq!((step("a"), execution_number("a"), sequence("a")), ("a", 1, ""));
        assert_eq!(branch_key("price", id), "17");
        assert_eq!(branch_path("price", id), Some("price/17#3/"));
        assert_eq!(branch_path("pri", id), None);
        assert_eq!(in_sequence_of(id, "next"), "price/17#3/next");
        assert_eq!(first_in_branch("price", "17", Some(3), "look-up"), "price/17#3/look-up");
        assert_eq!(first_in_branch("price", "17", None, "look-up"), "price/17/look-up");
        assert_eq!(execution("price/17#3/look-up", 2), id);
        assert!(id.starts_with(&later_executions("price/17#3/look-up")));
    }

    #[test]
    fn inside_is_told_from_a_longer_name() {
        assert!(
            is_inside("saga/1/a", "saga") && !is_inside("saga-2/1/a", "saga") && !is_inside("saga", "saga")
        );
        assert!(is_in_sequence("saga/1/a", "saga/1/") && !is_in_sequence("saga/1/a/0/b", "saga/1/"));
        assert!(is_in_sequence("a", "") && !is_in_sequence("a/0/b", ""));
        assert!(is_visible_from("each", "b") && is_visible_from("each", "x/0/b"));
        assert!(is_visible_from("x/0/each", "x/0/b/1/c") && !is_visible_from("x/1/each", "x/0/b"));
    }

    #[test]
    fn attempts_of_all_executions_rounds_and_starts_have_one_place_and_iterations_have_their_own() {
        let place = |id| attempt_place(id, |step| step == "saga");
        assert_eq!(place("saga/1/a"), place("saga/2/a#3"));
        assert_eq!(place("saga#2/1#4/a"), place("saga/2/a"));
        assert_ne!(place("each/1/a"), place("each/2/a"));
        assert_ne!(place("saga/undo1/a"), place("saga/undo2/a"));
        assert!(is_place_within(&place("saga/2/a"), &place("saga")));
    }
}
