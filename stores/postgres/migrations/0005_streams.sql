-- Event streams, their snapshots, the receipts of handled messages, and the commit that stores all of it.

CREATE TABLE {schema}.{prefix}events (
  stream_type   text        COLLATE "C" NOT NULL,
  stream_id     text        COLLATE "C" NOT NULL,
  sequence      bigint      NOT NULL,
  name          text        NOT NULL,
  version       bigint      NOT NULL,
  codec         text        NOT NULL,
  codec_version bigint      NOT NULL,
  recorded_at   timestamptz NOT NULL,
  metadata      text        NOT NULL,
  payload       bytea       NOT NULL,
  PRIMARY KEY (stream_type, stream_id, sequence)
);

CREATE TABLE {schema}.{prefix}snapshots (
  stream_type   text        COLLATE "C" NOT NULL,
  stream_id     text        COLLATE "C" NOT NULL,
  version       bigint      NOT NULL,
  state_type    text        NOT NULL,
  state_version bigint      NOT NULL,
  codec         text        NOT NULL,
  codec_version bigint      NOT NULL,
  taken_at      timestamptz NOT NULL,
  payload       bytea       NOT NULL,
  PRIMARY KEY (stream_type, stream_id)
);

CREATE TABLE {schema}.{prefix}inbox (
  consumer    text        COLLATE "C" NOT NULL,
  message_id  text        COLLATE "C" NOT NULL,
  received_at timestamptz NOT NULL,
  PRIMARY KEY (consumer, message_id)
);

-- Stores a batch whole or fails: PB001 a stream is at another version (its place, and the version). What is there
-- already, an event, a receipt or a message's id, is a unique_violation. Everything is locked in one order, in which
-- events and receipts come; who is not patient waits moments for each lock.
-- Each statement in here sees what was committed before it began, so what waited for a lock looks again.
CREATE FUNCTION {schema}.{prefix}commit_all(
  stream_types text[], stream_ids text[], expected bigint[], look boolean,
  event_types text[], event_ids text[], event_sequences bigint[], event_follows boolean[],
  event_names text[], event_versions bigint[], event_codecs text[], event_codec_versions bigint[],
  event_metadata text[], event_payloads bytea[],
  snap_types text[], snap_ids text[], snap_versions bigint[], snap_states text[], snap_state_versions bigint[],
  snap_codecs text[], snap_codec_versions bigint[], snap_payloads bytea[],
  consumers text[], received text[],
  ids text[], names text[], kinds text[], keys text[], content_types text[], headers text[], delays bigint[],
  payloads bytea[], wanted boolean[], turns text[], holder bigint, lease bigint, at_us bigint, patient boolean
) RETURNS bigint[] LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  moment timestamptz := {schema}.{prefix}clock(at_us);
  -- As an expression: PERFORM would start the executor for it.
  patience text := CASE WHEN NOT patient THEN set_config('lock_timeout', '50ms', true) END;
