//! All SQL statements, and the reasons why each is written as it is. There is one file for each subject. The schema
//! consists of `schema.sql` and the upgrades `version_2.sql` to `version_7.sql`.
//!
//! A *guard* is a statement that returns a row if its condition does not hold, and no row otherwise. A script stops at a guard
//! whose condition does not hold. Guards come first in their script where possible: then nothing has to be taken back.

/// The text of a guard, which returns a row unless `$condition` holds. If the condition is NULL, no row is returned.
macro_rules! guard {
    ($condition:expr) => {
        concat!("SELECT 1 WHERE NOT (", $condition, ")")
    };
}

/// The highest number that has been drawn for an event or a position.
macro_rules! last_position {
    () => {
        "coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)"
    };
}

/// Like `last_position`, but used to find rows whose position is too high. The result is NULL if the counter is
/// missing, because no single row is at fault then.
macro_rules! given_out {
    () => {
        "max((SELECT seq FROM sqlite_sequence WHERE name = 'events'), coalesce((SELECT max(seq) FROM events), 0))"
    };
}

/// The intervention of the pending request, or NULL if the request has no intervention.
macro_rules! intervention {
    () => {
        "iif(control = 'Resume' AND control_detail GLOB control_number || ' *', \
         substr(control_detail, instr(control_detail, ' ') + 1), NULL)"
    };
}

pub(crate) mod commands;
pub(crate) mod commits;
pub(crate) mod counters;
pub(crate) mod errors;
pub(crate) mod events;
pub(crate) mod external_tasks;
pub(crate) mod listings;
pub(crate) mod ownership;
pub(crate) mod pointers;
pub(crate) mod removals;
pub(crate) mod reports;
pub(crate) mod retries;
pub(crate) mod sequences;
pub(crate) mod streams;
pub(crate) mod subscriptions;
pub(crate) mod upkeep;
pub(crate) mod workflows;

#[cfg(test)]
mod operators;

#[cfg(test)]
pub(crate) mod tests {

    use crate::{
        file::open,
        sqlx::{self, Executor, Row, SqliteConnection},
    };

    const FILES: [(&[(&str, &str)], &str); 17] = [
        (super::commands::ALL, include_str!("commands.rs")),
        (super::commits::ALL, include_str!("commits.rs")),
        (super::counters::ALL, include_str!("counters.rs")),
        (super::errors::ALL, include_str!("errors.rs")),
        (super::events::ALL, include_str!("events.rs")),
        (super::listings::ALL, include_str!("listings.rs")),
        (super::ownership::ALL, include_str!("ownership.rs")),
        (super::pointers::ALL, include_str!("pointers.rs")),
        (super::removals::ALL, include_str!("removals.rs")),
        (super::reports::ALL, include_str!("reports.rs")),
        (super::retries::ALL, include_str!("retries.rs")),
        (super::sequences::ALL, include_str!("sequences.rs")),
        (super::streams::ALL, include_str!("streams.rs")),
        (super::subscriptions::ALL, include_str!("subscriptions.rs")),
        (super::upkeep::ALL, include_str!("upkeep.rs")),
        (super::external_tasks::ALL, include_str!("external_tasks.rs")),
        (super::workflows::ALL, include_str!("workflows.rs")),
    ];

    /// All statements that only read.
    pub(crate) fn reads() -> impl Iterator<Item = (&'static str, &'static str)> {
        let is_read = |text: &str| {
            !["INSERT ", "UPDATE ", "DELETE "].iter().any(|verb| text.contains(verb))
                && !text.contains("sqlite_sequence SET")
        };
        FILES.iter().flat_map(|(all, _)| all.iter().copied()).filter(move |(_, text)| is_read(text))
    }

    #[tokio::test]
    async fn every_statement_is_listed_and_can_be_prepared() {
        let mut connection = open::memory().await.unwrap();
        for (all, source) in FILES {
            assert_eq!(all.len(), source.matches(": Sql<").count(), "a statement is not listed: {all:?}");
            for (name, text) in all {
                let prepared = sqlx::AssertSqlSafe(*text);
                assert!(connection.prepare(sqlx::SqlSafeStr::into_sql_str(prepared)).await.is_ok(), "{name}");
            }
        }
    }

