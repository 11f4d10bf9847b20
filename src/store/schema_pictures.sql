-- The picture of an inspection, found by its fact: the subject of picture_stored is the inspection.
INSERT INTO word (word, text) VALUES (36, 'picture_stored');
CREATE INDEX fact_picture ON fact (subject) WHERE kind = 36;
UPDATE meta SET schema_version = 3;
