-- From version 3 to 4. Columns come last and may be left out, so that a program of an earlier version that has the file open
-- goes on with it: what it stores is matched as all that is here already.

-- Whether the store gave the event its date, so that its place in the stream alone says what came first. (`timely` is 1 for
-- dates given by hand, too, that were not in the past.) Readers: all that ask what a wait matches (`streams::matches`).
ALTER TABLE events ADD COLUMN undated INTEGER NOT NULL DEFAULT 0 CHECK (undated IN (0, 1));
