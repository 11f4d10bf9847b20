-- Version 1 of the journal. Tables are narrow and hold words and identifiers that repeat as integers (table word);
-- the views at the end are the contract with the outside and give the words back.
-- Every *_seq is the sequence number of a fact.

CREATE TABLE meta (
  id             INTEGER PRIMARY KEY CHECK (id = 1),
  line           TEXT    NOT NULL,
  schema_version INTEGER NOT NULL,
  store_uuid     TEXT    NOT NULL,
  epoch          INTEGER NOT NULL CHECK (epoch >= 1),
  boot           INTEGER NOT NULL CHECK (boot >= 0),
  genesis        BLOB    NOT NULL CHECK (length(genesis) = 32)
) STRICT;

-- Words that repeat: kinds, states, actors, stations, batches, GTINs, topics. 2 to 63 are given here, for ever.
CREATE TABLE word (
  word INTEGER PRIMARY KEY,
  text TEXT NOT NULL UNIQUE
) STRICT;
INSERT INTO word (word, text) VALUES
  (2, 'unassigned'), (3, 'unallocated'), (4, 'allocated'), (5, 'sn_invalid'), (6, 'encoded'), (7, 'label_sampled'),
  (8, 'label_scrapped'), (9, 'commissioned'), (10, 'sampled'), (11, 'inactive'), (12, 'destroyed'), (13, 'released'),
  (14, 'open'), (15, 'granted'), (16, 'closed'), (17, 'held'), (18, 'dissolved'),
  (19, 'loaded'), (20, 'running'), (21, 'stopped'),
  (22, 'pass'), (23, 'fail'), (24, 'no_read'), (25, 'missed'),
  (26, 'unit'), (27, 'bundle'), (28, 'case'), (29, 'pallet'),
  (30, 'seal'), (31, 'release'),
  (32, 'acked'), (33, 'expired'), (34, 'unresolved'),
  (63, 'production');

-- body is JSON in which control characters, which JSON never holds, stand for the phrases that v_fact puts back.
-- A subject that begins with ~ stands for the EPC prefix of the fact's batch; ~~ stands for one ~.
CREATE TABLE fact (
  seq     INTEGER PRIMARY KEY,
  at_us   INTEGER NOT NULL,
  mono_us INTEGER NOT NULL,
  boot    INTEGER NOT NULL,
  kind    INTEGER NOT NULL,
  version INTEGER NOT NULL,
  batch   INTEGER,
  actor   INTEGER NOT NULL,
  subject TEXT    NOT NULL,
  body    TEXT    NOT NULL,
  hash    BLOB    NOT NULL CHECK (length(hash) = 32)
) STRICT;

CREATE TABLE batch (
  batch           INTEGER PRIMARY KEY,
  gtin            INTEGER NOT NULL,
  lot             TEXT    NOT NULL,
  expiry          TEXT    NOT NULL,
  gcp_length      INTEGER NOT NULL CHECK (gcp_length BETWEEN 6 AND 12),
  epc_prefix      TEXT    NOT NULL,
  state           INTEGER NOT NULL CHECK (state IN (16, 19, 20, 21)),
  case_capacity   INTEGER NOT NULL CHECK (case_capacity >= 0),
  pallet_capacity INTEGER NOT NULL CHECK (pallet_capacity >= 0),
  sscc_extension  INTEGER NOT NULL CHECK (sscc_extension BETWEEN 0 AND 9),
  sscc_prefix     TEXT    NOT NULL,
  sscc_first      INTEGER NOT NULL,
  sscc_last       INTEGER NOT NULL,
  serial_count    INTEGER NOT NULL CHECK (serial_count >= 0),
  serials_sha256  TEXT    NOT NULL,
  loaded_seq      INTEGER NOT NULL,
  closed_seq      INTEGER CHECK ((closed_seq IS NOT NULL) = (state = 16))
) STRICT;
CREATE INDEX batch_open ON batch (batch) WHERE closed_seq IS NULL;
CREATE INDEX batch_lot ON batch (lot);

