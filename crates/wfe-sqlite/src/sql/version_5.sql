-- From version 4 to 5. Columns come last and may be left out, so that a program of an earlier version that has the file open
-- continues with it: it knows nothing of retries and restarts, and its instances have none.

-- When the instance was last retried: its deadline counts from then on. A program of an earlier version, which may continue with
-- the instance, counts the deadline from the creation. Reader: load.
ALTER TABLE workflows ADD COLUMN retried INTEGER;

-- The two links of a restart: the ended instance that this one replaces, and the one that replaces this one. Readers: load, the
-- guards of a retry and of a restart. Both are found by `id`, so no index is needed.
ALTER TABLE workflows ADD COLUMN restart_of TEXT CHECK (restart_of <> id);
ALTER TABLE workflows ADD COLUMN restarted_as TEXT CHECK (restarted_as <> id);
