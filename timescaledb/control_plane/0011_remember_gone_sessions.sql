-- Sessions that went with a membership. Their access tokens may still be out, and must not count again when the person is added
-- anew before they expire. Kept for a day, as ended sessions are.
CREATE TABLE gone_sessions (
    id      uuid        NOT NULL,
    gone_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT gone_sessions_pkey PRIMARY KEY (id)
);

-- What those who check access tokens read every second or so.
CREATE INDEX gone_sessions_gone_at_idx ON gone_sessions (gone_at);

CREATE FUNCTION remember_gone_session() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO gone_sessions (id) VALUES (OLD.id);
    RETURN NULL;
END
$$;
-- Not for what is trimmed a day after its end.
CREATE TRIGGER sessions_remember_gone AFTER DELETE ON sessions FOR EACH ROW
    WHEN (least(OLD.ended_at, OLD.expires_at) > now() - interval '1 day') EXECUTE FUNCTION remember_gone_session();
