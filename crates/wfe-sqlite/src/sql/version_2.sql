-- From version 1 to 2. Columns come last and may be left out, so that a program of version 1 that has the file open
-- goes on with it.

-- Work for outsiders: the id of the event that answers a wait. Once it is set, nobody else may claim or answer it.
ALTER TABLE event_subscriptions ADD COLUMN answer TEXT CHECK (answer IS NULL OR kind = 'wait');

-- open_waits, claim_wait: the unanswered waits of one of the engine's own names (they begin with `wfe.`), as stored.
CREATE INDEX event_subscriptions_work ON event_subscriptions (event_name, seq)
  WHERE is_open = 1 AND answer IS NULL AND event_name >= 'wfe.' AND event_name < 'wfe/';
