-- What holders do: claim, renew, settle. Each is one statement for its caller. Times cross as microseconds;
-- `at_us` replaces the database's clock in tests and is NULL otherwise.
--
-- The planner's settings guard against statistics of a table that was empty a moment ago.

CREATE FUNCTION {schema}.{prefix}clock(at_us bigint) RETURNS timestamptz LANGUAGE sql VOLATILE PARALLEL SAFE
RETURN CASE WHEN at_us IS NULL THEN clock_timestamp()
            ELSE timestamptz 'epoch' + at_us * interval '1 microsecond' END;

-- Takes what is free: due, its lease over, the head of its key. What was abandoned too often dies instead;
-- it is returned without an attempt. In no order.
CREATE FUNCTION {schema}.{prefix}claim(
  holder bigint, lease bigint, max_rows bigint, max_abandoned bigint, wanted text[], keep boolean, at_us bigint
) RETURNS TABLE (
  seq bigint, id text, name text, kind text, key text, content_type text, headers text, payload bytea,
  attempt bigint, failures bigint, age bigint
) LANGUAGE plpgsql ROWS 100
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  moment   timestamptz := {schema}.{prefix}clock(at_us);
  chosen   bigint[];
  -- Where those are, which does not change while they are locked: an update finds them without an index.
  places   tid[];
  lapsed   boolean;
  blocking boolean;
BEGIN
  IF EXISTS (SELECT FROM {schema}.{prefix}outbox o WHERE o.loose) THEN
    PERFORM {schema}.{prefix}tidy(keep);
  END IF;
  IF wanted IS NULL THEN
    SELECT array_agg(f.seq), array_agg(f.place), bool_or(f.lapsed) INTO chosen, places, lapsed FROM (
      SELECT o.seq, o.ctid AS place, o.lease_until > '-infinity' AS lapsed FROM {schema}.{prefix}outbox o
      WHERE o.outcome IS NULL AND NOT o.blocked AND o.due <= moment AND o.lease_until <= moment
      ORDER BY o.due, o.seq LIMIT max_rows FOR NO KEY UPDATE SKIP LOCKED) f;
  ELSE
    SELECT array_agg(f.seq), array_agg(f.place), bool_or(f.lapsed) INTO chosen, places, lapsed FROM (
      SELECT o.seq, o.ctid AS place, o.lease_until > '-infinity' AS lapsed FROM {schema}.{prefix}outbox o
      -- Said in a way that does not match outbox_free: the ids are to be looked up, not what is free walked.
      WHERE o.id = ANY (wanted) AND coalesce(o.outcome, '') = '' AND coalesce(o.blocked, true) = false
        AND o.due <= moment AND o.lease_until <= moment
      ORDER BY o.due, o.seq LIMIT max_rows FOR NO KEY UPDATE SKIP LOCKED) f;
  END IF;
  IF chosen IS NULL THEN
    RETURN;
  END IF;
  -- The rows are locked: from here on nothing can change under us.
  IF lapsed THEN
    SELECT s.dead_blocks INTO blocking FROM {schema}.{prefix}settings s;
    UPDATE {schema}.{prefix}outbox o
      SET outcome = 'dead', settled_at = moment, lease_until = '-infinity', abandoned = least(o.abandoned + 1, 4294967295),
          last_error = 'its lease lapsed too often without a word from the holder', loose = NOT blocking
      WHERE o.seq = ANY (chosen) AND o.lease_until > '-infinity' AND o.abandoned + 1 >= max_abandoned;
    IF FOUND THEN
      PERFORM {schema}.{prefix}tidy(keep);
    END IF;
  END IF;
  RETURN QUERY
    UPDATE {schema}.{prefix}outbox o
    SET abandoned = least(o.abandoned + (o.lease_until > '-infinity')::int, 4294967295),
        lease_until = moment + lease * interval '1 microsecond',
        worker = holder, attempt = least(o.attempt + 1, 4294967295)
    WHERE o.ctid = ANY (places) AND o.outcome IS NULL
    RETURNING o.seq, o.id, o.name, o.kind, o.key, o.content_type, o.headers, o.payload, o.attempt, o.failures,
      (extract(epoch FROM moment - o.committed_at) * 1000000)::bigint;
  IF NOT lapsed THEN
    RETURN;
  END IF;
  RETURN QUERY
    SELECT o.seq, NULL::text, NULL::text, NULL::text, NULL::text, NULL::text, NULL::text, NULL::bytea,
           NULL::bigint, NULL::bigint, NULL::bigint
    FROM {schema}.{prefix}outbox o WHERE o.seq = ANY (chosen) AND o.outcome = 'dead';