-- id = batch * 2^32 + place in the order of printing, so that a batch lies together and is updated in its own pages.
CREATE TABLE serial (
  id          INTEGER PRIMARY KEY,
  serial      TEXT    NOT NULL,
  state       INTEGER NOT NULL CHECK (state BETWEEN 2 AND 13),
  verified    INTEGER NOT NULL CHECK (verified IN (0, 1)),
  changed_seq INTEGER NOT NULL
) STRICT;

-- Every serial that was ever given to a batch: paid for once, in bulk and sorted, when the batch is loaded (I2).
CREATE TABLE used (
  gtin   INTEGER NOT NULL,
  serial TEXT    NOT NULL,
  id     INTEGER NOT NULL,
  PRIMARY KEY (gtin, serial)
) STRICT, WITHOUT ROWID;

-- Which fact moved a run of serials into a state.
CREATE TABLE serial_run (
  batch       INTEGER NOT NULL,
  state       INTEGER NOT NULL CHECK (state BETWEEN 2 AND 13),
  first_index INTEGER NOT NULL,
  seq         INTEGER NOT NULL,
  count       INTEGER NOT NULL CHECK (count > 0),
  PRIMARY KEY (batch, state, first_index, seq)
) STRICT, WITHOUT ROWID;

-- inspection is the sequence number of the fact that decided it; place is the unit's in its batch.
CREATE TABLE inspection (
  inspection INTEGER PRIMARY KEY,
  batch      INTEGER,
  station    INTEGER NOT NULL,
  epoch      INTEGER NOT NULL,
  result_seq INTEGER,
  track      INTEGER,
  verdict    INTEGER NOT NULL CHECK (verdict BETWEEN 22 AND 25),
  place      INTEGER CHECK (place IS NULL OR batch IS NOT NULL)
) STRICT;
CREATE INDEX inspection_unit ON inspection (batch, place) WHERE place IS NOT NULL;

CREATE TABLE reject (
  inspection    INTEGER PRIMARY KEY,
  commanded_seq INTEGER NOT NULL,
  confirmed_seq INTEGER,
  alarm_seq     INTEGER
) STRICT;

CREATE TABLE container (
  id                INTEGER PRIMARY KEY CHECK (id > 0),
  container         TEXT    NOT NULL UNIQUE,
  level             INTEGER NOT NULL CHECK (level BETWEEN 27 AND 29),
  batch             INTEGER NOT NULL,
  state             INTEGER NOT NULL CHECK (state BETWEEN 13 AND 18),
  capacity          INTEGER NOT NULL CHECK (capacity > 0),
  closed_seq        INTEGER,
  partial_signature INTEGER
) STRICT;
CREATE INDEX container_batch ON container (batch);

-- The facts whose subject is a container.
CREATE TABLE container_fact (
  container INTEGER NOT NULL,
  seq       INTEGER NOT NULL,
  PRIMARY KEY (container, seq)
) STRICT, WITHOUT ROWID;

-- A child is a serial.id, or the negative of a container.id.
CREATE TABLE member (
  parent   INTEGER NOT NULL CHECK (parent > 0),
  child    INTEGER NOT NULL CHECK (child <> -parent),
  from_seq INTEGER NOT NULL,
  to_seq   INTEGER CHECK (to_seq > from_seq),
  PRIMARY KEY (parent, child, from_seq)
) STRICT, WITHOUT ROWID;
-- I3: one present parent for each child.
CREATE UNIQUE INDEX member_present ON member (child) WHERE to_seq IS NULL;
CREATE INDEX member_past ON member (child) WHERE to_seq IS NOT NULL;

