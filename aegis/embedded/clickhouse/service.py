"""A data folder and a port in; the process spec and the connection facts of the ClickHouse process out."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from aegis.embedded.secrets import load_or_create_secret
from aegis.supervision.spec import ProcessSpec

USER = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClickHouseService:
    """The ClickHouse process of a data folder, on the loopback only, with a password.

    The password matters on a loopback too: without one any web page that somebody opens on this machine could post SQL.
    """

    data_dir: Path
    port: int
    password: str
    env: Mapping[str, str]

    @property
    def url(self) -> str:
        """Where clients go; user `default`, with the password."""
        return f"http://127.0.0.1:{self.port}"

    def argv(self) -> tuple[str, ...]:
        """The command line."""
        return (
            sys.executable, "-m", "aegis.embedded.clickhouse",
            "--path", str(self.data_dir.absolute() / "clickhouse"),
            "--host", "127.0.0.1",
            "--port", str(self.port),
            "--password-file", str(_password_file(self.data_dir)),
        )  # fmt: skip

    def spec(self) -> ProcessSpec:
        """What a supervisor needs to run it."""
        return ProcessSpec(
            name="clickhouse",
            argv=self.argv(),
            env=self.env,
            ready=self.is_ready,
            # Running queries get ten seconds of their own, and what is killed then five.
            stop_timeout_s=20.0,
            ready_timeout_s=120.0,
        )

    async def is_ready(self) -> bool:
        """Whether it takes our password and answers a query."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            head = f"GET /?query=SELECT%201 HTTP/1.1\r\nHost: 127.0.0.1\r\nX-ClickHouse-Key: {self.password}\r\n"
            writer.write(f"{head}Connection: close\r\n\r\n".encode())
            answer = await reader.read()
            return answer.startswith(b"HTTP/1.1 200 ") and answer.endswith(b"\r\n\r\n1\n")
        finally:
            writer.close()
            await writer.wait_closed()


def clickhouse_service(data_dir: Path, port: int, env: Mapping[str, str]) -> ClickHouseService:
    """The ClickHouse process of this data folder. Reads or makes its password; nothing else is touched."""
    return ClickHouseService(
        data_dir=data_dir, port=port, password=load_or_create_secret(_password_file(data_dir)), env=env
    )


def _password_file(data_dir: Path) -> Path:
    return data_dir.absolute() / "clickhouse.password"
