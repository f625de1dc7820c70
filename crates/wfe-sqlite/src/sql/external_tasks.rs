//! Statements on the subscriptions that represent external tasks. Such a subscription is listed and claimed by its
//! name, and is answered by one event.

use crate::request::{Own, Sql};

/// The columns of the model, in the order in which the codec reads them. Last comes the column `kind`, which
/// distinguishes subscriptions from other rows of this table.
macro_rules! model {
    () => {
        "id, workflow_id, step_id, execution_pointer_id, event_name, event_key, subscribe_as_of, subscription_data, \
         external_token, external_worker_id, external_token_expiry, kind"
    };
}

/// Repeats the `WHERE` of the index `event_subscriptions_work` word for word: SQLite uses a partial index only if the
/// statement contains the condition of the index.
macro_rules! is_work {
    () => {
        "is_open = 1 AND answer IS NULL AND event_name >= 'wfe.' AND event_name < 'wfe/'"
    };
}

/// Reads a page of the open, unanswered subscriptions to a name, in the order in which they were stored.
pub(crate) const LIST: Sql<3> = Sql::new(concat!(
    "SELECT ",
    model!(),
    ", seq FROM event_subscriptions INDEXED BY event_subscriptions_work WHERE ",
    is_work!(),
    " AND event_name = ? AND seq > ? ORDER BY seq LIMIT ?"
));

/// Returns whether there is an unanswered subscription to this name that no valid token holds at this time (last
/// argument). The statement runs before `CLAIM`, so that workers do not wait for the write lock if there is no work.
pub(crate) const IS_ANY_FREE: Sql<2> = Sql::new(concat!(
    "SELECT EXISTS (SELECT 1 FROM event_subscriptions INDEXED BY event_subscriptions_work WHERE ",
    is_work!(),
    " AND event_name = ? AND (external_token IS NULL OR external_token_expiry <= ?))"
));

/// Claims the oldest subscription to a name that no valid token holds. The first three arguments are the new token, the
/// worker and the expiry of the token. Only subscriptions with a row number above the fifth argument are considered.
/// The last argument is the current time.
pub(crate) const CLAIM: Sql<6> = Sql::new(concat!(
    "UPDATE event_subscriptions SET external_token = ?, external_worker_id = ?, external_token_expiry = ? \
     WHERE seq = (SELECT seq FROM event_subscriptions INDEXED BY event_subscriptions_work WHERE ",
    is_work!(),
    " AND event_name = ? AND seq > ? AND (external_token IS NULL OR external_token_expiry <= ?) \
       ORDER BY seq LIMIT 1) RETURNING ",
    model!(),
    ", seq"
));

/// Returns when the earlier claim of the subscription that `CLAIM` takes has expired, or NULL if it has none. The arguments
/// are the last three of `CLAIM`. Runs before it, in the same transaction, if metrics are recorded.
#[cfg(any(feature = "metrics", test))]
pub(crate) const EXPIRED: Sql<3> = Sql::new(concat!(
    "SELECT external_token_expiry FROM event_subscriptions INDEXED BY event_subscriptions_work WHERE ",
    is_work!(),
    " AND event_name = ? AND seq > ? AND (external_token IS NULL OR external_token_expiry <= ?) ORDER BY seq LIMIT 1"
));

/// Guard: this subscription is open and unanswered. If the caller gives a token (second and third argument; otherwise
/// NULL), this token also holds the subscription and has not expired.
pub(crate) const MAY_ANSWER: Sql<4> = Sql::new(guard!(
    "EXISTS (SELECT 1 FROM event_subscriptions WHERE id = ? AND is_open = 1 AND answer IS NULL \
     AND (? IS NULL OR (external_token = ? AND (external_token_expiry IS NULL OR external_token_expiry > ?))))"
));

/// Guard: this subscription accepts an event of this name, key and time.
pub(crate) const TAKES: Sql<4> = Sql::new(guard!(
    "EXISTS (SELECT 1 FROM event_subscriptions \
     WHERE id = ? AND event_name = ? AND event_key = ? AND subscribe_as_of <= ?)"
));

/// Stores this event (first argument) as the answer to this subscription.
pub(crate) const ANSWER: Sql<2> =
    Sql::new("UPDATE event_subscriptions SET answer = ? WHERE id = ?").own(Own::Waits);

/// Marks this subscription as no longer answerable, if it has no answer. The mark is an empty string in place of the id
/// of the answer. It is unambiguous, because no event has an empty id.
pub(crate) const TAKE_NO_ANSWER: Sql<1> =
    Sql::new("UPDATE event_subscriptions SET answer = '' WHERE id = ? AND answer IS NULL").own(Own::Waits);

/// Like `TAKE_NO_ANSWER`, but leaves a subscription as it is if a worker has claimed it. An expired token is a claim too.
/// One statement checks and marks, so no worker gets the subscription in between.
pub(crate) const TAKE_NO_ANSWER_UNLESS_CLAIMED: Sql<1> = Sql::new(
    "UPDATE event_subscriptions SET answer = '' WHERE id = ? AND answer IS NULL AND external_token IS NULL",
)
.own(Own::Waits);

/// Takes an open subscription away from the worker that holds it, whatever its token.
pub(crate) const RELEASE: Sql<1> = Sql::new(
    "UPDATE event_subscriptions SET external_token = NULL, external_worker_id = NULL, external_token_expiry = NULL \
     WHERE id = ? AND is_open = 1 AND answer IS NULL AND external_token IS NOT NULL",
)
.own(Own::Waits);

/// Whether this subscription is open. No row: it is unknown.
pub(crate) const IS_OPEN: Sql<1> =
    Sql::new("SELECT is_open FROM event_subscriptions WHERE id = ? AND kind = 'wait'");

/// Returns which of these subscriptions are open and marked as no longer answerable. The subscriptions are given as a JSON
/// list of ids in hexadecimal; the second argument is their instance. The `+` makes SQLite look the ids up, and not read all
/// open subscriptions of the instance.
pub(crate) const UNANSWERABLE: Sql<2> = Sql::new(
    "SELECT id FROM event_subscriptions WHERE id IN (SELECT CAST(unhex(value) AS TEXT) FROM json_each(?)) \
     AND +workflow_id = ? AND is_open = 1 AND answer = ''",
);

/// Returns whether this subscription (third argument) has this name and key, provided that the event with this id
/// (last) has answered it. Returns no row if the subscription has no answer, or if another event has answered it.
pub(crate) const IS_ANSWERED_BY: Sql<4> =
    Sql::new("SELECT event_name = ? AND event_key = ? FROM event_subscriptions WHERE id = ? AND answer = ?");

/// All statements of this file, for the tests.
#[cfg(test)]
pub(crate) const ALL: &[(&str, &str)] = &[
    ("LIST", LIST.text()),
    ("IS_ANY_FREE", IS_ANY_FREE.text()),
    ("CLAIM", CLAIM.text()),
    ("EXPIRED", EXPIRED.text()),
    ("MAY_ANSWER", MAY_ANSWER.text()),
    ("TAKES", TAKES.text()),
    ("ANSWER", ANSWER.text()),
    ("TAKE_NO_ANSWER", TAKE_NO_ANSWER.text()),
    ("TAKE_NO_ANSWER_UNLESS_CLAIMED", TAKE_NO_ANSWER_UNLESS_CLAIMED.text()),
    ("RELEASE", RELEASE.text()),
    ("IS_OPEN", IS_OPEN.text()),
    ("UNANSWERABLE", UNANSWERABLE.text()),
    ("IS_ANSWERED_BY", IS_ANSWERED_BY.text()),
];
