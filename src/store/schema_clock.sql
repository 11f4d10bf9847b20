-- What is known of the wall clock at every fact: that of the newest clock_found of its run, and before the first of a run that one.
-- Null in facts of releases that did not look.
INSERT INTO word (word, text) VALUES (35, 'clock_found');
CREATE INDEX fact_clock ON fact (seq) WHERE kind = 35;
CREATE VIEW v_fact_clock AS
SELECT f.seq, (SELECT json_extract(v.body, '$.clock') FROM v_fact v WHERE v.seq = COALESCE(
    (SELECT c.seq FROM fact c WHERE c.kind = 35 AND c.seq <= f.seq AND c.boot = f.boot ORDER BY c.seq DESC LIMIT 1),
    (SELECT c.seq FROM fact c WHERE c.kind = 35 AND c.seq > f.seq AND c.boot = f.boot ORDER BY c.seq LIMIT 1))) AS clock
FROM fact f;
UPDATE meta SET schema_version = 2;
