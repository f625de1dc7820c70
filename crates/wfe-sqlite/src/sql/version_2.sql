-- From version 1 to 2. Columns come last and may be left out, so that a program of version 1 that has the file open
-- continues with it.

-- Work for external workers: the id of the event that answers a wait; empty: it has no answer and takes none. Once it is
-- set, no other worker may claim or answer the wait.
ALTER TABLE event_subscriptions ADD COLUMN answer TEXT CHECK (answer IS NULL OR kind = 'wait');

-- open_waits, claim_wait: the unanswered waits of one of the engine's own names (they begin with `wfe.`), as stored.
CREATE INDEX event_subscriptions_work ON event_subscriptions (event_name, seq)
  WHERE is_open = 1 AND answer IS NULL AND event_name >= 'wfe.' AND event_name < 'wfe/';

-- Whether a wait may need this event: 0 only while it is unprocessed and no wait of its name and key was open when it
-- became due, or since. A program of version 1 omits it: then the event is checked, needed or not.
ALTER TABLE events ADD COLUMN wanted INTEGER NOT NULL DEFAULT 1 CHECK (wanted IN (0, 1));

-- claim, requested: events that a wait may need, so that events without a wait cost nothing, however many.
CREATE INDEX events_wanted ON events (event_time) WHERE is_processed = 0 AND wanted = 1;

-- The details of a pending resume: the number of its request, a blank, JSON. With another number it is void: a program of
-- version 1 has stored a newer request.
ALTER TABLE workflows ADD COLUMN control_detail TEXT CHECK (control_detail IS NULL OR control_detail GLOB '[1-9]* *');
