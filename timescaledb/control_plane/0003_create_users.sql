-- People, and what they may do where. Programs have API keys instead.
CREATE TABLE users (
    id            uuid        NOT NULL DEFAULT gen_random_uuid(),
    -- As it was typed; compared without case.
    email         text        NOT NULL,
    name          text        NOT NULL DEFAULT '',
    -- argon2 in its own text form ($argon2id$v=19$...). NULL is a person who was invited and cannot log in yet.
    password_hash text,
    -- Cannot log in. Memberships stay, so that what somebody did keeps its name.
    disabled      boolean     NOT NULL DEFAULT false,
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_email_check CHECK (char_length(email) BETWEEN 3 AND 254 AND email ~ '^[^[:space:][:cntrl:]@]+@[^[:space:][:cntrl:]@]+$'),
    CONSTRAINT users_name_check CHECK (char_length(name) <= 100 AND name !~ '[[:cntrl:]]'),
    CONSTRAINT users_password_hash_check CHECK (password_hash ~ '^\$argon2(id|i|d)\$' AND char_length(password_hash) <= 512)
);

-- "Ada@example.org" and "ada@example.org" are one person.
CREATE UNIQUE INDEX users_email_key ON users (lower(email));

CREATE TRIGGER users_set_updated_at BEFORE UPDATE ON users FOR EACH ROW EXECUTE FUNCTION set_updated_at();

CREATE TABLE memberships (
    organization_id uuid        NOT NULL,
    user_id         uuid        NOT NULL,
    role            text        NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT memberships_pkey PRIMARY KEY (organization_id, user_id),
    CONSTRAINT memberships_organization_id_fkey FOREIGN KEY (organization_id) REFERENCES organizations (id) ON DELETE CASCADE,
    CONSTRAINT memberships_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) ON DELETE CASCADE,
    CONSTRAINT memberships_role_check CHECK (role IN ('owner', 'admin', 'member', 'viewer'))
);

-- Which organizations somebody may log in to, and the cascade from users.
CREATE INDEX memberships_user_id_idx ON memberships (user_id);

CREATE TRIGGER memberships_set_updated_at BEFORE UPDATE ON memberships FOR EACH ROW EXECUTE FUNCTION set_updated_at();

-- An organization that has members has an owner. A constraint cannot count, so a trigger does, after each change.
CREATE FUNCTION keep_an_owner() RETURNS trigger LANGUAGE plpgsql AS $$
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

CREATE TRIGGER memberships_keep_an_owner AFTER UPDATE OR DELETE ON memberships
    FOR EACH ROW WHEN (OLD.role = 'owner') EXECUTE FUNCTION keep_an_owner();
