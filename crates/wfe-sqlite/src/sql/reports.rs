//! Statements that count instances, and list events, subscriptions and failures, for operators.
//!
//! Listings are made as those of instances (see `listings`): a *leader* yields at most [`MAX_ROWS`](wfe_core::traits::MAX_ROWS)
//! row numbers in order, each of which is tested; a leader that is a set is useless if it has more.

use super::listings::{is_own, not_going};
use crate::request::{Own, Sql};

/// The numbers of open instances by definition, version and status. The cost grows with the number of open instances, but the
/// statement reads an index only.
pub(crate) const OPEN: Sql<0> = Sql::new(concat!(
    "SELECT workflow_definition_id, version, status, count(*) FROM workflows INDEXED BY workflows_open \
     WHERE (status = 'Runnable' OR status = 'Suspended') AND NOT ",
    is_own!("workflow_definition_id"),
    " GROUP BY status, workflow_definition_id, version"
));

/// The numbers of runnable instances that have an owner, by definition and version.
pub(crate) const OWNED: Sql<0> = Sql::new(concat!(
    "SELECT workflow_definition_id, version, count(*) FROM workflows INDEXED BY workflows_owned \
     WHERE owner IS NOT NULL AND status = 'Runnable' AND NOT ",
    is_own!("workflow_definition_id"),
    " GROUP BY workflow_definition_id, version"
));

/// The numbers of runnable instances that have a due time and no owner, by definition, version, and whether they are due at a
/// time in milliseconds. Also the earliest due time. A due time of 0 stands for *at once*: for an instance that was started,
/// or given back in the middle of its work, the time of its start counts.
pub(crate) const SCHEDULED: Sql<1> = Sql::new(concat!(
    "SELECT workflow_definition_id, version, next_execution <= ? AS is_due, count(*), \
     min(iif(next_execution > 0, next_execution, create_time / 1000000)) \
     FROM workflows INDEXED BY workflows_due \
     WHERE status = 'Runnable' AND next_execution IS NOT NULL AND owner IS NULL AND NOT ",
    is_own!("workflow_definition_id"),
    " GROUP BY workflow_definition_id, version, is_due"
));

/// The numbers of instances that ended in one way, by interval and definition. The arguments: the beginning of the first
/// interval, the length of an interval, the ending, and the bounds of the time.
pub(crate) const ENDED: Sql<5> = Sql::new(concat!(
    "SELECT (complete_time - ?) / ? AS interval, workflow_definition_id, count(*) FROM workflows INDEXED BY workflows_ended \
     WHERE complete_time IS NOT NULL AND ending = ? AND complete_time BETWEEN ? AND ? AND NOT ",
    is_own!("workflow_definition_id"),
    " AND ",
    not_going!("seq"),
    " GROUP BY interval, workflow_definition_id"
));

/// Like `ENDED`, for instances of which no ending is stored. The argument in place of the ending is the status.
pub(crate) const ENDED_ONLY_BY_STATUS: Sql<5> = Sql::new(concat!(
    "SELECT (complete_time - ?) / ? AS interval, workflow_definition_id, count(*) FROM workflows INDEXED BY workflows_ended \
     WHERE complete_time IS NOT NULL AND ending IS NULL AND status = ? \
       AND complete_time BETWEEN ? AND ? AND NOT ",
    is_own!("workflow_definition_id"),
    " AND ",
    not_going!("seq"),
    " GROUP BY interval, workflow_definition_id"
));

/// The live pointers of the open instances of a version: the number of the instance, the pointer, whether it is active, and
/// whether it has failed.
pub(crate) const LIVE_POINTERS: Sql<2> = Sql::new(
    "SELECT l.seq, p.id, p.active, p.status = 'Failed' FROM (SELECT seq FROM workflows INDEXED BY workflows_open \
       WHERE (status = 'Runnable' OR status = 'Suspended') AND workflow_definition_id = ? AND version = ? LIMIT 20000) AS l \
     CROSS JOIN execution_pointers AS p INDEXED BY execution_pointers_id ON p.workflow = l.seq AND p.kind = 'live'",
);

/// A page of all failures, the newest first.
pub(crate) const FAILURES: Sql<2> = Sql::new(
    "SELECT seq, error_time, workflow_id, execution_pointer_id, message, step, attempt, code, causes \
     FROM execution_errors WHERE seq < ? AND workflow_id NOT IN \
       (SELECT id FROM workflows INDEXED BY workflows_going WHERE going = 1) ORDER BY seq DESC LIMIT ?",
);

/// Whether the instance exists.
pub(crate) const EXISTS: Sql<1> =
    Sql::new(concat!("SELECT 1 FROM workflows WHERE id = ? AND ", not_going!("seq")));

