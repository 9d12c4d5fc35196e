-- Which hours of an organization's samples were written to, and how often. Who keeps samples of an hour in memory keeps its version,
-- and reads again when it has changed. timescaledb/compat/0005_create_metric_hours.sql is the same file; a test compares.

-- `hour` counts hours since 1970. One row a partition, so that writers of several do not wait for each other; the version of an hour
-- is the sum of its rows'. The transaction that stores samples raises it. Hours beyond the retention have none: nobody keeps them.
CREATE TABLE metric_hours (
    org_id    uuid    NOT NULL,
    hour      integer NOT NULL,
    partition integer NOT NULL,
    version   bigint  NOT NULL,
    CONSTRAINT metric_hours_pkey PRIMARY KEY (org_id, hour, partition)
) WITH (fillfactor = 50);