BEGIN
  -- First what says "this was done already": it must win over the lost race that may come with it.
  IF cardinality(consumers) > 0 THEN
    INSERT INTO {schema}.{prefix}inbox (consumer, message_id, received_at)
      SELECT r.consumer, r.message_id, moment FROM unnest(consumers, received) AS r (consumer, message_id);
  END IF;
  -- The event before says when a stream is behind what is expected, the key of the table when it is ahead.
  IF look OR true = ANY (event_follows) THEN
    IF look OR EXISTS (
      SELECT FROM unnest(event_types, event_ids, event_sequences, event_follows)
        AS e (stream_type, stream_id, sequence, follows)
      WHERE e.follows AND NOT EXISTS (
        SELECT FROM {schema}.{prefix}events p
        WHERE p.stream_type = e.stream_type AND p.stream_id = e.stream_id AND p.sequence = e.sequence - 1))
    THEN
      PERFORM {schema}.{prefix}refuse_streams(stream_types, stream_ids, expected);
    END IF;
  END IF;
  IF cardinality(event_types) > 0 THEN
    INSERT INTO {schema}.{prefix}events (stream_type, stream_id, sequence, name, version, codec, codec_version,
        recorded_at, metadata, payload)
      SELECT event_types[p.place], event_ids[p.place], event_sequences[p.place], event_names[p.place],
             event_versions[p.place], event_codecs[p.place], event_codec_versions[p.place], moment,
             event_metadata[p.place], event_payloads[p.place]
      FROM generate_series(1, cardinality(event_types)) AS p (place);
  END IF;
  IF cardinality(snap_types) > 0 THEN
    -- The latest commit counts, whatever its version: that heals a snapshot which is ahead of its stream.
    INSERT INTO {schema}.{prefix}snapshots AS s (stream_type, stream_id, version, state_type, state_version, codec,
        codec_version, taken_at, payload)
      SELECT DISTINCT ON (n.stream_type, n.stream_id)
             n.stream_type, n.stream_id, n.version, n.state_type, n.state_version, n.codec, n.codec_version, moment,
             n.payload
      FROM unnest(snap_types, snap_ids, snap_versions, snap_states, snap_state_versions, snap_codecs,
                  snap_codec_versions, snap_payloads) WITH ORDINALITY
        AS n (stream_type, stream_id, version, state_type, state_version, codec, codec_version, payload, place)
      ORDER BY n.stream_type, n.stream_id, n.place DESC
      ON CONFLICT (stream_type, stream_id) DO UPDATE SET version = excluded.version,
        state_type = excluded.state_type, state_version = excluded.state_version, codec = excluded.codec,
        codec_version = excluded.codec_version, taken_at = excluded.taken_at, payload = excluded.payload;
  END IF;
  RETURN CASE WHEN cardinality(ids) > 0 THEN {schema}.{prefix}insert_all(
    ids, names, kinds, keys, content_types, headers, delays, payloads, wanted, turns, holder, lease, at_us) END;
END $$;

-- The same with patience, and says what is there already: PB003 a receipt (its place), or PB001, or PB002 a message's
-- id (its place). Costs a subtransaction.
CREATE FUNCTION {schema}.{prefix}commit(
  stream_types text[], stream_ids text[], expected bigint[], look boolean,
  event_types text[], event_ids text[], event_sequences bigint[], event_follows boolean[],
  event_names text[], event_versions bigint[], event_codecs text[], event_codec_versions bigint[],
  event_metadata text[], event_payloads bytea[],
  snap_types text[], snap_ids text[], snap_versions bigint[], snap_states text[], snap_state_versions bigint[],
  snap_codecs text[], snap_codec_versions bigint[], snap_payloads bytea[],
  consumers text[], received text[],
  ids text[], names text[], kinds text[], keys text[], content_types text[], headers text[], delays bigint[],
  payloads bytea[], wanted boolean[], turns text[], holder bigint, lease bigint, at_us bigint
) RETURNS bigint[] LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
#variable_conflict use_column
DECLARE
  wrong bigint;
BEGIN
  RETURN {schema}.{prefix}commit_all(
    stream_types, stream_ids, expected, look, event_types, event_ids, event_sequences, event_follows, event_names,
    event_versions, event_codecs, event_codec_versions, event_metadata, event_payloads, snap_types, snap_ids,
    snap_versions, snap_states, snap_state_versions, snap_codecs, snap_codec_versions, snap_payloads, consumers,
    received, ids, names, kinds, keys, content_types, headers, delays, payloads, wanted, turns, holder, lease, at_us, true);
EXCEPTION WHEN unique_violation THEN
  SELECT r.place INTO wrong FROM unnest(consumers, received) WITH ORDINALITY AS r (consumer, message_id, place)
    WHERE EXISTS (SELECT FROM {schema}.{prefix}inbox i WHERE i.consumer = r.consumer AND i.message_id = r.message_id)
    ORDER BY r.place LIMIT 1;
  IF wrong IS NOT NULL THEN
    RAISE EXCEPTION 'a receipt exists already' USING ERRCODE = 'PB003', DETAIL = wrong;
  END IF;
  PERFORM {schema}.{prefix}refuse_streams(stream_types, stream_ids, expected);
  PERFORM {schema}.{prefix}refuse_messages(ids);
