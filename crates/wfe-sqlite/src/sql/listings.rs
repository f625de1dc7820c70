//! Statements that list and count instances for operators.
//!
//! All of them have one form. A *leader* yields the numbers of instances in the order of the listing, from an index or from the
//! table, at most a window of them (see `Filter`). For each number, the middle part tests the whole query: it
//! yields a row for each instance that was looked at, so that the reader of the rows can count them, knows where the page
//! ends, and can end the statement as soon as the page is full. The outer part reads the columns of the selected instances.
//!
//! There are two kinds of leaders. A *walk* follows the order of an index; the next page continues where it ended. A *set* is
//! found by an index in another order, and is sorted. A set is complete or useless: if it has more rows than a window
//! (the first column says so), the caller chooses another leader.
//!
//! Each subquery has a LIMIT, so that SQLite does not merge it with the query around it: it would test the query once more for
//! each column. A statement never reads a column that lies behind `data` in the row, because the data may be large:
//! `attributes` and `going` come from indexes.

use crate::request::Sql;

/// The number of the state of the instance `w`, in the order of `InstanceState::ALL`, at a time in milliseconds.
macro_rules! state {
    () => {
        "CASE w.status WHEN 'Runnable' THEN iif(w.owner IS NOT NULL, 0, iif(w.next_execution IS NULL, 3, \
           iif(w.next_execution <= ?, 1, 2))) WHEN 'Suspended' THEN 4 ELSE CASE w.ending WHEN 'Completed' THEN 5 \
           WHEN 'Failed' THEN 6 WHEN 'Cancelled' THEN 7 WHEN 'Terminated' THEN 8 ELSE iif(w.status = 'Complete', 5, 8) \
           END END"
    };
}

/// Whether a definition, or an event, belongs to the engine: its name is in this column.
macro_rules! is_own {
    ($column:literal) => {
        concat!("(", $column, " >= 'wfe.' AND ", $column, " < 'wfe/')")
    };
}

/// Whether the instance with the number in this column is not being removed.
macro_rules! not_going {
    ($column:literal) => {
        concat!($column, " NOT IN (SELECT seq FROM workflows INDEXED BY workflows_going WHERE going = 1)")
    };
}

pub(crate) use is_own;
pub(crate) use not_going;

/// An expression on the attributes of the instance `w`.
macro_rules! of_attributes {
    ($expression:expr) => {
        concat!(
            "(SELECT ",
            $expression,
            " FROM workflows AS a INDEXED BY workflows_attributes WHERE a.seq = w.seq AND a.attributes IS NOT NULL)"
        )
    };
}

/// The attributes with a comma before and behind each of them, so that each is found as a text.
macro_rules! listed {
    () => {
        "(',' || substr(attributes, 2, length(attributes) - 2) || ',')"
    };
}

/// The open subscriptions of the instance `w`.
macro_rules! waits_of {
    () => {
        "FROM event_subscriptions AS s INDEXED BY event_subscriptions_waits WHERE s.is_open = 1 AND s.workflow_id = w.id"
    };
}

