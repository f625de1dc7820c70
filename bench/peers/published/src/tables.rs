//! How the published store keeps instances and events, for copies of them.

use super::copies::{Object, Rows};

/// The id of a copy: that of the original with another beginning, since originals may differ in their ends only.
macro_rules! copied_id {
    ($column:literal) => {
        concat!("printf('%08x', nth) || substr(", $column, ", 9)")
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
