-- Who refreshes, compresses and deletes, and when.

-- Compression looks after itself. Deletion and the reach of the refreshes depend on AEGIS_RETENTION, so they are set by a function
-- that every `aegis migrate` and start calls.
SELECT add_compression_policy('metrics', compress_after => INTERVAL '7 days');

-- Sets the policies. Each rollup has two refreshes: one of recent samples, and one every ten minutes for what arrives late,
-- because an invalidation spans everything between the oldest and the newest sample of a block. With deletion on, the late one
-- begins inside what is kept, or it would find no samples and erase the rollup; with deletion off it reaches back without end.
CREATE FUNCTION set_metrics_retention(deletion boolean) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    rollup record;
BEGIN
    -- Unchanged policies keep their jobs, and these their history and their next start.
    IF EXISTS (SELECT FROM timescaledb_information.jobs WHERE hypertable_name = 'metrics_1m_summaries')
        AND deletion = EXISTS (
            SELECT FROM timescaledb_information.jobs WHERE hypertable_name = 'metrics' AND proc_name = 'policy_retention'
        )
    THEN
        RETURN;
    END IF;
    FOR rollup IN
        SELECT *
        FROM (VALUES
            ('metrics_1m_summaries'::regclass, INTERVAL '30 seconds', INTERVAL '1 minute', INTERVAL '1 hour', INTERVAL '6 days', INTERVAL '7 days'),
            ('metrics_5m_summaries'::regclass, INTERVAL '2 minutes', INTERVAL '5 minutes', INTERVAL '3 hours', INTERVAL '29 days', INTERVAL '30 days'),
            ('metrics_1h_summaries'::regclass, INTERVAL '10 minutes', INTERVAL '1 hour', INTERVAL '1 day', INTERVAL '29 days', INTERVAL '365 days')
        ) AS known (view, every, settled, recent, late, kept)
    LOOP
        PERFORM remove_continuous_aggregate_policy(rollup.view, if_exists => true);
        PERFORM remove_retention_policy(rollup.view, if_exists => true);
        PERFORM add_continuous_aggregate_policy(
            rollup.view,
            start_offset => rollup.recent,
            end_offset => rollup.settled,
            schedule_interval => rollup.every
        );
        PERFORM add_continuous_aggregate_policy(
            rollup.view,
            start_offset => CASE WHEN deletion THEN rollup.late END,
            end_offset => rollup.recent,
            schedule_interval => INTERVAL '10 minutes'
        );
        IF deletion THEN
            PERFORM add_retention_policy(rollup.view, drop_after => rollup.kept);
        END IF;
    END LOOP;
    PERFORM remove_retention_policy('metrics', if_exists => true);
    IF deletion THEN
        PERFORM add_retention_policy('metrics', drop_after => INTERVAL '30 days');
    END IF;
END
$$;

-- Deletes now what the policies would delete in time; returns how many chunks went.
CREATE FUNCTION apply_metrics_retention() RETURNS bigint
LANGUAGE sql AS $$
SELECT (SELECT count(*) FROM drop_chunks('metrics', older_than => INTERVAL '30 days'))
    + (SELECT count(*) FROM drop_chunks('metrics_1m_summaries', older_than => INTERVAL '7 days'))
    + (SELECT count(*) FROM drop_chunks('metrics_5m_summaries', older_than => INTERVAL '30 days'))
    + (SELECT count(*) FROM drop_chunks('metrics_1h_summaries', older_than => INTERVAL '365 days'))
$$;
