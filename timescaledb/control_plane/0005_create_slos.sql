-- Objectives: the share of good events over a window of days. The definition says what is good.
CREATE TABLE slos (
    id              uuid             NOT NULL DEFAULT gen_random_uuid(),
    organization_id uuid             NOT NULL,
    name            text             NOT NULL,
    definition      jsonb            NOT NULL,
    -- 0.999 is "999 of 1000"; the error budget is what is left to 1.
    objective       double precision NOT NULL,
    window_days     integer          NOT NULL DEFAULT 30,
    enabled         boolean          NOT NULL DEFAULT true,
    version         integer          NOT NULL DEFAULT 1,
    created_at      timestamptz      NOT NULL DEFAULT now(),
    updated_at      timestamptz      NOT NULL DEFAULT now(),
    CONSTRAINT slos_pkey PRIMARY KEY (id),
    CONSTRAINT slos_name_key UNIQUE (organization_id, name),
    CONSTRAINT slos_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id) ON DELETE CASCADE,
    CONSTRAINT slos_name_check CHECK (char_length(name) BETWEEN 1 AND 200 AND name !~ '^\s|\s$|[[:cntrl:]]'),
    CONSTRAINT slos_definition_check CHECK (jsonb_typeof(definition) = 'object'),
    -- Both ends excluded: an objective of 1 has no budget, and every rate of burning it is infinite.
    CONSTRAINT slos_objective_check CHECK (objective > 0 AND objective < 1),
    CONSTRAINT slos_window_days_check CHECK (window_days BETWEEN 1 AND 365),
    CONSTRAINT slos_version_check CHECK (version >= 1)
);

CREATE TRIGGER slos_set_updated_at BEFORE UPDATE ON slos FOR EACH ROW EXECUTE FUNCTION set_updated_at();
