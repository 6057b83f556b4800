-- The outbox. {schema} and {prefix} stand for names that were checked; see the README beside this.
--
-- This is a public table: any program may INSERT id, name, key and payload, or call enqueue (0004). The defaults
-- and the triggers (0002) make such a row right. They also refuse one that is not; a CHECK is left only for what ties
-- the columns of a message's state together, in an UPDATE as well: PostgreSQL parses CHECK constraints anew in every
-- statement, and one a column cost more than all indices together.

CREATE TABLE {schema}.{prefix}settings (
  one         boolean PRIMARY KEY DEFAULT true CHECK (one),
  -- Whether a dead message holds up the later ones of its key.
  dead_blocks boolean NOT NULL DEFAULT false
);
INSERT INTO {schema}.{prefix}settings DEFAULT VALUES;

CREATE SEQUENCE {schema}.{prefix}outbox_seq;

CREATE TABLE {schema}.{prefix}outbox (
  -- Commit order within a key; never used twice, so that a late settlement cannot meet another message.
  seq          bigint      PRIMARY KEY DEFAULT nextval('{schema}.{prefix}outbox_seq'),
  -- Not before. Indexed, so a claim leaves it alone.
  due          timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- In flight: until when. No index has it or any other column that a claim changes: claims are HOT updates.
  lease_until  timestamptz NOT NULL DEFAULT '-infinity',
  committed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
  -- When it was published or given up.
  settled_at   timestamptz,
  -- The fence: whose claim it is, and the how-many-eth of this message.
  worker       bigint      NOT NULL DEFAULT 0,
  attempt      bigint      NOT NULL DEFAULT 0,
  failures     bigint      NOT NULL DEFAULT 0,
  abandoned    bigint      NOT NULL DEFAULT 0,
  -- Whether later messages of the key wait for this one: while it is live; when dead, by policy.
  holds        boolean     NOT NULL DEFAULT true,
  -- Whether an earlier message of the key holds this one up. Kept by the triggers.
  blocked      boolean     NOT NULL DEFAULT false,
  -- Whether the order within its key is still to be settled; see 0002.
  loose        boolean     NOT NULL DEFAULT false,
  -- NULL while it is live.
  outcome      text,
  kind         text        NOT NULL DEFAULT 'event',
  id           text        COLLATE "C" NOT NULL,
  name         text        NOT NULL,
  key          text        COLLATE "C",
  content_type text        NOT NULL DEFAULT 'application/json',
  headers      text        NOT NULL DEFAULT '',
  last_error   text        NOT NULL DEFAULT '',
  payload      bytea       NOT NULL,
  CONSTRAINT {prefix}outbox_id UNIQUE (id),
  CONSTRAINT {prefix}outbox_state CHECK (
    (outcome IS NULL) = (settled_at IS NULL)
    AND (lease_until = '-infinity' OR (outcome IS NULL AND attempt > 0))
    AND (holds OR outcome IS NOT NULL))
) WITH (
  -- Room on each page for the new version that a claim makes of each of its rows.
  fillfactor = 45,
  -- Rows live for moments: vacuum by count, early, and without pauses.
  autovacuum_vacuum_scale_factor = 0.02,
  autovacuum_vacuum_threshold = 5000,
  autovacuum_vacuum_cost_delay = 0
);

-- What a claim looks at: nothing parked, nothing blocked, in the order it is taken.
CREATE INDEX {prefix}outbox_free ON {schema}.{prefix}outbox (due, seq) WHERE outcome IS NULL AND NOT blocked;
-- The queue of each key.
CREATE INDEX {prefix}outbox_key ON {schema}.{prefix}outbox (key, seq) WHERE key IS NOT NULL AND holds;
-- What a purge looks at.
CREATE INDEX {prefix}outbox_published ON {schema}.{prefix}outbox (settled_at) WHERE outcome = 'published';
-- What an operator looks at.
CREATE INDEX {prefix}outbox_dead ON {schema}.{prefix}outbox (seq) WHERE outcome = 'dead';
-- What tidy looks at; nearly always empty.
CREATE INDEX {prefix}outbox_loose ON {schema}.{prefix}outbox (seq) WHERE loose;

-- For people: the table with a word for where each message stands.
CREATE VIEW {schema}.{prefix}messages AS
  SELECT coalesce(outcome, CASE WHEN lease_until = '-infinity' THEN 'pending' ELSE 'in flight' END) AS state, *
  FROM {schema}.{prefix}outbox;
