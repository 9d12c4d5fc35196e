-- Credentials of senders. The prefix is public (header x-org-key); the secret is sealed under AEGIS_MASTER_KEY, because checking
-- an HMAC needs the secret itself and a hash would not do.
CREATE TABLE api_keys (
    id              uuid        NOT NULL DEFAULT gen_random_uuid(),
    organization_id uuid        NOT NULL,
    prefix          text        NOT NULL,
    name            text        NOT NULL DEFAULT '',
    secret_sealed   bytea       NOT NULL,
    scopes          text[]      NOT NULL DEFAULT ARRAY['logs:write', 'metrics:write', 'traces:write', 'rum:write'],
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    expires_at      timestamptz,
    revoked_at      timestamptz,
    CONSTRAINT api_keys_pkey PRIMARY KEY (id),
    CONSTRAINT api_keys_prefix_key UNIQUE (prefix),
    CONSTRAINT api_keys_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id) ON DELETE CASCADE,
    CONSTRAINT api_keys_prefix_check CHECK (prefix ~ '^obs_[a-z0-9]{6,32}$'),
    CONSTRAINT api_keys_name_check CHECK (char_length(name) <= 100 AND name !~ '[[:cntrl:]]'),
    CONSTRAINT api_keys_secret_sealed_check CHECK (octet_length(secret_sealed) BETWEEN 30 AND 1024),
    CONSTRAINT api_keys_scopes_check CHECK (
        cardinality(scopes) >= 1 AND scopes <@ ARRAY['logs:write', 'metrics:write', 'traces:write', 'rum:write']
    ),
    CONSTRAINT api_keys_expires_at_check CHECK (expires_at > created_at)
);

-- Lists of an organization's keys, and the cascade from organizations.
CREATE INDEX api_keys_organization_id_idx ON api_keys (organization_id, created_at);

CREATE FUNCTION set_updated_at() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    -- clock_timestamp, because two updates in one transaction are two changes.
    NEW.updated_at := clock_timestamp();
    RETURN NEW;
END
$$;

CREATE TRIGGER api_keys_set_updated_at BEFORE UPDATE ON api_keys FOR EACH ROW EXECUTE FUNCTION set_updated_at();