    pub(super) async fn plan(connection: &mut SqliteConnection, text: &str) -> Vec<String> {
        let explain = sqlx::AssertSqlSafe(format!("EXPLAIN QUERY PLAN {text}"));
        let rows = sqlx::query(explain).fetch_all(connection).await.unwrap();
        rows.iter().map(|row| row.get("detail")).collect()
    }

    /// Checks that no query plan reads a whole table or sorts rows, except in the steps that are listed as allowed.
    #[tokio::test]
    #[expect(clippy::too_many_lines, reason = "it is a list of statements and what their plans may do")]
    async fn no_statement_scans_a_table_or_sorts_but_where_the_answer_is_bounded() {
        let allowed: &[(&str, &[&str])] = &[
            // The few events that have just become due are sorted.
            ("GIVE_POSITIONS", &["SCAN sqlite_sequence", "SCAN due", "SCAN (subquery", "USE TEMP B-TREE"]),
            // `sqlite_sequence` has one row for each definition and table. It is in memory, and it can have no
            // index.
            ("MAKE", &["SCAN sqlite_sequence"]),
            ("NEXT", &["SCAN sqlite_sequence"]),
            ("BROKEN", &["SCAN t", "SCAN s"]),
            // The counters are rebuilt only if `sqlite_sequence` was damaged by hand.
            ("MAKE_WORKFLOWS", &["SCAN sqlite_sequence"]),
            (
                "MAKE_EVENTS",
                &["SCAN sqlite_sequence", "SCAN events", "SCAN event_subscriptions", "SCAN workflows"],
            ),
            ("MAKE_COMMANDS", &["SCAN sqlite_sequence"]),
            ("MAKE_ERRORS", &["SCAN sqlite_sequence"]),
            ("CLEAR", &["SCAN sqlite_sequence"]),
            ("DRAW_POSITIONS", &["SCAN sqlite_sequence"]),
            ("INSERT", &["SCAN sqlite_sequence", "SCAN (subquery"]),
            ("INSERT_UNLESS", &["SCAN sqlite_sequence", "SCAN (subquery"]),
            ("PUBLISH", &["SCAN sqlite_sequence", "SCAN (subquery"]),
            // The subscriptions that were found by their index.
            ("MET", &["SCAN s", "SCAN (subquery"]),
            ("INSERT_CHILD", &["SCAN sqlite_sequence"]),
            // The attributes of one instance, at most 64 and those of the store's own.
            ("SET_ATTRIBUTES", &["SCAN own VIRTUAL TABLE"]),
            // As many rows as the list names instances, sorted by instance.
            ("LOAD_MANY", &["SCAN json_each", "USE TEMP B-TREE FOR"]),
            ("ENGINE_COLUMNS_OF_MANY", &["SCAN json_each"]),
            ("WAITS_OF_MANY", &["SCAN json_each", "SCAN sqlite_sequence", "USE TEMP B-TREE FOR ORDER BY"]),
            ("DELIVERIES_TO", &["SCAN wanted", "SCAN sqlite_sequence", "USE TEMP B-TREE FOR ORDER BY"]),
            (
                "DELIVERIES_OF_MANY",
                &["SCAN json_each", "SCAN sqlite_sequence", "USE TEMP B-TREE FOR ORDER BY"],
            ),
            // The pointers or subscriptions of one instance, sorted.
            ("LOAD", &["USE TEMP B-TREE FOR ORDER BY", "SCAN sqlite_sequence"]),
            ("WAITS", &["USE TEMP B-TREE FOR ORDER BY", "SCAN sqlite_sequence"]),
            ("DELIVERIES", &["USE TEMP B-TREE FOR ORDER BY", "SCAN sqlite_sequence"]),
            // Events with equal timestamps, sorted by the order in which they were stored.
            ("OF_STREAM", &["USE TEMP B-TREE FOR LAST TERM OF ORDER BY", "SCAN sqlite_sequence"]),
            ("UNPROCESSED", &["SCAN sqlite_sequence"]),
            ("UNFINISHED", &["SCAN sqlite_sequence"]),
            ("REVIVE_OLDEST", &["USE TEMP B-TREE FOR LAST TERM OF ORDER BY"]),
            // Partial indexes that contain only rows with an owner or a control request, or unprocessed events.
            (
                "CLAIMABLE",
                &[
                    "SCAN json_each",
                    "SCAN workflows USING INDEX workflows_control",
                    "SCAN e USING INDEX events_wanted",
                    "SCAN (subquery",
                    "SCAN workflows USING COVERING INDEX workflows_control",
                    "USE TEMP B-TREE",
                ],
            ),
            ("UPCOMING", &["SCAN json_each"]),
            // The schedules, sorted by the order in which they were stored.
            ("NAMED", &["USE TEMP B-TREE FOR ORDER BY"]),
            // One page of events, by row number.
            ("FINISH_LISTED", &["SCAN json_each"]),
            ("WANT_LISTED", &["SCAN json_each"]),
            (
                "REQUESTED",
                &["SCAN workflows USING INDEX workflows_control", "SCAN e USING INDEX events_wanted"],
            ),
            // As many rows as the list has ids.
            ("FATES", &["SCAN json_each"]),
            ("UNANSWERABLE", &["SCAN json_each"]),
            // What a check and statistics are for: they run on a connection of their own, or through an index that has only the
            // rows that are counted.
            (
                "ROWS",
                &[
                    "SCAN workflows USING COVERING INDEX workflows_open",
                    "SCAN events USING COVERING INDEX events_unprocessed",
                ],
            ),
            ("PAGES", &["SCAN p", "SCAN f", "SCAN s", "SCAN a"]),
            ("INSTANCES", &["SCAN workflows"]),
            ("QUICK_CHECK", &["SCAN pragma_quick_check"]),
            ("INTEGRITY_CHECK", &["SCAN pragma_integrity_check"]),
            ("LOST_POINTERS", &["SCAN pragma_foreign_key_check"]),
            ("STRAY_SUBSCRIPTIONS", &["SCAN s"]),
            ("UNSATISFIABLE", &["SCAN s"]),
            ("STRAY_POSITIONS", &["SCAN events", "SCAN event_subscriptions", "SCAN sqlite_sequence"]),
            ("NO_JSON", &["SCAN workflows", "SCAN events"]),
            // As many rows as the list has numbers.
            ("REMOVE_POINTERS", &["SCAN json_each"]),
            ("REMOVE_SUBSCRIPTIONS", &["SCAN gone", "SCAN row"]),
            ("REMOVE_FAILURES", &["SCAN gone", "SCAN row"]),
            ("REMOVE_COMMANDS", &["SCAN gone", "SCAN row"]),
            ("REMOVE_EVENTS", &["SCAN json_each"]),
            ("PURGEABLE", &["SCAN json_each"]),
            // The instances that are being removed, and one window of events.
            ("GOING", &["SCAN workflows USING INDEX workflows_going"]),
            ("EVENT_WINDOW", &["SCAN (subquery"]),
            // As many rows as instances were claimed at once.
            ("DEATHS", &["SCAN json_each"]),
            // The numbers of the history rows of one instance; one page of these.
            ("WHOLE_HISTORY", &["USE TEMP B-TREE FOR ORDER BY", "SCAN h"]),
            // As many groups as there are definitions, versions and intervals. All rows are counted in an index, but for those
            // that have a due time.
            ("OPEN", &["USE TEMP B-TREE FOR GROUP BY"]),
            ("OWNED", &["USE TEMP B-TREE FOR GROUP BY"]),
            ("SCHEDULED", &["USE TEMP B-TREE FOR GROUP BY"]),
            ("ENDED", &["SCAN json_each", "USE TEMP B-TREE FOR GROUP BY"]),
            ("ENDED_ONLY_BY_STATUS", &["USE TEMP B-TREE FOR GROUP BY"]),
            // All open subscriptions and all unprocessed events, as sets.
            ("WAITS_OPEN", &["SCAN event_subscriptions USING COVERING INDEX event_subscriptions_open"]),
            ("EVENTS_UNPROCESSED", &["SCAN events USING COVERING INDEX events_unprocessed"]),
            // The versions of one definition; the records about one instance.
            ("OUTLINES_OF", &["USE TEMP B-TREE FOR ORDER BY"]),
            ("AUDIT_OF", &["USE TEMP B-TREE FOR ORDER BY"]),
        ];
        let (mut connection, mut costly) = (open::memory().await.unwrap(), Vec::new());
        for (all, _) in FILES {
            for (name, text) in all {
                let allowed =
                    allowed.iter().find(|(allowed, _)| allowed == name).map_or(&[][..], |found| found.1);
                for step in plan(&mut connection, text).await {
                    let is_costly = step.starts_with("SCAN ") || step.starts_with("USE TEMP");
                    let is_constant = step.starts_with("SCAN CONSTANT ROW") || step.contains("-ROW VALUES");
                    let is_allowed = is_constant
                        || super::operators::is_bounded(name, text, &step)
                        || allowed.iter().any(|allowed| step.starts_with(allowed));
                    if is_costly && !is_allowed {
                        costly.push(format!("{name}: {step}"));
                    }
                }
            }
        }
        assert_eq!(costly, Vec::<String>::new());
    }

