//! Statements on subscriptions, and on the streams of events that they read.
//!
//! The position that an instance has reached in a stream is stored in a row of kind `position` in
//! `event_subscriptions`. This row outlives the subscriptions of the instance.
//!
//! Two macros define which events a subscription matches: `matches` tests one event, and `next_position` finds the
//! first event that matches.

use crate::request::{Own, Sql};

/// The position up to which the instance of the subscription `s` has consumed the stream of `s`, or NULL if the
/// instance has consumed no event of this stream yet.
macro_rules! consumed {
    () => {
        "(SELECT p.consumed FROM event_subscriptions AS p WHERE p.kind = 'position' \
          AND p.workflow_id = s.workflow_id AND p.event_name = s.event_name AND p.event_key = s.event_key)"
    };
}

/// Whether the subscription `s` matches the event `e`. Both are known to have the same name and key. The column `born`
/// is the start position. A subscription that has a start position receives events from the creation of its instance
/// on. An event that was published without a timestamp (`undated`) came after the creation if its position is higher
/// than the start position. If `born` is NULL, the timestamps decide.
macro_rules! matches {
    () => {
        concat!(
            "e.position IS NOT NULL AND coalesce(e.position > ",
            $crate::sql::streams::consumed!(),
            ", iif(e.undated = 1 AND s.born IS NOT NULL, e.position > s.born, \
               e.event_time >= s.subscribe_as_of OR (e.timely = 1 AND e.position > s.born)))"
        )
    };
}

/// The position of the event that the subscription `s` takes next, or NULL if there is no such event. Because of the
/// `+`, SQLite does not scan a whole stream in the order of positions for the first event that is not earlier than a
/// given time. Instead, it finds this event directly by the index `events_time` or `events_dated`. All `undated` events
/// are `timely` (not backdated). The number 9223372036854775807 means that there is no event: no position reaches it.
/// NULL cannot have this meaning, because the minimum of NULL and a position is NULL.
macro_rules! next_position {
    () => {
        concat!(
            "iif(",
            $crate::sql::streams::consumed!(),
            " IS NOT NULL, (SELECT min(n.position) FROM events AS n WHERE n.event_name = s.event_name \
               AND n.event_key = s.event_key AND n.position > ",
            $crate::sql::streams::consumed!(),
            "), iif(s.born IS NULL, (SELECT min(+n.position) FROM events AS n INDEXED BY events_time \
                 WHERE n.event_name = s.event_name AND n.event_key = s.event_key \
                 AND n.event_time >= s.subscribe_as_of), \
               nullif(min(\
                 coalesce((SELECT min(+n.position) FROM events AS n INDEXED BY events_dated WHERE n.undated = 0 \
                   AND n.event_name = s.event_name AND n.event_key = s.event_key \
                   AND n.event_time >= s.subscribe_as_of), 9223372036854775807), \
                 coalesce((SELECT min(n.position) FROM events AS n INDEXED BY events_timely WHERE n.timely = 1 \
                   AND n.event_name = s.event_name AND n.event_key = s.event_key AND n.position > s.born), \
                 9223372036854775807)), 9223372036854775807)))"
        )
    };
}

/// Whether an open subscription matches the event `e`.
macro_rules! is_needed {
    () => {
        concat!(
            "EXISTS (SELECT 1 FROM event_subscriptions AS s WHERE s.is_open = 1 \
             AND s.event_name = e.event_name AND s.event_key = e.event_key AND ",
            $crate::sql::streams::matches!(),
            ")"
        )
    };
}

/// The name of a column that proves that the open subscription `s` can never be satisfied, or NULL if nothing proves
/// this. The name is `answer` if the answer is an event that is not stored. The other names are for a subscription that
/// waits for the end of a child, while no such end is stored. The name is `id` if the child is missing, and `parent` if
/// the child belongs to another instance.
macro_rules! unsatisfiable {
    () => {
        "CASE WHEN s.answer <> '' AND NOT EXISTS (SELECT 1 FROM events AS a WHERE a.id = s.answer) THEN 'answer' \
          WHEN s.event_name = 'wfe.child-ended' \
            AND NOT EXISTS (SELECT 1 FROM workflows AS c WHERE c.id = s.event_key AND c.parent = s.workflow_id) \
            AND NOT EXISTS (SELECT 1 FROM events AS a WHERE a.event_name = s.event_name AND a.event_key = s.event_key) \
          THEN iif(EXISTS (SELECT 1 FROM workflows AS c WHERE c.id = s.event_key), 'parent', 'id') END"
    };
}

