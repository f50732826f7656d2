-- The engine's store. Ids are 16 raw bytes, times are milliseconds since 1970 in UTC, durations are
-- milliseconds, memory is bytes, booleans are 0 and 1, lists and maps are JSON text ('' is empty).

-- Identity and progress of this store; one row.
CREATE TABLE store (
  id            INTEGER PRIMARY KEY CHECK (id = 1),
  store_id      BLOB    NOT NULL CHECK (length(store_id) = 16),
  term          INTEGER NOT NULL,
  commit_number INTEGER NOT NULL,
  restored      INTEGER NOT NULL,
  created_at    INTEGER NOT NULL
) STRICT;

-- What of a VM changes with every start and setting; its definition lies apart, because it is large
-- and rarely changes. Rows stay when a VM is undefined: epochs never restart.
CREATE TABLE vms (
  id            BLOB    NOT NULL PRIMARY KEY,
  priority      INTEGER NOT NULL,
  ha            TEXT    NOT NULL,
  tier          INTEGER NOT NULL,
  after         TEXT    NOT NULL,
  gate          TEXT    NOT NULL,
  gate_delay_ms INTEGER NOT NULL,
  labels        TEXT    NOT NULL,
  epoch         INTEGER NOT NULL,
  defined       INTEGER NOT NULL,
  defined_at    INTEGER NOT NULL,
  updated_at    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE vm_definitions (
  vm          BLOB    NOT NULL PRIMARY KEY,
  name        TEXT    NOT NULL,
  domain_type TEXT    NOT NULL,
  memory      INTEGER NOT NULL,
  vcpus       INTEGER NOT NULL,
  xml         TEXT    NOT NULL
) STRICT;

-- Every name that a VM has ever had, for history by name.
CREATE TABLE vm_names (
  name TEXT NOT NULL,
  vm   BLOB NOT NULL,
  PRIMARY KEY (name, vm)
) STRICT, WITHOUT ROWID;

CREATE TABLE requests (
  id              BLOB    NOT NULL PRIMARY KEY,
  principal       TEXT    NOT NULL,
  idempotency_key TEXT    NOT NULL,
  body_hash       TEXT    NOT NULL,
  priority        INTEGER NOT NULL,
  option_host     TEXT,
  option_avoid    TEXT    NOT NULL,
  option_paused   INTEGER NOT NULL,
  option_deadline INTEGER,
  total           INTEGER NOT NULL,
  batches         INTEGER NOT NULL,
  cancelled       INTEGER NOT NULL,
  created_at      INTEGER NOT NULL,
  finished_at     INTEGER
) STRICT;
-- Unfinished requests are those under NULL.
CREATE INDEX requests_by_end ON requests (finished_at);

CREATE TABLE request_items (
  request   BLOB    NOT NULL REFERENCES requests (id) DEFERRABLE INITIALLY DEFERRED,
  position  INTEGER NOT NULL,
  vm        BLOB    NOT NULL,
  run       BLOB    NOT NULL,
  cancelled INTEGER NOT NULL,
  PRIMARY KEY (request, position)
) STRICT, WITHOUT ROWID;

CREATE TABLE runs (
  id              BLOB    NOT NULL PRIMARY KEY,
  request         BLOB    NOT NULL,
  vm              BLOB    NOT NULL,
  vm_name         TEXT    NOT NULL,
  state           TEXT    NOT NULL,
  reason          TEXT    NOT NULL,
  requester       TEXT    NOT NULL,
  priority        INTEGER NOT NULL,
  option_host     TEXT,
  option_avoid    TEXT    NOT NULL,
  option_paused   INTEGER NOT NULL,
  option_deadline INTEGER,
  requested_at    INTEGER NOT NULL,
  finished_at     INTEGER,
  tries           INTEGER NOT NULL,
  soon_tries      INTEGER NOT NULL,
  failed_hosts    TEXT    NOT NULL,
  backoff_ms      INTEGER NOT NULL,
  held_reason     TEXT    NOT NULL,
  cancel_wished   INTEGER NOT NULL,
  attempt         BLOB,
  error_class     TEXT,
  error           TEXT    NOT NULL
) STRICT;
CREATE INDEX runs_open ON runs (id) WHERE state NOT IN ('succeeded', 'failed', 'cancelled');

-- One try on one host, and the history. What the indexes cover never changes, but for `state` and
-- `outcome`. All orders end with the id, so that pages have no gaps and no doubles.
CREATE TABLE attempts (
  id               BLOB    NOT NULL PRIMARY KEY,
  vm               BLOB    NOT NULL,
  epoch            INTEGER NOT NULL,
  run              BLOB    NOT NULL,
  request          BLOB    NOT NULL,
  vm_name          TEXT    NOT NULL,
  host             TEXT    NOT NULL,
  boot_id          TEXT    NOT NULL,
  term             INTEGER NOT NULL,
  batch            BLOB,
  reason           TEXT    NOT NULL,
  requester        TEXT    NOT NULL,
  priority         INTEGER NOT NULL,
  memory           INTEGER NOT NULL,
  vcpus            INTEGER NOT NULL,
  paused           INTEGER NOT NULL,
  state            TEXT    NOT NULL,
  outcome          TEXT    NOT NULL,
  requested_at     INTEGER NOT NULL,
  placed_at        INTEGER NOT NULL,
  sent_at          INTEGER,
  accepted_at      INTEGER,
  staged_at        INTEGER,
  build_started_at INTEGER,
  built_at         INTEGER,
  running_at       INTEGER,
  ready_at         INTEGER,
  ended_at         INTEGER,
  stopped_at       INTEGER,
  error_class      TEXT,
  error            TEXT    NOT NULL,
  proof            TEXT,
  stop_reason      TEXT    NOT NULL,
  cancel_wished    INTEGER NOT NULL,
  stop_wished      TEXT    NOT NULL,
  stop_requester   TEXT    NOT NULL
) STRICT;
CREATE INDEX attempts_by_time ON attempts (requested_at, id);
CREATE INDEX attempts_by_host ON attempts (host, requested_at, id);
CREATE INDEX attempts_by_vm ON attempts (vm, requested_at, id);
CREATE INDEX attempts_by_request ON attempts (request, requested_at, id);
-- Rare values only: common ones are found fast enough by time.
CREATE INDEX attempts_by_outcome ON attempts (outcome, requested_at, id)
  WHERE outcome IN ('failed', 'cancelled');
CREATE INDEX attempts_by_reason ON attempts (reason, requested_at, id)
  WHERE reason IN ('ha', 'rerun');
CREATE INDEX attempts_open ON attempts (id)
  WHERE state NOT IN ('dropped', 'refused', 'failed', 'ended');

CREATE TABLE hosts (
  id                   TEXT    NOT NULL PRIMARY KEY,
  hardware_uuid        TEXT    NOT NULL,
  boot_id              TEXT    NOT NULL,
  retired_boots        TEXT    NOT NULL,
  foreign_vms          TEXT    NOT NULL,
  hypervisor_uri       TEXT    NOT NULL,
  hypervisor_host_uuid TEXT    NOT NULL,
  cpus                 INTEGER NOT NULL,
  memory               INTEGER NOT NULL,
  agent_version        TEXT    NOT NULL,
  draining             INTEGER NOT NULL,
  confirmed            INTEGER NOT NULL,
  alarm                TEXT    NOT NULL,
  first_seen           INTEGER NOT NULL,
  last_seen            INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- API tokens: the secret itself is nowhere, only its hash.
CREATE TABLE tokens (
  id         TEXT    NOT NULL PRIMARY KEY,
  hash       TEXT    NOT NULL,
  role       TEXT    NOT NULL,
  name       TEXT    NOT NULL,
  created_at INTEGER NOT NULL,
  expires_at INTEGER,
  revoked_at INTEGER
) STRICT, WITHOUT ROWID;
