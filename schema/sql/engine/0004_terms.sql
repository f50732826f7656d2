-- What an agent has met of this store tells whether it was this history of it: a copy that is put
-- back begins another. One row for each engine start, the newest ones only.
CREATE TABLE terms (
  term          INTEGER NOT NULL PRIMARY KEY,
  commit_before INTEGER NOT NULL
) STRICT;
