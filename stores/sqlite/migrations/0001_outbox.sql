-- The outbox, and what keeps the order within a key. Times are microseconds since 1970.
--
-- This is a public table: any program may INSERT id, name, key and payload (see the README beside this).
-- The defaults and the triggers make such a row right.

CREATE TABLE postbox_settings (
  one         INTEGER PRIMARY KEY CHECK (one = 1),
  dead_blocks INTEGER NOT NULL CHECK (dead_blocks IN (0, 1))
) STRICT;
INSERT INTO postbox_settings (one, dead_blocks) VALUES (1, 0);

CREATE TABLE postbox_outbox (
  -- Never used twice, so that a late settlement cannot meet another message.
  seq          INTEGER PRIMARY KEY AUTOINCREMENT,
  id           TEXT    NOT NULL UNIQUE CHECK (length(CAST(id AS BLOB)) BETWEEN 1 AND 512),
  name         TEXT    NOT NULL CHECK (length(CAST(name AS BLOB)) BETWEEN 1 AND 255),
  kind         TEXT    NOT NULL DEFAULT 'event' CHECK (kind IN ('event', 'command')),
  key          TEXT    CHECK (length(CAST(key AS BLOB)) BETWEEN 1 AND 768),
  content_type TEXT    NOT NULL DEFAULT 'application/json',
  headers      TEXT    NOT NULL DEFAULT '' CHECK (length(CAST(headers AS BLOB)) <= 8192),
  -- 0 pending, 1 in flight, 2 published, 3 dead.
  state        INTEGER NOT NULL DEFAULT 0 CHECK (state BETWEEN 0 AND 3),
  -- Whether later messages of the key wait for this one: while it is live; when dead, by policy.
  holds        INTEGER NOT NULL DEFAULT 1 CHECK (holds IN (0, 1)),
  -- Whether an earlier message of the key holds this one up. Kept by the triggers.
  blocked      INTEGER NOT NULL DEFAULT 0 CHECK (blocked IN (0, 1)),
  -- Pending: when it may be claimed. In flight: when the lease ends.
  due          INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER)),
  -- The fence: whose claim it is, and the how-many-eth of this message.
  worker       INTEGER NOT NULL DEFAULT 0,
  attempt      INTEGER NOT NULL DEFAULT 0 CHECK (attempt BETWEEN 0 AND 4294967295),
  failures     INTEGER NOT NULL DEFAULT 0 CHECK (failures BETWEEN 0 AND 4294967295),
  abandoned    INTEGER NOT NULL DEFAULT 0 CHECK (abandoned BETWEEN 0 AND 4294967295),
  committed_at INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000000.0 AS INTEGER)),
  -- When it was published or given up.
  settled_at   INTEGER,
  last_error   TEXT    NOT NULL DEFAULT '',
  payload      BLOB    NOT NULL,
  CHECK ((state >= 2) = (settled_at IS NOT NULL)),
  CHECK (state <> 1 OR attempt > 0),
  CHECK (state >= 2 OR holds = 1),
  CHECK (state <> 2 OR holds = 0)
) STRICT;

-- What a claim looks at: nothing parked, nothing blocked, in the order it is taken.
CREATE INDEX postbox_outbox_free ON postbox_outbox (due) WHERE state < 2 AND blocked = 0;
-- The queue of each key.
CREATE INDEX postbox_outbox_key ON postbox_outbox (key) WHERE key IS NOT NULL AND holds = 1;
-- What a purge and an operator look at; one for both, as every insertion has to open each index. Queries have to say
-- "state >= 2" too, or SQLite does not see that it serves.
CREATE INDEX postbox_outbox_settled ON postbox_outbox (state, settled_at) WHERE state >= 2;

-- Of the messages of a key that hold, exactly the first is not blocked. Each trigger keeps that with one
-- look into postbox_outbox_key.
--
-- Most messages have a key to themselves: what runs for every row only looks, and has the rare update done by the trigger
-- of a view, as a program that may update a row needs kilobytes that SQLite clears each time.

