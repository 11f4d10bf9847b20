-- The newest messages_expired says which messages may be missing; every start asks for it. The words of the streams are there from
-- the beginning: a place of the feed needs no message to name its stream.
INSERT INTO word (word, text) VALUES (36, 'messages_expired');
INSERT OR IGNORE INTO word (word, text) VALUES (37, 'fact'), (38, 'epcis'), (39, 'batch');
CREATE INDEX fact_expired ON fact (seq) WHERE kind = 36;
-- A salvaged file says so of itself: a claim, and no record.
CREATE TABLE work_salvage (
  facts INTEGER PRIMARY KEY,
  why   TEXT NOT NULL
) STRICT;
UPDATE meta SET schema_version = 3;