pub(crate) use consumed;
pub(crate) use matches;
pub(crate) use next_position;

/// Like `unsatisfiable`, with two more names: `kind` if the row is not a subscription, and `born` if the start position
/// is negative or higher than every assigned position.
macro_rules! hopeless {
    () => {
        concat!(
            "CASE WHEN s.kind <> 'wait' THEN 'kind' WHEN s.born NOT BETWEEN 0 AND ",
            given_out!(),
            " THEN 'born' ELSE ",
            unsatisfiable!(),
            " END"
        )
    };
}

/// Guard: this subscription is open and belongs to this instance.
pub(crate) const IS_WAITING: Sql<2> = Sql::new(guard!(
    "EXISTS (SELECT 1 FROM event_subscriptions WHERE id = ? AND workflow_id = ? AND is_open = 1)"
));

/// Guard: this subscription matches this event.
pub(crate) const MATCHES: Sql<2> = Sql::new(guard!(concat!(
    "EXISTS (SELECT 1 FROM event_subscriptions AS s JOIN events AS e \
     ON e.event_name = s.event_name AND e.event_key = s.event_key WHERE s.id = ? AND e.id = ? AND ",
    crate::sql::streams::matches!(),
    ")"
)));

/// Stores that the instance of this subscription has consumed this event.
pub(crate) const ADVANCE: Sql<2> = Sql::new(
    "INSERT INTO event_subscriptions (kind, workflow_id, step_id, execution_pointer_id, event_name, event_key, \
       subscribe_as_of, is_open, consumed) \
     SELECT 'position', s.workflow_id, 0, '', s.event_name, s.event_key, 0, 0, e.position \
     FROM event_subscriptions AS s, events AS e WHERE s.id = ? AND e.id = ? \
     ON CONFLICT (workflow_id, event_name, event_key) WHERE kind = 'position' \
     DO UPDATE SET consumed = max(consumed, excluded.consumed)",
)
.own(Own::Waits);

/// Marks an event as consumed. The row is not written again for the second instance that consumes the event.
pub(crate) const MARK_CONSUMED: Sql<1> =
    Sql::new("UPDATE events SET consumed = 1 WHERE id = ? AND consumed IS NULL");

/// What an event has met: its name and key, whether an instance has consumed it, and the number of open subscriptions
/// that match it. At most 1000 subscriptions of its name and key are examined, so that a publisher never waits for a
/// crowd of subscriptions that match another part of the stream; of these, at most 100 are counted.
pub(crate) const MET: Sql<1> = Sql::new(concat!(
    "SELECT e.event_name, e.event_key, e.consumed IS NOT NULL, iif(e.position IS NULL, 0, (SELECT count(*) FROM (\
       SELECT 1 FROM (SELECT o.workflow_id, o.event_name, o.event_key, o.subscribe_as_of, o.born \
         FROM event_subscriptions AS o WHERE o.is_open = 1 \
         AND o.event_name = e.event_name AND o.event_key = e.event_key LIMIT 1000) AS s WHERE ",
    crate::sql::streams::matches!(),
    " LIMIT 100))) FROM events AS e WHERE e.id = ?"
));

/// Finds the event that a new subscription takes next, and marks this event as unprocessed again.
pub(crate) const REVIVE_NEXT: Sql<1> = Sql::new(concat!(
    "UPDATE events SET is_processed = 0, wanted = 1 WHERE (is_processed = 1 OR wanted = 0) AND seq = (\
       SELECT e.seq FROM event_subscriptions AS s JOIN events AS e ON e.event_name = s.event_name \
       AND e.event_key = s.event_key AND e.position = ",
    crate::sql::streams::next_position!(),
    " WHERE s.id = ?)"
));