CREATE TABLE permit (
  token       INTEGER PRIMARY KEY CHECK (token BETWEEN 1 AND 4294967295),
  container   INTEGER NOT NULL,
  gate        INTEGER NOT NULL CHECK (gate IN (30, 31)),
  station     INTEGER NOT NULL,
  epoch       INTEGER NOT NULL,
  request_seq INTEGER NOT NULL,
  granted_seq INTEGER NOT NULL,
  state       INTEGER NOT NULL CHECK (state IN (15, 32, 33, 34))
) STRICT;

CREATE TABLE alarm (
  alarm      INTEGER PRIMARY KEY CHECK (alarm > 0),
  kind       INTEGER NOT NULL,
  station    INTEGER,
  detail     TEXT    NOT NULL,
  raised_seq INTEGER NOT NULL,
  acked_seq  INTEGER CHECK (acked_seq > raised_seq)
) STRICT;
CREATE INDEX alarm_open ON alarm (alarm) WHERE acked_seq IS NULL;

-- epoch_seq is the fact with which the station's present epoch began.
CREATE TABLE station (
  station      INTEGER PRIMARY KEY,
  device_epoch INTEGER NOT NULL,
  epoch        INTEGER NOT NULL,
  epoch_seq    INTEGER NOT NULL
) STRICT;

CREATE TABLE checkpoint (
  seq        INTEGER PRIMARY KEY,
  head_hash  BLOB NOT NULL CHECK (length(head_hash) = 32),
  store_uuid TEXT NOT NULL,
  key_id     TEXT NOT NULL,
  signature  BLOB NOT NULL
) STRICT;

CREATE TABLE signature (
  signature    INTEGER PRIMARY KEY,
  user         TEXT    NOT NULL,
  full_name    TEXT    NOT NULL,
  meaning      TEXT    NOT NULL,
  at_us        INTEGER NOT NULL,
  subject      TEXT    NOT NULL,
  subject_hash BLOB    NOT NULL CHECK (length(subject_hash) = 32),
  challenge    TEXT    NOT NULL,
  fact_seq     INTEGER NOT NULL
) STRICT;

-- The highest number given in each stream; stays when messages have gone.
CREATE TABLE stream (
  stream   INTEGER PRIMARY KEY,
  last_seq INTEGER NOT NULL CHECK (last_seq >= 0)
) STRICT;

-- id = fact * 256 + place among the fact's messages: the order of the feed.
CREATE TABLE message (
  id          INTEGER PRIMARY KEY,
  stream      INTEGER NOT NULL,
  seq         INTEGER NOT NULL,
  topic       INTEGER NOT NULL,
  kind        INTEGER NOT NULL,
  subject     TEXT    NOT NULL,
  body        BLOB    NOT NULL,
  body_sha256 BLOB    NOT NULL CHECK (length(body_sha256) = 32)
) STRICT;
CREATE UNIQUE INDEX message_seq ON message (stream, seq);

-- Operational state that is no record.
CREATE TABLE work_feed (
  stream    INTEGER PRIMARY KEY,
  acked_seq INTEGER NOT NULL
) STRICT;
CREATE TABLE work_feed_exception (
  stream INTEGER NOT NULL,
  seq    INTEGER NOT NULL,
  cause  TEXT    NOT NULL,
  PRIMARY KEY (stream, seq)
) STRICT, WITHOUT ROWID;

CREATE TRIGGER fact_is_never_changed BEFORE UPDATE ON fact
BEGIN SELECT RAISE(ABORT, 'a fact is never changed'); END;
CREATE TRIGGER fact_is_never_deleted BEFORE DELETE ON fact
BEGIN SELECT RAISE(ABORT, 'a fact is never deleted'); END;
CREATE TRIGGER word_is_never_changed BEFORE UPDATE ON word
BEGIN SELECT RAISE(ABORT, 'a word is never changed'); END;
CREATE TRIGGER word_is_never_deleted BEFORE DELETE ON word
BEGIN SELECT RAISE(ABORT, 'a word is never deleted'); END;
CREATE TRIGGER used_is_never_changed BEFORE UPDATE ON used
BEGIN SELECT RAISE(ABORT, 'a used serial stays used'); END;
CREATE TRIGGER used_is_never_deleted BEFORE DELETE ON used
BEGIN SELECT RAISE(ABORT, 'a used serial stays used'); END;
CREATE TRIGGER message_is_never_changed BEFORE UPDATE ON message
BEGIN SELECT RAISE(ABORT, 'a message is never changed'); END;
CREATE TRIGGER message_goes_only_when_acknowledged BEFORE DELETE ON message
WHEN OLD.seq > COALESCE((SELECT acked_seq FROM work_feed WHERE stream = OLD.stream), 0)
BEGIN SELECT RAISE(ABORT, 'a message that was not acknowledged is never deleted'); END;

