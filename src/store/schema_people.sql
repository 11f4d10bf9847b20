-- People, as the facts about them left them. What a password is compared with stands in the fact that credential_seq names, and nowhere
-- else. A name is given once, ever.
CREATE TABLE person (
  user           TEXT    NOT NULL PRIMARY KEY,
  full_name      TEXT    NOT NULL,
  roles          TEXT    NOT NULL,
  is_enabled     INTEGER NOT NULL CHECK (is_enabled IN (0, 1)),
  must_change    INTEGER NOT NULL CHECK (must_change IN (0, 1)),
  failures       INTEGER NOT NULL CHECK (failures >= 0),
  locked_seq     INTEGER,
  added_seq      INTEGER NOT NULL,
  credential_seq INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TRIGGER person_is_never_deleted BEFORE DELETE ON person
BEGIN SELECT RAISE(ABORT, 'a person is disabled, and never deleted'); END;
CREATE VIEW v_user AS
SELECT user, full_name, roles, is_enabled, must_change, failures, locked_seq, added_seq, credential_seq FROM person;
UPDATE meta SET schema_version = 5;
