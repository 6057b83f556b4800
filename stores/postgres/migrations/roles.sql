-- Rights for two roles beside the owner, who ran the migrations. Run it as the owner, after every migration.
--
--   {enqueue}   stores messages and nothing else: it sees none and changes none.
--   {relay}     publishes messages, and commits streams: no DDL, and only the columns that claims and settlements change.

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA {schema} FROM PUBLIC;
GRANT USAGE ON SCHEMA {schema} TO {enqueue}, {relay};

GRANT EXECUTE ON FUNCTION
  {schema}.{prefix}key_lock, {schema}.{prefix}take_turn, {schema}.{prefix}enqueue, {schema}.{prefix}enqueue_all,
  {schema}.{prefix}enqueue_one
  TO {enqueue}, {relay};
GRANT INSERT (id, name, kind, key, content_type, headers, payload, due) ON {schema}.{prefix}outbox TO {enqueue};
GRANT USAGE ON SEQUENCE {schema}.{prefix}outbox_seq TO {enqueue};

GRANT EXECUTE ON FUNCTION
  {schema}.{prefix}clock, {schema}.{prefix}claim, {schema}.{prefix}next_due, {schema}.{prefix}renew,
  {schema}.{prefix}settle, {schema}.{prefix}tidy, {schema}.{prefix}turn, {schema}.{prefix}requeue, {schema}.{prefix}purge, {schema}.{prefix}commit,
  {schema}.{prefix}commit_all, {schema}.{prefix}commit_one, {schema}.{prefix}insert_all, {schema}.{prefix}refuse_streams,
  {schema}.{prefix}refuse_messages, {schema}.{prefix}stream_version
  TO {relay};
GRANT SELECT ON {schema}.{prefix}schema_version, {schema}.{prefix}settings, {schema}.{prefix}outbox,
  {schema}.{prefix}messages TO {relay};
GRANT UPDATE (due, lease_until, settled_at, worker, attempt, failures, abandoned, holds, blocked, loose, outcome,
  last_error) ON {schema}.{prefix}outbox TO {relay};
GRANT DELETE ON {schema}.{prefix}outbox TO {relay};
GRANT SELECT, INSERT ON {schema}.{prefix}events, {schema}.{prefix}inbox TO {relay};
GRANT SELECT, INSERT, UPDATE ON {schema}.{prefix}snapshots TO {relay};