/// Runs after an instance has consumed an event through this subscription. If the instance has further open
/// subscriptions to that stream, the event that they take next is marked as unprocessed again. Without this mark,
/// `claim` would not find the instance.
pub(crate) const REVIVE_FOR_OTHERS: Sql<1> = Sql::new(concat!(
    "UPDATE events SET is_processed = 0, wanted = 1 WHERE (is_processed = 1 OR wanted = 0) AND seq = (\
       SELECT e.seq FROM event_subscriptions AS s JOIN events AS e ON e.event_name = s.event_name \
       AND e.event_key = s.event_key AND e.position = ",
    crate::sql::streams::next_position!(),
    " WHERE s.id = ? AND EXISTS (SELECT 1 FROM event_subscriptions AS o WHERE o.is_open = 1 \
         AND o.workflow_id = s.workflow_id AND o.event_name = s.event_name AND o.event_key = s.event_key))"
));

/// Finds the event that a new subscription takes next, and marks this event as `wanted` if it is unprocessed. (If a
/// subscription is created through the base traits, only the oldest event of its stream becomes unprocessed again.)
pub(crate) const WANT_NEXT: Sql<1> = Sql::new(concat!(
    "UPDATE events SET wanted = 1 WHERE is_processed = 0 AND wanted = 0 AND seq = (\
       SELECT e.seq FROM event_subscriptions AS s JOIN events AS e ON e.event_name = s.event_name \
       AND e.event_key = s.event_key AND e.position = ",
    crate::sql::streams::next_position!(),
    " WHERE s.id = ?)"
));

/// Marks an event as processed if it is due and no open subscription matches it. One statement does both, so that no
/// subscription can be opened between the check and the mark.
pub(crate) const FINISH_EVENT: Sql<1> = Sql::new(concat!(
    "UPDATE events AS e SET is_processed = 1, wanted = 1 \
     WHERE e.id = ? AND e.position IS NOT NULL AND NOT ",
    is_needed!()
));

/// The place of an event in the order of the sweep: its timestamp and its row number.
pub(crate) const SWEEP_POSITION: Sql<1> = Sql::new("SELECT event_time, seq FROM events WHERE id = ?");

/// A page of the unprocessed events that are due. The page begins after a place in the order of the sweep (first and
/// second argument) and ends at a time (third). Each row says whether the event is needed, whether it is marked as
/// `wanted`, and which `fault` it has.
pub(crate) const UNFINISHED: Sql<4> = Sql::new(concat!(
    "SELECT e.event_time, e.seq, e.wanted, ",
    is_needed!(),
    ", e.id, ",
    crate::sql::events::fault!(),
    " FROM events AS e INDEXED BY events_unprocessed WHERE e.is_processed = 0 AND e.position IS NOT NULL \
     AND (e.event_time, e.seq) > (?, ?) AND e.event_time <= ? ORDER BY e.event_time, e.seq LIMIT ?"
));

/// Like `FINISH_EVENT`, but for several events, which are given as a JSON list of row numbers. Only those that are
/// still unprocessed are marked.
pub(crate) const FINISH_LISTED: Sql<1> = Sql::new(concat!(
    "UPDATE events AS e SET is_processed = 1, wanted = 1 WHERE e.seq IN (SELECT value FROM json_each(?)) \
     AND e.is_processed = 0 AND e.position IS NOT NULL AND NOT ",
    is_needed!()
));

/// Marks several events, which are given as a JSON list of row numbers, as `wanted`. A program of version 1 has opened
/// a subscription that needs these events, and such a program does not set this mark.
pub(crate) const WANT_LISTED: Sql<1> =
    Sql::new("UPDATE events SET wanted = 1 WHERE wanted = 0 AND seq IN (SELECT value FROM json_each(?))");

/// The open subscriptions of an instance, oldest first. A column says whether and why a subscription can never be
/// satisfied.
pub(crate) const WAITS: Sql<1> = Sql::new(concat!(
    "SELECT id, workflow_id, step_id, execution_pointer_id, event_name, event_key, subscribe_as_of, \
     subscription_data, external_token, external_worker_id, external_token_expiry, ",
    hopeless!(),
    " FROM event_subscriptions AS s WHERE is_open = 1 AND workflow_id = ? ORDER BY subscribe_as_of, seq",
));

