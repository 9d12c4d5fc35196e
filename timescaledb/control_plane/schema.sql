CREATE FUNCTION public.announce_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM pg_notify('aegis_changes', concat_ws(' ', TG_TABLE_NAME, to_jsonb(coalesce(NEW, OLD)) ->> TG_ARGV[0]));
    RETURN NULL;
END
$$;

CREATE FUNCTION public.keep_an_owner() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.role = 'owner' AND NEW.organization_id = OLD.organization_id THEN
        RETURN NULL;
    END IF;
    -- Locked, because two owners who step down at the same moment would each still see the other. The count below runs after
    -- the wait and sees what the other has done.
    PERFORM 1 FROM organizations WHERE id = OLD.organization_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN NULL; -- The organization itself goes.
    END IF;
    IF NOT EXISTS (SELECT 1 FROM memberships WHERE organization_id = OLD.organization_id AND role = 'owner') THEN
        RAISE EXCEPTION 'organization % would have no owner', OLD.organization_id
            USING ERRCODE = 'restrict_violation', CONSTRAINT = 'memberships_owner_check', TABLE = 'memberships';
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION public.record_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    was      jsonb := CASE WHEN TG_OP = 'INSERT' THEN '{}' ELSE to_jsonb(OLD) END;
    becomes  jsonb := CASE WHEN TG_OP = 'DELETE' THEN '{}' ELSE to_jsonb(NEW) END;
    whole    jsonb := CASE WHEN TG_OP = 'DELETE' THEN was ELSE becomes END;
    secret   text[] := TG_ARGV[4:];
    before   jsonb := shown_change(was, becomes, secret);
    after    jsonb := shown_change(becomes, was, secret);
    actor    jsonb := coalesce(nullif(current_setting('aegis.actor', true), ''), '{}');
    action   text := CASE TG_OP WHEN 'INSERT' THEN 'create' WHEN 'DELETE' THEN 'delete' ELSE 'update' END;
    name     text := coalesce(whole ->> TG_ARGV[3], '');
    owners   uuid[] := ARRAY[(whole ->> TG_ARGV[1])::uuid];
BEGIN
    IF before = '{}' AND after = '{}' THEN
        RETURN NULL;
    END IF;
    IF coalesce(after ->> 'deleted_at', '') <> '' THEN
        action := 'delete';
    ELSIF TG_OP = 'UPDATE' AND coalesce(after ->> 'revoked_at', '') <> '' THEN
        action := 'revoke';
    END IF;
    IF TG_TABLE_NAME = 'users' THEN
        -- A person's account concerns every organization that the person belongs to.
        SELECT coalesce(nullif(array_agg(m.organization_id), '{}'), ARRAY[NULL::uuid]) INTO owners
        FROM memberships m WHERE m.user_id = (whole ->> 'id')::uuid;
    ELSIF TG_TABLE_NAME = 'memberships' THEN
        SELECT coalesce(max(u.email), '') INTO name FROM users u WHERE u.id = (whole ->> 'user_id')::uuid;
    END IF;
    INSERT INTO audit_log (
        organization_id, actor_kind, actor_id, actor_name, address, action, object_kind, object_id, object_name, before, after
    )
    SELECT owner, coalesce(actor ->> 'kind', 'system'), coalesce(actor ->> 'id', ''), coalesce(actor ->> 'name', ''),
        coalesce(actor ->> 'address', ''), action, TG_ARGV[0], coalesce(whole ->> TG_ARGV[2], ''), name, before, after
    FROM unnest(owners) AS owner;
    RETURN NULL;
END
$$;

CREATE FUNCTION public.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are not changed', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;

CREATE FUNCTION public.remember_gone_session() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    INSERT INTO gone_sessions (id) VALUES (OLD.id);
    RETURN NULL;
END
$$;

CREATE FUNCTION public.set_updated_at() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    -- clock_timestamp, because two updates in one transaction are two changes.
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END
$$;

CREATE FUNCTION public.shown_change(of_row jsonb, other jsonb, secret text[]) RETURNS jsonb
    LANGUAGE sql IMMUTABLE
    AS $$
    SELECT coalesce(jsonb_object_agg(key, CASE
        WHEN value = 'null' THEN value
        WHEN key = ANY (secret) THEN '"(secret)"'
        WHEN octet_length(value::text) > 4096 THEN to_jsonb(format('(%s bytes)', octet_length(value::text)))
        ELSE value
    END), '{}')
    FROM jsonb_each(of_row)
    WHERE key <> 'updated_at' AND value IS DISTINCT FROM other -> key