CREATE VIEW v_meta AS SELECT line, schema_version, store_uuid, epoch FROM meta;

CREATE VIEW v_batch AS
SELECT b.text AS batch, g.text AS gtin, t.lot, t.expiry, s.text AS state, t.case_capacity, t.pallet_capacity,
  t.loaded_seq AS opened_seq, t.closed_seq, t.epc_prefix, t.serial_count, t.serials_sha256
FROM batch t JOIN word b ON b.word = t.batch JOIN word g ON g.word = t.gtin JOIN word s ON s.word = t.state;

-- The seven characters that an EPC URI escapes (GS1 EPC TDS); % goes first.
CREATE VIEW v_unit AS
SELECT b.epc_prefix || replace(replace(replace(replace(replace(replace(replace(u.serial,
    '%', '%25'), '"', '%22'), '&', '%26'), '/', '%2F'), '<', '%3C'), '>', '%3E'), '?', '%3F') AS unit,
  n.text AS batch, g.text AS gtin, u.serial, s.text AS state, u.verified,
  CASE WHEN u.state IN (2, 3, 4, 6) THEN NULL ELSE u.changed_seq END AS final_seq,
  u.id & 4294967295 AS place, u.id AS unit_id
FROM serial u JOIN batch b ON b.batch = u.id >> 32 JOIN word n ON n.word = b.batch JOIN word g ON g.word = b.gtin
  JOIN word s ON s.word = u.state;

CREATE VIEW v_inspection AS
SELECT i.inspection, b.text AS batch, 'production' AS purpose, t.text AS station, i.epoch, i.result_seq, i.track,
  v.text AS verdict, (SELECT unit FROM v_unit WHERE unit_id = i.batch << 32 | i.place) AS unit, i.inspection AS fact_seq
FROM inspection i LEFT JOIN word b ON b.word = i.batch JOIN word t ON t.word = i.station JOIN word v ON v.word = i.verdict;

CREATE VIEW v_container AS
SELECT c.container, l.text AS level, n.text AS batch, s.text AS state, c.capacity, c.closed_seq, c.partial_signature,
  'urn:epc:id:sscc:' || substr(c.container, 2, b.gcp_length) || '.' || substr(c.container, 1, 1)
    || substr(c.container, 2 + b.gcp_length, 16 - b.gcp_length) AS epc
FROM container c JOIN batch b ON b.batch = c.batch JOIN word n ON n.word = c.batch JOIN word l ON l.word = c.level
  JOIN word s ON s.word = c.state;

CREATE VIEW v_member AS
SELECT CASE WHEN m.child < 0 THEN (SELECT container FROM container WHERE id = -m.child)
    ELSE (SELECT unit FROM v_unit WHERE unit_id = m.child) END AS child,
  p.container AS parent, m.from_seq, m.to_seq
FROM member m JOIN container p ON p.id = m.parent;

CREATE VIEW v_permit AS
SELECT p.token, c.container, g.text AS gate, t.text AS station, p.epoch, p.request_seq, p.granted_seq, s.text AS state
FROM permit p JOIN container c ON c.id = p.container JOIN word g ON g.word = p.gate JOIN word t ON t.word = p.station
  JOIN word s ON s.word = p.state;