/// A listing of events with this leader. The arguments: whether those of the engine are selected; whether only those are
/// selected that nothing has consumed and that are not marked as processed; name and key (each twice; NULL: any); those of the
/// leader.
macro_rules! events {
    ($leader:expr) => {
        concat!(
            "SELECT f.total, 0 AS key, f.seq, 0 AS bytes, f.is_selected, e.id, e.event_name, e.event_key, e.event_data, \
             e.event_time, e.is_processed, ",
            super::events::fault!(),
            ", e.position, e.consumed FROM (\
               SELECT l.total, l.seq, CASE WHEN e.seq IS NOT NULL AND (? OR NOT ",
            is_own!("e.event_name"),
            ") AND (NOT ? OR (e.is_processed = 0 AND e.consumed IS NULL)) AND (? IS NULL OR e.event_name = ?) \
               AND (? IS NULL OR e.event_key = ?) THEN 1 ELSE 0 END AS is_selected FROM (",
            $leader,
            " LIMIT 20000) AS l LEFT JOIN events AS e ON e.seq = l.seq LIMIT 20001) AS f \
             LEFT JOIN events AS e ON f.is_selected AND e.seq = f.seq"
        )
    };
}

/// A leader that sorts a set of row numbers. The last argument is the cursor.
macro_rules! set {
    ($set:expr, $order:literal) => {
        concat!(
            "WITH c (seq) AS MATERIALIZED (SELECT * FROM (",
            $set,
            ") LIMIT 20001) SELECT (SELECT count(*) FROM c) AS total, seq FROM c WHERE seq ",
            $order
        )
    };
}

/// All events.
pub(crate) const EVENTS: Sql<7> =
    Sql::new(events!("SELECT 0 AS total, seq FROM events WHERE seq < ? ORDER BY seq DESC"));
/// The events with this name.
pub(crate) const EVENTS_NAMED: Sql<8> = Sql::new(events!(set!(
    "SELECT seq FROM events INDEXED BY events_time WHERE event_name = ?",
    "< ? ORDER BY seq DESC"
)));
/// The events with this name and key.
pub(crate) const EVENTS_OF_STREAM: Sql<9> = Sql::new(events!(set!(
    "SELECT seq FROM events INDEXED BY events_time WHERE event_name = ? AND event_key = ?",
    "< ? ORDER BY seq DESC"
)));
/// The events that are not marked as processed.
pub(crate) const EVENTS_UNPROCESSED: Sql<7> = Sql::new(events!(set!(
    "SELECT seq FROM events INDEXED BY events_unprocessed WHERE is_processed = 0",
    "< ? ORDER BY seq DESC"
)));

/// A listing of open subscriptions with this leader, of instances that exist. The arguments: name and key (each twice; NULL:
/// any), and those of the leader.
macro_rules! waits {
    ($leader:expr) => {
        concat!(
            "SELECT f.total, 0 AS key, f.seq, 0 AS bytes, f.is_selected, s.id, s.workflow_id, s.step_id, \
             s.execution_pointer_id, s.event_name, s.event_key, s.subscribe_as_of, s.subscription_data, s.external_token, \
             s.external_worker_id, s.external_token_expiry, s.answer IS NULL, w.workflow_definition_id, w.version FROM (\
               SELECT l.total, l.seq, CASE WHEN s.kind = 'wait' AND s.is_open = 1 AND (? IS NULL OR s.event_name = ?) \
                 AND (? IS NULL OR s.event_key = ?) AND EXISTS (SELECT 1 FROM workflows AS w WHERE w.id = s.workflow_id AND ",
            not_going!("w.seq"),
            ") THEN 1 ELSE 0 END AS is_selected FROM (",
            $leader,
            " LIMIT 20000) AS l LEFT JOIN event_subscriptions AS s ON s.seq = l.seq LIMIT 20001) AS f \
             LEFT JOIN event_subscriptions AS s ON f.is_selected AND s.seq = f.seq \
             LEFT JOIN workflows AS w ON w.id = s.workflow_id"
        )
    };
}

/// All rows of the table of subscriptions.
pub(crate) const WAITS: Sql<5> =
    Sql::new(waits!("SELECT 0 AS total, seq FROM event_subscriptions WHERE seq > ? ORDER BY seq"));
