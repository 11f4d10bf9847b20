-- What is known of the wall clock at every fact: that of the newest clock_found up to it. Null in facts of releases that did not look.
INSERT INTO word (word, text) VALUES (35, 'clock_found');
CREATE INDEX fact_clock ON fact (seq) WHERE kind = 35;
CREATE VIEW v_fact_clock AS
SELECT f.seq, (SELECT json_extract(v.body, '$.clock') FROM v_fact v WHERE v.seq = (
    SELECT max(c.seq) FROM fact c WHERE c.kind = 35 AND c.seq <= f.seq)) AS clock
FROM fact f;
UPDATE meta SET schema_version = 2;
