-- Which engine start began a term: copies of one database count their terms alike. All zero: not known.
ALTER TABLE terms ADD COLUMN start BLOB NOT NULL DEFAULT x'00000000000000000000000000000000';