/// The stored events that the open subscriptions of an instance take next. If an instance has thousands of
/// subscriptions, most of their streams contain no event. The statement first tests whether a stream contains any
/// event, because this test is fast.
pub(crate) const DELIVERIES: Sql<1> = Sql::new(concat!(
    "SELECT s.id, e.id, e.event_name, e.event_key, e.event_data, e.event_time, e.is_processed, ",
    crate::sql::events::fault!(),
    " FROM event_subscriptions AS s CROSS JOIN events AS e ON e.event_name = s.event_name \
     AND e.event_key = s.event_key AND e.position = ",
    crate::sql::streams::next_position!(),
    " WHERE s.is_open = 1 AND s.workflow_id = ? AND EXISTS (SELECT 1 FROM events AS any \
       WHERE any.event_name = s.event_name AND any.event_key = s.event_key) ORDER BY s.subscribe_as_of, s.seq"
));

/// Like `DELIVERIES`, but only for some subscriptions of the instance. They are given as a JSON list of ids in
/// hexadecimal.
pub(crate) const DELIVERIES_TO: Sql<2> = Sql::new(concat!(
    "SELECT s.id, e.id, e.event_name, e.event_key, e.event_data, e.event_time, e.is_processed, ",
    crate::sql::events::fault!(),
    " FROM json_each(?) AS wanted CROSS JOIN event_subscriptions AS s ON s.id = CAST(unhex(wanted.value) AS TEXT) \
     CROSS JOIN events AS e ON e.event_name = s.event_name AND e.event_key = s.event_key AND e.position = ",
    crate::sql::streams::next_position!(),
    " WHERE s.is_open = 1 AND s.workflow_id = ? ORDER BY s.subscribe_as_of, s.seq"
));

/// Like `WAITS`, but for several instances, which are given as a JSON list of ids in hexadecimal.
pub(crate) const WAITS_OF_MANY: Sql<1> = Sql::new(concat!(
    "SELECT id, workflow_id, step_id, execution_pointer_id, event_name, event_key, subscribe_as_of, \
     subscription_data, external_token, external_worker_id, external_token_expiry, ",
    hopeless!(),
    " FROM event_subscriptions AS s WHERE is_open = 1 AND workflow_id IN \
       (SELECT CAST(unhex(value) AS TEXT) FROM json_each(?)) ORDER BY subscribe_as_of, seq",
));

/// Like `DELIVERIES`, but for several instances.
pub(crate) const DELIVERIES_OF_MANY: Sql<1> = Sql::new(concat!(
    "SELECT s.id, e.id, e.event_name, e.event_key, e.event_data, e.event_time, e.is_processed, ",
    crate::sql::events::fault!(),
    " FROM event_subscriptions AS s CROSS JOIN events AS e ON e.event_name = s.event_name \
     AND e.event_key = s.event_key AND e.position = ",
    crate::sql::streams::next_position!(),
    " WHERE s.is_open = 1 AND s.workflow_id IN (SELECT CAST(unhex(value) AS TEXT) FROM json_each(?)) \
     ORDER BY s.subscribe_as_of, s.seq"
));

/// All statements of this file, for the tests.
#[cfg(test)]
pub(crate) const ALL: &[(&str, &str)] = &[
    ("IS_WAITING", IS_WAITING.text()),
    ("MATCHES", MATCHES.text()),
    ("ADVANCE", ADVANCE.text()),
    ("MARK_CONSUMED", MARK_CONSUMED.text()),
    ("MET", MET.text()),
    ("REVIVE_NEXT", REVIVE_NEXT.text()),
    ("REVIVE_FOR_OTHERS", REVIVE_FOR_OTHERS.text()),
    ("WANT_NEXT", WANT_NEXT.text()),
    ("FINISH_EVENT", FINISH_EVENT.text()),
    ("SWEEP_POSITION", SWEEP_POSITION.text()),
    ("UNFINISHED", UNFINISHED.text()),
    ("FINISH_LISTED", FINISH_LISTED.text()),
    ("WANT_LISTED", WANT_LISTED.text()),
    ("WAITS", WAITS.text()),
    ("DELIVERIES", DELIVERIES.text()),
    ("DELIVERIES_TO", DELIVERIES_TO.text()),
    ("WAITS_OF_MANY", WAITS_OF_MANY.text()),
    ("DELIVERIES_OF_MANY", DELIVERIES_OF_MANY.text()),
];

#[cfg(test)]
mod tests {
    #[test]
    fn the_end_of_a_child_is_called_as_by_the_engine() {
        assert!(unsatisfiable!().contains(&format!("'{}'", wfe_core::executor::CHILD_ENDED)));
    }
}
