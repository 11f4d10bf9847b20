-- A batch can be held, run empty and be aborted; one that was aborted is as closed as one that balanced.
INSERT INTO word (word, text) VALUES (41, 'purging'), (42, 'aborted');
CREATE TEMP TABLE batch_before AS SELECT * FROM main.batch;
DROP TABLE main.batch;
CREATE TABLE batch (
  batch           INTEGER PRIMARY KEY,
  gtin            INTEGER NOT NULL,
  lot             TEXT    NOT NULL,
  expiry          TEXT    NOT NULL,
  gcp_length      INTEGER NOT NULL CHECK (gcp_length BETWEEN 6 AND 12),
  epc_prefix      TEXT    NOT NULL,
  state           INTEGER NOT NULL CHECK (state IN (16, 17, 19, 20, 21, 41, 42)),
  case_capacity   INTEGER NOT NULL CHECK (case_capacity >= 0),
  pallet_capacity INTEGER NOT NULL CHECK (pallet_capacity >= 0),
  sscc_extension  INTEGER NOT NULL CHECK (sscc_extension BETWEEN 0 AND 9),
  sscc_prefix     TEXT    NOT NULL,
  sscc_first      INTEGER NOT NULL,
  sscc_last       INTEGER NOT NULL,
  serial_count    INTEGER NOT NULL CHECK (serial_count >= 0),
  serials_sha256  TEXT    NOT NULL,
  loaded_seq      INTEGER NOT NULL,
  closed_seq      INTEGER CHECK ((closed_seq IS NOT NULL) = (state IN (16, 42)))
) STRICT;
INSERT INTO batch SELECT * FROM temp.batch_before;
DROP TABLE temp.batch_before;
CREATE INDEX batch_open ON batch (batch) WHERE closed_seq IS NULL;
CREATE INDEX batch_lot ON batch (lot);
UPDATE meta SET schema_version = 7;