END $$;

-- Fails if a stream is at another version than expected: PB001, the first one's place and its version.
CREATE FUNCTION {schema}.{prefix}refuse_streams(stream_types text[], stream_ids text[], expected bigint[])
RETURNS void LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET jit = off SET plan_cache_mode = force_generic_plan AS $$
DECLARE
  wrong text;
BEGIN
  SELECT format('%s %s', s.place, v.version) INTO wrong
    FROM unnest(stream_types, stream_ids, expected) WITH ORDINALITY AS s (stream_type, stream_id, expected, place)
    CROSS JOIN LATERAL (
      SELECT coalesce(max(e.sequence), 0) AS version FROM {schema}.{prefix}events e
      WHERE e.stream_type = s.stream_type AND e.stream_id = s.stream_id) v
    WHERE v.version <> s.expected ORDER BY s.place LIMIT 1;
  IF wrong IS NOT NULL THEN
    RAISE EXCEPTION 'a stream is at another version' USING ERRCODE = 'PB001', DETAIL = wrong;
  END IF;
END $$;

-- The version of a stream; 0 when there is none.
CREATE FUNCTION {schema}.{prefix}stream_version(of_type text, of_id text) RETURNS bigint LANGUAGE plpgsql
SET enable_seqscan = off SET enable_bitmapscan = off SET plan_cache_mode = force_generic_plan AS $$
BEGIN
  RETURN coalesce((SELECT max(e.sequence) FROM {schema}.{prefix}events e
    WHERE e.stream_type = of_type AND e.stream_id = of_id), 0);
END $$;

-- The same as commit for what most commits are: one event and one message, without lists. Returns what enqueue_one
-- does; a first event that is there already, and an id that is taken, are unique_violations. Waits moments for a lock.
CREATE FUNCTION {schema}.{prefix}commit_one(
  stream_type text, stream_id text, expected bigint, event_name text, event_version bigint, event_codec text,
  event_codec_version bigint, event_metadata text, event_payload bytea,
  id text, name text, kind text, key text, content_type text, headers text, delay bigint, payload bytea,
  holder bigint, lease bigint, at_us bigint
) RETURNS bigint[] LANGUAGE plpgsql
SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '50ms' AS $$
#variable_conflict use_column
DECLARE
  moment  timestamptz := {schema}.{prefix}clock(at_us);
  actual  bigint := CASE WHEN expected > 0 THEN {schema}.{prefix}stream_version(stream_type, stream_id) END;
  claimed boolean;
  born    bigint[];
BEGIN
  IF actual <> expected THEN
    RAISE EXCEPTION 'a stream is at another version' USING ERRCODE = 'PB001', DETAIL = '1 ' || actual;
  END IF;
  INSERT INTO {schema}.{prefix}events (stream_type, stream_id, sequence, name, version, codec, codec_version,
      recorded_at, metadata, payload)
    VALUES ($1, $2, expected + 1, $4, $5, $6, $7, moment, $8, $9);
  claimed := lease IS NOT NULL AND delay <= 0 AND (key IS NULL OR NOT {schema}.{prefix}turn(key));
  INSERT INTO {schema}.{prefix}outbox
    (id, name, kind, key, content_type, headers, payload, due, committed_at, worker, attempt, lease_until)
    VALUES ($10, $11, $12, $13, $14, $15, $17, moment + delay * interval '1 microsecond', moment,
      CASE WHEN claimed THEN holder ELSE 0 END, CASE WHEN claimed THEN 1 ELSE 0 END,
      CASE WHEN claimed THEN moment + lease * interval '1 microsecond' ELSE '-infinity' END)
    RETURNING ARRAY[seq, attempt, (attempt = 0 AND NOT blocked AND due <= moment)::int] INTO born;
  RETURN born;
END $$;