$$;

CREATE TABLE public.alerts (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    organization_id uuid NOT NULL,
    monitor_id uuid NOT NULL,
    group_key text DEFAULT ''::text NOT NULL,
    sequence bigint NOT NULL,
    state text NOT NULL,
    previous_state text NOT NULL,
    value double precision,
    threshold double precision,
    started_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    acknowledged_at timestamp with time zone,
    acknowledged_by uuid,
    resolved_by uuid,
    evidence jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT alerts_ended_at_check CHECK ((ended_at >= started_at)),
    CONSTRAINT alerts_evidence_check CHECK ((jsonb_typeof(evidence) = 'object'::text)),
    CONSTRAINT alerts_group_key_check CHECK ((octet_length(group_key) <= 1024)),
    CONSTRAINT alerts_previous_state_check CHECK (((previous_state = ANY (ARRAY['OK'::text, 'WARN'::text, 'ALERT'::text, 'NO_DATA'::text])) AND (previous_state <> state))),
    CONSTRAINT alerts_sequence_check CHECK ((sequence >= 1)),
    CONSTRAINT alerts_state_check CHECK ((state = ANY (ARRAY['OK'::text, 'WARN'::text, 'ALERT'::text, 'NO_DATA'::text])))
);

CREATE TABLE public.api_keys (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    organization_id uuid NOT NULL,
    prefix text NOT NULL,
    name text DEFAULT ''::text NOT NULL,
    secret_sealed bytea NOT NULL,
    scopes text[] DEFAULT ARRAY['logs:write'::text, 'metrics:write'::text, 'traces:write'::text, 'rum:write'::text] NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    CONSTRAINT api_keys_expires_at_check CHECK ((expires_at > created_at)),
    CONSTRAINT api_keys_name_check CHECK (((char_length(name) <= 100) AND (name !~ '[[:cntrl:]]'::text))),
    CONSTRAINT api_keys_prefix_check CHECK ((prefix ~ '^obs_[a-z0-9]{6,32}$'::text)),
    CONSTRAINT api_keys_scopes_check CHECK (((cardinality(scopes) >= 1) AND (scopes <@ ARRAY['logs:write'::text, 'metrics:write'::text, 'traces:write'::text, 'rum:write'::text]))),
    CONSTRAINT api_keys_secret_sealed_check CHECK (((octet_length(secret_sealed) >= 30) AND (octet_length(secret_sealed) <= 1024)))
);

CREATE TABLE public.api_tokens (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    organization_id uuid NOT NULL,
    prefix text NOT NULL,
    name text NOT NULL,
    role text NOT NULL,
    secret_hash bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone,
    last_used_at timestamp with time zone,
    revoked_at timestamp with time zone,
    CONSTRAINT api_tokens_expires_at_check CHECK ((expires_at > created_at)),
    CONSTRAINT api_tokens_name_check CHECK ((((char_length(name) >= 1) AND (char_length(name) <= 100)) AND (name !~ '^\s|\s$|[[:cntrl:]]'::text))),
    CONSTRAINT api_tokens_prefix_check CHECK ((prefix ~ '^aet_[0-9a-f]{16}$'::text)),
    CONSTRAINT api_tokens_role_check CHECK ((role = ANY (ARRAY['owner'::text, 'admin'::text, 'member'::text, 'viewer'::text]))),
    CONSTRAINT api_tokens_secret_hash_check CHECK ((octet_length(secret_hash) = 32))
);

CREATE TABLE public.audit_log (
    id bigint NOT NULL,
    organization_id uuid,
    at timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    actor_kind text NOT NULL,
    actor_id text NOT NULL,
    actor_name text NOT NULL,
    address text NOT NULL,
    action text NOT NULL,
    object_kind text NOT NULL,
    object_id text NOT NULL,
    object_name text NOT NULL,
    before jsonb NOT NULL,
    after jsonb NOT NULL,
    CONSTRAINT audit_log_action_check CHECK ((action = ANY (ARRAY['create'::text, 'update'::text, 'revoke'::text, 'delete'::text]))),
    CONSTRAINT audit_log_actor_check CHECK (((actor_kind = ANY (ARRAY['user'::text, 'api_token'::text, 'token'::text, 'command'::text, 'system'::text])) AND (char_length(actor_id) <= 200) AND (char_length(actor_name) <= 300) AND (char_length(address) <= 100)))
);