END $$;

-- How long, in microseconds, until the first message that nothing blocks becomes due; NULL when none will. By the index
-- that claims walk, so one look. Leases are in no index: one that lapses is found by a poll.
CREATE FUNCTION {schema}.{prefix}next_due(at_us bigint) RETURNS bigint LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  moment timestamptz := {schema}.{prefix}clock(at_us);
  first  timestamptz;
BEGIN
  SELECT o.due INTO first FROM {schema}.{prefix}outbox o
    WHERE o.outcome IS NULL AND NOT o.blocked AND o.due > moment AND o.due < 'infinity' ORDER BY o.due, o.seq LIMIT 1;
  RETURN extract(epoch FROM first - moment) * 1000000;
END $$;

-- Moves the lease of each claim whose fence holds, never back. Returns how many that were.
CREATE FUNCTION {schema}.{prefix}renew(seqs bigint[], workers bigint[], attempts bigint[], lease bigint, at_us bigint)
RETURNS bigint LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  renewed bigint;
BEGIN
  -- Lost in a crash, the lease ends earlier: not worth waiting for the disk.
  PERFORM set_config('synchronous_commit', 'off', true);
  WITH held AS MATERIALIZED (
    SELECT o.seq FROM unnest(seqs, workers, attempts) AS g (seq, worker, attempt)
      JOIN {schema}.{prefix}outbox o ON o.seq = g.seq
    WHERE o.worker = g.worker AND o.attempt = g.attempt AND o.lease_until > '-infinity'
    ORDER BY o.seq FOR NO KEY UPDATE OF o)
  UPDATE {schema}.{prefix}outbox o
    SET lease_until = greatest(o.lease_until, {schema}.{prefix}clock(at_us) + lease * interval '1 microsecond')
    FROM held WHERE o.seq = held.seq;
  GET DIAGNOSTICS renewed = ROW_COUNT;
  RETURN renewed;
END $$;

-- Applies every verdict whose fence holds: 0 complete, 1 retry, 2 release, 3 bury. Returns the places (from 1)
-- of those that were applied, and whether something is free now that was not.
CREATE FUNCTION {schema}.{prefix}settle(
  seqs bigint[], workers bigint[], attempts bigint[], verdicts bigint[], delays bigint[], errors text[],
  keep boolean, soon boolean, at_us bigint, OUT applied bigint[], OUT freed boolean
) LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  moment   timestamptz := {schema}.{prefix}clock(at_us);
  blocking boolean;
  patience text := current_setting('lock_timeout');
  told     text := set_config('postbox.freed', 'no', true);
  more     bigint[];
