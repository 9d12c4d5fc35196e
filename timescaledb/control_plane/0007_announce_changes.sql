-- Who keeps a copy of these tables in memory listens on the channel `aegis_changes` and reads them again. The payload is the
-- table's name and the organization's id, or the name alone where a row belongs to no organization; PostgreSQL folds equal
-- ones of a transaction into one.
--
-- Not alerts and usage_daily: nobody keeps a copy of them, they change often, and commits that notify wait for each other.
CREATE FUNCTION announce_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_notify('aegis_changes', concat_ws(' ', TG_TABLE_NAME, to_jsonb(coalesce(NEW, OLD)) ->> TG_ARGV[0]));
    RETURN NULL;
END
$$;

CREATE TRIGGER organizations_announce_change AFTER INSERT OR UPDATE OR DELETE ON organizations
    FOR EACH ROW EXECUTE FUNCTION announce_change('id');
CREATE TRIGGER api_keys_announce_change AFTER INSERT OR UPDATE OR DELETE ON api_keys
    FOR EACH ROW EXECUTE FUNCTION announce_change('organization_id');
CREATE TRIGGER users_announce_change AFTER INSERT OR UPDATE OR DELETE ON users
    FOR EACH ROW EXECUTE FUNCTION announce_change();
CREATE TRIGGER memberships_announce_change AFTER INSERT OR UPDATE OR DELETE ON memberships
    FOR EACH ROW EXECUTE FUNCTION announce_change('organization_id');
CREATE TRIGGER monitors_announce_change AFTER INSERT OR UPDATE OR DELETE ON monitors
    FOR EACH ROW EXECUTE FUNCTION announce_change('organization_id');
CREATE TRIGGER slos_announce_change AFTER INSERT OR UPDATE OR DELETE ON slos
    FOR EACH ROW EXECUTE FUNCTION announce_change('organization_id');