ALTER TABLE public.audit_log ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.audit_log_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.channel_queues (
    channel_id uuid NOT NULL,
    tokens double precision,
    refilled_at timestamp with time zone DEFAULT now() NOT NULL,
    blocked_until timestamp with time zone DEFAULT now() NOT NULL,
    failures integer DEFAULT 0 NOT NULL,
    claimed_at timestamp with time zone DEFAULT now() NOT NULL,
    last_sent_at timestamp with time zone,
    last_failed_at timestamp with time zone,
    last_error text DEFAULT ''::text NOT NULL
);

CREATE TABLE public.channels (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    organization_id uuid NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    config jsonb NOT NULL,
    secrets_sealed bytea,
    secret_names text[] DEFAULT '{}'::text[] NOT NULL,
    enabled boolean DEFAULT true NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT channels_config_check CHECK ((jsonb_typeof(config) = 'object'::text)),
    CONSTRAINT channels_kind_check CHECK ((kind ~ '^[a-z][a-z0-9_]{0,31}$'::text)),
    CONSTRAINT channels_name_check CHECK ((((char_length(name) >= 1) AND (char_length(name) <= 200)) AND (name !~ '^\s|\s$|[[:cntrl:]]'::text))),
    CONSTRAINT channels_secrets_sealed_check CHECK (((octet_length(secrets_sealed) >= 30) AND (octet_length(secrets_sealed) <= 65536))),
    CONSTRAINT channels_version_check CHECK ((version >= 1))
);

CREATE TABLE public.downtimes (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    organization_id uuid NOT NULL,
    name text NOT NULL,
    muted_monitor_id uuid,
    definition jsonb NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT downtimes_definition_check CHECK ((jsonb_typeof(definition) = 'object'::text)),
    CONSTRAINT downtimes_name_check CHECK ((((char_length(name) >= 1) AND (char_length(name) <= 200)) AND (name !~ '^\s|\s$|[[:cntrl:]]'::text))),
    CONSTRAINT downtimes_version_check CHECK ((version >= 1))
);