CREATE TRIGGER postbox_outbox_inserted AFTER INSERT ON postbox_outbox
WHEN NEW.blocked = 0 AND NEW.key IS NOT NULL AND EXISTS (
  SELECT 1 FROM postbox_outbox WHERE key = NEW.key AND holds = 1 AND seq < NEW.seq)
BEGIN
  INSERT INTO postbox_outbox_behind VALUES (NEW.seq);
END;

CREATE VIEW postbox_outbox_behind AS SELECT 0 AS row;
CREATE TRIGGER postbox_outbox_put_behind INSTEAD OF INSERT ON postbox_outbox_behind
BEGIN
  -- Not the head of its key, so it is not born claimed either.
  UPDATE postbox_outbox SET blocked = 1, state = iif(state = 1, 0, state), due = iif(state = 1, committed_at, due),
    worker = iif(state = 1, 0, worker), attempt = iif(state = 1, 0, attempt)
  WHERE seq = NEW.row;
END;

CREATE TRIGGER postbox_outbox_deleted AFTER DELETE ON postbox_outbox
WHEN OLD.key IS NOT NULL AND OLD.holds = 1 AND OLD.blocked = 0 AND EXISTS (
  SELECT 1 FROM postbox_outbox WHERE key = OLD.key AND holds = 1)
BEGIN
  -- It cannot fail; OR FAIL says so to SQLite, which else copies every page that the deletion changes.
  INSERT OR FAIL INTO postbox_outbox_ahead VALUES (OLD.key);
END;

CREATE VIEW postbox_outbox_ahead AS SELECT '' AS queue;
CREATE TRIGGER postbox_outbox_put_ahead INSTEAD OF INSERT ON postbox_outbox_ahead
BEGIN
  UPDATE OR FAIL postbox_outbox SET blocked = 0 WHERE seq = (
    SELECT seq FROM postbox_outbox WHERE key = NEW.queue AND holds = 1 ORDER BY seq LIMIT 1);
END;

CREATE TRIGGER postbox_outbox_let_go AFTER UPDATE OF holds ON postbox_outbox
WHEN OLD.holds = 1 AND NEW.holds = 0 AND OLD.key IS NOT NULL AND OLD.blocked = 0
BEGIN
  UPDATE postbox_outbox SET blocked = 0 WHERE seq = (
    SELECT seq FROM postbox_outbox WHERE key = OLD.key AND holds = 1 ORDER BY seq LIMIT 1);
END;

CREATE TRIGGER postbox_outbox_took_hold AFTER UPDATE OF holds ON postbox_outbox
WHEN OLD.holds = 0 AND NEW.holds = 1 AND NEW.key IS NOT NULL
BEGIN
  UPDATE postbox_outbox SET blocked = EXISTS (
    SELECT 1 FROM postbox_outbox WHERE key = NEW.key AND holds = 1 AND seq < NEW.seq)
  WHERE seq = NEW.seq;
  UPDATE postbox_outbox SET blocked = 1 WHERE blocked = 0 AND seq = (
    SELECT seq FROM postbox_outbox WHERE key = NEW.key AND holds = 1 AND seq > NEW.seq ORDER BY seq LIMIT 1);
END;

-- Whatever dies or is published is settled at some time: claims, which write the state only, run neither of these.
CREATE TRIGGER postbox_outbox_died AFTER UPDATE OF settled_at ON postbox_outbox
WHEN NEW.state = 3 AND OLD.state <> 3
BEGIN
  UPDATE postbox_outbox SET holds = (SELECT dead_blocks FROM postbox_settings) WHERE seq = NEW.seq;
END;

-- A row that no retention keeps is settled in one statement with its batch, and goes.
CREATE TRIGGER postbox_outbox_gone AFTER UPDATE OF settled_at ON postbox_outbox
WHEN NEW.settled_at = -1
BEGIN
  DELETE FROM postbox_outbox WHERE seq = NEW.seq;
END;