CREATE VIEW v_reject AS SELECT inspection, commanded_seq, confirmed_seq, alarm_seq FROM reject;

CREATE VIEW v_message AS
SELECT s.text AS stream, m.seq, (SELECT line || '/' || epoch FROM meta) || '/' || s.text || '/' || m.seq AS id,
  t.text AS topic, lower(hex(m.body_sha256)) AS body_sha256,
  CASE WHEN EXISTS (SELECT 1 FROM work_feed_exception x WHERE x.stream = m.stream AND x.seq = m.seq) THEN 2
    ELSE m.seq <= COALESCE((SELECT acked_seq FROM work_feed f WHERE f.stream = m.stream), 0) END AS acked,
  m.id >> 8 AS fact_seq
FROM message m JOIN word s ON s.word = m.stream JOIN word t ON t.word = m.topic;

-- In three layers, since older readers of SQL nest no deeper.
CREATE VIEW v_fact AS
SELECT f.seq, f.at_us, f.mono_us, f.boot, k.text AS kind, f.version, b.text AS batch, a.text AS actor,
  CASE WHEN substr(f.subject, 1, 1) <> '~' THEN f.subject WHEN substr(f.subject, 2, 1) = '~' THEN substr(f.subject, 2)
    ELSE (SELECT epc_prefix FROM batch WHERE batch = f.batch) || substr(f.subject, 2) END AS subject,
  f.body,
  lower(hex(CASE f.seq WHEN 1 THEN (SELECT genesis FROM meta) ELSE (SELECT p.hash FROM fact p WHERE p.seq = f.seq - 1) END))
    AS prev_hash,
  lower(hex(f.hash)) AS hash
FROM (
  SELECT seq, at_us, mono_us, boot, kind, version, batch, actor, subject, hash,
    replace(replace(replace(replace(replace(replace(replace(replace(replace(body, char(22), ',"level":"'),
      char(23), ',"ttl_ms":'), char(24), '"]}'), char(25), '"}'), char(26), ',"reasons":["'),
      char(27), ',"code":"'), char(28), '","21'), char(29), '","00'), char(30), substr(subject, 2)) AS body
  FROM (
    SELECT seq, at_us, mono_us, boot, kind, version, batch, actor, subject, hash,
    replace(replace(replace(replace(replace(replace(replace(replace(replace(body, char(12), '","token":'),
      char(14), ',"children":["'), char(15), ',"serials":["'), char(16), ',"from_seq":'),
      char(17), ',"first_index":'), char(18), ',"container_count":'), char(19), ',"gate":"'),
      char(20), '","container":"'), char(21), '{"level":"') AS body
    FROM (
      SELECT seq, at_us, mono_us, boot, kind, version, batch, actor, subject, hash,
    replace(replace(replace(replace(replace(replace(replace(replace(replace(body, char(1), '{"station":"'),
      char(2), '","epoch":'), char(3), ',"seq":'), char(4), ',"track":'), char(5), ',"serial":"'),
      char(6), '","grade":'), char(7), ',"inspection":'), char(8), '","'), char(11), '{"container":"') AS body
      FROM fact))) f LEFT JOIN word k ON k.word = f.kind LEFT JOIN word b ON b.word = f.batch LEFT JOIN word a ON a.word = f.actor;

CREATE VIEW v_checkpoint AS
SELECT seq, lower(hex(head_hash)) AS head_hash, store_uuid, key_id, lower(hex(signature)) AS signature FROM checkpoint;

CREATE VIEW v_signature AS
SELECT signature, user, full_name, meaning, at_us, subject, lower(hex(subject_hash)) AS subject_hash, challenge, fact_seq
FROM signature;

CREATE VIEW v_alarm AS
SELECT a.alarm, k.text AS kind, s.text AS station, a.detail, a.raised_seq, a.acked_seq
FROM alarm a JOIN word k ON k.word = a.kind LEFT JOIN word s ON s.word = a.station;