/// Whether the instance `w` is selected, as 1 or 0. The cheap conditions come first. The arguments: see `Filter`.
macro_rules! filter {
    () => {
        concat!(
            "CASE WHEN w.seq IS NOT NULL AND (? >> (",
            state!(),
            ")) & 1 AND (? IS NULL OR w.workflow_definition_id = ?) AND (? IS NULL OR w.version = ?) \
             AND (? OR NOT ",
            is_own!("w.workflow_definition_id"),
            ") AND (? IS NULL OR w.name = ?) AND (? IS NULL OR instr(w.id, ?) = 1) \
             AND (? IS NULL OR w.reference = ?) AND (? IS NULL OR instr(w.reference, ?) = 1) \
             AND (? IS NULL OR w.parent = ?) AND w.create_time BETWEEN ? AND ? \
             AND (? OR w.complete_time BETWEEN ? AND ?) \
             AND (NOT ? OR (w.control IS NOT NULL AND w.status IN ('Runnable', 'Suspended'))) \
             AND (NOT ? OR w.cause IS NOT NULL) \
             AND ",
            not_going!("w.seq"),
            " AND (? IS NULL OR iif(json_valid(w.cause), w.cause ->> '$.step' = ?, 0)) \
             AND (? IS NULL OR iif(json_valid(w.cause), w.cause ->> '$.code' = ?, 0)) \
             AND (? IS NULL OR EXISTS (SELECT 1 ",
            waits_of!(),
            " AND s.event_name = ? AND (? IS NULL OR s.event_key = ?))) \
             AND (NOT ? OR (w.control IS NULL AND NOT EXISTS (SELECT 1 ",
            waits_of!(),
            "))) AND (? IS NULL OR ",
            of_attributes!(concat!("instr(", listed!(), ", ?)")),
            " > 0) AND (? IS NULL OR NOT EXISTS (SELECT 1 FROM json_each(?) AS n WHERE ",
            of_attributes!(concat!("instr(", listed!(), ", n.value)")),
            " = 0)) AND (? IS NULL OR (w.cause IS NOT NULL AND ",
            is_acknowledged!(),
            " = ?)) AND (? IS NULL OR w.data LIKE ? ESCAPE '\\') THEN 1 ELSE 0 END"
        )
    };
}

/// Whether the failure of the instance `w` is acknowledged, as 1 or 0: the attribute has the time of the failure.
macro_rules! is_acknowledged {
    () => {
        concat!(
            "coalesce(",
            of_attributes!("a.attributes ->> '$.\"wfe.ack\"'"),
            " = iif(json_valid(w.cause), w.cause ->> '$.error.error_time', NULL), 0)"
        )
    };
}

/// The number of arguments of a filter.
pub(crate) const FILTER: usize = 41;

/// The columns of a summary, of the instance `w`. The two arguments say whether to read those that other tables and
/// indexes have.
macro_rules! summary {
    () => {
        concat!(
            "w.id, w.name, w.workflow_definition_id, w.version, w.reference, w.status, w.ending, w.control, w.cause, \
             w.parent, w.owner, w.create_time, w.complete_time, w.next_execution, s.event_name, s.event_key, \
             iif(?, (SELECT count(*) FROM (SELECT 1 ",
            waits_of!(),
            " LIMIT 1000)), 0), iif(?, ",
            of_attributes!("a.attributes"),
            ", NULL)"
        )
    };
}

/// The oldest open subscription of the instance `w`, as `s`. The argument says whether to read it.
macro_rules! oldest_wait {
    () => {
        concat!(
            " LEFT JOIN event_subscriptions AS s ON ? AND s.seq = (SELECT min(seq) FROM (SELECT s.seq ",
            waits_of!(),
            " LIMIT 1000))"
        )
    };
}

/// A listing with this leader. A leader yields `total` (of a set: its size), `key` and `seq` (the cursor), and `pre`: 0 if the
/// index alone shows that the instance is not selected. The arguments: whether to read the waits and the attributes
/// (twice), those of the filter, those of the leader, the size of the window, whether to read the columns of summaries, and
/// whether to read the waits.
macro_rules! listing {
    ($leader:expr) => {
        concat!(
            "SELECT f.total, f.key, f.seq, f.bytes, f.is_selected, ",
            summary!(),
            " FROM (SELECT l.total, l.key, l.seq, octet_length(w.data) AS bytes, ",
            filter!(),
            " AS is_selected FROM (",
            $leader,
            " LIMIT ?) AS l LEFT JOIN workflows AS w ON l.pre AND w.seq = l.seq LIMIT 20001) AS f \
             LEFT JOIN workflows AS w ON f.is_selected AND ? AND w.seq = f.seq",
            oldest_wait!()
        )
    };
}

