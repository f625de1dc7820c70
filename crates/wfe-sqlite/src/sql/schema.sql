-- Version 1. Six tables, all STRICT. Integer keys inside: an id is looked up once, through its unique index.
-- Times are nanoseconds since the Unix epoch, except next_execution and execute_time: milliseconds.
-- JSON is text.
--
-- More than two allowed values are written with OR: for an IN of three and more, SQLite builds a table of them whenever it
-- checks a row. (In files of the first versions IN stands there: the same rule.)

CREATE TABLE workflows (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- never reused: (seq, revision) proves a cached copy even after a deletion
  id TEXT NOT NULL UNIQUE,
  name TEXT NOT NULL UNIQUE,
  root_workflow_id TEXT,
  workflow_definition_id TEXT NOT NULL,
  version INTEGER NOT NULL CHECK (version BETWEEN 0 AND 4294967295),
  description TEXT,
  reference TEXT,
  next_execution INTEGER,
  status TEXT NOT NULL
    CHECK (status = 'Runnable' OR status = 'Suspended' OR status = 'Complete' OR status = 'Terminated'),
  create_time INTEGER NOT NULL,
  complete_time INTEGER,
  -- Beside the model: only the step store touches what follows, but for the revision.
  revision INTEGER NOT NULL DEFAULT 1 CHECK (revision > 0),             -- raised by every write of the instance
  completions INTEGER NOT NULL DEFAULT 0 CHECK (completions >= 0),      -- number of the last history row
  owner INTEGER,
  fence INTEGER NOT NULL DEFAULT 0 CHECK (fence >= 0),                  -- raised with every change of owner
  claims INTEGER NOT NULL DEFAULT 0 CHECK (claims >= 0),                -- claims since the last commit
  control TEXT CHECK (control = 'Suspend' OR control = 'Resume' OR control = 'Cancel' OR control = 'Terminate'),
  control_number INTEGER NOT NULL DEFAULT 0 CHECK (control_number >= 0), -- of the newest request, waiting or not
  parent TEXT,
  start_key TEXT,                                                       -- reference of an idempotent start
  ending TEXT CHECK (ending = 'Completed' OR ending = 'Failed' OR ending = 'Cancelled' OR ending = 'Terminated'),
  cause TEXT,
  data TEXT NOT NULL                                                    -- last: reading the others does not walk over it
) STRICT;

-- Idempotent start: one instance for each definition and reference.
CREATE UNIQUE INDEX workflows_start ON workflows (workflow_definition_id, start_key) WHERE start_key IS NOT NULL;
-- get_runnable_instances, claim, upcoming: only what can become due, so that parked instances cost nothing.
CREATE INDEX workflows_due ON workflows (next_execution) WHERE status = 'Runnable' AND next_execution IS NOT NULL;
-- claim: the owners to look after, and what a dead one leaves.
CREATE INDEX workflows_owned ON workflows (owner) WHERE owner IS NOT NULL;
-- claim: instances with a control request.
CREATE INDEX workflows_control ON workflows (seq) WHERE control IS NOT NULL;

CREATE TABLE execution_pointers (
  seq INTEGER PRIMARY KEY,
  workflow INTEGER NOT NULL REFERENCES workflows (seq) ON DELETE CASCADE,
  kind TEXT NOT NULL CHECK (kind = 'live' OR kind = 'history' OR kind = 'items'),
  number INTEGER NOT NULL CHECK (number >= 0),  -- live: 0; history: completion number; items: index of the first one
  position INTEGER NOT NULL,                    -- order of the live ones
  id TEXT NOT NULL,                             -- items: the container's pointer
  step_id INTEGER NOT NULL CHECK (step_id >= 0),
  active INTEGER NOT NULL CHECK (active IN (0, 1)),
  status TEXT NOT NULL
    CHECK (status = 'Pending' OR status = 'Running' OR status = 'Complete' OR status = 'Skipped' OR status = 'Sleeping'
      OR status = 'WaitingForEvent' OR status = 'Failed' OR status = 'Compensated' OR status = 'Cancelled'
      OR status = 'PendingPredecessor'),
  sleep_until INTEGER,
  persistence_data TEXT,
  start_time INTEGER,
  end_time INTEGER,
  event_name TEXT,
  event_key TEXT,
  event_published INTEGER NOT NULL CHECK (event_published IN (0, 1)),
  event_data TEXT,
  step_name TEXT,
  retry_count INTEGER NOT NULL CHECK (retry_count BETWEEN 0 AND 4294967295),
  children TEXT NOT NULL,
  context_item TEXT,
  predecessor_id TEXT,
  outcome TEXT,
  scope TEXT NOT NULL,
  extension_attributes TEXT NOT NULL,
  container TEXT NOT NULL,                      -- the innermost of scope; empty: the main path
  item_values TEXT CHECK ((kind = 'items') = (item_values IS NOT NULL)),
  CHECK (kind <> 'live' OR number = 0)
) STRICT;

