"""Redis, PostgreSQL and ClickHouse, spawned locally from installed wheels."""
