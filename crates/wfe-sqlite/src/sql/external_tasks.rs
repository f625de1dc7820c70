//! Statements on subscriptions that are external tasks: they are listed and claimed by name, and answered by one event.

use crate::request::{Own, Sql};

/// The columns of the model, in the order in which the codec reads them, and the column that marks the row as a
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

/// Whether a subscription to this name is held by no token at this time (last). The statement runs before `CLAIM`, so
/// that workers do not wait for the write lock if there is no work.
pub(crate) const IS_ANY_FREE: Sql<2> = Sql::new(concat!(
    "SELECT EXISTS (SELECT 1 FROM event_subscriptions INDEXED BY event_subscriptions_work WHERE ",
    is_work!(),
    " AND event_name = ? AND (external_token IS NULL OR external_token_expiry <= ?))"
));

/// Gives the oldest unclaimed subscription to a name to a token, with worker and expiry. Only subscriptions after a row
/// (fifth) are considered. The last argument is the time.
pub(crate) const CLAIM: Sql<6> = Sql::new(concat!(
    "UPDATE event_subscriptions SET external_token = ?, external_worker_id = ?, external_token_expiry = ? \
     WHERE seq = (SELECT seq FROM event_subscriptions INDEXED BY event_subscriptions_work WHERE ",
    is_work!(),
    " AND event_name = ? AND seq > ? AND (external_token IS NULL OR external_token_expiry <= ?) \
       ORDER BY seq LIMIT 1) RETURNING ",
    model!(),
    ", seq"
));

/// Guard: this subscription is open and unanswered. If a token is given (second and third; NULL if none is given), this
/// token holds the subscription and has not expired.
pub(crate) const MAY_ANSWER: Sql<4> = Sql::new(guard!(
    "EXISTS (SELECT 1 FROM event_subscriptions WHERE id = ? AND is_open = 1 AND answer IS NULL \
     AND (? IS NULL OR (external_token = ? AND (external_token_expiry IS NULL OR external_token_expiry > ?))))"
));

/// Guard: this subscription takes an event of this name, key and time.
pub(crate) const TAKES: Sql<4> = Sql::new(guard!(
    "EXISTS (SELECT 1 FROM event_subscriptions \
     WHERE id = ? AND event_name = ? AND event_key = ? AND subscribe_as_of <= ?)"
));

/// Stores this event (first) as the answer to this subscription.
pub(crate) const ANSWER: Sql<2> =
    Sql::new("UPDATE event_subscriptions SET answer = ? WHERE id = ?").own(Own::Waits);

/// Marks this subscription as no longer answerable, if it has no answer. The mark is an empty string, because no event
/// has an empty id.
pub(crate) const TAKE_NO_ANSWER: Sql<1> =
    Sql::new("UPDATE event_subscriptions SET answer = '' WHERE id = ? AND answer IS NULL").own(Own::Waits);

/// Whether this subscription (third), which the event with this id (last) has answered, has this name and key. Returns
/// no row if the subscription has no answer, or if another event has answered it.
pub(crate) const IS_ANSWERED_BY: Sql<4> =
    Sql::new("SELECT event_name = ? AND event_key = ? FROM event_subscriptions WHERE id = ? AND answer = ?");

/// All statements of this file, for the tests.
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
