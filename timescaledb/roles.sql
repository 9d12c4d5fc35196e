-- Roles of both PostgreSQL servers. Run once by psql as the superuser, in the database of Aegis, before `aegis migrate`; again is
-- harmless and sets the passwords anew. Passwords come from the environment, so that none stands in a file.
--
--   aegis         owns the schema: `aegis migrate`, and whatever manages TimescaleDB's policies
--   aegis_app     reads and writes rows: gateways, workers
--   aegis_reader  reads: people, backups
\set ON_ERROR_STOP on
\getenv owner_password AEGIS_OWNER_PASSWORD
\getenv app_password AEGIS_APP_PASSWORD
\getenv reader_password AEGIS_READER_PASSWORD

SELECT format('CREATE ROLE %I LOGIN', role)
FROM unnest(ARRAY['aegis', 'aegis_app', 'aegis_reader']) AS role
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role)
\gexec

ALTER ROLE aegis PASSWORD :'owner_password';
ALTER ROLE aegis_app PASSWORD :'app_password';
ALTER ROLE aegis_reader PASSWORD :'reader_password';

-- Nobody else gets in, and only the owner makes tables.
SELECT format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database())
\gexec
SELECT format('GRANT CONNECT ON DATABASE %I TO aegis, aegis_app, aegis_reader', current_database())
\gexec
REVOKE CREATE ON SCHEMA public FROM PUBLIC;
GRANT USAGE, CREATE ON SCHEMA public TO aegis;
GRANT USAGE ON SCHEMA public TO aegis_app, aegis_reader;

-- For what the owner has made, and for what it will make.
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO aegis_app;
GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO aegis_app;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO aegis_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE aegis IN SCHEMA public GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO aegis_app;
ALTER DEFAULT PRIVILEGES FOR ROLE aegis IN SCHEMA public GRANT USAGE ON SEQUENCES TO aegis_app;
ALTER DEFAULT PRIVILEGES FOR ROLE aegis IN SCHEMA public GRANT SELECT ON TABLES TO aegis_reader;

-- A statement that hangs holds a connection of the pool; migrations and deletions by age may take longer.
ALTER ROLE aegis_app SET statement_timeout = '60s';
ALTER ROLE aegis_reader SET statement_timeout = '60s';
ALTER ROLE aegis_reader SET default_transaction_read_only = on;