/// A leader that sorts a set of row numbers: of instances, or of rows from which an expression on the column `c.seq` gets the
/// numbers of instances. The rows themselves are read only if the set is small enough; otherwise one row says that it is not.
/// The arguments after those of the set: one row more than a window, whether the order is descending (twice), which column is
/// the key (2: the time of the end; 3: the due time; else none), the size of a window, and the cursor, of which both parts are
/// negated bit by bit if the order is descending. The size of a window comes once more at the end.
macro_rules! set {
    ($set:expr) => {
        set!($set, "c.seq")
    };
    ($set:expr, $instance:expr) => {
        concat!(
            "WITH c (seq) AS MATERIALIZED (SELECT * FROM (",
            $set,
            ") LIMIT ?), t (total) AS MATERIALIZED (SELECT count(*) FROM c) \
             SELECT total, key, seq, pre FROM (\
               SELECT (SELECT total FROM t) AS total, key, seq, 1 AS pre FROM (\
                 SELECT key, seq, iif(?, ~key, key) AS first, iif(?, ~seq, seq) AS second FROM (\
                   SELECT seq, CASE ? WHEN 2 THEN (SELECT complete_time FROM workflows WHERE workflows.seq = d.seq) \
                     WHEN 3 THEN (SELECT next_execution FROM workflows WHERE workflows.seq = d.seq) ELSE 0 END AS key \
                   FROM (SELECT DISTINCT ",
            $instance,
            " AS seq FROM c WHERE (SELECT total FROM t) <= ?) AS d WHERE seq IS NOT NULL)) \
               WHERE key IS NOT NULL AND (first, second) > (?, ?) ORDER BY first, second LIMIT 20001) \
             UNION ALL SELECT total, 0, 0, 0 FROM t WHERE total > ?"
        )
    };
}

/// A leader that walks over rows in the order of their numbers. The argument is the cursor.
macro_rules! walk {
    ($from:expr, $pre:expr, newest) => {
        concat!(
            "SELECT 0 AS total, 0 AS key, seq, ",
            $pre,
            " AS pre FROM ",
            $from,
            " AND seq < ? ORDER BY seq DESC"
        )
    };
    ($from:expr, $pre:expr, oldest) => {
        concat!(
            "SELECT 0 AS total, 0 AS key, seq, ",
            $pre,
            " AS pre FROM ",
            $from,
            " AND seq > ? ORDER BY seq"
        )
    };
}

/// All instances.
macro_rules! all {
    ($order:ident) => {
        walk!("workflows WHERE true", "1", $order)
    };
}
pub(crate) const NEWEST: Sql<{ FILTER + 6 }> = Sql::new(listing!(all!(newest)));
pub(crate) const OLDEST: Sql<{ FILTER + 6 }> = Sql::new(listing!(all!(oldest)));

/// The instances of a definition.
macro_rules! of_definition {
    ($order:ident) => {
        walk!("workflows INDEXED BY workflows_definition WHERE workflow_definition_id = ?", "1", $order)
    };
}
pub(crate) const NEWEST_OF_DEFINITION: Sql<{ FILTER + 7 }> = Sql::new(listing!(of_definition!(newest)));
pub(crate) const OLDEST_OF_DEFINITION: Sql<{ FILTER + 7 }> = Sql::new(listing!(of_definition!(oldest)));

/// The instances that have an attribute. The first argument is the attribute as it stands in the list.
macro_rules! with_attribute {
    ($order:ident) => {
        walk!(
            "workflows INDEXED BY workflows_attributes WHERE attributes IS NOT NULL",
            concat!("instr(", listed!(), ", ?) > 0"),
            $order
        )
    };
}
pub(crate) const NEWEST_WITH_ATTRIBUTE: Sql<{ FILTER + 7 }> = Sql::new(listing!(with_attribute!(newest)));
pub(crate) const OLDEST_WITH_ATTRIBUTE: Sql<{ FILTER + 7 }> = Sql::new(listing!(with_attribute!(oldest)));

