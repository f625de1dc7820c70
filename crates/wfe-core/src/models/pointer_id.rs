//! The ids of execution pointers, and what is made of them. An id is the path to its pointer:
//!
//! ```text
//! pointer = step { "/" branch "/" step }     price/17/look-up#2
//! step    = the step's id [ "#" execution ]  later executions of a step in its sequence are counted, from 2
//! branch  = key [ "#" start ]                branches of a container that started again bear the start, from 2
//! key     = number | "fallback" | "timeout" | "escalation" | "undo" number
//! ```
//!
//! A number is that of a branch, an iteration, a tick or a round. Ids of steps contain neither `/` nor `#`, which each
//! definition is checked for.

/// Key of the branch that runs in place of a failed step.
pub(crate) const FALLBACK: &str = "fallback";
/// Key of the branch that runs when a wait took too long.
pub(crate) const TIMEOUT: &str = "timeout";
/// Key of the branch that runs beside a task that was not answered in time.
pub(crate) const ESCALATION: &str = "escalation";
/// What the keys of compensations begin with; the number of the log's entry follows.
const COMPENSATION: &str = "undo";

/// Key of the branch that compensates this entry of a saga's log.
pub(crate) fn compensation(entry: u64) -> String {
    format!("{COMPENSATION}{entry}")
}

/// Whether a branch with this key is a compensation.
pub(crate) fn is_compensation(key: &str) -> bool {
    key.starts_with(COMPENSATION)
}

/// The first pointer of a branch of this container. `start`: which start of the container it is, if not the first.
pub(crate) fn first_in_branch(container: &str, key: &str, start: Option<u64>, step: &str) -> String {
    match start {
        None => format!("{container}/{key}/{step}"),
        Some(start) => format!("{container}/{key}#{start}/{step}"),
    }
}

/// The first execution of this step in the sequence in which `pointer` stands.
pub(crate) fn in_sequence_of(pointer: &str, step: &str) -> String {
    format!("{}{step}", sequence(pointer))
}

/// What the ids of all pointers of a sequence begin with: empty, or a path that ends with `/`.
pub(crate) fn sequence(pointer: &str) -> &str {
    pointer.rfind('/').map_or("", |end| &pointer[..=end])
}

/// Whether a pointer stands in this [sequence](self::sequence) itself, not in a container of it.
pub(crate) fn is_in_sequence(pointer: &str, sequence: &str) -> bool {
    pointer.strip_prefix(sequence).is_some_and(|rest| !rest.contains('/'))
}

/// A later execution of the step whose first execution has this id; `number` counts from 2.
pub(crate) fn execution(first: &str, number: u64) -> String {
    format!("{first}#{number}")
}

/// What the ids of all later executions begin with.
pub(crate) fn later_executions(first: &str) -> String {
    format!("{first}#")
}

/// Which execution of its step it is, from 1.
pub(crate) fn execution_number(pointer: &str) -> u64 {
    let step = &pointer[sequence(pointer).len()..];
    step.split_once('#').map_or(1, |(_, number)| number.parse().unwrap_or(1))
}

/// The id of the pointer's step.
pub(crate) fn step(pointer: &str) -> &str {
    let step = &pointer[sequence(pointer).len()..];
    step.split_once('#').map_or(step, |(step, _)| step)
}

/// What the ids of all pointers inside this container begin with.
pub(crate) fn inside(container: &str) -> String {
    format!("{container}/")
}

/// Whether a pointer is inside this container, however deep.
pub(crate) fn is_inside(pointer: &str, container: &str) -> bool {
    pointer.strip_prefix(container).is_some_and(|rest| rest.starts_with('/'))
}

/// Whether a pointer stands in the sequence of this one, or in one around it.
pub(crate) fn is_visible_from(pointer: &str, seen_from: &str) -> bool {
    seen_from.starts_with(sequence(pointer))
}

/// What the ids of all pointers begin with in the branch of `container` in which `pointer` is; it ends with `/`. `None`:
/// the pointer is not inside this container.
pub(crate) fn branch_path<'p>(container: &str, pointer: &'p str) -> Option<&'p str> {
    let branch = pointer.strip_prefix(container)?.strip_prefix('/')?;
    pointer.get(..container.len() + 1 + branch.find('/')? + 1)
}

/// The key of the branch of `container` in which `pointer` is, however deep.
pub(crate) fn branch_key<'p>(container: &str, pointer: &'p str) -> &'p str {
    let rest = pointer.get(container.len() + 1..).unwrap_or_default();
    let branch = rest.split('/').next().unwrap_or_default();
    branch.split_once('#').map_or(branch, |(key, _)| key)
}

/// Whether a pointer is part of a compensation.
pub(crate) fn is_in_compensation(pointer: &str) -> bool {
    // Steps and branches take turns.
    pointer.split('/').skip(1).step_by(2).any(is_compensation)
}

/// The place of a step's attempts: the path without the numbers of executions, of starts, and of the rounds of those steps that
/// have any. Attempts at one place never overlap.
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

/// Whether an attempt's place is this one, or inside it.
pub(crate) fn is_place_within(place: &str, around: &str) -> bool {
    place == around || is_inside(place, around)
}

/// Under what an entry of a saga's log is stored.
pub(crate) fn log_entry(saga: &str, number: u64) -> String {
    format!("{saga}/log/{number}")
}

/// The id of the subscription that a pointer opens as its `count`th. No id of a pointer has an empty part, so that no two
/// subscriptions have one id.
pub(crate) fn subscription(instance: &str, pointer: &str, count: u64) -> String {
    format!("{instance}//{pointer}//{count}")
}

/// The id of the child that a pointer begins at this attempt.
pub(crate) fn child(instance: &str, pointer: &str, attempt: u32) -> String {
    format!("{instance}//{pointer}//{attempt}")
}

/// The idempotency key that names this pointer.
pub(crate) fn idempotency_key(instance: &str, pointer: &str) -> String {
    format!("{instance}/{pointer}")
}

/// The pointer that an [idempotency key](idempotency_key) of this instance names; `None`: it is no such key.
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
