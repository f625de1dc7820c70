//! Statements on the columns of `workflows` that are not part of the model: the owner, the fencing token (the
//! column `fence`) and the control request.

use crate::request::{Own, Sql};

/// Whether the instance of a row of `workflows` runs one of these definitions. They are given as a JSON list
/// of pairs: the id in hexadecimal, and the version.
macro_rules! is_of_definitions {
    () => {
        "(workflow_definition_id, version) IN \
         (SELECT CAST(unhex(value ->> 0) AS TEXT), value ->> 1 FROM json_each(?))"
    };
}

/// The highest fencing token that a row may have. Each change of owner raises the token, unless the token has
/// reached this limit. (The schema's CHECKs have the same bounds.)
macro_rules! last_fence {
    () => {
        "4611686018427387904"
    };
}

/// The highest revision that a row may have. The position of a pointer is computed from the revision, and can
/// be a million times as high.
macro_rules! last_revision {
    () => {
        "4398046511104"
    };
}

/// The number of a new control request. If the stored number of the last request is out of bounds, the
/// statement still succeeds, so that the caller and the other writes of the transaction are unaffected. The
/// next claim of this row reports the number.
macro_rules! next_request {
    () => {
        concat!("(min(max(control_number, 0), ", last_fence!(), " - 1) + 1)")
    };
}

/// See `last_fence`.
pub(crate) const LAST_FENCE: i64 = 1 << 62;
/// See `last_revision`.
pub(crate) const LAST_REVISION: i64 = 1 << 42;

/// The columns of retries and restarts. An instance whose replacement was deleted is as if it was never restarted.
macro_rules! again {
    () => {
        "retried, restart_of, \
         iif(restarted_as IS NULL, NULL, (SELECT n.id FROM workflows AS n WHERE n.id = workflows.restarted_as)), \
         attributes"
    };
}

/// The columns of an instance that a claim needs.
macro_rules! candidate {
    () => {
        concat!(
            "seq, id, fence, claims, revision, control, control_number, ",
            intervention!(),
            ", completions"
        )
    };
}

/// The columns that the owner of an instance reads while the instance runs. If an instance ended before its
/// control request was carried out, the request is void.
pub(crate) const PENDING: Sql<1> = Sql::new(concat!(
    "SELECT fence, iif(status = 'Runnable' OR status = 'Suspended', control, NULL) AS control, control_number, ",
    intervention!(),
    " FROM workflows WHERE id = ?"
));

/// What decides about a control request for an instance.
pub(crate) const CONTROL_STATE: Sql<1> = Sql::new(concat!(
    "SELECT status, ending, control, control_number, ",
    intervention!(),
    " FROM workflows WHERE id = ?"
));

/// Stores a control request (first argument) and its detail (second), if the instance (third) is still in the
/// state that was read by `CONTROL_STATE`: its status, its pending request and the number of its last request.
pub(crate) const REQUEST: Sql<6> = Sql::new(concat!(
    "UPDATE workflows SET control = ?, control_detail = ",
    next_request!(),
    " || ' ' || ?, control_number = ",
    next_request!(),
    " WHERE id = ? AND status = ? AND control IS ? AND control_number = ?",
))
.own(Own::Instance);

/// Stores a control request (first and last argument) of a commit, or of a replacement, for another instance.
/// Stores nothing if that instance has ended or if a pending request takes precedence: `Terminate` over every
/// request, and `Cancel` over every request except `Terminate`.
pub(crate) const REQUEST_OF_COMMIT: Sql<3> = Sql::new(concat!(
    "UPDATE workflows SET control = ?, control_detail = NULL, control_number = ",
    next_request!(),
    " WHERE id = ? AND status IN ('Runnable', 'Suspended') \
     AND control IS NOT 'Terminate' AND (control IS NOT 'Cancel' OR ? = 'Terminate')",
));

/// The columns outside the model that a load returns.
pub(crate) const ENGINE_COLUMNS: Sql<1> = Sql::new(concat!(
    "SELECT fence, owner, control, control_number, ",
    intervention!(),
    ", ending, cause, parent, ",
    again!(),
    " FROM workflows WHERE id = ?"
));

/// Like `ENGINE_COLUMNS`, but for several instances, which are given as a JSON list of ids in hexadecimal.
/// Each row also contains the id of its instance.
pub(crate) const ENGINE_COLUMNS_OF_MANY: Sql<1> = Sql::new(concat!(
    "SELECT id, fence, owner, control, control_number, ",
    intervention!(),
    ", ending, cause, parent, ",
    again!(),
    " FROM workflows WHERE id IN (SELECT CAST(unhex(value) AS TEXT) FROM json_each(?))"
));

