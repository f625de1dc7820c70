//! Large stores for measurements: a script of SQL that fills a new store of `wfe-sqlite` with instances as an operator finds
//! them after a month of work.

use chrono::{DateTime, Utc};

/// The script that adds this many instances to a store of `wfe-sqlite` that has none, in one transaction. The same arguments
/// give the same rows. A million instances take about a minute.
///
/// Of 1 000 instances, about 960 have completed, 4 have failed, and 3 were cancelled or terminated, over the thirty days before
/// `now`. The others are open: most wait for an event, an activity or a person, some sleep, a few are suspended by a failure,
/// and a few are due. They run twelve definitions in up to three versions; two of three have a reference, one of three has
/// attributes.
#[must_use]
pub fn sqlite_script(seed: u32, instances: u64, now: DateTime<Utc>) -> String {
    script(seed, instances, now, "NULL")
}

/// Like [`sqlite_script`], but all instances have ended: those that would be open have completed. A host of other
/// definitions can run on such a store, and finds nothing that it lacks.
#[must_use]
pub fn sqlite_history(seed: u32, instances: u64, now: DateTime<Utc>) -> String {
    script(seed, instances, now, "'Completed'")
}

/// `rest` is the ending, in SQL, of those that `sqlite_script` leaves open.
fn script(seed: u32, instances: u64, now: DateTime<Utc>, rest: &str) -> String {
    SCRIPT
        .replace(":rest", rest)
        .replace(":seed", &seed.to_string())
        .replace(":count", &instances.to_string())
        .replace(":now", &now.timestamp().to_string())
}

/// Numbers from 0 to 9999 that look random come from a multiplication of the instance's number. `made` is the time of the start
/// in seconds.
const SCRIPT: &str = r"
BEGIN IMMEDIATE;
CREATE TEMP TABLE generated AS
WITH RECURSIVE n (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < :count),
drawn AS (
  SELECT n, (n * 2654435761 + :seed * 40503) % 1000003 % 10000 AS luck, (n * 40503 + :seed * 7919) % 999983 % 10000 AS other,
    :now - 2592000 * (:count - n) / :count AS made FROM n)
SELECT n, luck, other, made,
  printf('0199%08x-%04x-7000-8000-%012x', made, luck, n) AS id,
  CASE other % 20 WHEN 0 THEN 'refund' WHEN 1 THEN 'invoice' WHEN 2 THEN 'onboarding' WHEN 3 THEN 'import'
    WHEN 4 THEN 'report' WHEN 5 THEN 'backup-photos' WHEN 6 THEN 'notify' WHEN 7 THEN 'resize' WHEN 8 THEN 'approval'
    WHEN 9 THEN 'payout' WHEN 10 THEN 'audit' ELSE 'order' END AS definition,
  1 + (other % 7 = 0) + (n * 4 > :count * 3) AS version,
  CASE WHEN luck < 9600 THEN 'Completed' WHEN luck < 9640 THEN 'Failed' WHEN luck < 9660 THEN 'Cancelled'
    WHEN luck < 9670 THEN 'Terminated' ELSE :rest END AS ending,
  CASE WHEN :rest IS NOT NULL THEN NULL WHEN luck >= 9670 AND luck < 9674 THEN 'suspended' WHEN luck >= 9674 AND luck < 9700 THEN 'asleep'
    WHEN luck >= 9700 AND luck < 9702 THEN 'due' WHEN luck >= 9702 THEN 'waiting' END AS stands,
  CASE other % 3 WHEN 0 THEN 'charge' WHEN 1 THEN 'ship' ELSE 'notify' END AS step,
  CASE other % 5 WHEN 0 THEN 'card_declined' WHEN 1 THEN 'timeout' ELSE 'http_503' END AS code
FROM drawn;

INSERT INTO workflows (id, name, workflow_definition_id, version, reference, start_key, next_execution, status, create_time,
  complete_time, revision, completions, ending, cause, data, begun, attributes, born)
