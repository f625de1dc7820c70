-- From version 6 to 7. Columns come last and may be left out, so that a program of an earlier version that has the file open
-- continues with it: its instances have no attributes.
--
-- What operators ask for has indexes. The statements of a step name none of their columns, because an UPDATE writes an entry of
-- each index that has one of the columns that it names: a start and an end pay for them, a step does not.

-- What programs and operators keep with an instance to find it again: a JSON object of texts, numbers and booleans. NULL: none.
-- Names that begin with `wfe.` are the engine's own. Readers: load; listings, through the index below only.
ALTER TABLE workflows ADD COLUMN attributes TEXT
  CHECK (attributes IS NULL OR (json_valid(attributes) AND substr(attributes, 1, 1) = '{'));

-- 1: the instance is being removed in several transactions, and counts as removed already. Readers: load, listings, purge.
ALTER TABLE workflows ADD COLUMN going INTEGER CHECK (going = 1);

-- Listings read what comes behind `data` through these two only: to read it in the row means to walk over all of the data.
CREATE INDEX workflows_attributes ON workflows (seq, attributes) WHERE attributes IS NOT NULL;
CREATE INDEX workflows_going ON workflows (seq) WHERE going = 1;

-- The instances that have not ended, newest first, and their numbers. Readers: list, count, open_counts, step_counts.
CREATE INDEX workflows_open ON workflows (status, seq, workflow_definition_id, version)
  WHERE status = 'Runnable' OR status = 'Suspended';
-- The instances that have ended in one way, by the time of the end. The ending is NULL if a program set the status without the
-- engine. The condition is on a column of the index, so that its readers need not look into the rows. Readers: list, count,
-- ended_counts, failure_groups, purge.
CREATE INDEX workflows_ended ON workflows (ending, complete_time, seq, workflow_definition_id)
  WHERE complete_time IS NOT NULL;
-- The instances of a definition, newest first: SQLite puts the row number at the end of each index. Readers: list, count.
CREATE INDEX workflows_definition ON workflows (workflow_definition_id);
-- The instances with a reference, whatever their definition, also those that have given it up to the one that replaces them.
-- Readers: list, count.
CREATE INDEX workflows_reference ON workflows (reference) WHERE reference IS NOT NULL;
-- The children of an instance. Readers: list, count, purge.
CREATE INDEX workflows_parent ON workflows (parent) WHERE parent IS NOT NULL;

-- The outlines of definitions and the records of actions, newest first. Readers: outlines, audit.
CREATE INDEX events_own ON events (event_name, seq)
  WHERE event_name = 'wfe.definition' OR event_name = 'wfe.audit';

-- The subscriptions of an instance that a program has made. Those that the engine makes are found by their ids, which begin with
-- the id of the instance; so the index is empty, and costs nothing, where no program makes any. Reader: removal.
CREATE INDEX event_subscriptions_foreign ON event_subscriptions (workflow_id)
  WHERE kind = 'wait' AND substr(id, 1, length(workflow_id) + 2) <> workflow_id || '//';
