//! Statements on `event_subscriptions`.

use crate::request::{Own, Sql};

/// The model's columns, in the order in which the codec reads them.
macro_rules! model {
    () => {
        "id, workflow_id, step_id, execution_pointer_id, event_name, event_key, subscribe_as_of, subscription_data, \
         external_token, external_worker_id, external_token_expiry"
    };
}

/// The columns of the model, and the column `kind`, which distinguishes subscriptions from other rows of this
/// table.
macro_rules! wait {
    () => {
        concat!(model!(), ", kind")
    };
}

/// Guard: no subscription has this id.
pub(crate) const ID_IS_FREE: Sql<1> =
    Sql::new(guard!("NOT EXISTS (SELECT 1 FROM event_subscriptions WHERE id = ?)"));

/// Inserts a new open subscription. The arguments are the columns of the model, the instance, and
/// `subscribe_as_of` once more. If `subscribe_as_of` equals the creation time of the instance, the
/// subscription gets the start position of the instance (`born`). To prevent this, the caller gives NULL as
/// the instance; then the timestamps decide which events match.
pub(crate) const INSERT: Sql<13> = Sql::new(concat!(
    "INSERT INTO event_subscriptions (kind, is_open, terminated, ",
    model!(),
    ", born) VALUES ('wait', 1, 0, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, \
     (SELECT born FROM workflows WHERE id = ? AND create_time = ?))"
))
.own(Own::Waits);

/// One subscription, open or not. The statement never finds a row of kind `position`, because such a row has
/// no id.
pub(crate) const LOAD: Sql<1> =
    Sql::new(concat!("SELECT ", wait!(), " FROM event_subscriptions WHERE id = ?"));

/// The open subscriptions to a name and key whose `subscribe_as_of` is not later than a given time, oldest
/// first.
pub(crate) const OPEN: Sql<3> = Sql::new(concat!(
    "SELECT ",
    wait!(),
    " FROM event_subscriptions WHERE is_open = 1 AND event_name = ? AND event_key = ? AND subscribe_as_of <= ? \
     ORDER BY subscribe_as_of, seq"
));

/// Like `OPEN`, but returns only the oldest subscription that is unanswered and that no valid token holds at
/// this time (last argument).
pub(crate) const FIRST_FREE: Sql<4> = Sql::new(concat!(
    "SELECT ",
    wait!(),
    " FROM event_subscriptions WHERE is_open = 1 AND event_name = ? AND event_key = ? AND subscribe_as_of <= ? \
     AND answer IS NULL AND (external_token IS NULL OR external_token_expiry <= ?) ORDER BY subscribe_as_of, seq LIMIT 1"
));

/// Guard: a subscription has this id.
pub(crate) const EXISTS: Sql<1> = Sql::new(guard!("EXISTS (SELECT 1 FROM event_subscriptions WHERE id = ?)"));

/// Guard: an open subscription has this id.
pub(crate) const IS_OPEN: Sql<1> =
    Sql::new(guard!("EXISTS (SELECT 1 FROM event_subscriptions WHERE id = ? AND is_open = 1)"));

/// Closes a subscription at the request of a caller.
pub(crate) const TERMINATE: Sql<1> =
    Sql::new("UPDATE event_subscriptions SET is_open = 0, terminated = 1 WHERE id = ? AND is_open = 1")
        .own(Own::Waits);

/// Returns whether these subscriptions were closed, and whether a caller requested it. The subscriptions are
/// given as a JSON list of ids in hexadecimal.
pub(crate) const FATES: Sql<1> = Sql::new(
    "SELECT id, workflow_id, is_open, terminated FROM event_subscriptions \
     WHERE id IN (SELECT CAST(unhex(value) AS TEXT) FROM json_each(?))",
);

/// Closes a subscription when its pointer stops waiting.
pub(crate) const CLOSE: Sql<1> =
    Sql::new("UPDATE event_subscriptions SET is_open = 0 WHERE id = ? AND is_open = 1").own(Own::Waits);

/// Sets the token, the worker and the expiry of an open subscription. Either the subscription already has the
/// same token, or it is unanswered and has no token or an expired one (at the time in the last argument). One
/// statement checks this and sets the token, so that only one of two competing workers gets the subscription.
pub(crate) const SET_TOKEN: Sql<6> = Sql::new(
    "UPDATE event_subscriptions SET external_token = ?, external_worker_id = ?, external_token_expiry = ? \
     WHERE id = ? AND is_open = 1 \
     AND (external_token = ? OR (answer IS NULL AND (external_token IS NULL OR external_token_expiry <= ?)))",
)
.own(Own::Waits);

/// Guard: this subscription holds this token.
pub(crate) const HOLDS: Sql<2> =
    Sql::new(guard!("EXISTS (SELECT 1 FROM event_subscriptions WHERE id = ? AND external_token = ?)"));

/// Clears a token.
pub(crate) const CLEAR_TOKEN: Sql<2> = Sql::new(
    "UPDATE event_subscriptions SET external_token = NULL, external_worker_id = NULL, external_token_expiry = NULL \
     WHERE id = ? AND external_token = ?",
)
.own(Own::Waits);

/// All statements of this file, for the tests.
#[cfg(test)]
pub(crate) const ALL: &[(&str, &str)] = &[
    ("ID_IS_FREE", ID_IS_FREE.text()),
    ("INSERT", INSERT.text()),
    ("LOAD", LOAD.text()),
    ("OPEN", OPEN.text()),
    ("FIRST_FREE", FIRST_FREE.text()),
    ("EXISTS", EXISTS.text()),
    ("IS_OPEN", IS_OPEN.text()),
    ("TERMINATE", TERMINATE.text()),
    ("FATES", FATES.text()),
    ("CLOSE", CLOSE.text()),
    ("SET_TOKEN", SET_TOKEN.text()),
    ("HOLDS", HOLDS.text()),
    ("CLEAR_TOKEN", CLEAR_TOKEN.text()),
];