BEGIN
  IF soon THEN
    -- Lost in a crash, it means a redelivery: not worth waiting for the disk.
    PERFORM set_config('synchronous_commit', 'off', true);
  END IF;
  SELECT s.dead_blocks INTO blocking FROM {schema}.{prefix}settings s;
  -- Mostly all of it was published, and goes. To lock the rows first would cost as much again; so what somebody is about
  -- to come behind is waited for, but only for a moment.
  IF NOT keep AND verdicts <@ '{0}' THEN
    BEGIN
      told := set_config('lock_timeout', '1ms', true);
      WITH gone AS (
        DELETE FROM {schema}.{prefix}outbox o
        USING unnest(seqs, workers, attempts) WITH ORDINALITY AS g (seq, worker, attempt, place)
        WHERE o.seq = g.seq AND o.worker = g.worker AND o.attempt = g.attempt AND o.lease_until > '-infinity'
        RETURNING g.place)
      SELECT array_agg(g.place) INTO applied FROM gone g;
      told := set_config('lock_timeout', patience, true);
    EXCEPTION WHEN lock_not_available THEN
      -- Nothing of this happened.
    END;
  END IF;
  -- What else ends: whatever nobody is about to come behind.
  IF coalesce(cardinality(applied), 0) < cardinality(seqs) AND verdicts && '{0,3}' THEN
    WITH held AS MATERIALIZED (
      SELECT o.ctid AS at, o.seq, g.place, g.verdict, g.error
      FROM unnest(seqs, workers, attempts, verdicts, errors) WITH ORDINALITY
        AS g (seq, worker, attempt, verdict, error, place)
        JOIN {schema}.{prefix}outbox o ON o.seq = g.seq
      WHERE g.verdict IN (0, 3)
        AND o.worker = g.worker AND o.attempt = g.attempt AND o.lease_until > '-infinity'
      ORDER BY o.seq, g.place FOR UPDATE OF o SKIP LOCKED),
    first AS MATERIALIZED (SELECT DISTINCT ON (h.seq) h.* FROM held h ORDER BY h.seq, h.place),
    gone AS (
      -- Locked, it stays where it is.
      DELETE FROM {schema}.{prefix}outbox o USING first h
      WHERE o.ctid = h.at AND h.verdict = 0 AND NOT keep RETURNING h.place),
    ended AS (
      UPDATE {schema}.{prefix}outbox o
      SET outcome = CASE h.verdict WHEN 0 THEN 'published' ELSE 'dead' END, settled_at = moment,
          lease_until = '-infinity', holds = (h.verdict = 3 AND blocking),
          last_error = CASE WHEN h.error = '' THEN o.last_error ELSE h.error END
      FROM first h WHERE o.seq = h.seq AND (keep OR h.verdict = 3) RETURNING h.place)
    SELECT applied || array_agg(e.place) INTO applied FROM (SELECT * FROM gone UNION ALL SELECT * FROM ended) e;
  END IF;
  applied := coalesce(applied, '{}');
  -- What goes back; and what ended while somebody was about to come behind it, which stays until that is over.
  IF cardinality(applied) < cardinality(seqs) THEN
    WITH held AS MATERIALIZED (
      SELECT o.seq, g.place, g.verdict, g.delay, g.error
      FROM unnest(seqs, workers, attempts, verdicts, delays, errors) WITH ORDINALITY
        AS g (seq, worker, attempt, verdict, delay, error, place)
        JOIN {schema}.{prefix}outbox o ON o.seq = g.seq
      WHERE o.worker = g.worker AND o.attempt = g.attempt AND o.lease_until > '-infinity'
      ORDER BY o.seq, g.place FOR NO KEY UPDATE OF o),
    first AS MATERIALIZED (SELECT DISTINCT ON (h.seq) h.* FROM held h ORDER BY h.seq, h.place),
    changed AS (
      UPDATE {schema}.{prefix}outbox o
      SET outcome = CASE h.verdict WHEN 0 THEN 'published' WHEN 3 THEN 'dead' END,
          settled_at = CASE WHEN h.verdict IN (0, 3) THEN moment END,
          loose = o.loose OR h.verdict = 0 OR (h.verdict = 3 AND NOT blocking),
          due = CASE WHEN h.verdict IN (1, 2) THEN moment + h.delay * interval '1 microsecond' ELSE o.due END,
          failures = least(o.failures + (h.verdict = 1)::int, 4294967295), lease_until = '-infinity',
          last_error = CASE WHEN h.error = '' THEN o.last_error ELSE h.error END
      FROM first h WHERE o.seq = h.seq
      RETURNING h.place, h.verdict IN (1, 2) AND h.delay <= 0 AND NOT o.blocked AS free)
    SELECT array_agg(c.place), bool_or(c.free) INTO more, freed FROM changed c;
    applied := applied || coalesce(more, '{}');
  END IF;
  -- The triggers (0002) say so when they hand a key over.
  freed := coalesce(freed, false) OR current_setting('postbox.freed') = 'yes';
END $$;

-- Puts dead messages back, each where it was in its key. Returns how many were dead.
CREATE FUNCTION {schema}.{prefix}requeue(ids text[], at_us bigint) RETURNS bigint LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  this   record;
  last   bigint;
  behind boolean;
  waits  boolean;
  done   bigint := 0;
