-- Who said that this host is off for good; empty: nobody.
ALTER TABLE hosts ADD COLUMN forgotten_by TEXT NOT NULL DEFAULT '';
