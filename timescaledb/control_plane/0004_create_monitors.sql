-- What is watched. Which kinds there are, and what a definition holds, the code decides; here both only have a form.
CREATE TABLE monitors (
    id              uuid        NOT NULL DEFAULT gen_random_uuid(),
    organization_id uuid        NOT NULL,
    name            text        NOT NULL,
    kind            text        NOT NULL,
    definition      jsonb       NOT NULL,
    enabled         boolean     NOT NULL DEFAULT true,
    -- Grows with every change; who writes says which one was read, so that two people do not undo each other's work unseen.
    version         integer     NOT NULL DEFAULT 1,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    -- A deleted monitor is kept, because its alerts are history and say what was watched.
    deleted_at      timestamptz,
    CONSTRAINT monitors_pkey PRIMARY KEY (id),
    -- For the reference from alerts, which holds the organization too.
    CONSTRAINT monitors_organization_id_id_key UNIQUE (organization_id, id),
    CONSTRAINT monitors_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id) ON DELETE CASCADE,
    CONSTRAINT monitors_name_check CHECK (char_length(name) BETWEEN 1 AND 200 AND name !~ '^\s|\s$|[[:cntrl:]]'),
    CONSTRAINT monitors_kind_check CHECK (kind ~ '^[a-z][a-z0-9_]{0,31}$'),
    CONSTRAINT monitors_definition_check CHECK (jsonb_typeof(definition) = 'object'),
    CONSTRAINT monitors_version_check CHECK (version >= 1)
);

-- Import by name finds the monitor to replace; a deleted one's name is free again.
CREATE UNIQUE INDEX monitors_name_key ON monitors (organization_id, name) WHERE deleted_at IS NULL;

CREATE TRIGGER monitors_set_updated_at BEFORE UPDATE ON monitors FOR EACH ROW EXECUTE FUNCTION set_updated_at();

-- One row for each time that a group of a monitor entered a state: an alert, or the recovery from it.
CREATE TABLE alerts (
    id              uuid             NOT NULL DEFAULT gen_random_uuid(),
    organization_id uuid             NOT NULL,
    monitor_id      uuid             NOT NULL,
    -- The values of the monitor's group-by labels in the engine's own text form; '' is a monitor without groups.
    group_key       text             NOT NULL DEFAULT '',
    -- The number of the transition in its group. With it a transition that is recorded again is recognized.
    sequence        bigint           NOT NULL,
    state           text             NOT NULL,
    previous_state  text             NOT NULL,
    value           double precision,
    threshold       double precision,
    started_at      timestamptz      NOT NULL,
    -- When the next state began, or somebody resolved it.
    ended_at        timestamptz,
    acknowledged_at timestamptz,
    acknowledged_by uuid,
    resolved_by     uuid,
    evidence        jsonb            NOT NULL DEFAULT '{}',
    created_at      timestamptz      NOT NULL DEFAULT now(),
    updated_at      timestamptz      NOT NULL DEFAULT now(),
    CONSTRAINT alerts_pkey PRIMARY KEY (id),
    CONSTRAINT alerts_sequence_key UNIQUE (monitor_id, group_key, sequence),
    -- Both columns, so that an alert can never point into another organization.
    CONSTRAINT alerts_monitor_id_fkey FOREIGN KEY (organization_id, monitor_id) REFERENCES monitors (organization_id, id) ON DELETE CASCADE,
    CONSTRAINT alerts_acknowledged_by_fkey FOREIGN KEY (acknowledged_by) REFERENCES users (id) ON DELETE SET NULL,
    CONSTRAINT alerts_resolved_by_fkey FOREIGN KEY (resolved_by) REFERENCES users (id) ON DELETE SET NULL,
    CONSTRAINT alerts_group_key_check CHECK (octet_length(group_key) <= 1024),
    CONSTRAINT alerts_sequence_check CHECK (sequence >= 1),
    CONSTRAINT alerts_state_check CHECK (state IN ('OK', 'WARN', 'ALERT', 'NO_DATA')),
    CONSTRAINT alerts_previous_state_check CHECK (previous_state IN ('OK', 'WARN', 'ALERT', 'NO_DATA') AND previous_state <> state),
    CONSTRAINT alerts_ended_at_check CHECK (ended_at >= started_at),
    CONSTRAINT alerts_evidence_check CHECK (jsonb_typeof(evidence) = 'object')
);

-- Pages of an organization's alerts, newest first.
CREATE INDEX alerts_organization_id_idx ON alerts (organization_id, started_at DESC, id DESC);
-- The same of one monitor.
CREATE INDEX alerts_monitor_id_idx ON alerts (organization_id, monitor_id, started_at DESC, id DESC);
-- What is on fire now: few rows of many.
CREATE INDEX alerts_open_idx ON alerts (organization_id, started_at DESC, id DESC) WHERE ended_at IS NULL AND state <> 'OK';

CREATE TRIGGER alerts_set_updated_at BEFORE UPDATE ON alerts FOR EACH ROW EXECUTE FUNCTION set_updated_at();
