-- Where people are told. Which kinds there are, and what a config holds, the code decides. Whatever of it is secret (the URL of a
-- webhook, too) is sealed under AEGIS_MASTER_KEY as one JSON object, since sending needs it and a hash would not do.
CREATE TABLE channels (
    id              uuid        NOT NULL DEFAULT gen_random_uuid(),
    organization_id uuid        NOT NULL,
    name            text        NOT NULL,
    kind            text        NOT NULL,
    config          jsonb       NOT NULL,
    secrets_sealed  bytea,
    -- Which secrets are set, to be shown.
    secret_names    text[]      NOT NULL DEFAULT '{}',
    enabled         boolean     NOT NULL DEFAULT true,
    version         integer     NOT NULL DEFAULT 1,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    -- A deleted channel is kept without its secrets, because notifications are history and say where they went.
    deleted_at      timestamptz,
    CONSTRAINT channels_pkey PRIMARY KEY (id),
    CONSTRAINT channels_organization_id_id_key UNIQUE (organization_id, id),
    CONSTRAINT channels_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id) ON DELETE CASCADE,
    CONSTRAINT channels_name_check CHECK (char_length(name) BETWEEN 1 AND 200 AND name !~ '^\s|\s$|[[:cntrl:]]'),
    CONSTRAINT channels_kind_check CHECK (kind ~ '^[a-z][a-z0-9_]{0,31}$'),
    CONSTRAINT channels_config_check CHECK (jsonb_typeof(config) = 'object'),
    CONSTRAINT channels_secrets_sealed_check CHECK (octet_length(secrets_sealed) BETWEEN 30 AND 65536),
    CONSTRAINT channels_version_check CHECK (version >= 1)
);
CREATE UNIQUE INDEX channels_name_key ON channels (organization_id, name) WHERE deleted_at IS NULL;

CREATE TRIGGER channels_set_updated_at BEFORE UPDATE ON channels FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER channels_announce_change AFTER INSERT OR UPDATE OR DELETE ON channels
    FOR EACH ROW EXECUTE FUNCTION announce_change('organization_id');
CREATE TRIGGER channels_record_change AFTER INSERT OR UPDATE OR DELETE ON channels
    FOR EACH ROW EXECUTE FUNCTION record_change('channel', 'organization_id', 'id', 'name', 'secrets_sealed');

-- How a channel does, and how much it may be sent now: the row that whoever sends to it locks for a moment, so that the limit holds
-- for all workers together. Apart from channels, because it changes with every message.
CREATE TABLE channel_queues (
    channel_id     uuid             NOT NULL,
    -- NULL is a full bucket.
    tokens         double precision,
    refilled_at    timestamptz      NOT NULL DEFAULT now(),
    -- Nothing is tried before: it has failed `failures` times in a row.
    blocked_until  timestamptz      NOT NULL DEFAULT now(),
    failures       integer          NOT NULL DEFAULT 0,
    claimed_at     timestamptz      NOT NULL DEFAULT now(),
    last_sent_at   timestamptz,
    last_failed_at timestamptz,
    last_error     text             NOT NULL DEFAULT '',
    CONSTRAINT channel_queues_pkey PRIMARY KEY (channel_id),
    CONSTRAINT channel_queues_channel_id_fkey FOREIGN KEY (channel_id) REFERENCES channels (id) ON DELETE CASCADE
);

-- Times in which nobody is told. One of a single monitor that somebody muted is a downtime too, and has the monitor's id.
CREATE TABLE downtimes (
    id               uuid        NOT NULL DEFAULT gen_random_uuid(),
    organization_id  uuid        NOT NULL,
    name             text        NOT NULL,
    muted_monitor_id uuid,
    -- Scope and schedule.
    definition       jsonb       NOT NULL,
    version          integer     NOT NULL DEFAULT 1,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT downtimes_pkey PRIMARY KEY (id),
    CONSTRAINT downtimes_muted_monitor_id_key UNIQUE (muted_monitor_id),
    CONSTRAINT downtimes_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id) ON DELETE CASCADE,
    CONSTRAINT downtimes_muted_monitor_id_fkey FOREIGN KEY (organization_id, muted_monitor_id)
        REFERENCES monitors (organization_id, id) ON DELETE CASCADE,
    CONSTRAINT downtimes_name_check CHECK (char_length(name) BETWEEN 1 AND 200 AND name !~ '^\s|\s$|[[:cntrl:]]'),
    CONSTRAINT downtimes_definition_check CHECK (jsonb_typeof(definition) = 'object'),
    CONSTRAINT downtimes_version_check CHECK (version >= 1)
);
CREATE INDEX downtimes_organization_id_idx ON downtimes (organization_id, created_at);

