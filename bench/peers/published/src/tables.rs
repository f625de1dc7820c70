//! How the published store keeps instances and events, for copies of them.

use super::copies::{Object, Rows};

/// The id of a copy: that of the original with another end.
macro_rules! copied_id {
    ($column:literal) => {
        concat!("substr(", $column, ", 1, 24) || printf('%012x', nth)")
    };
}

pub const INSTANCES: Object = Object {
    base: "SELECT 0",
    rows: &[
        Rows {
            table: "workflows",
            of: "id = :id",
            replaced: &[("id", copied_id!("id")), ("name", "name || '-' || nth")],
            omitted: &[],
        },
        Rows {
            table: "execution_pointers",
            of: "workflow_id = :id",
            replaced: &[("id", copied_id!("id")), ("workflow_id", copied_id!("workflow_id"))],
            omitted: &[],
        },
    ],
};

pub const EVENTS: Object = Object {
    base: "SELECT 0",
    rows: &[Rows { table: "events", of: "id = :id", replaced: &[("id", copied_id!("id"))], omitted: &[] }],
};
