//! How instances and events are stored, for copies of them. A column that is not named here is copied as it is.

use super::copies::{Object, Rows};

/// The id of a copy: that of the original with another beginning, since originals may differ in their ends only.
macro_rules! copied_id {
    ($column:literal) => {
        concat!("printf('%08x', nth) || substr(", $column, ", 9)")
    };
}

const WORKFLOWS: Rows = Rows {
    table: "workflows",
    of: "id = :id",
    replaced: &[
        ("seq", "base + nth"),
        ("id", copied_id!("id")),
        ("name", concat!("iif(name IS NULL, NULL, ", copied_id!("id"), ")")),
    ],
    omitted: &[],
};

const POINTERS: Rows = Rows {
    table: "execution_pointers",
    of: "workflow = (SELECT seq FROM workflows WHERE id = :id)",
    replaced: &[
        ("workflow", "base + nth"),
        ("event_key", "iif(event_key IS NULL, NULL, event_key || '-' || nth)"),
    ],
    omitted: &["seq"],
};

const SUBSCRIPTIONS: Rows = Rows {
    table: "event_subscriptions",
    of: "workflow_id = :id",
    replaced: &[
        ("id", concat!("iif(id IS NULL, NULL, ", copied_id!("id"), ")")),
        ("workflow_id", copied_id!("workflow_id")),
        ("event_key", "event_key || '-' || nth"),
    ],
    omitted: &["seq"],
};

/// Instances, whatever they do.
pub const INSTANCES: Object =
    Object { base: "SELECT max(seq) FROM workflows", rows: &[WORKFLOWS, POINTERS, SUBSCRIPTIONS] };

/// Events. Those that are due have a position, which is the number of the row.
pub const EVENTS: Object = Object {
    base: "SELECT max(seq) FROM events",
    rows: &[Rows {
        table: "events",
        of: "id = :id",
        replaced: &[
            ("seq", "base + nth"),
            ("id", copied_id!("id")),
            ("position", "iif(position IS NULL, NULL, base + nth)"),
        ],
        omitted: &[],
    }],
};
