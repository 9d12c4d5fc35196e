-- What each organization sent on each day (UTC, of arrival).
CREATE TABLE usage_daily (
    organization_id uuid        NOT NULL,
    day             date        NOT NULL,
    logs_count      bigint      NOT NULL DEFAULT 0,
    logs_bytes      bigint      NOT NULL DEFAULT 0,
    metrics_count   bigint      NOT NULL DEFAULT 0,
    spans_count     bigint      NOT NULL DEFAULT 0,
    rum_events      bigint      NOT NULL DEFAULT 0,
    -- How often each rule of the scrubber found something: {"email": 12}.
    scrubbed        jsonb       NOT NULL DEFAULT '{}',
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT usage_daily_pkey PRIMARY KEY (organization_id, day),
    CONSTRAINT usage_daily_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id) ON DELETE CASCADE,
    CONSTRAINT usage_daily_counts_check CHECK (
        least(logs_count, logs_bytes, metrics_count, spans_count, rum_events) >= 0
    ),
    CONSTRAINT usage_daily_scrubbed_check CHECK (jsonb_typeof(scrubbed) = 'object')
);

CREATE TRIGGER usage_daily_set_updated_at BEFORE UPDATE ON usage_daily FOR EACH ROW EXECUTE FUNCTION set_updated_at();