-- Loading an instance, finding one pointer, a container's items, the foreign key.
CREATE UNIQUE INDEX execution_pointers_id ON execution_pointers (workflow, kind, id, number);
-- finished: pages of history.
CREATE INDEX execution_pointers_history ON execution_pointers (workflow, container, number) WHERE kind = 'history';

CREATE TABLE events (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  event_name TEXT NOT NULL,
  event_key TEXT NOT NULL,
  event_data TEXT NOT NULL,
  event_time INTEGER NOT NULL,
  is_processed INTEGER NOT NULL CHECK (is_processed IN (0, 1)),
  position INTEGER                              -- place in the order of becoming due; NULL: not due yet
) STRICT;

-- get_events, the early-event rule, the first event of a wait that has consumed none.
CREATE INDEX events_time ON events (event_name, event_key, event_time, position);
-- The next event of a stream after a position.
CREATE UNIQUE INDEX events_stream ON events (event_name, event_key, position);
-- get_runnable_events.
CREATE INDEX events_unprocessed ON events (event_time) WHERE is_processed = 0;
-- Events dated ahead whose time has come.
CREATE INDEX events_unripe ON events (event_time) WHERE position IS NULL;

CREATE TABLE event_subscriptions (
  seq INTEGER PRIMARY KEY,
  id TEXT UNIQUE CHECK ((kind = 'wait') = (id IS NOT NULL)),
  kind TEXT NOT NULL CHECK (kind IN ('wait', 'position')), -- position: where (instance, name, key) stands in its stream
  workflow_id TEXT NOT NULL,
  step_id INTEGER NOT NULL CHECK (step_id >= 0),
  execution_pointer_id TEXT NOT NULL,
  event_name TEXT NOT NULL,
  event_key TEXT NOT NULL,
  subscribe_as_of INTEGER NOT NULL,
  subscription_data TEXT,
  external_token TEXT,
  external_worker_id TEXT,
  external_token_expiry INTEGER,
  is_open INTEGER NOT NULL CHECK (is_open IN (0, 1)),
  consumed INTEGER CHECK ((kind = 'position') = (consumed IS NOT NULL)),  -- position of the last event consumed
  CHECK (kind = 'wait' OR is_open = 0)
) STRICT;

-- get_subscriptions, get_first_open_subscription, finish_event, claim by event.
CREATE INDEX event_subscriptions_open ON event_subscriptions (event_name, event_key, subscribe_as_of) WHERE is_open = 1;
-- load: the open waits of an instance.
CREATE INDEX event_subscriptions_waits ON event_subscriptions (workflow_id) WHERE is_open = 1;
-- Where an instance stands in a stream.
CREATE UNIQUE INDEX event_subscriptions_position ON event_subscriptions (workflow_id, event_name, event_key)
  WHERE kind = 'position';

CREATE TABLE scheduled_commands (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,        -- never reused: a late answer never meets another command
  command_name TEXT NOT NULL CHECK (command_name IN ('ProcessWorkflow', 'ProcessEvent')),
  data TEXT NOT NULL,
  execute_time INTEGER NOT NULL,
  generation INTEGER NOT NULL DEFAULT 1,        -- raised by every scheduling
  taken INTEGER NOT NULL DEFAULT 0 CHECK (taken IN (0, 1)),  -- a handler runs, or died
  again INTEGER CHECK (taken = 1 OR again IS NULL),          -- earliest time asked for since it was taken
  UNIQUE (command_name, data)
) STRICT;

-- process_commands.
CREATE INDEX scheduled_commands_due ON scheduled_commands (execute_time);

CREATE TABLE execution_errors (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  error_time INTEGER NOT NULL,
  workflow_id TEXT NOT NULL,
  execution_pointer_id TEXT NOT NULL,
  message TEXT NOT NULL,
  step TEXT NOT NULL DEFAULT '',
  attempt INTEGER NOT NULL DEFAULT 0 CHECK (attempt BETWEEN 0 AND 4294967295),
  code TEXT NOT NULL DEFAULT '',
  causes TEXT NOT NULL DEFAULT '[]'
) STRICT;

-- failures: those of one instance, oldest first.
CREATE INDEX execution_errors_workflow ON execution_errors (workflow_id, seq);