/// The open instances with this status. The arguments: definition and version (each twice; NULL: any), whether they are
/// looked for, and the cursor.
macro_rules! open_with {
    ($status:literal, $comparison:literal) => {
        concat!(
            "SELECT 0 AS total, 0 AS key, seq, (? IS NULL OR workflow_definition_id = ?) AND (? IS NULL OR version = ?) AS pre \
             FROM workflows INDEXED BY workflows_open WHERE status = '",
            $status,
            "' AND ? AND seq ",
            $comparison,
            " ?"
        )
    };
}

macro_rules! open {
    ($comparison:literal, $direction:literal) => {
        concat!(
            open_with!("Runnable", $comparison),
            " UNION ALL ",
            open_with!("Suspended", $comparison),
            " ORDER BY seq",
            $direction
        )
    };
}
pub(crate) const NEWEST_OPEN: Sql<{ FILTER + 17 }> = Sql::new(listing!(open!("<", " DESC")));
pub(crate) const OLDEST_OPEN: Sql<{ FILTER + 17 }> = Sql::new(listing!(open!(">", "")));

/// The instances that ended in one way, the last first. The arguments: the definition (twice; NULL: any), the ending, the
/// cursor, and the bounds of the time.
macro_rules! ended_with {
    ($ending:literal) => {
        concat!(
            "SELECT 0 AS total, complete_time AS key, seq, (? IS NULL OR workflow_definition_id = ?) AS pre \
             FROM workflows INDEXED BY workflows_ended WHERE complete_time IS NOT NULL AND ending ",
            $ending,
            " AND (complete_time, seq) < (?, ?) AND complete_time BETWEEN ? AND ?"
        )
    };
}
pub(crate) const LAST_ENDED: Sql<{ FILTER + 39 }> = Sql::new(listing!(concat!(
    ended_with!("= ?"),
    " UNION ALL ",
    ended_with!("= ?"),
    " UNION ALL ",
    ended_with!("= ?"),
    " UNION ALL ",
    ended_with!("= ?"),
    " UNION ALL ",
    ended_with!("IS NULL"),
    " ORDER BY 2 DESC, 3 DESC"
)));

/// The instances that are due or asleep, by their due time.
pub(crate) const FIRST_DUE: Sql<{ FILTER + 7 }> = Sql::new(listing!(
    "SELECT 0 AS total, next_execution AS key, seq, 1 AS pre FROM workflows INDEXED BY workflows_due \
     WHERE status = 'Runnable' AND next_execution IS NOT NULL AND (next_execution, seq) > (?, ?) \
     ORDER BY next_execution, seq"
));

/// The instance with this name.
pub(crate) const NAMED: Sql<{ FILTER + 14 }> =
    Sql::new(listing!(set!("SELECT seq FROM workflows WHERE name = ?")));

/// The instances whose ids are in this range.
pub(crate) const BY_ID: Sql<{ FILTER + 15 }> =
    Sql::new(listing!(set!("SELECT seq FROM workflows WHERE id >= ? AND id < ?")));

/// The instances whose references are in this range, both ends included.
pub(crate) const BY_REFERENCE: Sql<{ FILTER + 15 }> = Sql::new(listing!(set!(
    "SELECT seq FROM workflows INDEXED BY workflows_reference WHERE reference IS NOT NULL AND reference BETWEEN ? AND ?"
)));

/// The children of this instance.
pub(crate) const CHILDREN: Sql<{ FILTER + 14 }> =
    Sql::new(listing!(set!("SELECT seq FROM workflows INDEXED BY workflows_parent WHERE parent = ?")));

/// The instances with a control request. Those that have ended are not selected.
pub(crate) const REQUESTED: Sql<{ FILTER + 13 }> = Sql::new(listing!(set!(
    "SELECT seq FROM workflows INDEXED BY workflows_control WHERE control IS NOT NULL"
)));