CREATE TRIGGER downtimes_set_updated_at BEFORE UPDATE ON downtimes FOR EACH ROW EXECUTE FUNCTION set_updated_at();
CREATE TRIGGER downtimes_announce_change AFTER INSERT OR UPDATE OR DELETE ON downtimes
    FOR EACH ROW EXECUTE FUNCTION announce_change('organization_id');
CREATE TRIGGER downtimes_record_change AFTER INSERT OR UPDATE OR DELETE ON downtimes
    FOR EACH ROW EXECUTE FUNCTION record_change('downtime', 'organization_id', 'id', 'name');

-- The outbox: what each channel is to be told of each alert, written with the alert, and what became of it.
--
--   waiting  -> sending  -> sent          next_at: when to try; while sending, when whoever sends is taken for dead
--                        -> waiting       it failed, and is tried again
--                        -> dead          it was tried until expires_at
--   suppressed                            nobody is told, for a reason; next_at: when to look whether that still holds
CREATE TABLE notifications (
    id              bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    organization_id uuid        NOT NULL,
    alert_id        uuid        NOT NULL,
    monitor_id      uuid        NOT NULL,
    group_key       text        NOT NULL,
    sequence        bigint      NOT NULL,
    -- 0 for the transition, n for its nth reminder.
    repeat          integer     NOT NULL,
    channel_id      uuid        NOT NULL,
    dedup_key       text        NOT NULL,
    payload         jsonb       NOT NULL,
    state           text        NOT NULL,
    reason          text        NOT NULL DEFAULT '',
    attempts        integer     NOT NULL DEFAULT 0,
    next_at         timestamptz,
    -- Those that go out in one message, which is the same one with every try.
    bundle          uuid,
    -- Who sends it now.
    lease           uuid,
    last_error      text        NOT NULL DEFAULT '',
    last_status     integer,
    created_at      timestamptz NOT NULL DEFAULT now(),
    expires_at      timestamptz NOT NULL,
    finished_at     timestamptz,
    CONSTRAINT notifications_pkey PRIMARY KEY (id),
    CONSTRAINT notifications_dedup_key_key UNIQUE (dedup_key),
    CONSTRAINT notifications_alert_id_fkey FOREIGN KEY (alert_id) REFERENCES alerts (id) ON DELETE CASCADE,
    -- Both columns, so that nothing of one organization can ever go out by a channel of another.
    CONSTRAINT notifications_channel_id_fkey FOREIGN KEY (organization_id, channel_id)
        REFERENCES channels (organization_id, id) ON DELETE CASCADE,
    CONSTRAINT notifications_state_check CHECK (state IN ('waiting', 'sending', 'sent', 'suppressed', 'dead')),
    CONSTRAINT notifications_next_at_check CHECK (next_at IS NOT NULL OR state NOT IN ('waiting', 'sending'))
);

-- What of a channel is due, and whether something of the same group is before it.
CREATE INDEX notifications_due_idx ON notifications (channel_id, monitor_id, group_key, id) WHERE state IN ('waiting', 'sending');
-- What is to be looked at again.
CREATE INDEX notifications_suppressed_idx ON notifications (next_at) WHERE state = 'suppressed' AND next_at IS NOT NULL;
-- The history of an alert; who was told of a group; what has had its time.
CREATE INDEX notifications_alert_id_idx ON notifications (alert_id);
CREATE INDEX notifications_group_idx ON notifications (monitor_id, group_key, sequence);
CREATE INDEX notifications_finished_at_idx ON notifications (finished_at) WHERE finished_at IS NOT NULL;
