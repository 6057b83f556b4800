-- What keeps the order within a key: of its messages that hold, the first is not blocked and all others are.
--
-- Whoever inserts takes the lock of the key until its transaction ends, so seq follows commit order, and puts a
-- KEY SHARE lock on the message it comes behind. Whoever ends a message needs that row for itself: so it either
-- sees who comes behind and hands over, or it cannot end the message yet and leaves it loose, for a later claim
-- to tidy up. Nobody who ends a message ever waits for a transaction that inserts.
--
-- All of this needs to see what was committed a moment ago, which in READ COMMITTED each statement of a
-- function does. A transaction that reads an old snapshot inserts its message loose.

-- Whose turn it is to insert messages of a key. Two keys with one number take turns, which is harmless.
CREATE FUNCTION {schema}.{prefix}key_lock(key text) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN hashtextextended('{schema}.{prefix}outbox ' || key, 0);

CREATE FUNCTION {schema}.{prefix}outbox_inserted() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  last bigint;
BEGIN
  PERFORM pg_advisory_xact_lock({schema}.{prefix}key_lock(NEW.key));
  -- Only now: a number drawn before the lock could be smaller than one that was committed before.
  NEW.seq := nextval('{schema}.{prefix}outbox_seq');
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    NEW.blocked := true;
    NEW.loose := true;
  ELSE
    LOOP
      SELECT o.seq INTO last FROM {schema}.{prefix}outbox o
        WHERE o.key = NEW.key AND o.holds ORDER BY o.seq DESC LIMIT 1;
      EXIT WHEN NOT FOUND;
      PERFORM FROM {schema}.{prefix}outbox o WHERE o.seq = last AND o.holds FOR KEY SHARE;
      NEW.blocked := FOUND;
      EXIT WHEN NEW.blocked;
    END LOOP;
  END IF;
  IF NEW.blocked THEN
    -- Not the head of its key, so it is not born claimed either.
    NEW.worker := 0;
    NEW.attempt := 0;
    NEW.lease_until := '-infinity';
  END IF;
  RETURN NEW;
END $$;

CREATE TRIGGER {prefix}outbox_inserted BEFORE INSERT ON {schema}.{prefix}outbox FOR EACH ROW
  WHEN (NEW.key IS NOT NULL AND NEW.outcome IS NULL) EXECUTE FUNCTION {schema}.{prefix}outbox_inserted();

CREATE FUNCTION {schema}.{prefix}outbox_let_go() RETURNS trigger LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  next  bigint;
  waits boolean;
BEGIN
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'the head of a key leaves the outbox in READ COMMITTED only' USING ERRCODE = 'PB004';
  END IF;
  LOOP
    SELECT o.seq, o.blocked INTO next, waits FROM {schema}.{prefix}outbox o
      WHERE o.key = OLD.key AND o.holds ORDER BY o.seq LIMIT 1;
    EXIT WHEN NOT FOUND OR NOT waits;
    UPDATE {schema}.{prefix}outbox o SET blocked = false, loose = o.loose AND o.outcome IS NOT NULL
      WHERE o.seq = next AND o.blocked;
    -- Otherwise it went away meanwhile: look again.
    EXIT WHEN FOUND;
  END LOOP;
  RETURN NULL;
END $$;

CREATE TRIGGER {prefix}outbox_deleted AFTER DELETE ON {schema}.{prefix}outbox FOR EACH ROW
  WHEN (OLD.key IS NOT NULL AND OLD.holds AND NOT OLD.blocked) EXECUTE FUNCTION {schema}.{prefix}outbox_let_go();
CREATE TRIGGER {prefix}outbox_let_go AFTER UPDATE OF holds ON {schema}.{prefix}outbox FOR EACH ROW
  WHEN (OLD.key IS NOT NULL AND OLD.holds AND NOT NEW.holds AND NOT OLD.blocked)
  EXECUTE FUNCTION {schema}.{prefix}outbox_let_go();

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
      WHERE o.key = this.key AND o.holds AND o.seq < this.seq ORDER BY o.seq DESC LIMIT 1;
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
