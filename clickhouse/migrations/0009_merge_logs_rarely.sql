-- A row was merged twice on its way to 900,000 rows and about once more for each five times that, at 4 to 5 us each time: as much
-- as its insert. Ten parts a merge make it once for each ten times. A day then ends with some dozens of parts at most.
ALTER TABLE logs MODIFY SETTING min_parts_to_merge_at_once = 10;
