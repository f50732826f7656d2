-- Rare values of one host: neither the host's index nor the value's alone finds them fast.
CREATE INDEX attempts_by_host_outcome ON attempts (host, outcome, requested_at, id)
  WHERE outcome IN ('failed', 'cancelled');
CREATE INDEX attempts_by_host_reason ON attempts (host, reason, requested_at, id)
  WHERE reason IN ('ha', 'rerun');