CREATE TABLE public.gone_sessions (
    id uuid NOT NULL,
    gone_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.memberships (
    organization_id uuid NOT NULL,
    user_id uuid NOT NULL,
    role text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT memberships_role_check CHECK ((role = ANY (ARRAY['owner'::text, 'admin'::text, 'member'::text, 'viewer'::text])))
);

CREATE TABLE public.monitors (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    organization_id uuid NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    definition jsonb NOT NULL,
    enabled boolean DEFAULT true NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT monitors_definition_check CHECK ((jsonb_typeof(definition) = 'object'::text)),
    CONSTRAINT monitors_kind_check CHECK ((kind ~ '^[a-z][a-z0-9_]{0,31}$'::text)),
    CONSTRAINT monitors_name_check CHECK ((((char_length(name) >= 1) AND (char_length(name) <= 200)) AND (name !~ '^\s|\s$|[[:cntrl:]]'::text))),
    CONSTRAINT monitors_version_check CHECK ((version >= 1))
);

CREATE TABLE public.notifications (
    id bigint NOT NULL,
    organization_id uuid NOT NULL,
    alert_id uuid NOT NULL,
    monitor_id uuid NOT NULL,
    group_key text NOT NULL,
    sequence bigint NOT NULL,
    repeat integer NOT NULL,
    channel_id uuid NOT NULL,
    dedup_key text NOT NULL,
    payload jsonb NOT NULL,
    state text NOT NULL,
    reason text DEFAULT ''::text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    next_at timestamp with time zone,
    bundle uuid,
    lease uuid,
    last_error text DEFAULT ''::text NOT NULL,
    last_status integer,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone,
    CONSTRAINT notifications_next_at_check CHECK (((next_at IS NOT NULL) OR (state <> ALL (ARRAY['waiting'::text, 'sending'::text])))),
    CONSTRAINT notifications_state_check CHECK ((state = ANY (ARRAY['waiting'::text, 'sending'::text, 'sent'::text, 'suppressed'::text, 'dead'::text])))
);

ALTER TABLE public.notifications ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.notifications_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE public.organizations (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    name text NOT NULL,
    retention_days integer DEFAULT 30 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    settings jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT organizations_name_check CHECK ((((char_length(name) >= 1) AND (char_length(name) <= 100)) AND (name !~ '^\s|\s$|[[:cntrl:]]'::text))),
    CONSTRAINT organizations_retention_days_check CHECK (((retention_days >= 1) AND (retention_days <= 3650))),
    CONSTRAINT organizations_settings_check CHECK ((jsonb_typeof(settings) = 'object'::text))
);

CREATE TABLE public.schema_migrations (
    target text NOT NULL,
    number integer NOT NULL,
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.sessions (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    organization_id uuid NOT NULL,
    user_id uuid NOT NULL,
    family_hash bytea NOT NULL,
    token_hash bytea NOT NULL,
    spent_hash bytea,
    rotated_at timestamp with time zone DEFAULT now() NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    CONSTRAINT sessions_hash_check CHECK (((octet_length(family_hash) = 32) AND (octet_length(token_hash) = 32) AND (octet_length(spent_hash) = 32)))
);

CREATE TABLE public.slos (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    organization_id uuid NOT NULL,
    name text NOT NULL,
    definition jsonb NOT NULL,
    objective double precision NOT NULL,
    window_days integer DEFAULT 30 NOT NULL,
    enabled boolean DEFAULT true NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT slos_definition_check CHECK ((jsonb_typeof(definition) = 'object'::text)),
    CONSTRAINT slos_name_check CHECK ((((char_length(name) >= 1) AND (char_length(name) <= 200)) AND (name !~ '^\s|\s$|[[:cntrl:]]'::text))),
    CONSTRAINT slos_objective_check CHECK (((objective > (0)::double precision) AND (objective < (1)::double precision))),
    CONSTRAINT slos_version_check CHECK ((version >= 1)),
    CONSTRAINT slos_window_days_check CHECK (((window_days >= 1) AND (window_days <= 365)))
);

CREATE TABLE public.usage_daily (
    organization_id uuid NOT NULL,
    day date NOT NULL,
    logs_count bigint DEFAULT 0 NOT NULL,
    logs_bytes bigint DEFAULT 0 NOT NULL,
    metrics_count bigint DEFAULT 0 NOT NULL,
    spans_count bigint DEFAULT 0 NOT NULL,
    rum_events bigint DEFAULT 0 NOT NULL,
    scrubbed jsonb DEFAULT '{}'::jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT usage_daily_counts_check CHECK ((LEAST(logs_count, logs_bytes, metrics_count, spans_count, rum_events) >= 0)),
    CONSTRAINT usage_daily_scrubbed_check CHECK ((jsonb_typeof(scrubbed) = 'object'::text))
);

CREATE TABLE public.users (
    id uuid DEFAULT gen_random_uuid() NOT NULL,
    email text NOT NULL,
    name text DEFAULT ''::text NOT NULL,
    password_hash text,
    disabled boolean DEFAULT false NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    invite_hash bytea,
    invite_expires_at timestamp with time zone,
    CONSTRAINT users_email_check CHECK ((((char_length(email) >= 3) AND (char_length(email) <= 254)) AND (email ~ '^[^[:space:][:cntrl:]@]+@[^[:space:][:cntrl:]@]+$'::text))),
    CONSTRAINT users_invite_hash_check CHECK ((octet_length(invite_hash) = 32)),
    CONSTRAINT users_name_check CHECK (((char_length(name) <= 100) AND (name !~ '[[:cntrl:]]'::text))),
    CONSTRAINT users_password_hash_check CHECK (((password_hash ~ '^\$argon2(id|i|d)\$'::text) AND (char_length(password_hash) <= 512)))
);

ALTER TABLE ONLY public.alerts
    ADD CONSTRAINT alerts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.alerts
    ADD CONSTRAINT alerts_sequence_key UNIQUE (monitor_id, group_key, sequence);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_prefix_key UNIQUE (prefix);

ALTER TABLE ONLY public.api_tokens
    ADD CONSTRAINT api_tokens_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.api_tokens
    ADD CONSTRAINT api_tokens_prefix_key UNIQUE (prefix);

ALTER TABLE ONLY public.audit_log
    ADD CONSTRAINT audit_log_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.channel_queues
    ADD CONSTRAINT channel_queues_pkey PRIMARY KEY (channel_id);

ALTER TABLE ONLY public.channels
    ADD CONSTRAINT channels_organization_id_id_key UNIQUE (organization_id, id);

ALTER TABLE ONLY public.channels
    ADD CONSTRAINT channels_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.downtimes
    ADD CONSTRAINT downtimes_muted_monitor_id_key UNIQUE (muted_monitor_id);

ALTER TABLE ONLY public.downtimes
    ADD CONSTRAINT downtimes_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.gone_sessions
    ADD CONSTRAINT gone_sessions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.memberships
    ADD CONSTRAINT memberships_pkey PRIMARY KEY (organization_id, user_id);

ALTER TABLE ONLY public.monitors
    ADD CONSTRAINT monitors_organization_id_id_key UNIQUE (organization_id, id);

ALTER TABLE ONLY public.monitors
    ADD CONSTRAINT monitors_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.notifications
    ADD CONSTRAINT notifications_dedup_key_key UNIQUE (dedup_key);

ALTER TABLE ONLY public.notifications
    ADD CONSTRAINT notifications_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.organizations
    ADD CONSTRAINT organizations_name_key UNIQUE (name);

ALTER TABLE ONLY public.organizations
    ADD CONSTRAINT organizations_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (target, number);

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_family_hash_key UNIQUE (family_hash);

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.slos
    ADD CONSTRAINT slos_name_key UNIQUE (organization_id, name);

ALTER TABLE ONLY public.slos
    ADD CONSTRAINT slos_pkey PRIMARY KEY (id);

ALTER TABLE ONLY public.usage_daily
    ADD CONSTRAINT usage_daily_pkey PRIMARY KEY (organization_id, day);

ALTER TABLE ONLY public.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

CREATE INDEX alerts_monitor_id_idx ON public.alerts USING btree (organization_id, monitor_id, started_at DESC, id DESC);

CREATE INDEX alerts_open_idx ON public.alerts USING btree (organization_id, started_at DESC, id DESC) WHERE ((ended_at IS NULL) AND (state <> 'OK'::text));

CREATE INDEX alerts_organization_id_idx ON public.alerts USING btree (organization_id, started_at DESC, id DESC);

CREATE INDEX api_keys_organization_id_idx ON public.api_keys USING btree (organization_id, created_at);

CREATE INDEX api_tokens_organization_id_idx ON public.api_tokens USING btree (organization_id, created_at);

CREATE INDEX audit_log_at_idx ON public.audit_log USING btree (at);

CREATE INDEX audit_log_organization_id_idx ON public.audit_log USING btree (organization_id, id DESC);

CREATE UNIQUE INDEX channels_name_key ON public.channels USING btree (organization_id, name) WHERE (deleted_at IS NULL);

CREATE INDEX downtimes_organization_id_idx ON public.downtimes USING btree (organization_id, created_at);

CREATE INDEX gone_sessions_gone_at_idx ON public.gone_sessions USING btree (gone_at);

CREATE INDEX memberships_user_id_idx ON public.memberships USING btree (user_id);

CREATE UNIQUE INDEX monitors_name_key ON public.monitors USING btree (organization_id, name) WHERE (deleted_at IS NULL);

CREATE INDEX notifications_alert_id_idx ON public.notifications USING btree (alert_id);

CREATE INDEX notifications_bundle_idx ON public.notifications USING btree (channel_id, bundle) WHERE ((bundle IS NOT NULL) AND (state = ANY (ARRAY['waiting'::text, 'sending'::text])));

CREATE INDEX notifications_due_idx ON public.notifications USING btree (channel_id, monitor_id, group_key, id) WHERE (state = ANY (ARRAY['waiting'::text, 'sending'::text]));

CREATE INDEX notifications_finished_at_idx ON public.notifications USING btree (finished_at) WHERE (finished_at IS NOT NULL);

CREATE INDEX notifications_fresh_idx ON public.notifications USING btree (channel_id, id) WHERE ((state = 'waiting'::text) AND (bundle IS NULL));

CREATE INDEX notifications_group_idx ON public.notifications USING btree (monitor_id, group_key, sequence);

CREATE INDEX notifications_suppressed_idx ON public.notifications USING btree (next_at) WHERE ((state = 'suppressed'::text) AND (next_at IS NOT NULL));

CREATE INDEX sessions_ended_at_idx ON public.sessions USING btree (ended_at) WHERE (ended_at IS NOT NULL);

CREATE INDEX sessions_user_id_idx ON public.sessions USING btree (user_id, organization_id, created_at);

CREATE UNIQUE INDEX users_email_key ON public.users USING btree (lower(email));

CREATE UNIQUE INDEX users_invite_hash_key ON public.users USING btree (invite_hash) WHERE (invite_hash IS NOT NULL);

CREATE TRIGGER alerts_record_change AFTER UPDATE OF acknowledged_by, resolved_by ON public.alerts FOR EACH ROW EXECUTE FUNCTION public.record_change('alert', 'organization_id', 'id', 'group_key');

CREATE TRIGGER alerts_set_updated_at BEFORE UPDATE ON public.alerts FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();

CREATE TRIGGER api_keys_announce_change AFTER INSERT OR DELETE OR UPDATE ON public.api_keys FOR EACH ROW EXECUTE FUNCTION public.announce_change('organization_id');

CREATE TRIGGER api_keys_record_change AFTER INSERT OR DELETE OR UPDATE ON public.api_keys FOR EACH ROW EXECUTE FUNCTION public.record_change('key', 'organization_id', 'prefix', 'name', 'secret_sealed');

CREATE TRIGGER api_keys_set_updated_at BEFORE UPDATE ON public.api_keys FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();

CREATE TRIGGER api_tokens_announce_change AFTER INSERT OR DELETE OR UPDATE OF name, role, expires_at, revoked_at ON public.api_tokens FOR EACH ROW EXECUTE FUNCTION public.announce_change('organization_id');

CREATE TRIGGER api_tokens_record_change AFTER INSERT OR DELETE OR UPDATE OF name, role, expires_at, revoked_at ON public.api_tokens FOR EACH ROW EXECUTE FUNCTION public.record_change('api_token', 'organization_id', 'id', 'name', 'secret_hash');

CREATE TRIGGER audit_log_refuse_change BEFORE UPDATE ON public.audit_log FOR EACH ROW EXECUTE FUNCTION public.refuse_change();

CREATE TRIGGER channels_announce_change AFTER INSERT OR DELETE OR UPDATE ON public.channels FOR EACH ROW EXECUTE FUNCTION public.announce_change('organization_id');

CREATE TRIGGER channels_record_change AFTER INSERT OR DELETE OR UPDATE ON public.channels FOR EACH ROW EXECUTE FUNCTION public.record_change('channel', 'organization_id', 'id', 'name', 'secrets_sealed');

CREATE TRIGGER channels_set_updated_at BEFORE UPDATE ON public.channels FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();

CREATE TRIGGER downtimes_announce_change AFTER INSERT OR DELETE OR UPDATE ON public.downtimes FOR EACH ROW EXECUTE FUNCTION public.announce_change('organization_id');

CREATE TRIGGER downtimes_record_change AFTER INSERT OR DELETE OR UPDATE ON public.downtimes FOR EACH ROW EXECUTE FUNCTION public.record_change('downtime', 'organization_id', 'id', 'name');

CREATE TRIGGER downtimes_set_updated_at BEFORE UPDATE ON public.downtimes FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();

CREATE TRIGGER memberships_announce_change AFTER INSERT OR DELETE OR UPDATE ON public.memberships FOR EACH ROW EXECUTE FUNCTION public.announce_change('organization_id');

CREATE TRIGGER memberships_keep_an_owner AFTER DELETE OR UPDATE ON public.memberships FOR EACH ROW WHEN ((old.role = 'owner'::text)) EXECUTE FUNCTION public.keep_an_owner();

CREATE TRIGGER memberships_record_change AFTER INSERT OR DELETE OR UPDATE ON public.memberships FOR EACH ROW EXECUTE FUNCTION public.record_change('member', 'organization_id', 'user_id', '');

CREATE TRIGGER memberships_set_updated_at BEFORE UPDATE ON public.memberships FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();

CREATE TRIGGER monitors_announce_change AFTER INSERT OR DELETE OR UPDATE ON public.monitors FOR EACH ROW EXECUTE FUNCTION public.announce_change('organization_id');

CREATE TRIGGER monitors_record_change AFTER INSERT OR DELETE OR UPDATE ON public.monitors FOR EACH ROW EXECUTE FUNCTION public.record_change('monitor', 'organization_id', 'id', 'name');

CREATE TRIGGER monitors_set_updated_at BEFORE UPDATE ON public.monitors FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();

CREATE TRIGGER organizations_announce_change AFTER INSERT OR DELETE OR UPDATE ON public.organizations FOR EACH ROW EXECUTE FUNCTION public.announce_change('id');

CREATE TRIGGER organizations_record_change AFTER INSERT OR DELETE OR UPDATE ON public.organizations FOR EACH ROW EXECUTE FUNCTION public.record_change('organization', 'id', 'id', 'name');

CREATE TRIGGER sessions_announce_change AFTER UPDATE OF ended_at ON public.sessions FOR EACH ROW WHEN ((new.ended_at IS DISTINCT FROM old.ended_at)) EXECUTE FUNCTION public.announce_change('organization_id');

CREATE TRIGGER sessions_remember_gone AFTER DELETE ON public.sessions FOR EACH ROW WHEN ((LEAST(old.ended_at, old.expires_at) > (now() - '1 day'::interval))) EXECUTE FUNCTION public.remember_gone_session();

CREATE TRIGGER slos_announce_change AFTER INSERT OR DELETE OR UPDATE ON public.slos FOR EACH ROW EXECUTE FUNCTION public.announce_change('organization_id');

CREATE TRIGGER slos_record_change AFTER INSERT OR DELETE OR UPDATE ON public.slos FOR EACH ROW EXECUTE FUNCTION public.record_change('slo', 'organization_id', 'id', 'name');

CREATE TRIGGER slos_set_updated_at BEFORE UPDATE ON public.slos FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();

CREATE TRIGGER usage_daily_set_updated_at BEFORE UPDATE ON public.usage_daily FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();

CREATE TRIGGER users_announce_change AFTER INSERT OR DELETE OR UPDATE ON public.users FOR EACH ROW EXECUTE FUNCTION public.announce_change();

CREATE TRIGGER users_record_change AFTER INSERT OR DELETE OR UPDATE ON public.users FOR EACH ROW EXECUTE FUNCTION public.record_change('user', '', 'id', 'email', 'password_hash', 'invite_hash');

CREATE TRIGGER users_set_updated_at BEFORE UPDATE ON public.users FOR EACH ROW EXECUTE FUNCTION public.set_updated_at();

ALTER TABLE ONLY public.alerts
    ADD CONSTRAINT alerts_acknowledged_by_fkey FOREIGN KEY (acknowledged_by) REFERENCES public.users(id) ON DELETE SET NULL;

ALTER TABLE ONLY public.alerts
    ADD CONSTRAINT alerts_monitor_id_fkey FOREIGN KEY (organization_id, monitor_id) REFERENCES public.monitors(organization_id, id) ON DELETE CASCADE;

ALTER TABLE ONLY public.alerts
    ADD CONSTRAINT alerts_resolved_by_fkey FOREIGN KEY (resolved_by) REFERENCES public.users(id) ON DELETE SET NULL;

ALTER TABLE ONLY public.api_keys
    ADD CONSTRAINT api_keys_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.api_tokens
    ADD CONSTRAINT api_tokens_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.channel_queues
    ADD CONSTRAINT channel_queues_channel_id_fkey FOREIGN KEY (channel_id) REFERENCES public.channels(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.channels
    ADD CONSTRAINT channels_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.downtimes
    ADD CONSTRAINT downtimes_muted_monitor_id_fkey FOREIGN KEY (organization_id, muted_monitor_id) REFERENCES public.monitors(organization_id, id) ON DELETE CASCADE;

ALTER TABLE ONLY public.downtimes
    ADD CONSTRAINT downtimes_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.memberships
    ADD CONSTRAINT memberships_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.memberships
    ADD CONSTRAINT memberships_user_id_fkey FOREIGN KEY (user_id) REFERENCES public.users(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.monitors
    ADD CONSTRAINT monitors_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.notifications
    ADD CONSTRAINT notifications_alert_id_fkey FOREIGN KEY (alert_id) REFERENCES public.alerts(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.notifications
    ADD CONSTRAINT notifications_channel_id_fkey FOREIGN KEY (organization_id, channel_id) REFERENCES public.channels(organization_id, id) ON DELETE CASCADE;

ALTER TABLE ONLY public.sessions
    ADD CONSTRAINT sessions_membership_fkey FOREIGN KEY (organization_id, user_id) REFERENCES public.memberships(organization_id, user_id) ON DELETE CASCADE;

ALTER TABLE ONLY public.slos
    ADD CONSTRAINT slos_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;

ALTER TABLE ONLY public.usage_daily
    ADD CONSTRAINT usage_daily_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES public.organizations(id) ON DELETE CASCADE;
