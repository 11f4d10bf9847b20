-- The newest fact of each kind that stands until the next one of its kind, however old: what was approved.
CREATE TABLE newest (
  kind TEXT    NOT NULL PRIMARY KEY,
  seq  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
UPDATE meta SET schema_version = 6;
