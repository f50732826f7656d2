-- The agent's claim journal. Ids are 16 raw bytes, times are milliseconds since 1970 in UTC, memory
-- is bytes, booleans are 0 and 1.

CREATE TABLE claims (
  attempt           BLOB    NOT NULL PRIMARY KEY,
  vm                BLOB    NOT NULL,
  epoch             INTEGER NOT NULL,
  host              TEXT    NOT NULL,
  boot_id           TEXT    NOT NULL,
  term              INTEGER NOT NULL,
  want_paused       INTEGER NOT NULL,
  phase             TEXT    NOT NULL,
  name              TEXT    NOT NULL,
  memory            INTEGER NOT NULL,
  vcpus             INTEGER NOT NULL,
  cancel_wished     INTEGER NOT NULL,
  ended_after_start INTEGER NOT NULL,
  error_class       TEXT    NOT NULL,
  error             TEXT    NOT NULL,
  stop_reason       TEXT    NOT NULL,
  started_acked     INTEGER NOT NULL,
  end_acked         INTEGER NOT NULL,
  acked_commit      INTEGER NOT NULL,
  claimed_at        INTEGER,
  build_started_at  INTEGER,
  built_at          INTEGER,
  running_at        INTEGER,
  ended_at          INTEGER
) STRICT;

-- The XML of claims that still need it: apart, because it is large and does not change with the
-- phase.
CREATE TABLE claim_documents (
  attempt BLOB NOT NULL PRIMARY KEY,
  xml     TEXT NOT NULL
) STRICT;

-- Highest epoch of each VM that was claimed or spent here.
CREATE TABLE epoch_floors (
  vm    BLOB    NOT NULL PRIMARY KEY,
  epoch INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- What is remembered of engines and of the own hypervisor; one row.
CREATE TABLE marks (
  id                   INTEGER PRIMARY KEY CHECK (id = 1),
  store_id             BLOB    NOT NULL,
  term                 INTEGER NOT NULL,
  commit_number        INTEGER NOT NULL,
  boot_id              TEXT    NOT NULL,
  hypervisor_uri       TEXT    NOT NULL,
  hypervisor_host_uuid TEXT    NOT NULL
) STRICT;
INSERT INTO marks VALUES (1, x'', 0, 0, '', '', '');
