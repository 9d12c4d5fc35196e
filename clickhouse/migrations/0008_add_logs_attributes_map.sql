-- What it holds is as in 0001. A search by an attribute looks for the value in the text first, where it can (figures:
-- benchmarks/results/2026-11-23-clickhouse-tables.md).
ALTER TABLE logs ADD COLUMN IF NOT EXISTS
    attributes_map Map(LowCardinality(String), String) ALIAS JSONExtract(attributes, 'Map(LowCardinality(String), String)');
