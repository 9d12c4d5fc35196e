"""Redis, PostgreSQL and ClickHouse, run locally from installed wheels: a data folder and a port in, a process spec and a URL out.

redis.py       redis-server or valkey-server of this machine, else the wheel's
postgres.py    PostgreSQL 18 of the wheel; cluster.py makes and repairs its folder, accounts.py finds its user
clickhouse/    ClickHouse's HTTP interface over chDB; service.py is its spec
ports.py       a free port when the usual one is taken
secrets.py     passwords that are made once and kept in the data folder
"""
