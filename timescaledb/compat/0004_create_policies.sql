-- Retention for a server that has no background jobs: the views keep nothing of their own, and the samples go when somebody asks.

-- There is no policy to set here.
CREATE FUNCTION set_metrics_retention(deletion boolean) RETURNS void
LANGUAGE sql AS $$
$$;

-- Deletes the samples older than 30 days; returns how many.
CREATE FUNCTION apply_metrics_retention() RETURNS bigint
LANGUAGE sql AS $$
WITH deleted AS (DELETE FROM metrics WHERE ts < now() - INTERVAL '30 days' RETURNING 1)
SELECT count(*) FROM deleted
$$;
