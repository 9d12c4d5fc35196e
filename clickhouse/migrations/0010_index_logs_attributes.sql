-- Serves attributes_map['key'] = 'value' and IN: of the values of a granule, whatever their keys, which narrows what a person looks
-- for by (an id, an address) and nothing that every granule has (a region, a status). The text of the index is that of the column,
-- or it would not be found. 1.5 bytes a row; built by merges only (storage/logs.py), where it takes 1.0 us a row, most of it to
-- read the JSON. `tokenbf_v1` over the text took 1.7 us in the same run as this took 1.4, and a number or an escape has more than
-- one text, so it would have lost rows. Parts that are there already get it with their next merge.
ALTER TABLE logs ADD INDEX IF NOT EXISTS
    attributes_values mapValues(JSONExtract(attributes, 'Map(LowCardinality(String), String)')) TYPE bloom_filter(0.05) GRANULARITY 1;
