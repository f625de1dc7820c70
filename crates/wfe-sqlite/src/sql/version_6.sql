-- From version 5 to 6. Columns come last and may be left out, so that a program of an earlier version that has the file open
-- continues with it.

-- 1: an instance has consumed the event. NULL: none has, or only one that a program of an earlier version ran. Reader: the answer
-- to a caller who publishes an event again.
ALTER TABLE events ADD COLUMN consumed INTEGER CHECK (consumed = 1);
