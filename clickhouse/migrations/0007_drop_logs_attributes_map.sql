-- The map was 30 of 99 bytes a log, and 1 us of each insert and merge, to save a JSON parse in searches that filter by attributes.
-- 0008 gives the column back as one that is computed when it is read.
ALTER TABLE logs DROP COLUMN IF EXISTS attributes_map;
