-- Messages into the outbox, in whatever transaction the caller has: they exist if and only if it commits.
-- These run with the rights of their owner, so that a role which may only enqueue needs no look at the table.

-- A batch, in order; `turns` are its keys, each once and sorted. With a lease, those that are `wanted` (due, and the
-- first of their key in this batch) and the head of their key are born in flight, held by `holder`: attempt is 1. Returns
-- the seq of each, then the attempt of each, then for each 1 if anyone may claim it at once: one list, which is read
-- faster than a table. An id that is taken is a unique_violation.
CREATE FUNCTION {schema}.{prefix}insert_all(
  ids text[], names text[], kinds text[], keys text[], content_types text[], headers text[], delays bigint[],
  payloads bytea[], wanted boolean[], turns text[], holder bigint, lease bigint, at_us bigint
) RETURNS bigint[] LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  moment timestamptz := {schema}.{prefix}clock(at_us);
  turn   text;
  taken  text;
  born   bigint[];
BEGIN
  -- In one order, so that two batches with the same keys wait for each other instead of failing. A loop of expressions
  -- is faster than a statement.
  FOREACH turn IN ARRAY turns LOOP
    taken := pg_advisory_xact_lock({schema}.{prefix}key_lock(turn))::text;
  END LOOP;
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    -- Nothing is claimed; the trigger leaves it loose.
    lease := NULL;
  END IF;
  WITH born AS (
    INSERT INTO {schema}.{prefix}outbox AS o
      (id, name, kind, key, content_type, headers, payload, due, committed_at, worker, attempt, lease_until)
    SELECT ids[n.place], names[n.place], kinds[n.place], keys[n.place], content_types[n.place], headers[n.place],
           payloads[n.place], moment + delays[n.place] * interval '1 microsecond', moment,
           CASE WHEN n.claimed THEN holder ELSE 0 END, CASE WHEN n.claimed THEN 1 ELSE 0 END,
           CASE WHEN n.claimed THEN moment + lease * interval '1 microsecond' ELSE '-infinity' END
    -- By places: to unnest nine lists takes as long as half of the indices. In their order: a LATERAL with a limit is
    -- looked at once for each, and to sort what is wide would cost more.
    FROM (SELECT p.place, lease IS NOT NULL AND wanted[p.place] AND b.seq IS NULL AS claimed
          FROM generate_series(1, cardinality(ids)) AS p (place)
          -- As `turn` does it for one.
          LEFT JOIN LATERAL (
            SELECT o.seq FROM {schema}.{prefix}outbox o
            WHERE lease IS NOT NULL AND wanted[p.place] AND o.key >= keys[p.place] AND o.key <= keys[p.place] AND o.holds
            ORDER BY o.key DESC, o.seq DESC LIMIT 1 FOR KEY SHARE) b ON true) n
    RETURNING o.seq, o.attempt, CASE WHEN o.attempt = 0 AND NOT o.blocked AND o.due <= moment THEN 1 ELSE 0 END AS free)
  SELECT array_agg(b.seq) || array_agg(b.attempt) || array_agg(b.free) INTO born FROM born b;
  RETURN born;
END $$;

-- The same, and says which message's id is taken: PB002, its place.
CREATE FUNCTION {schema}.{prefix}enqueue_all(
  ids text[], names text[], kinds text[], keys text[], content_types text[], headers text[], delays bigint[],
  payloads bytea[], wanted boolean[], turns text[], holder bigint, lease bigint, at_us bigint
) RETURNS bigint[] LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  RETURN {schema}.{prefix}insert_all(
    ids, names, kinds, keys, content_types, headers, delays, payloads, wanted, turns, holder, lease, at_us);
EXCEPTION WHEN unique_violation THEN
  PERFORM {schema}.{prefix}refuse_messages(ids);
END $$;

-- Why messages could not be inserted, by whose ids are taken.
CREATE FUNCTION {schema}.{prefix}refuse_messages(ids text[]) RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  wrong bigint := (
    SELECT w.place FROM unnest(ids) WITH ORDINALITY AS w (id, place)
    WHERE EXISTS (SELECT FROM {schema}.{prefix}outbox o WHERE o.id = w.id)
       OR w.place > array_position(ids, w.id)
    ORDER BY w.place LIMIT 1);
BEGIN
  IF wrong IS NOT NULL THEN
    RAISE EXCEPTION 'a message with this id exists already' USING ERRCODE = 'PB002', DETAIL = wrong;
  END IF;
  RAISE EXCEPTION 'a message with this id is gone again' USING ERRCODE = 'serialization_failure';
END $$;

-- The same for one message, without lists: what most transactions have. Returns its seq, its attempt, and 1 if anyone
-- may claim it at once. An id that is taken is a unique_violation.
CREATE FUNCTION {schema}.{prefix}enqueue_one(
  id text, name text, kind text, key text, content_type text, headers text, delay bigint, payload bytea,
  holder bigint, lease bigint, at_us bigint
) RETURNS bigint[] LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
#variable_conflict use_column
DECLARE
  moment  timestamptz := {schema}.{prefix}clock(at_us);
  claimed boolean := lease IS NOT NULL AND delay <= 0 AND (key IS NULL OR NOT {schema}.{prefix}turn(key));
  born    bigint[];
BEGIN
  INSERT INTO {schema}.{prefix}outbox
    (id, name, kind, key, content_type, headers, payload, due, committed_at, worker, attempt, lease_until)
    VALUES ($1, $2, $3, $4, $5, $6, $8, moment + delay * interval '1 microsecond', moment,
      CASE WHEN claimed THEN holder ELSE 0 END, CASE WHEN claimed THEN 1 ELSE 0 END,
      CASE WHEN claimed THEN moment + lease * interval '1 microsecond' ELSE '-infinity' END)
    RETURNING ARRAY[seq, attempt, (attempt = 0 AND NOT blocked AND due <= moment)::int] INTO born;
  RETURN born;
END $$;

-- One message, for any language: SELECT {prefix}enqueue('order-1:placed', 'order.placed', '{"id":1}', key => 'order/1')
CREATE FUNCTION {schema}.{prefix}enqueue(
  id text, name text, payload bytea, key text DEFAULT NULL, kind text DEFAULT 'event',
  content_type text DEFAULT 'application/json', headers text DEFAULT '', delay interval DEFAULT '0'
) RETURNS bigint LANGUAGE sql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
  INSERT INTO {schema}.{prefix}outbox (id, name, payload, key, kind, content_type, headers, due)
  VALUES ($1, $2, $3, $4, $5, $6, $7, clock_timestamp() + $8) RETURNING seq
$$;