/// All owners that own instances, except this owner.
pub(crate) const OWNERS: Sql<1> = Sql::new(
    "SELECT DISTINCT owner FROM workflows INDEXED BY workflows_owned WHERE owner IS NOT NULL AND owner <> ?",
);

/// Sums by which the progress of every owner except this one is measured: which instances each owner has, and
/// how far each instance is. The first sum is the sum of the instances' `seq`, which is never reused. An
/// owner that runs one short instance after another changes this sum; an owner without progress does not.
/// Only the lowest 32 bits of each number are added, so that no sum overflows, whatever a row contains.
pub(crate) const PROGRESS: Sql<1> = Sql::new(
    "SELECT owner, sum(seq & 4294967295), sum(fence & 4294967295), sum(revision & 4294967295) \
     FROM workflows INDEXED BY workflows_owned WHERE owner > 0 AND owner <> ? GROUP BY owner",
);

/// Guard: this owner has made no progress since these sums were read (see `PROGRESS`).
pub(crate) const STANDS: Sql<4> = Sql::new(guard!(
    "EXISTS (SELECT 1 FROM workflows WHERE owner = ? GROUP BY owner HAVING sum(seq & 4294967295) = ? \
     AND sum(fence & 4294967295) = ? AND sum(revision & 4294967295) = ?)"
));

/// Frees the instances of a dead or unresponsive owner (last argument). The owner was working on these
/// instances, so they become due now (bound four times), even if the clock was set back meanwhile. The third
/// argument is 1 if the owner's process died. This death raises the count of each instance, but not above 2.
/// No host needs a higher count, and a program of version 3 suspends an instance that it claims with a count
/// of 9. The recorded deaths of a suspect stay unchanged. If a row contains a value that is out of bounds,
/// all rows are freed nevertheless, and the next claim of that row reports the value.
pub(crate) const FREE: Sql<6> = Sql::new(concat!(
    "UPDATE workflows SET owner = NULL, fence = min(max(fence, 0), ",
    last_fence!(),
    " - 1) + 1, revision = min(max(revision, 1), ",
    last_revision!(),
    " - 1) + iif(status = 'Runnable' AND next_execution > ?, 1, 0), \
       deaths_at = iif(deaths_at = revision, min(max(revision, 1), ",
    last_revision!(),
    " - 1) + iif(status = 'Runnable' AND next_execution > ?, 1, 0), deaths_at), \
       claims = iif(claims < 2, max(claims, 0) + ?, min(claims, 4294967295)), \
       next_execution = iif(status = 'Runnable' AND next_execution > ?, ?, next_execution) \
     WHERE owner = ?"
));

/// Finds the instances that have not ended and in whose rows the owner is this number. The number cannot be
/// the id of an owner. Returns the instances as candidates, each with the number.
pub(crate) const OF_OWNER: Sql<1> = Sql::new(concat!(
    "SELECT ",
    candidate!(),
    ", owner FROM workflows INDEXED BY workflows_owned WHERE owner = ? AND status IN ('Runnable', 'Suspended')"
));

/// Clears this owner in the rows of instances that have ended. An instance that has ended has no owner, even
/// if its row names one.
pub(crate) const CLEAR_OWNER: Sql<1> =
    Sql::new("UPDATE workflows SET owner = NULL WHERE owner = ? AND status NOT IN ('Runnable', 'Suspended')");

/// Guard: this instance has not ended, and these columns still have the values that were read: `seq`, fencing
/// token, claims, revision, owner.
pub(crate) const IS_AS_READ: Sql<5> = Sql::new(guard!(
    "EXISTS (SELECT 1 FROM workflows WHERE seq = ? AND fence = ? AND claims = ? AND revision = ? AND owner IS ? \
     AND status IN ('Runnable', 'Suspended'))"
));

/// Quarantines the instance with this `seq` (last argument) and stores the cause. Values that only the engine
/// uses are reset if they are out of bounds, so that a host can claim the instance again, to end it, or to
/// resume it after the repair. A pending request stays only if it ends the instance. A request to resume is
/// removed, because it was not meant for the repaired instance.
pub(crate) const QUARANTINE: Sql<2> = Sql::new(concat!(
    "UPDATE workflows SET status = 'Suspended', ending = NULL, cause = ?, next_execution = NULL, owner = NULL, \
       claims = 0, fence = iif(fence BETWEEN 0 AND ",
    last_fence!(),
    " / 2, fence + 1, ",
    last_fence!(),
    " / 2), revision = iif(revision BETWEEN 1 AND ",
    last_revision!(),
    " / 2, revision + 1, ",
    last_revision!(),
    " / 2), control_number = iif(control_number BETWEEN 0 AND ",
    last_fence!(),
    " / 2, control_number, ",
    last_fence!(),
    " / 2), completions = iif(completions BETWEEN 0 AND ",
    last_fence!(),
    " / 2, completions, ",
    last_fence!(),
    " / 2), control = iif(control = 'Cancel' OR control = 'Terminate', control, NULL), \
       control_detail = NULL WHERE seq = ?"
)).own(Own::Instance);

