-- Who may read what in ClickHouse itself, besides Aegis. Run after `aegis migrate`, as the user aegis; again is harmless.
--
-- The role aegis_reader sees one organization, that of its session's setting SQL_org_id. AS RESTRICTIVE, because restrictive
-- policies are joined by AND: a permissive policy that somebody adds later cannot widen what the role sees. Each has a permissive
-- one beside it that lets everything through, since a role with restrictive ones alone may see nothing. The views too: reading
-- through a view does not apply the policies of the table behind it.
CREATE ROLE IF NOT EXISTS aegis_reader;

GRANT SELECT ON aegis.logs TO aegis_reader;
CREATE ROW POLICY OR REPLACE aegis_logs_all ON aegis.logs FOR SELECT USING 1 TO aegis_reader;
CREATE ROW POLICY OR REPLACE aegis_logs_organization ON aegis.logs AS RESTRICTIVE
    FOR SELECT USING org_id = getSetting('SQL_org_id') TO aegis_reader;

GRANT SELECT ON aegis.spans TO aegis_reader;
CREATE ROW POLICY OR REPLACE aegis_spans_all ON aegis.spans FOR SELECT USING 1 TO aegis_reader;
CREATE ROW POLICY OR REPLACE aegis_spans_organization ON aegis.spans AS RESTRICTIVE
    FOR SELECT USING org_id = getSetting('SQL_org_id') TO aegis_reader;

GRANT SELECT ON aegis.rum_events TO aegis_reader;
CREATE ROW POLICY OR REPLACE aegis_rum_events_all ON aegis.rum_events FOR SELECT USING 1 TO aegis_reader;
CREATE ROW POLICY OR REPLACE aegis_rum_events_organization ON aegis.rum_events AS RESTRICTIVE
    FOR SELECT USING org_id = getSetting('SQL_org_id') TO aegis_reader;

GRANT SELECT ON aegis.logs_hourly TO aegis_reader;
CREATE ROW POLICY OR REPLACE aegis_logs_hourly_all ON aegis.logs_hourly FOR SELECT USING 1 TO aegis_reader;
CREATE ROW POLICY OR REPLACE aegis_logs_hourly_organization ON aegis.logs_hourly AS RESTRICTIVE
    FOR SELECT USING org_id = getSetting('SQL_org_id') TO aegis_reader;

GRANT SELECT ON aegis.spans_hourly TO aegis_reader;
CREATE ROW POLICY OR REPLACE aegis_spans_hourly_all ON aegis.spans_hourly FOR SELECT USING 1 TO aegis_reader;
CREATE ROW POLICY OR REPLACE aegis_spans_hourly_organization ON aegis.spans_hourly AS RESTRICTIVE
    FOR SELECT USING org_id = getSetting('SQL_org_id') TO aegis_reader;

GRANT SELECT ON aegis.rum_hourly TO aegis_reader;
CREATE ROW POLICY OR REPLACE aegis_rum_hourly_all ON aegis.rum_hourly FOR SELECT USING 1 TO aegis_reader;
CREATE ROW POLICY OR REPLACE aegis_rum_hourly_organization ON aegis.rum_hourly AS RESTRICTIVE
    FOR SELECT USING org_id = getSetting('SQL_org_id') TO aegis_reader;

GRANT SELECT ON aegis.logs_hourly_view TO aegis_reader;
CREATE ROW POLICY OR REPLACE aegis_logs_hourly_view_all ON aegis.logs_hourly_view FOR SELECT USING 1 TO aegis_reader;
CREATE ROW POLICY OR REPLACE aegis_logs_hourly_view_organization ON aegis.logs_hourly_view AS RESTRICTIVE
    FOR SELECT USING org_id = getSetting('SQL_org_id') TO aegis_reader;

GRANT SELECT ON aegis.spans_hourly_view TO aegis_reader;
CREATE ROW POLICY OR REPLACE aegis_spans_hourly_view_all ON aegis.spans_hourly_view FOR SELECT USING 1 TO aegis_reader;
CREATE ROW POLICY OR REPLACE aegis_spans_hourly_view_organization ON aegis.spans_hourly_view AS RESTRICTIVE
    FOR SELECT USING org_id = getSetting('SQL_org_id') TO aegis_reader;

GRANT SELECT ON aegis.rum_hourly_view TO aegis_reader;
CREATE ROW POLICY OR REPLACE aegis_rum_hourly_view_all ON aegis.rum_hourly_view FOR SELECT USING 1 TO aegis_reader;
CREATE ROW POLICY OR REPLACE aegis_rum_hourly_view_organization ON aegis.rum_hourly_view AS RESTRICTIVE
    FOR SELECT USING org_id = getSetting('SQL_org_id') TO aegis_reader;
