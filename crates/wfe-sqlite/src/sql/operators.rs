//! Tests of the query plans of what operators ask for.

use super::{listings, pointers, reports, tests::plan};
use crate::file::open;

/// Whether a step of a plan reads or sorts a bounded number of rows: those of a leader, which are at most 20 000, sorted if the
/// leader is a set; the few instances that are being removed; the attributes that are looked for.
pub(super) fn is_bounded(name: &str, text: &'static str, step: &str) -> bool {
    let read = [
        "SCAN l",
        "SCAN f",
        "SCAN c",
        "SCAN d",
        "SCAN t",
        "SCAN n VIRTUAL TABLE",
        "SCAN (subquery",
        "SCAN sqlite_sequence",
        "SCAN workflows USING COVERING INDEX workflows_going",
        "SCAN workflows USING INDEX workflows_going",
    ];
    let sorted = ["USE TEMP B-TREE FOR DISTINCT", "USE TEMP B-TREE FOR ORDER BY"];
    let is_one_of = |steps: &[&str]| steps.iter().any(|known| step.starts_with(known));
    let is_of_operators = listings::ALL.iter().chain(reports::ALL).any(|one| *one == (name, text));
    is_of_operators && (is_one_of(&read) || (text.contains("AS MATERIALIZED") && is_one_of(&sorted)))
}

#[tokio::test]
async fn statements_of_operators_use_the_index_made_for_them() {
    let expected = [
        (listings::NEWEST.text(), "SEARCH workflows USING INTEGER PRIMARY KEY (rowid<?)"),
        (listings::NEWEST.text(), "SEARCH w USING INTEGER PRIMARY KEY (rowid=?)"),
        (listings::NEWEST.text(), "COVERING INDEX workflows_attributes (seq=?"),
        (listings::NEWEST.text(), "event_subscriptions_waits (workflow_id=? AND event_name=?"),
        (listings::OLDEST.text(), "SEARCH workflows USING INTEGER PRIMARY KEY (rowid>?)"),
        (
            listings::NEWEST_OF_DEFINITION.text(),
            "COVERING INDEX workflows_definition (workflow_definition_id=? AND rowid<?)",
        ),
        (
            listings::OLDEST_OF_DEFINITION.text(),
            "COVERING INDEX workflows_definition (workflow_definition_id=? AND rowid>?)",
        ),
        (listings::NEWEST_WITH_ATTRIBUTE.text(), "COVERING INDEX workflows_attributes (seq<?)"),
        (listings::OLDEST_WITH_ATTRIBUTE.text(), "COVERING INDEX workflows_attributes (seq>?)"),
        (listings::NEWEST_OPEN.text(), "COVERING INDEX workflows_open (status=? AND seq<?)"),
        (listings::OLDEST_OPEN.text(), "COVERING INDEX workflows_open (status=? AND seq>?)"),
        (listings::LAST_ENDED.text(), "COVERING INDEX workflows_ended (ending=? AND complete_time"),
        (listings::FIRST_DUE.text(), "COVERING INDEX workflows_due (next_execution>?)"),
        (listings::NAMED.text(), "sqlite_autoindex_workflows_2 (name=?)"),
        (listings::BY_ID.text(), "sqlite_autoindex_workflows_1 (id>? AND id<?)"),
        (listings::BY_REFERENCE.text(), "COVERING INDEX workflows_reference (reference>? AND reference<?)"),
        (listings::CHILDREN.text(), "COVERING INDEX workflows_parent (parent=?)"),
        (listings::REQUESTED.text(), "INDEX workflows_control"),
        (listings::WAITING_FOR_NAME.text(), "COVERING INDEX event_subscriptions_open (event_name=?)"),
        (listings::WAITING_FOR_NAME.text(), "SEARCH s USING INTEGER PRIMARY KEY (rowid=?)"),
        (
            listings::WAITING_FOR_EVENT.text(),
            "COVERING INDEX event_subscriptions_open (event_name=? AND event_key=?)",
        ),
        (listings::IN_STATES.text(), "COVERING INDEX workflows_owned (owner>?)"),
        (listings::IN_STATES.text(), "COVERING INDEX workflows_due (next_execution>? AND next_execution<?)"),
        (listings::IN_STATES.text(), "COVERING INDEX workflows_open (status=?)"),
        (
            listings::IN_STATES.text(),
            "COVERING INDEX workflows_ended (ending=? AND complete_time>? AND complete_time<?)",
        ),
        (reports::OPEN.text(), "COVERING INDEX workflows_open"),
        (reports::SCHEDULED.text(), "workflows_due (next_execution>?)"),
        (reports::OWNED.text(), "workflows_owned (owner>?)"),
        (
            reports::ENDED.text(),
            "COVERING INDEX workflows_ended (ending=? AND complete_time>? AND complete_time<?)",
        ),
        (reports::LIVE_POINTERS.text(), "COVERING INDEX workflows_open"),
        (reports::LIVE_POINTERS.text(), "execution_pointers_id (workflow=? AND kind=?)"),
        (reports::EVENTS_NAMED.text(), "COVERING INDEX events_time (event_name=?)"),
        (reports::EVENTS_OF_STREAM.text(), "COVERING INDEX events_time (event_name=? AND event_key=?)"),
        (
            reports::WAITS_OF_STREAM.text(),
            "COVERING INDEX event_subscriptions_open (event_name=? AND event_key=?)",
        ),
        (reports::TASKS.text(), "event_subscriptions_work (event_name>? AND event_name<?)"),
        (reports::OUTLINES.text(), "events_own (event_name=?)"),
        (reports::OUTLINES_OF.text(), "events_stream (event_name=? AND event_key=?)"),
        (reports::AUDIT.text(), "events_own (event_name=? AND seq<?)"),
        (reports::AUDIT_OF.text(), "events_stream (event_name=? AND event_key=?)"),
        (pointers::WHOLE_HISTORY.text(), "COVERING INDEX execution_pointers_history (workflow=?)"),
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
