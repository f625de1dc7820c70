//! Statements on subscriptions as external tasks: listed and claimed by name, answered by one event.

use crate::request::{Own, Sql};

/// The columns of the model, in the order in which the codec reads them, and those that mark the row as a
/// subscription.
macro_rules! model {
    () => {
        "id, workflow_id, step_id, execution_pointer_id, event_name, event_key, subscribe_as_of, subscription_data, \
         external_token, external_worker_id, external_token_expiry, kind"
    };
}

/// The condition of the index `event_subscriptions_work`, word for word: SQLite uses a partial index only if a
/// statement contains its condition.
macro_rules! is_work {
    () => {
        "is_open = 1 AND answer IS NULL AND event_name >= 'wfe.' AND event_name < 'wfe/'"
    };
}

/// A page of the unanswered subscriptions to a name, in the order in which they were stored.
pub(crate) const LIST: Sql<3> = Sql::new(concat!(
    "SELECT ",
    model!(),
    ", seq FROM event_subscriptions INDEXED BY event_subscriptions_work WHERE ",
    is_work!(),
    " AND event_name = ? AND seq > ? ORDER BY seq LIMIT ?"
));

/// Whether one of them is held by no token at this time (last). Tested before `CLAIM`, so that workers without
/// work do not wait for the write lock.
pub(crate) const IS_ANY_FREE: Sql<2> = Sql::new(concat!(
    "SELECT EXISTS (SELECT 1 FROM event_subscriptions INDEXED BY event_subscriptions_work WHERE ",
    is_work!(),
    " AND event_name = ? AND (external_token IS NULL OR external_token_expiry <= ?))"
));

/// Gives the oldest of them after a row (fifth) to a token, with worker and expiry; last, the time.
pub(crate) const CLAIM: Sql<6> = Sql::new(concat!(
    "UPDATE event_subscriptions SET external_token = ?, external_worker_id = ?, external_token_expiry = ? \
     WHERE seq = (SELECT seq FROM event_subscriptions INDEXED BY event_subscriptions_work WHERE ",
    is_work!(),
    " AND event_name = ? AND seq > ? AND (external_token IS NULL OR external_token_expiry <= ?) \
       ORDER BY seq LIMIT 1) RETURNING ",
    model!(),
    ", seq"
));

/// Guard: this subscription is open and unanswered, and the given token (second and third; NULL: none is given) holds
/// it and has not expired.
pub(crate) const MAY_ANSWER: Sql<4> = Sql::new(guard!(
    "EXISTS (SELECT 1 FROM event_subscriptions WHERE id = ? AND is_open = 1 AND answer IS NULL \
     AND (? IS NULL OR (external_token = ? AND (external_token_expiry IS NULL OR external_token_expiry > ?))))"
));

/// Guard: this subscription takes an event of this name, key and time.
pub(crate) const TAKES: Sql<4> = Sql::new(guard!(
    "EXISTS (SELECT 1 FROM event_subscriptions \
     WHERE id = ? AND event_name = ? AND event_key = ? AND subscribe_as_of <= ?)"
));

/// This event (first) answers this subscription.
pub(crate) const ANSWER: Sql<2> =
    Sql::new("UPDATE event_subscriptions SET answer = ? WHERE id = ?").own(Own::Waits);

/// This subscription can no longer be answered, and has no answer: no event has an empty id.
pub(crate) const TAKE_NO_ANSWER: Sql<1> =
    Sql::new("UPDATE event_subscriptions SET answer = '' WHERE id = ? AND answer IS NULL").own(Own::Waits);

/// Whether this subscription (third), which the event of this id (last) has answered, is of this name and key.
/// No row: another event has answered it, or none.
pub(crate) const IS_ANSWERED_BY: Sql<4> =
    Sql::new("SELECT event_name = ? AND event_key = ? FROM event_subscriptions WHERE id = ? AND answer = ?");

/// All of them, for the tests.
#[cfg(test)]
pub(crate) const ALL: &[(&str, &str)] = &[
    ("LIST", LIST.text()),
    ("IS_ANY_FREE", IS_ANY_FREE.text()),
    ("CLAIM", CLAIM.text()),
    ("MAY_ANSWER", MAY_ANSWER.text()),
    ("TAKES", TAKES.text()),
    ("ANSWER", ANSWER.text()),
    ("TAKE_NO_ANSWER", TAKE_NO_ANSWER.text()),
    ("IS_ANSWERED_BY", IS_ANSWERED_BY.text()),
];
