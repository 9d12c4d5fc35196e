-- Logins. A session is a family of refresh tokens, each of which can be used once: its successor's hash takes its place.
CREATE TABLE sessions (
    id              uuid        NOT NULL DEFAULT gen_random_uuid(),
    organization_id uuid        NOT NULL,
    user_id         uuid        NOT NULL,
    -- SHA-256 of the part that all tokens of the session share, of the part of the one that is good, and of the one before it.
    -- Random of 24 and 32 bytes, so a fast hash is enough.
    family_hash     bytea       NOT NULL,
    token_hash      bytea       NOT NULL,
    spent_hash      bytea,
    rotated_at      timestamptz NOT NULL DEFAULT now(),
    created_at      timestamptz NOT NULL DEFAULT now(),
    expires_at      timestamptz NOT NULL,
    -- Logged out, replaced by others, or its tokens were used twice. Kept for a day, for access tokens that are still out.
    ended_at        timestamptz,
    CONSTRAINT sessions_pkey PRIMARY KEY (id),
    CONSTRAINT sessions_family_hash_key UNIQUE (family_hash),
    -- Who is no member any more has no session.
    CONSTRAINT sessions_membership_fkey FOREIGN KEY (organization_id, user_id)
        REFERENCES memberships (organization_id, user_id) ON DELETE CASCADE,
    CONSTRAINT sessions_hash_check CHECK (
        octet_length(family_hash) = 32 AND octet_length(token_hash) = 32 AND octet_length(spent_hash) = 32
    )
);

-- A user's sessions, and the cascade.
CREATE INDEX sessions_user_id_idx ON sessions (user_id, organization_id, created_at);
-- What those who check access tokens read every second or so.
CREATE INDEX sessions_ended_at_idx ON sessions (ended_at) WHERE ended_at IS NOT NULL;

CREATE TRIGGER sessions_announce_change AFTER UPDATE OF ended_at ON sessions
    FOR EACH ROW WHEN (NEW.ended_at IS DISTINCT FROM OLD.ended_at) EXECUTE FUNCTION announce_change('organization_id');

-- Bearer tokens of programs. They belong to the organization, so they outlive who made them.
CREATE TABLE api_tokens (
    id              uuid        NOT NULL DEFAULT gen_random_uuid(),
    organization_id uuid        NOT NULL,
    prefix          text        NOT NULL,
    name            text        NOT NULL,
    role            text        NOT NULL,
    -- SHA-256 of a secret of 32 random bytes.
    secret_hash     bytea       NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    expires_at      timestamptz,
    -- Of a minute, and written some seconds later.
    last_used_at    timestamptz,
    revoked_at      timestamptz,
    CONSTRAINT api_tokens_pkey PRIMARY KEY (id),
    CONSTRAINT api_tokens_prefix_key UNIQUE (prefix),
    CONSTRAINT api_tokens_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id) ON DELETE CASCADE,
    CONSTRAINT api_tokens_prefix_check CHECK (prefix ~ '^aet_[0-9a-f]{16}$'),
    CONSTRAINT api_tokens_name_check CHECK (char_length(name) BETWEEN 1 AND 100 AND name !~ '^\s|\s$|[[:cntrl:]]'),
    CONSTRAINT api_tokens_role_check CHECK (role IN ('owner', 'admin', 'member', 'viewer')),
    CONSTRAINT api_tokens_secret_hash_check CHECK (octet_length(secret_hash) = 32),
    CONSTRAINT api_tokens_expires_at_check CHECK (expires_at > created_at)
);

-- Lists of an organization's tokens, and the cascade from organizations.
CREATE INDEX api_tokens_organization_id_idx ON api_tokens (organization_id, created_at);

-- Not for last_used_at, which concerns nobody's copy and is no change by anybody.
CREATE TRIGGER api_tokens_announce_change AFTER INSERT OR DELETE OR UPDATE OF name, role, expires_at, revoked_at ON api_tokens
    FOR EACH ROW EXECUTE FUNCTION announce_change('organization_id');
CREATE TRIGGER api_tokens_record_change AFTER INSERT OR DELETE OR UPDATE OF name, role, expires_at, revoked_at ON api_tokens
    FOR EACH ROW EXECUTE FUNCTION record_change('api_token', 'organization_id', 'id', 'name', 'secret_hash');

-- SHA-256 of the token with which a person who was invited chooses a password, once.
ALTER TABLE users ADD COLUMN invite_hash bytea;
ALTER TABLE users ADD COLUMN invite_expires_at timestamptz;
ALTER TABLE users ADD CONSTRAINT users_invite_hash_check CHECK (octet_length(invite_hash) = 32);
CREATE UNIQUE INDEX users_invite_hash_key ON users (invite_hash) WHERE invite_hash IS NOT NULL;
CREATE OR REPLACE TRIGGER users_record_change AFTER INSERT OR UPDATE OR DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION record_change('user', '', 'id', 'email', 'password_hash', 'invite_hash');
