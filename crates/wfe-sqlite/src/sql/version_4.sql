-- From version 3 to 4. Columns come last and may be left out, so that a program of an earlier version that has the file open
-- goes on with it: what it stores is matched as all that is here already.

-- Whether the store gave the event its date, so that its place in the stream alone says what came first. (`timely` is 1 for
-- dates given by hand, too, that were not in the past.) Readers: all that ask what a wait matches (`streams::matches`).
ALTER TABLE events ADD COLUMN undated INTEGER NOT NULL DEFAULT 0 CHECK (undated IN (0, 1));

-- 1: the instance had live pointers when it was last stored, so that having none is the loss of rows, and no beginning. NULL: it
-- has none yet, or an earlier version stored it. Reader: a load that finds an open instance without pointers.
ALTER TABLE workflows ADD COLUMN begun INTEGER CHECK (begun = 1);

-- Those that are open now: all of them had, but for the few that have not begun.
UPDATE workflows SET begun = 1 WHERE status IN ('Runnable', 'Suspended')
  AND EXISTS (SELECT 1 FROM execution_pointers AS p WHERE p.workflow = workflows.seq AND p.kind = 'live');

-- 1: a caller closed the wait; 0: nobody did, so that it is closed only together with its pointer. NULL: an earlier version
-- stored it. Reader: the check of a wait that is not open although a pointer stands at it.
ALTER TABLE event_subscriptions ADD COLUMN terminated INTEGER CHECK (terminated IN (0, 1));