SELECT id, id, definition, version, iif(n % 3 < 2, 'order-' || n, NULL), iif(n % 3 < 2, 'order-' || n, NULL),
  CASE stands WHEN 'asleep' THEN (:now + 60 + other) * 1000 WHEN 'due' THEN (:now - 1 - other % 600) * 1000 END,
  CASE WHEN ending = 'Completed' THEN 'Complete' WHEN ending IS NOT NULL THEN 'Terminated'
    WHEN stands = 'suspended' THEN 'Suspended' ELSE 'Runnable' END,
  made * 1000000000,
  iif(ending IS NULL, NULL, min(:now, made + 1 + other % 3600) * 1000000000 + n % 1000000000), 4, 3, ending,
  iif(ending = 'Failed' OR stands = 'suspended', json_object('error', json_object(
    'error_time', strftime('%Y-%m-%dT%H:%M:%SZ', min(:now, made + 1 + other % 3600), 'unixepoch'),
    'workflow_id', id, 'execution_pointer_id', step, 'message', code || ': refused'),
    'step', step, 'attempt', 5, 'code', code, 'causes', json_array(code || ': refused', 'the other side said no')), NULL),
  json_object('number', n, 'customer', 'customer-' || (other % 5000), 'total', other / 100.0,
    'note', substr('Please leave the parcel with the neighbour, and ring twice; thank you. ', 1 + other % 30)
      || printf('%0200d', n), 'tags', json_array('web', 'eu', code)),
  iif(ending IS NULL, 1, NULL),
  iif(n % 3 = 0, json_object('customer', 'customer-' || (other % 5000), 'express', json(iif(other % 10 = 0, 'true', 'false')),
    'region', iif(other % 2, 'eu', 'us')), NULL), 0
FROM generated ORDER BY n;

INSERT INTO execution_pointers (workflow, kind, number, position, id, step_id, active, status, event_published, retry_count,
  step_name, children, scope, extension_attributes, container)
SELECT w.seq, 'live', 0, 0, g.step, 0, g.stands <> 'suspended', CASE g.stands WHEN 'suspended' THEN 'Failed'
    WHEN 'asleep' THEN 'Sleeping' WHEN 'due' THEN 'Pending' ELSE 'WaitingForEvent' END, 0, 0, g.step, '[]', '[]', '{}', ''
FROM generated AS g JOIN workflows AS w ON w.id = g.id WHERE g.stands IS NOT NULL ORDER BY g.n;

INSERT INTO execution_pointers (workflow, kind, number, position, id, step_id, active, status, event_published, retry_count,
  step_name, children, scope, extension_attributes, container, start_time, end_time, outcome)
SELECT w.seq, 'history', 1, 0, 'price', 0, 0, 'Complete', 0, 0, 'price', '[]', '[]', '{}', '', made * 1000000000,
  made * 1000000000 + 5000000, '2250' FROM generated AS g JOIN workflows AS w ON w.id = g.id WHERE g.n % 5 = 0 ORDER BY g.n;

INSERT INTO event_subscriptions (id, kind, workflow_id, step_id, execution_pointer_id, event_name, event_key, subscribe_as_of,
  is_open, born)
SELECT id || '//w', 'wait', id, 0, step,
  CASE other % 4 WHEN 0 THEN 'wfe.activity:pack' WHEN 1 THEN 'wfe.user-task' WHEN 2 THEN 'approved' ELSE 'paid' END,
  iif(other % 4 < 2, id || '//w', 'order-' || n), made * 1000000000, 1, 0 FROM generated WHERE stands = 'waiting' ORDER BY n;

INSERT INTO execution_errors (error_time, workflow_id, execution_pointer_id, message, step, attempt, code, causes)
SELECT min(:now, made + 1 + other % 3600) * 1000000000, id, step, code || ': refused', step, 5, code,
  json_array(code || ': refused') FROM generated WHERE ending = 'Failed' OR stands = 'suspended' OR n % 50 = 0 ORDER BY n;

INSERT INTO events (id, event_name, event_key, event_data, event_time, is_processed, position, wanted, timely, undated, consumed)
SELECT 'event-' || n, iif(other % 2, 'paid', 'approved'), 'order-' || n, json_object('by', 'customer-' || (other % 5000)),
  made * 1000000000, n % 100 <> 0, NULL, 1, 1, 0, iif(n % 100 <> 0, 1, NULL)
FROM generated WHERE n % 10 = 0 ORDER BY n;
UPDATE events SET position = seq, wanted = is_processed WHERE id GLOB 'event-*';

DROP TABLE generated;
COMMIT;
";
