//! The tables: the columns of the model, integer keys, and only the indexes that the contract and the workloads need. Each
//! insert binds all columns of the model, because a store does not know which of them are empty.

pub const TABLES: &str = "
CREATE TABLE IF NOT EXISTS workflows (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL UNIQUE,
  root_workflow_id TEXT,
  definition TEXT NOT NULL,
  version INTEGER NOT NULL,
  description TEXT,
  reference TEXT,
  next_execution INTEGER,
  status TEXT NOT NULL,
  create_time INTEGER NOT NULL,
  complete_time INTEGER,
  revision INTEGER NOT NULL,
  data TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS workflows_due ON workflows (next_execution)
  WHERE status = 'Runnable' AND next_execution IS NOT NULL;
CREATE TABLE IF NOT EXISTS execution_pointers (
  seq INTEGER PRIMARY KEY,
  workflow INTEGER NOT NULL,
  position INTEGER NOT NULL,
  id TEXT NOT NULL,
  step_id INTEGER NOT NULL,
  active INTEGER NOT NULL,
  status TEXT NOT NULL,
  sleep_until INTEGER,
  persistence_data TEXT,
  start_time INTEGER,
  end_time INTEGER,
  event_name TEXT,
  event_key TEXT,
  event_published INTEGER NOT NULL,
  event_data TEXT,
  step_name TEXT,
  retry_count INTEGER NOT NULL,
  children TEXT NOT NULL,
  context_item TEXT,
  predecessor_id TEXT,
  outcome TEXT,
  scope TEXT NOT NULL,
  extension_attributes TEXT NOT NULL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS execution_pointers_id ON execution_pointers (workflow, id);
CREATE TABLE IF NOT EXISTS events (
  seq INTEGER PRIMARY KEY,
  id TEXT NOT NULL UNIQUE,
  event_name TEXT NOT NULL,
  event_key TEXT NOT NULL,
  event_data TEXT NOT NULL,
  event_time INTEGER NOT NULL,
  is_processed INTEGER NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS events_stream ON events (event_name, event_key, event_time);
CREATE INDEX IF NOT EXISTS events_unprocessed ON events (event_time) WHERE is_processed = 0;
CREATE TABLE IF NOT EXISTS scheduled_commands (
  seq INTEGER PRIMARY KEY,
  command_name TEXT NOT NULL,
  data TEXT NOT NULL,
  execute_time INTEGER NOT NULL,
  UNIQUE (command_name, data)
) STRICT;
CREATE INDEX IF NOT EXISTS scheduled_commands_due ON scheduled_commands (execute_time);
";

pub const INSERT_WORKFLOW: &str = "INSERT INTO workflows (id, name, root_workflow_id, definition, version, description, \
       reference, next_execution, status, create_time, complete_time, revision, data) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, 1, ?12)";
pub const UPDATE_WORKFLOW: &str =
    "UPDATE workflows SET revision = revision + 1, next_execution = ?2 WHERE id = ?1 RETURNING seq";
pub const END_WORKFLOW: &str = "UPDATE workflows SET revision = revision + 1, next_execution = NULL, \
     status = 'Complete', complete_time = ?2 WHERE id = ?1 RETURNING seq";
pub const LOAD_WORKFLOW: &str =
    "SELECT seq, next_execution, status, create_time, data FROM workflows WHERE id = ?1";
pub const INSERT_POINTER: &str = "INSERT INTO execution_pointers (workflow, position, id, step_id, active, status, \
       sleep_until, persistence_data, start_time, end_time, event_name, event_key, event_published, event_data, \
       step_name, retry_count, children, context_item, predecessor_id, outcome, scope, extension_attributes) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)";
pub const UPDATE_POINTER: &str =
    "UPDATE execution_pointers SET active = ?3, status = ?4, outcome = ?5 WHERE workflow = ?1 AND id = ?2";
/// All columns, as a load needs them.
pub const LOAD_POINTERS: &str = "SELECT id, active, status, step_name, outcome, step_id, sleep_until, persistence_data, \
       start_time, end_time, event_name, event_key, event_published, event_data, retry_count, children, context_item, \
       predecessor_id, scope, extension_attributes FROM execution_pointers WHERE workflow = ?1 ORDER BY position";
pub const DUE: &str = "SELECT id FROM workflows WHERE status = 'Runnable' AND next_execution IS NOT NULL \
     AND next_execution <= ?1 ORDER BY next_execution, seq";

pub const INSERT_EVENT: &str = "INSERT INTO events (id, event_name, event_key, event_data, event_time, is_processed) \
     VALUES (?1, 'paid', ?2, ?3, ?4, 0)";
pub const LOAD_EVENT: &str = "SELECT event_data, is_processed FROM events WHERE id = ?1";
pub const MARK_EVENT: &str = "UPDATE events SET is_processed = 1 WHERE id = ?1";
pub const DUE_EVENTS: &str =
    "SELECT id FROM events WHERE is_processed = 0 AND event_time <= ?1 ORDER BY event_time, seq";

pub const SCHEDULE: &str = "INSERT INTO scheduled_commands (command_name, data, execute_time) \
     VALUES ('ProcessWorkflow', ?1, ?2) ON CONFLICT (command_name, data) \
     DO UPDATE SET execute_time = min(execute_time, excluded.execute_time)";
