-- From version 2 to 3. Columns come last and may be left out, so that a program of an earlier version that has the file open
-- continues with it: what it stores is matched by date alone, like all rows that are here already.
--
-- If the clock is set back after an instance was created, dates from before and after do not show what came first. The
-- order of becoming due does.

-- The start position: the last position that was assigned before the instance was created. Reader: the statement that
-- stores a wait.
ALTER TABLE workflows ADD COLUMN born INTEGER CHECK (born >= 0);

-- The same, for a wait from the creation of its instance on; NULL: from a date on. It is repeated here, so that matching does
-- not read the instance, whose data may be large. Readers: all statements that match waits (`streams::matches`).
ALTER TABLE event_subscriptions ADD COLUMN born INTEGER CHECK (born IS NULL OR kind = 'wait');

-- Whether the event was not backdated: dated no earlier than it was stored. Readers: as above.
ALTER TABLE events ADD COLUMN timely INTEGER NOT NULL DEFAULT 0 CHECK (timely IN (0, 1));

-- The first event that a wait receives from the creation of its instance on, however many events of its stream are backdated.
CREATE INDEX events_timely ON events (event_name, event_key, position) WHERE timely = 1;
