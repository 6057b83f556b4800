-- What keeps the order within a key: of its messages that hold, the first is not blocked and all others are.
--
-- Whoever inserts takes the lock of the key until its transaction ends, so seq follows commit order, and puts a
-- KEY SHARE lock on the message it comes behind. Whoever ends a message needs that row for itself: so it either
-- sees who comes behind and hands over, or it cannot end the message yet and leaves it loose, for a later claim
-- to tidy up. Nobody who ends a message ever waits for a transaction that inserts.
--
-- All of this needs to see what was committed a moment ago, which in READ COMMITTED each statement of a
-- function does. A transaction that reads an old snapshot inserts its message loose.
--
-- The first or last message of a key is looked for as `key >= k AND key <= k`, in the order of key and seq. Said as
-- `key = k`, in the order of seq, the primary key has that order too, and where the planner knows of few keys it
-- walks that one instead, past everything that is older.

-- Whose turn it is to insert messages of a key. Two keys with one number take turns, which is harmless.
CREATE FUNCTION {schema}.{prefix}key_lock(key text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN hashtextextended('{schema}.{prefix}outbox ' || key, 0);

-- Takes the turn of a key until the transaction ends, and holds the message that the next one comes behind. Whether
-- there is such a message; NULL when the transaction cannot know.
CREATE FUNCTION {schema}.{prefix}turn(of_key text) RETURNS boolean LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
  -- As an expression: PERFORM would start the executor for it.
  taken text := pg_advisory_xact_lock({schema}.{prefix}key_lock(of_key))::text;
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RETURN NULL;
  END IF;
  -- One that ends before it is locked is passed over, to the one before it.
  PERFORM FROM {schema}.{prefix}outbox o WHERE o.key >= of_key AND o.key <= of_key AND o.holds
    ORDER BY o.key DESC, o.seq DESC LIMIT 1 FOR KEY SHARE;
  RETURN FOUND;
END $$;

-- The same for whoever may insert.
CREATE FUNCTION {schema}.{prefix}take_turn(of_key text) RETURNS boolean LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
  RETURN {schema}.{prefix}turn(of_key);
END $$;

-- Refuses what is wrong, and finds the place of a message in its key. A message that is born claimed was found to be
-- the head of its key by whoever inserts it (0004, 0005), under the lock that the transaction still has.
CREATE FUNCTION {schema}.{prefix}outbox_inserted() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
  behind boolean;
  wrong  text := CASE
    WHEN octet_length(NEW.id) NOT BETWEEN 1 AND 512 THEN 'id'
    WHEN octet_length(NEW.name) NOT BETWEEN 1 AND 255 THEN 'name'
    WHEN octet_length(NEW.key) NOT BETWEEN 1 AND 768 THEN 'key'
    WHEN octet_length(NEW.headers) > 8192 THEN 'headers'
    WHEN NEW.kind NOT IN ('event', 'command') THEN 'kind'
    WHEN NEW.outcome NOT IN ('published', 'dead') THEN 'outcome'
  END;
BEGIN
  IF wrong IS NOT NULL THEN
    RAISE EXCEPTION 'a message with a wrong %', wrong USING ERRCODE = 'check_violation', COLUMN = wrong,
      CONSTRAINT = '{prefix}outbox_' || wrong;
  END IF;
  IF NEW.key IS NULL OR NEW.outcome IS NOT NULL OR NEW.attempt > 0 THEN
    RETURN NEW;
  END IF;
  behind := {schema}.{prefix}take_turn(NEW.key);
  -- Only now: a number drawn before the lock could be smaller than one that was committed before.
  NEW.seq := nextval('{schema}.{prefix}outbox_seq');
  NEW.blocked := behind IS NOT false;
  NEW.loose := behind IS NULL;
  RETURN NEW;
END $$;

CREATE TRIGGER {prefix}outbox_inserted BEFORE INSERT ON {schema}.{prefix}outbox FOR EACH ROW
  EXECUTE FUNCTION {schema}.{prefix}outbox_inserted();

CREATE FUNCTION {schema}.{prefix}outbox_let_go() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  next  bigint;
  waits boolean;
  told  text;
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'the head of a key leaves the outbox in READ COMMITTED only' USING ERRCODE = 'PB004';
  END IF;
  LOOP
    SELECT o.seq, o.blocked INTO next, waits FROM {schema}.{prefix}outbox o
      WHERE o.key >= OLD.key AND o.key <= OLD.key AND o.holds ORDER BY o.key, o.seq LIMIT 1;
    EXIT WHEN NOT FOUND OR NOT waits;
    UPDATE {schema}.{prefix}outbox o SET blocked = false, loose = o.loose AND o.outcome IS NOT NULL
      WHERE o.seq = next AND o.blocked;
    -- Otherwise it went away meanwhile: look again.
    CONTINUE WHEN NOT FOUND;
    told := set_config('postbox.freed', 'yes', true);
    EXIT;
  END LOOP;
  RETURN NULL;
END $$;

CREATE TRIGGER {prefix}outbox_let_go AFTER UPDATE OF holds ON {schema}.{prefix}outbox FOR EACH ROW
  WHEN (OLD.key IS NOT NULL AND OLD.holds AND NOT NEW.holds AND NOT OLD.blocked)
  EXECUTE FUNCTION {schema}.{prefix}outbox_let_go();

-- The same for all that one statement deletes: settlements come in batches, and a call a row would cost more than
-- deleting it.
CREATE FUNCTION {schema}.{prefix}outbox_deleted() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  keys text[] := ARRAY(SELECT g.key FROM gone g WHERE g.key IS NOT NULL AND g.holds AND NOT g.blocked);
  next bigint[];
  told text;
BEGIN
  IF keys = '{}' THEN
    RETURN NULL;
  END IF;
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'the head of a key leaves the outbox in READ COMMITTED only' USING ERRCODE = 'PB004';
  END IF;
  LOOP
    next := ARRAY(
      SELECT f.seq FROM unnest(keys) AS k (key) CROSS JOIN LATERAL (
        SELECT o.seq, o.blocked FROM {schema}.{prefix}outbox o
        WHERE o.key >= k.key AND o.key <= k.key AND o.holds ORDER BY o.key, o.seq LIMIT 1) f
      WHERE f.blocked);
    EXIT WHEN next = '{}';
    -- For `settle`, which tells whoever may claim it.
    told := set_config('postbox.freed', 'yes', true);
    -- One that went away meanwhile is not there at the next look.
    UPDATE {schema}.{prefix}outbox o SET blocked = false, loose = o.loose AND o.outcome IS NOT NULL
      WHERE o.seq = ANY (next) AND o.blocked;
  END LOOP;
  RETURN NULL;
END $$;

CREATE TRIGGER {prefix}outbox_deleted AFTER DELETE ON {schema}.{prefix}outbox REFERENCING OLD TABLE AS gone
  FOR EACH STATEMENT EXECUTE FUNCTION {schema}.{prefix}outbox_deleted();

-- Settles the order of what was left loose. Takes what nobody holds and waits for nobody; a later call takes
-- the rest. Returns how many.
CREATE FUNCTION {schema}.{prefix}tidy(keep boolean) RETURNS bigint LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  this record;
  last bigint;
  done bigint := 0;
BEGIN
  -- Ended, but somebody was about to come behind.
  FOR this IN SELECT o.seq, o.outcome FROM {schema}.{prefix}outbox o
    WHERE o.loose AND o.outcome IS NOT NULL ORDER BY o.seq LIMIT 1024 FOR UPDATE SKIP LOCKED
  LOOP
    IF this.outcome = 'published' AND NOT keep THEN
      DELETE FROM {schema}.{prefix}outbox o WHERE o.seq = this.seq;
    ELSE
      UPDATE {schema}.{prefix}outbox o SET holds = false, loose = false WHERE o.seq = this.seq;
    END IF;
    done := done + 1;
  END LOOP;
  -- Inserted by somebody who could not see who was before.
  FOR this IN SELECT o.seq, o.key FROM {schema}.{prefix}outbox o
    WHERE o.loose AND o.outcome IS NULL ORDER BY o.seq LIMIT 1024 FOR NO KEY UPDATE SKIP LOCKED
  LOOP
    SELECT o.seq INTO last FROM {schema}.{prefix}outbox o
      WHERE o.key >= this.key AND (o.key, o.seq) < (this.key, this.seq) AND o.holds
      ORDER BY o.key DESC, o.seq DESC LIMIT 1;
    IF NOT FOUND THEN
      UPDATE {schema}.{prefix}outbox o SET blocked = false, loose = false WHERE o.seq = this.seq;
      done := done + 1;
    ELSE
      PERFORM FROM {schema}.{prefix}outbox o WHERE o.seq = last AND o.holds FOR KEY SHARE SKIP LOCKED;
      IF FOUND THEN
        UPDATE {schema}.{prefix}outbox o SET loose = false WHERE o.seq = this.seq;
        done := done + 1;
      END IF;
    END IF;
  END LOOP;
  RETURN done;
END $$;
