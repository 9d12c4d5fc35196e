-- Who changed what: a row for each change, written by a trigger in the change's own transaction, so that no change can be without
-- it. Whoever writes says who acts with the setting `aegis.actor` of the transaction, a JSON object {kind, id, name, address};
-- without it the actor is the system.
CREATE TABLE audit_log (
    id              bigint      NOT NULL GENERATED ALWAYS AS IDENTITY,
    -- No reference: what was done to an organization that is gone stays known. NULL is a user who belongs to none.
    organization_id uuid,
    at              timestamptz NOT NULL DEFAULT clock_timestamp(),
    actor_kind      text        NOT NULL,
    actor_id        text        NOT NULL,
    actor_name      text        NOT NULL,
    -- From where, as the gateway saw it; '' for what was not asked over HTTP.
    address         text        NOT NULL,
    action          text        NOT NULL,
    object_kind     text        NOT NULL,
    object_id       text        NOT NULL,
    object_name     text        NOT NULL,
    -- The columns that differ, as they were and as they became; secrets and long values are told by a word.
    before          jsonb       NOT NULL,
    after           jsonb       NOT NULL,
    CONSTRAINT audit_log_pkey PRIMARY KEY (id),
    CONSTRAINT audit_log_action_check CHECK (action IN ('create', 'update', 'revoke', 'delete')),
    CONSTRAINT audit_log_actor_check CHECK (
        actor_kind IN ('user', 'api_token', 'token', 'command', 'system')
        AND char_length(actor_id) <= 200 AND char_length(actor_name) <= 300 AND char_length(address) <= 100
    )
);

-- Pages of an organization's log, newest first; and what has had its time.
CREATE INDEX audit_log_organization_id_idx ON audit_log (organization_id, id DESC);
CREATE INDEX audit_log_at_idx ON audit_log (at);

-- The columns of a row that another version of it has otherwise, as they may be shown.
CREATE FUNCTION shown_change(of_row jsonb, other jsonb, secret text[]) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(jsonb_object_agg(key, CASE
        WHEN value = 'null' THEN value
        WHEN key = ANY (secret) THEN '"(secret)"'
        WHEN octet_length(value::text) > 4096 THEN to_jsonb(format('(%s bytes)', octet_length(value::text)))
        ELSE value
    END), '{}')
    FROM jsonb_each(of_row)
    WHERE key <> 'updated_at' AND value IS DISTINCT FROM other -> key
$$;

-- Arguments: what the row is called; its columns of organization, id and name, '' for none; then the columns that hold secrets.
CREATE FUNCTION record_change() RETURNS trigger LANGUAGE plpgsql AS $$
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

-- What was written down is not rewritten; it goes whole, with its time.
CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'rows of % are not changed', TG_TABLE_NAME USING ERRCODE = 'restrict_violation';
END
$$;
CREATE TRIGGER audit_log_refuse_change BEFORE UPDATE ON audit_log FOR EACH ROW EXECUTE FUNCTION refuse_change();

CREATE TRIGGER organizations_record_change AFTER INSERT OR UPDATE OR DELETE ON organizations
    FOR EACH ROW EXECUTE FUNCTION record_change('organization', 'id', 'id', 'name');
CREATE TRIGGER api_keys_record_change AFTER INSERT OR UPDATE OR DELETE ON api_keys
    FOR EACH ROW EXECUTE FUNCTION record_change('key', 'organization_id', 'prefix', 'name', 'secret_sealed');
CREATE TRIGGER users_record_change AFTER INSERT OR UPDATE OR DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION record_change('user', '', 'id', 'email', 'password_hash');
CREATE TRIGGER memberships_record_change AFTER INSERT OR UPDATE OR DELETE ON memberships
    FOR EACH ROW EXECUTE FUNCTION record_change('member', 'organization_id', 'user_id', '');
CREATE TRIGGER monitors_record_change AFTER INSERT OR UPDATE OR DELETE ON monitors
    FOR EACH ROW EXECUTE FUNCTION record_change('monitor', 'organization_id', 'id', 'name');
CREATE TRIGGER slos_record_change AFTER INSERT OR UPDATE OR DELETE ON slos
    FOR EACH ROW EXECUTE FUNCTION record_change('slo', 'organization_id', 'id', 'name');
-- Only what people do to alerts: the engine's own changes are many, and the table is their record.
CREATE TRIGGER alerts_record_change AFTER UPDATE OF acknowledged_by, resolved_by ON alerts
    FOR EACH ROW EXECUTE FUNCTION record_change('alert', 'organization_id', 'id', 'group_key');
