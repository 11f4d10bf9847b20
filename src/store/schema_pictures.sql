-- The picture of an inspection, found by its fact: the subject of picture_stored is the inspection.
INSERT INTO word (word, text) VALUES (40, 'picture_stored');
CREATE INDEX fact_picture ON fact (subject) WHERE kind = 40;
UPDATE meta SET schema_version = 4;
