-- What is open, told by comparisons: SQLite makes a temporary table of a longer list, and would for
-- every row that is written.
DROP INDEX runs_open;
CREATE INDEX runs_open ON runs (id)
  WHERE state <> 'succeeded' AND state <> 'failed' AND state <> 'cancelled';
DROP INDEX attempts_open;
CREATE INDEX attempts_open ON attempts (id)
  WHERE state <> 'dropped' AND state <> 'refused' AND state <> 'failed' AND state <> 'ended';