/// Runs before `FREE` if the owner's process died, and records this death for the suspects that were running.
/// A suspect may have been in its time slice (`Turn`) when the process died, while bodies of other instances
/// still ran. Such a suspect becomes due before all other instances. The next process then runs it first,
/// while no other instance runs there.
pub(crate) const JUDGE: Sql<1> = Sql::new(concat!(
    "UPDATE workflows SET \
       deaths_alone = min(max(iif(deaths_at = revision, deaths_alone, 0), 0) + (isolation = 'Alone'), 4294967295), \
       deaths_beside = min(max(iif(deaths_at = revision, deaths_beside, 0), 0) + (isolation <> 'Alone'), 4294967295), \
       deaths_at = revision + (status = 'Runnable' AND isolation = 'Turn'), \
       revision = revision + (status = 'Runnable' AND isolation = 'Turn'), \
       next_execution = iif(status = 'Runnable' AND isolation = 'Turn', -9223372036854775807, next_execution) \
     WHERE owner = ? AND claims >= 2 AND isolation_fence = fence AND revision < ",
    last_revision!()
));

/// Stores the isolation with which a suspect (`id`, fencing token) runs from now on.
pub(crate) const ISOLATE: Sql<3> =
    Sql::new("UPDATE workflows SET isolation = ?, isolation_fence = fence WHERE id = ? AND fence = ?")
        .own(Own::Instance);

/// The recorded deaths of these suspects, which are given as a JSON list of `seq` numbers. A suspect is left
/// out if no death was recorded at its current revision.
pub(crate) const DEATHS: Sql<1> = Sql::new(
    "SELECT seq, deaths_alone, deaths_beside FROM workflows \
     WHERE seq IN (SELECT value FROM json_each(?)) AND deaths_at = revision",
);

/// The instances of this owner (bound twice) that have a pending control request, or for which a matching
/// event is stored. Searches like `CLAIMABLE`, but among instances that have an owner.
pub(crate) const REQUESTED: Sql<2> = Sql::new(concat!(
    "SELECT id FROM workflows INDEXED BY workflows_control \
       WHERE control IS NOT NULL AND owner = ? AND status IN ('Runnable', 'Suspended') \
     UNION SELECT workflows.id FROM events AS e INDEXED BY events_wanted \
       CROSS JOIN event_subscriptions AS s INDEXED BY event_subscriptions_open ON s.is_open = 1 \
         AND s.event_name = e.event_name AND s.event_key = e.event_key \
       CROSS JOIN workflows ON workflows.id = s.workflow_id \
       WHERE e.is_processed = 0 AND e.wanted = 1 AND workflows.owner = ? AND workflows.status = 'Runnable' AND ",
    super::streams::matches!()
));

/// Whether this instance has lost its live pointers. If so, it has not ended, it had live pointers earlier,
/// and it has none now.
pub(crate) const HAS_LOST_POINTERS: Sql<1> = Sql::new(
    "SELECT EXISTS (SELECT 1 FROM workflows WHERE id = ? AND begun = 1 AND status IN ('Runnable', 'Suspended') \
       AND NOT EXISTS (SELECT 1 FROM execution_pointers AS p WHERE p.workflow = workflows.seq AND p.kind = 'live'))",
);

/// Given a JSON list of ids (in hexadecimal), returns the ids whose instance has ended or does not exist.
pub(crate) const ENDED: Sql<1> = Sql::new(
    "SELECT wanted.id FROM (SELECT CAST(unhex(value) AS TEXT) AS id FROM json_each(?)) AS wanted WHERE NOT EXISTS \
     (SELECT 1 FROM workflows WHERE workflows.id = wanted.id AND status IN ('Runnable', 'Suspended'))",
);