/// All open subscriptions.
pub(crate) const WAITS_OPEN: Sql<5> = Sql::new(waits!(set!(
    "SELECT seq FROM event_subscriptions INDEXED BY event_subscriptions_open WHERE is_open = 1",
    "> ? ORDER BY seq"
)));
/// The open subscriptions to this name.
pub(crate) const WAITS_NAMED: Sql<6> = Sql::new(waits!(set!(
    "SELECT seq FROM event_subscriptions INDEXED BY event_subscriptions_open WHERE is_open = 1 AND event_name = ?",
    "> ? ORDER BY seq"
)));
/// The open subscriptions to this name and key.
pub(crate) const WAITS_OF_STREAM: Sql<7> = Sql::new(waits!(set!(
    "SELECT seq FROM event_subscriptions INDEXED BY event_subscriptions_open \
       WHERE is_open = 1 AND event_name = ? AND event_key = ?",
    "> ? ORDER BY seq"
)));

/// The numbers of open, unanswered subscriptions to the engine's own names, by name.
pub(crate) const TASKS: Sql<0> = Sql::new(
    "SELECT event_name, count(*) FROM event_subscriptions INDEXED BY event_subscriptions_work \
     WHERE is_open = 1 AND answer IS NULL AND event_name >= 'wfe.' AND event_name < 'wfe/' GROUP BY event_name",
);

/// The stored outlines, the newest first, up to a number.
pub(crate) const OUTLINES: Sql<1> = Sql::new(
    "SELECT seq, event_time, event_data FROM events INDEXED BY events_own WHERE event_name = 'wfe.definition' \
     ORDER BY seq DESC LIMIT ?",
);
/// The stored outlines of this definition, the newest first, up to a number.
pub(crate) const OUTLINES_OF: Sql<2> = Sql::new(
    "SELECT seq, event_time, event_data FROM events INDEXED BY events_stream \
     WHERE event_name = 'wfe.definition' AND event_key = ? ORDER BY seq DESC LIMIT ?",
);

/// What decides about the record that a failure is dealt with.
pub(crate) const FAILED: Sql<1> = Sql::new(concat!(
    "SELECT revision, status, ending, cause, attributes FROM workflows WHERE id = ? AND ",
    not_going!("seq")
));
/// Stores the attributes of an instance (second argument) that is still at this revision. The instance has made no progress, so
/// the recorded numbers of process crashes stay.
pub(crate) const ACKNOWLEDGE: Sql<3> = Sql::new(
    "UPDATE workflows SET attributes = ?, revision = revision + 1, \
       deaths_at = iif(deaths_at = revision, revision + 1, deaths_at) WHERE id = ? AND revision = ?",
)
.own(Own::Instance);

/// The records of actions before a cursor, the newest first.
pub(crate) const AUDIT: Sql<1> = Sql::new(
    "SELECT seq, event_time, event_data FROM events INDEXED BY events_own WHERE event_name = 'wfe.audit' AND seq < ? \
     ORDER BY seq DESC LIMIT 20000",
);
/// The records of actions that concern this instance, before a cursor, the newest first.
pub(crate) const AUDIT_OF: Sql<2> = Sql::new(
    "SELECT seq, event_time, event_data FROM events INDEXED BY events_stream \
     WHERE event_name = 'wfe.audit' AND event_key = ? AND seq < ? ORDER BY seq DESC LIMIT 20000",
);

/// All statements of this file, for the tests.
#[cfg(test)]
pub(crate) const ALL: &[(&str, &str)] = &[
    ("OPEN", OPEN.text()),
    ("OWNED", OWNED.text()),
    ("SCHEDULED", SCHEDULED.text()),
    ("ENDED", ENDED.text()),
    ("ENDED_ONLY_BY_STATUS", ENDED_ONLY_BY_STATUS.text()),
    ("LIVE_POINTERS", LIVE_POINTERS.text()),
    ("FAILURES", FAILURES.text()),
    ("EXISTS", EXISTS.text()),
    ("EVENTS", EVENTS.text()),
    ("EVENTS_NAMED", EVENTS_NAMED.text()),
    ("EVENTS_OF_STREAM", EVENTS_OF_STREAM.text()),
    ("EVENTS_UNPROCESSED", EVENTS_UNPROCESSED.text()),
    ("WAITS", WAITS.text()),
    ("WAITS_OPEN", WAITS_OPEN.text()),
    ("WAITS_NAMED", WAITS_NAMED.text()),
    ("WAITS_OF_STREAM", WAITS_OF_STREAM.text()),
    ("TASKS", TASKS.text()),
    ("OUTLINES", OUTLINES.text()),
    ("OUTLINES_OF", OUTLINES_OF.text()),
    ("FAILED", FAILED.text()),
    ("ACKNOWLEDGE", ACKNOWLEDGE.text()),
    ("AUDIT", AUDIT.text()),
    ("AUDIT_OF", AUDIT_OF.text()),
];
