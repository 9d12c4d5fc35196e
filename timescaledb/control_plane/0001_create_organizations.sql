-- Tenants. The id is the org_id on every record of every signal, so it is never reused and a row is never renumbered.
CREATE TABLE organizations (
    id             uuid        NOT NULL DEFAULT gen_random_uuid(),
    name           text        NOT NULL,
    -- Days that a record is kept after it was received; each row in ClickHouse carries the value that held when it arrived.
    retention_days integer     NOT NULL DEFAULT 30,
    created_at     timestamptz NOT NULL DEFAULT now(),
    settings       jsonb       NOT NULL DEFAULT '{}',
    CONSTRAINT organizations_pkey PRIMARY KEY (id),
    CONSTRAINT organizations_name_key UNIQUE (name),
    CONSTRAINT organizations_name_check CHECK (char_length(name) BETWEEN 1 AND 100 AND name !~ '^\s|\s$|[[:cntrl:]]'),
    CONSTRAINT organizations_retention_days_check CHECK (retention_days BETWEEN 1 AND 3650),
    CONSTRAINT organizations_settings_check CHECK (jsonb_typeof(settings) = 'object')
);