/// The open subscriptions to this name, and to this key, and the instances to which they belong.
macro_rules! waiting_for {
    ($key:literal) => {
        set!(
            concat!(
                "SELECT seq FROM event_subscriptions INDEXED BY event_subscriptions_open \
                   WHERE is_open = 1 AND event_name = ?",
                $key
            ),
            "(SELECT w.seq FROM event_subscriptions AS s CROSS JOIN workflows AS w ON w.id = s.workflow_id WHERE s.seq = c.seq)"
        )
    };
}
pub(crate) const WAITING_FOR_NAME: Sql<{ FILTER + 14 }> = Sql::new(listing!(waiting_for!("")));
pub(crate) const WAITING_FOR_EVENT: Sql<{ FILTER + 15 }> =
    Sql::new(listing!(waiting_for!(" AND event_key = ?")));

/// A part of `IN_STATES`: instances that have ended.
macro_rules! ended_in {
    ($condition:literal) => {
        concat!(
            " UNION ALL SELECT seq FROM workflows INDEXED BY workflows_ended WHERE complete_time IS NOT NULL AND ending ",
            $condition,
            " AND complete_time BETWEEN ? AND ?"
        )
    };
}

/// The instances in some states. The arguments: whether an owner is looked for; the bounds of the due time; whether suspended
/// ones are looked for; four endings (NULL: none), each with the bounds of the time; whether ended ones without an ending are
/// looked for, and the bounds of the time.
pub(crate) const IN_STATES: Sql<{ FILTER + 32 }> = Sql::new(listing!(set!(concat!(
    "SELECT seq FROM workflows INDEXED BY workflows_owned WHERE owner IS NOT NULL AND ? \
     UNION ALL SELECT seq FROM workflows INDEXED BY workflows_due \
       WHERE status = 'Runnable' AND next_execution IS NOT NULL AND next_execution BETWEEN ? AND ? \
     UNION ALL SELECT seq FROM workflows INDEXED BY workflows_open WHERE status = 'Suspended' AND ?",
    ended_in!("= ?"),
    ended_in!("= ?"),
    ended_in!("= ?"),
    ended_in!("= ?"),
    ended_in!("IS NULL AND ?")
))));

/// The summary of one instance, with its number and the columns that the rows of listings have.
pub(crate) const SUMMARY: Sql<4> = Sql::new(concat!(
    "SELECT 0, 0, w.seq, 0, 1, ",
    summary!(),
    " FROM workflows AS w",
    oldest_wait!(),
    " WHERE w.id = ? AND ",
    not_going!("w.seq")
));

/// All statements of this file, for the tests.
#[cfg(test)]
pub(crate) const ALL: &[(&str, &str)] = &[
    ("NEWEST", NEWEST.text()),
    ("OLDEST", OLDEST.text()),
    ("NEWEST_OF_DEFINITION", NEWEST_OF_DEFINITION.text()),
    ("OLDEST_OF_DEFINITION", OLDEST_OF_DEFINITION.text()),
    ("NEWEST_WITH_ATTRIBUTE", NEWEST_WITH_ATTRIBUTE.text()),
    ("OLDEST_WITH_ATTRIBUTE", OLDEST_WITH_ATTRIBUTE.text()),
    ("NEWEST_OPEN", NEWEST_OPEN.text()),
    ("OLDEST_OPEN", OLDEST_OPEN.text()),
    ("LAST_ENDED", LAST_ENDED.text()),
    ("FIRST_DUE", FIRST_DUE.text()),
    ("NAMED", NAMED.text()),
    ("BY_ID", BY_ID.text()),
    ("BY_REFERENCE", BY_REFERENCE.text()),
    ("CHILDREN", CHILDREN.text()),
    ("REQUESTED", REQUESTED.text()),
    ("WAITING_FOR_NAME", WAITING_FOR_NAME.text()),
    ("WAITING_FOR_EVENT", WAITING_FOR_EVENT.text()),
    ("IN_STATES", IN_STATES.text()),
    ("SUMMARY", SUMMARY.text()),
];