BEGIN
  -- Said in a way that does not match outbox_dead: the ids are to be looked up, not all that is dead walked.
  PERFORM pg_advisory_xact_lock(l.number) FROM (
    SELECT DISTINCT {schema}.{prefix}key_lock(o.key) AS number FROM {schema}.{prefix}outbox o
    WHERE o.id = ANY (ids) AND coalesce(o.outcome, '') = 'dead' AND o.key IS NOT NULL ORDER BY 1) l;
  FOR this IN SELECT o.seq, o.key FROM {schema}.{prefix}outbox o
    WHERE o.id = ANY (ids) AND coalesce(o.outcome, '') = 'dead' ORDER BY o.seq FOR NO KEY UPDATE
  LOOP
    behind := false;
    WHILE this.key IS NOT NULL LOOP
      SELECT o.seq INTO last FROM {schema}.{prefix}outbox o
        WHERE o.key >= this.key AND (o.key, o.seq) < (this.key, this.seq) AND o.holds
        ORDER BY o.key DESC, o.seq DESC LIMIT 1;
      EXIT WHEN NOT FOUND;
      PERFORM FROM {schema}.{prefix}outbox o WHERE o.seq = last AND o.holds FOR KEY SHARE;
      behind := FOUND;
      EXIT WHEN behind;
    END LOOP;
    UPDATE {schema}.{prefix}outbox o
      SET outcome = NULL, settled_at = NULL, due = {schema}.{prefix}clock(at_us), failures = 0, abandoned = 0,
          holds = true, blocked = behind, loose = false
      WHERE o.seq = this.seq;
    -- Whoever was the head waits now. If that one goes away meanwhile, the next one is.
    WHILE NOT behind LOOP
      SELECT o.seq, o.blocked INTO last, waits FROM {schema}.{prefix}outbox o
        WHERE o.key <= this.key AND (o.key, o.seq) > (this.key, this.seq) AND o.holds
        ORDER BY o.key, o.seq LIMIT 1;
      EXIT WHEN waits IS NOT false;
      UPDATE {schema}.{prefix}outbox o SET blocked = true WHERE o.seq = last AND NOT o.blocked;
    END LOOP;
    done := done + 1;
  END LOOP;
  RETURN done;
END $$;

-- Deletes a bite of what was published so long ago. Returns how many.
CREATE FUNCTION {schema}.{prefix}purge(retention bigint, max_rows bigint, at_us bigint) RETURNS bigint LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  purged bigint;
BEGIN
  DELETE FROM {schema}.{prefix}outbox o WHERE o.seq = ANY (ARRAY(
    SELECT p.seq FROM {schema}.{prefix}outbox p
    WHERE p.outcome = 'published' AND p.settled_at <= {schema}.{prefix}clock(at_us) - retention * interval '1 microsecond'
    ORDER BY p.settled_at LIMIT max_rows FOR UPDATE SKIP LOCKED));
  GET DIAGNOSTICS purged = ROW_COUNT;
  RETURN purged;
END $$;

-- Brings the dead-letter policy to this one, and the dead messages with it.
CREATE FUNCTION {schema}.{prefix}set_dead_policy(blocks boolean) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  PERFORM FROM {schema}.{prefix}settings s WHERE s.dead_blocks = blocks;
  IF FOUND THEN
    RETURN;
  END IF;
  LOCK TABLE {schema}.{prefix}outbox IN SHARE ROW EXCLUSIVE MODE;
  UPDATE {schema}.{prefix}settings SET dead_blocks = blocks;
  IF NOT blocks THEN
    UPDATE {schema}.{prefix}outbox o SET holds = false, loose = false WHERE o.outcome = 'dead' AND o.holds;
  ELSE
    UPDATE {schema}.{prefix}outbox o SET holds = true, blocked = (o.key IS NOT NULL)
      WHERE o.outcome = 'dead' AND NOT o.holds;
    UPDATE {schema}.{prefix}outbox o SET blocked = (o.seq <> f.first)
      FROM (SELECT h.key, min(h.seq) AS first FROM {schema}.{prefix}outbox h
            WHERE h.key IS NOT NULL AND h.holds GROUP BY h.key) f
      WHERE o.key = f.key AND o.holds AND o.blocked <> (o.seq <> f.first);
  END IF;
END $$;
