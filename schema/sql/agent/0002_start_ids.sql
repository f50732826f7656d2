-- Which engine start began the term that was met last. All zero: not known.
ALTER TABLE marks ADD COLUMN start BLOB NOT NULL DEFAULT x'00000000000000000000000000000000';
