-- Event streams, their snapshots, and the receipts of handled messages.

CREATE TABLE postbox_events (
  stream_type   TEXT    NOT NULL,
  stream_id     TEXT    NOT NULL,
  sequence      INTEGER NOT NULL CHECK (sequence > 0),
  name          TEXT    NOT NULL,
  version       INTEGER NOT NULL,
  codec         TEXT    NOT NULL,
  codec_version INTEGER NOT NULL,
  recorded_at   INTEGER NOT NULL,
  metadata      TEXT    NOT NULL,
  payload       BLOB    NOT NULL,
  PRIMARY KEY (stream_type, stream_id, sequence)
) STRICT, WITHOUT ROWID;

CREATE TABLE postbox_snapshots (
  stream_type   TEXT    NOT NULL,
  stream_id     TEXT    NOT NULL,
  version       INTEGER NOT NULL,
  state_type    TEXT    NOT NULL,
  state_version INTEGER NOT NULL,
  codec         TEXT    NOT NULL,
  codec_version INTEGER NOT NULL,
  taken_at      INTEGER NOT NULL,
  payload       BLOB    NOT NULL,
  PRIMARY KEY (stream_type, stream_id)
) STRICT;

CREATE TABLE postbox_inbox (
  consumer    TEXT    NOT NULL,
  message_id  TEXT    NOT NULL,
  received_at INTEGER NOT NULL,
  PRIMARY KEY (consumer, message_id)
) STRICT, WITHOUT ROWID;