    #[tokio::test]
    #[expect(clippy::too_many_lines, reason = "it is a list of statements and their indexes")]
    async fn hot_statements_use_the_index_made_for_them() {
        let expected = [
            (super::workflows::DUE.text(), "workflows_due (next_execution>? AND next_execution<?)"),
            (super::ownership::UPCOMING.text(), "workflows_due (next_execution>?)"),
            (super::ownership::CLAIMABLE.text(), "workflows_due (next_execution>? AND next_execution<?)"),
            (super::ownership::CLAIMABLE.text(), "event_subscriptions_open (event_name=? AND event_key=?)"),
            (super::ownership::FREE.text(), "workflows_owned (owner=?)"),
            (super::ownership::JUDGE.text(), "workflows_owned (owner=?)"),
            (super::ownership::DEATHS.text(), "INTEGER PRIMARY KEY (rowid=?)"),
            (super::ownership::STANDS.text(), "workflows_owned (owner=?)"),
            (super::ownership::OWNERS.text(), "COVERING INDEX workflows_owned (owner>?)"),
            (super::ownership::PROGRESS.text(), "workflows_owned (owner>?)"),
            (super::ownership::OF_OWNER.text(), "workflows_owned (owner=?)"),
            (super::ownership::CLEAR_OWNER.text(), "workflows_owned (owner=?)"),
            (super::ownership::ENDED.text(), "sqlite_autoindex_workflows_1 (id=?)"),
            (super::ownership::CONTROL_STATE.text(), "sqlite_autoindex_workflows_1 (id=?)"),
            (super::ownership::REQUEST.text(), "sqlite_autoindex_workflows_1 (id=?)"),
            (super::commits::IS_UNCHANGED.text(), "sqlite_autoindex_workflows_1 (id=?)"),
            (super::retries::KNOWN.text(), "workflows_start (workflow_definition_id=? AND start_key=?)"),
            (
                super::retries::MAY_REOPEN.text(),
                "event_subscriptions_waits (workflow_id=? AND event_name=? AND event_key=?)",
            ),
            (super::retries::WITHDRAW_END.text(), "events_stream (event_name=? AND event_key=?)"),
            (super::workflows::NAMED.text(), "sqlite_autoindex_workflows_2 (name>? AND name<?)"),
            (super::commits::STARTED.text(), "workflows_start (workflow_definition_id=? AND start_key=?)"),
            (super::commits::COMMIT.text(), "sqlite_autoindex_workflows_1 (id=?)"),
            (super::commits::COMMIT_AND_PARK.text(), "sqlite_autoindex_workflows_1 (id=?)"),
            (super::commits::COMMIT_AND_END.text(), "sqlite_autoindex_workflows_1 (id=?)"),
            (super::workflows::TOUCH.text(), "INTEGER PRIMARY KEY (rowid=?)"),
            (
                super::pointers::CHANGE.text(),
                "execution_pointers_id (workflow=? AND kind=? AND id=? AND number=?)",
            ),
            (
                super::pointers::FINISH.text(),
                "execution_pointers_id (workflow=? AND kind=? AND id=? AND number=?)",
            ),
            (super::pointers::LOAD.text(), "execution_pointers_id (workflow=? AND kind=?)"),
            (
                super::pointers::REMOVE.text(),
                "execution_pointers_id (workflow=? AND kind=? AND id=? AND number=?)",
            ),
            (
                super::pointers::HISTORY.text(),
                "execution_pointers_history (workflow=? AND container=? AND number>?)",
            ),
            (
                super::pointers::ITEMS.text(),
                "execution_pointers_id (workflow=? AND kind=? AND id=? AND number>? AND number<?)",
            ),
            (super::events::UNPROCESSED.text(), "events_unprocessed (event_time<?)"),
            (super::events::OF_STREAM.text(), "events_time (event_name=? AND event_key=? AND event_time<?)"),
            (super::events::NEXT_UPCOMING.text(), "events_unripe (event_time>?)"),
            (super::errors::OF_INSTANCE.text(), "execution_errors_workflow (workflow_id=? AND seq>?)"),
            (super::errors::LAST_OF_POINTER.text(), "execution_errors_workflow (workflow_id=?)"),
            (super::events::HAS_UNPOSITIONED.text(), "events_unripe (event_time<?)"),
            (
                super::events::REVIVE_OLDEST.text(),
                "events_time (event_name=? AND event_key=? AND event_time>?)",
            ),
            (
                super::streams::REVIVE_NEXT.text(),
                "events_stream (event_name=? AND event_key=? AND position>?)",
            ),
            (
                super::streams::REVIVE_NEXT.text(),
                "events_time (event_name=? AND event_key=? AND event_time>?)",
            ),
            (
                super::streams::REVIVE_NEXT.text(),
                "events_timely (event_name=? AND event_key=? AND position>?)",
            ),
            (
                super::streams::DELIVERIES.text(),
                "events_timely (event_name=? AND event_key=? AND position>?)",
            ),
            (
                super::streams::DELIVERIES.text(),
                "COVERING INDEX events_dated (event_name=? AND event_key=? AND event_time>?)",
            ),
            (
                super::streams::DELIVERIES.text(),
                "COVERING INDEX events_time (event_name=? AND event_key=? AND event_time>?)",
            ),
            (
                super::ownership::ACQUIRABLE.text(),
                "events_timely (event_name=? AND event_key=? AND position>?)",
            ),
            (super::subscriptions::INSERT.text(), "sqlite_autoindex_workflows_1 (id=?)"),
            (super::streams::FINISH_EVENT.text(), "event_subscriptions_open (event_name=? AND event_key=?)"),
            (super::ownership::CLAIMABLE.text(), "SCAN e USING INDEX events_wanted"),
            (super::ownership::REQUESTED.text(), "SCAN e USING INDEX events_wanted"),
            (super::streams::UNFINISHED.text(), "events_unprocessed (event_time>? AND event_time<?)"),
            (super::streams::UNFINISHED.text(), "event_subscriptions_open (event_name=? AND event_key=?)"),
            (super::streams::FINISH_LISTED.text(), "INTEGER PRIMARY KEY (rowid=?)"),
            (super::streams::MET.text(), "sqlite_autoindex_events_1 (id=?)"),
            (super::streams::MET.text(), "event_subscriptions_open (event_name=? AND event_key=?)"),
            (
                super::streams::MET.text(),
                "event_subscriptions_position (workflow_id=? AND event_name=? AND event_key=?)",
            ),
            (super::streams::MARK_CONSUMED.text(), "sqlite_autoindex_events_1 (id=?)"),
            (super::streams::WAITS.text(), "event_subscriptions_waits (workflow_id=?)"),
            (super::ownership::ENGINE_COLUMNS_OF_MANY.text(), "sqlite_autoindex_workflows_1 (id=?)"),
            (super::streams::WAITS_OF_MANY.text(), "event_subscriptions_waits (workflow_id=?)"),
            (super::streams::DELIVERIES_TO.text(), "sqlite_autoindex_event_subscriptions_1 (id=?)"),
            (
                super::streams::REVIVE_FOR_OTHERS.text(),
                "event_subscriptions_waits (workflow_id=? AND event_name=? AND event_key=?)",
            ),
            (super::streams::DELIVERIES_OF_MANY.text(), "event_subscriptions_waits (workflow_id=?)"),
            (
                super::streams::DELIVERIES.text(),
                "events_stream (event_name=? AND event_key=? AND position=?)",
            ),
            (super::streams::ADVANCE.text(), "(id=?)"),
            (
                super::subscriptions::OPEN.text(),
                "event_subscriptions_open (event_name=? AND event_key=? AND subscribe_as_of<?)",
            ),
            (super::external_tasks::LIST.text(), "event_subscriptions_work (event_name=? AND seq>?)"),
            (super::external_tasks::IS_ANY_FREE.text(), "event_subscriptions_work (event_name=?)"),
            (super::external_tasks::EXPIRED.text(), "event_subscriptions_work (event_name=? AND seq>?)"),
            (super::external_tasks::CLAIM.text(), "event_subscriptions_work (event_name=? AND seq>?)"),
            (super::subscriptions::FATES.text(), "sqlite_autoindex_event_subscriptions_1 (id=?)"),
            (super::external_tasks::UNANSWERABLE.text(), "sqlite_autoindex_event_subscriptions_1 (id=?)"),
            (super::ownership::HAS_LOST_POINTERS.text(), "execution_pointers_id (workflow=? AND kind=?)"),
            (super::commands::DUE.text(), "scheduled_commands_due ("),
            (super::removals::CANDIDATE.text(), "workflows_parent (parent=?)"),
            (super::removals::PURGEABLE.text(), "workflows_ended (ending=? AND complete_time<?)"),
            (super::removals::PURGEABLE.text(), "workflows_parent (parent=?)"),
            (super::removals::GOING.text(), "workflows_going"),
            (super::removals::POINTERS.text(), "execution_pointers_id (workflow=?)"),
            (super::removals::SUBSCRIPTIONS.text(), "sqlite_autoindex_event_subscriptions_1 (id>? AND id<?)"),
            (super::removals::FOREIGN_SUBSCRIPTIONS.text(), "event_subscriptions_foreign (workflow_id=?)"),
            (super::removals::POSITIONS.text(), "event_subscriptions_position (workflow_id=?)"),
            (super::removals::FAILURES.text(), "execution_errors_workflow (workflow_id=?)"),
            (super::removals::COMMAND.text(), "(command_name=? AND data=?)"),
            (super::removals::REMOVE.text(), "INTEGER PRIMARY KEY (rowid=?)"),
            (super::removals::MARK.text(), "INTEGER PRIMARY KEY (rowid=?)"),
            (super::removals::REMOVE_POINTERS.text(), "INTEGER PRIMARY KEY (rowid=?)"),
            (super::removals::REMOVE_SUBSCRIPTIONS.text(), "INTEGER PRIMARY KEY (rowid=?)"),
            (super::removals::REMOVE_FAILURES.text(), "INTEGER PRIMARY KEY (rowid=?)"),
            (super::removals::REMOVE_COMMANDS.text(), "INTEGER PRIMARY KEY (rowid=?)"),
            (super::removals::EVENT_WINDOW.text(), "INTEGER PRIMARY KEY (rowid>?)"),
            (super::removals::SPENT.text(), "INTEGER PRIMARY KEY (rowid>? AND rowid<?)"),
            (super::removals::SPENT.text(), "workflows_definition (workflow_definition_id=?)"),
            (super::removals::REMOVE_EVENTS.text(), "INTEGER PRIMARY KEY (rowid=?)"),
        ];
        let (mut connection, mut wrong) = (open::memory().await.unwrap(), Vec::new());
        for (text, index) in expected {
            let plan = plan(&mut connection, text).await;
            if !plan.iter().any(|step| step.contains(index)) {
                wrong.push((index, plan));
            }
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// SQLite builds a temporary table in memory for each `IN` with three or more constants. It also builds one if a
    /// statement must collect all of its rows before it writes the first one. Each temporary table costs as much as the
    /// rest of the statement.
    #[tokio::test]
    async fn the_statements_of_a_commit_build_no_tables() {
        use super::{commits, errors, ownership, pointers, subscriptions, workflows};
        let mut connection = open::memory().await.unwrap();
        for text in [
            commits::INSERT.text(),
            commits::COMMIT.text(),
            commits::GIVE_BACK.text(),
            commits::COMMIT_AND_PARK.text(),
            commits::COMMIT_AND_END.text(),
            commits::SET_STATUS.text(),
            ownership::CLAIM.text(),
            workflows::LOAD.text(),
            workflows::TOUCH.text(),
            workflows::UPDATE_STATE.text(),
            pointers::INSERT.text(),
            pointers::CHANGE.text(),
            pointers::PUT_NEW.text(),
            pointers::PUT_IN_COMMIT.text(),
            pointers::FINISH.text(),
            pointers::FINISH_AT_ONCE.text(),
            subscriptions::CLOSE.text(),
            errors::INSERT.text(),
        ] {
            let explain = sqlx::AssertSqlSafe(format!("EXPLAIN {text}"));
            let steps = sqlx::query(explain).fetch_all(&mut connection).await.unwrap();
            let tables =
                steps.iter().filter(|step| step.get::<&str, _>("opcode").starts_with("OpenEphemeral"));
            assert_eq!(tables.count(), 0, "{text}");
        }
    }
}