/// Claimable instances of some definitions, the earliest due time first. None of them has an owner. An
/// instance is claimable if it is due, has a control request, or has an open subscription that matches a due,
/// unprocessed event. The event that a subscription takes next is always unprocessed and `wanted`, unless a
/// program changed these marks. The search therefore begins with the few events that have both marks, not
/// with the many subscriptions.
pub(crate) const CLAIMABLE: Sql<8> = Sql::new(concat!(
    "SELECT ",
    candidate!(),
    " FROM workflows WHERE seq IN (\
       SELECT seq FROM (SELECT seq FROM workflows INDEXED BY workflows_due \
         WHERE status = 'Runnable' AND next_execution IS NOT NULL AND next_execution <= ? AND owner IS NULL AND ",
    is_of_definitions!(),
    "    ORDER BY next_execution, seq LIMIT ?) \
       UNION ALL SELECT seq FROM (SELECT seq FROM workflows INDEXED BY workflows_control \
         WHERE control IS NOT NULL AND owner IS NULL AND status IN ('Runnable', 'Suspended') AND ",
    is_of_definitions!(),
    "    LIMIT ?) \
       UNION ALL SELECT seq FROM (SELECT DISTINCT workflows.seq FROM events AS e INDEXED BY events_wanted \
         CROSS JOIN event_subscriptions AS s INDEXED BY event_subscriptions_open ON s.is_open = 1 \
           AND s.event_name = e.event_name AND s.event_key = e.event_key \
         CROSS JOIN workflows ON workflows.id = s.workflow_id \
         WHERE e.is_processed = 0 AND e.wanted = 1 AND workflows.owner IS NULL AND workflows.status = 'Runnable' AND ",
    super::streams::matches!(),
    " AND ",
    is_of_definitions!(),
    "    LIMIT ?)\
     ) ORDER BY next_execution IS NULL, next_execution, seq LIMIT ?"
));

/// One instance: its columns as a candidate, its owner, whether it has something to do by this time (in
/// milliseconds), and its definition.
pub(crate) const ACQUIRABLE: Sql<2> = Sql::new(concat!(
    "SELECT ",
    candidate!(),
    ", owner, \
       (status = 'Runnable' AND next_execution IS NOT NULL AND next_execution <= ?) \
       OR (control IS NOT NULL AND status IN ('Runnable', 'Suspended')) \
       OR (status = 'Runnable' AND EXISTS (SELECT 1 FROM event_subscriptions AS s \
           WHERE s.is_open = 1 AND s.workflow_id = workflows.id AND ",
    super::streams::next_position!(),
    " IS NOT NULL)), workflow_definition_id, version \
     FROM workflows WHERE id = ?"
));

/// Makes this owner (first argument) the owner of an instance that has no owner. The instance must be
/// unchanged since it was read: the other arguments are its `seq`, its fencing token, its revision, and the
/// number of its last control request.
pub(crate) const CLAIM: Sql<5> = Sql::new(
    "UPDATE workflows SET owner = ?, fence = fence + 1 \
     WHERE seq = ? AND owner IS NULL AND fence = ? AND revision = ? AND control_number = ?",
);

/// Runnable instances of some definitions that have no owner and become due after a given time, earliest
/// first.
pub(crate) const UPCOMING: Sql<3> = Sql::new(concat!(
    "SELECT next_execution, id FROM workflows INDEXED BY workflows_due \
     WHERE status = 'Runnable' AND next_execution IS NOT NULL AND next_execution > ? AND owner IS NULL AND ",
    is_of_definitions!(),
    " ORDER BY next_execution, seq LIMIT ?"
));

/// All statements of this file, for the tests.
#[cfg(test)]
pub(crate) const ALL: &[(&str, &str)] = &[
    ("PENDING", PENDING.text()),
    ("CONTROL_STATE", CONTROL_STATE.text()),
    ("REQUEST", REQUEST.text()),
    ("REQUEST_OF_COMMIT", REQUEST_OF_COMMIT.text()),
    ("ENGINE_COLUMNS", ENGINE_COLUMNS.text()),
    ("ENGINE_COLUMNS_OF_MANY", ENGINE_COLUMNS_OF_MANY.text()),
    ("OWNERS", OWNERS.text()),
    ("PROGRESS", PROGRESS.text()),
    ("STANDS", STANDS.text()),
    ("FREE", FREE.text()),
    ("OF_OWNER", OF_OWNER.text()),
    ("CLEAR_OWNER", CLEAR_OWNER.text()),
    ("IS_AS_READ", IS_AS_READ.text()),
    ("QUARANTINE", QUARANTINE.text()),
    ("JUDGE", JUDGE.text()),
    ("ISOLATE", ISOLATE.text()),
    ("DEATHS", DEATHS.text()),
    ("REQUESTED", REQUESTED.text()),
    ("HAS_LOST_POINTERS", HAS_LOST_POINTERS.text()),
    ("ENDED", ENDED.text()),
    ("CLAIMABLE", CLAIMABLE.text()),
    ("ACQUIRABLE", ACQUIRABLE.text()),
    ("CLAIM", CLAIM.text()),
    ("UPCOMING", UPCOMING.text()),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_in_statements_and_schema_are_those_of_the_codec() {
        let schema = include_str!("version_4.sql");
        for (text, bound) in [(last_fence!(), LAST_FENCE), (last_revision!(), LAST_REVISION)] {
            assert_eq!(text, bound.to_string());
            assert!(schema.contains(text));
        }
    }
}
