-- From version 3 to 4. Columns come last and may be left out, so that a program of an earlier version that has the file open
-- continues with it: what it stores is matched like all rows that are here already.

-- Whether the store gave the event its date, so that its position in the stream alone shows what came first. (`timely` is 1
-- also for given dates that were not in the past.) Readers: all statements that match waits (`streams::matches`).
ALTER TABLE events ADD COLUMN undated INTEGER NOT NULL DEFAULT 0 CHECK (undated IN (0, 1))
  CHECK (seq <= 4611686018427387904) CHECK (position BETWEEN 1 AND 4611686018427387904);

-- The events that a wait from the creation of its instance on receives by date: not the undated ones. Covering, so that a long
-- stream of undated events costs it nothing. Reader: the first event that such a wait receives (`streams::next_position`).
CREATE INDEX events_dated ON events (event_name, event_key, event_time, position) WHERE undated = 0;

-- 1: the instance had live pointers when it was last stored; if it has none, rows were lost. NULL: it has none yet, or an
-- earlier version stored it. Reader: a load that finds an open instance without pointers.
--
-- With it come the bounds of other columns that had none: a CHECK may name any column, and comes with a new one without the table
-- being rebuilt. (A trigger on the columns that every commit and claim names made each of these statements two fifths dearer;
-- these CHECKs cost nothing that can be measured.) Existing values stay; a claim finds them. An owner of -1 marks a child that
-- is just being created, which no host has owned yet.
ALTER TABLE workflows ADD COLUMN begun INTEGER CHECK (begun = 1)
  CHECK (seq <= 4611686018427387904)
  CHECK (owner IS NULL OR owner > 0 OR (owner = -1 AND fence = 0))
  CHECK (fence <= 4611686018427387904)
  CHECK (revision <= 4398046511104)
  CHECK (claims <= 4294967295)
  CHECK (control_number <= 4611686018427387904)
  CHECK (completions <= 4611686018427387904)
  CHECK (cause IS NULL OR json_valid(cause));

-- The instances that are open now: all of them had live pointers, except for the few that have not begun.
UPDATE workflows SET begun = 1 WHERE status IN ('Runnable', 'Suspended')
  AND EXISTS (SELECT 1 FROM execution_pointers AS p WHERE p.workflow = workflows.seq AND p.kind = 'live');

-- 1: a caller closed the wait; 0: no caller did, so it is closed only together with its pointer. NULL: an earlier version
-- stored it. Reader: the check of a wait that is not open although a pointer waits for it.
ALTER TABLE event_subscriptions ADD COLUMN terminated INTEGER CHECK (terminated IN (0, 1));

-- JSON in columns that never change once the row is stored: an UPDATE by hand that would make it unreadable fails. (The data of
-- instances and the columns of pointers are written by every step: to parse each value there once more costs more than the
-- one percent that is allowed for it. A read finds a corrupt value there.)
CREATE TRIGGER events_data BEFORE UPDATE OF event_data ON events WHEN NOT json_valid(new.event_data)
BEGIN SELECT RAISE(ABORT, 'event_data is not JSON'); END;
CREATE TRIGGER event_subscriptions_data BEFORE UPDATE OF subscription_data ON event_subscriptions
WHEN new.subscription_data IS NOT NULL AND NOT json_valid(new.subscription_data)
BEGIN SELECT RAISE(ABORT, 'subscription_data is not JSON'); END;
CREATE TRIGGER execution_errors_causes BEFORE UPDATE OF causes ON execution_errors WHEN NOT json_valid(new.causes)
BEGIN SELECT RAISE(ABORT, 'causes is not JSON'); END;

-- Positions that were not given out: an event there is behind what waits have come to, or is come to itself and hides all that
-- follow; and to a wait that was born there, or an instance that has come there, no later event comes. WFE changes the position
-- of an event that becomes due, once its number was drawn, and how far an instance has come (a hundredth part of what it costs to
-- take an event at most), but never `born`.
CREATE TRIGGER events_position BEFORE UPDATE OF position ON events
WHEN new.position IS NOT old.position
  AND NOT ifnull(new.position <= (SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)
BEGIN SELECT RAISE(ABORT, 'position is none that was given out'); END;
CREATE TRIGGER event_subscriptions_consumed BEFORE UPDATE OF consumed ON event_subscriptions
WHEN new.consumed > max((SELECT seq FROM sqlite_sequence WHERE name = 'events'), coalesce((SELECT max(seq) FROM events), 0))
BEGIN SELECT RAISE(ABORT, 'consumed is no position that was given out'); END;
CREATE TRIGGER event_subscriptions_born BEFORE UPDATE OF born ON event_subscriptions
WHEN new.born NOT BETWEEN 0 AND coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)
BEGIN SELECT RAISE(ABORT, 'born is no position that was given out'); END;
CREATE TRIGGER workflows_born BEFORE UPDATE OF born ON workflows
WHEN new.born NOT BETWEEN 0 AND coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)
BEGIN SELECT RAISE(ABORT, 'born is no position that was given out'); END;

-- `claims` counts, from here on, how often in a row the process of the instance's owner died without a commit of the
-- instance in between, and only to 2: the instance is a suspect then. (It counted claims before. A program of version 3
-- continues to count claims, and its count can make an instance a suspect too early; then it only runs alone once.) The
-- counts of instances that have an owner now are no deaths.
UPDATE workflows SET claims = 0 WHERE owner IS NOT NULL AND claims > 0;

-- How a suspect runs (`StepStore::isolate`), under this fence and no other. Reader: JUDGE.
ALTER TABLE workflows ADD COLUMN isolation TEXT
  CHECK (isolation IS NULL OR isolation = 'Alone' OR isolation = 'Turn' OR isolation = 'Over');
ALTER TABLE workflows ADD COLUMN isolation_fence INTEGER;

-- How often in a row the process died while it ran alone, and beside others. They hold at this revision and at no other, so
-- that each commit sets them back, that of an earlier version too, and none has to write them. Reader: DEATHS.
ALTER TABLE workflows ADD COLUMN deaths_alone INTEGER NOT NULL DEFAULT 0
  CHECK (deaths_alone BETWEEN 0 AND 4294967295);
ALTER TABLE workflows ADD COLUMN deaths_beside INTEGER NOT NULL DEFAULT 0
  CHECK (deaths_beside BETWEEN 0 AND 4294967295);
ALTER TABLE workflows ADD COLUMN deaths_at INTEGER;

-- As before, and by stream: whether an instance has more waits in the stream of which one has taken an event is not to cost
-- more the more waits it has in others. Readers: load, a commit that consumes an event.
DROP INDEX event_subscriptions_waits;
CREATE INDEX event_subscriptions_waits ON event_subscriptions (workflow_id, event_name, event_key) WHERE is_open = 1;

-- NULL: these columns only bring the bounds of `seq`, beyond which there is no next number. What is beyond them already gets
-- another number when the store is opened (`sequences`).
ALTER TABLE scheduled_commands ADD COLUMN bounded INTEGER CHECK (bounded IS NULL) CHECK (seq <= 4611686018427387904);
ALTER TABLE execution_errors ADD COLUMN bounded INTEGER CHECK (bounded IS NULL) CHECK (seq <= 4611686018427387904);
