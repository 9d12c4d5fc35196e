"""`aegis gateway` as a process of its own over a real Redis and PostgreSQL, for tests that speak HTTP or worse to it."""

from __future__ import annotations

import asyncio
import os
import secrets
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

from storage.control_plane import ControlPlane
from storage.migrations import migrate
from storage.sealing import Sealer


class GatewayProcess:
    """One gateway with one organization and one key. Its rate limits are out of the way; its log is `log`."""

    def __init__(self, folder: Path, *, redis_url: str, dsn: str, port: int) -> None:
        self.folder = folder
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.redis_url = redis_url
        self.log = folder / "gateway.log"
        master_key = secrets.token_hex(32)
        self.org_id, self.org_key, self.secret = asyncio.run(_make_key(dsn, master_key))
        self._env = os.environ | {
            "AEGIS_TRANSPORT": redis_url,
            "DATABASE_URL": dsn,
            "AEGIS_MASTER_KEY": master_key,
            "AEGIS_RATE_LIMIT_ORGANIZATION": "10000000",
            "AEGIS_RATE_LIMIT_ADDRESS": "10000000",
        }
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, wait_until: Callable[..., None]) -> None:
        """Start it and wait until it is ready."""
        argv = [sys.executable, "-m", "aegis.cli", "gateway", "--port", str(self.port), "--data-dir", str(self.folder)]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                argv, stdout=log, stderr=log, env=self._env, cwd=Path(__file__).resolve().parents[2]
            )
        wait_until(self._is_ready, self._process, self.log, timeout_s=90.0)

    def stop(self) -> None:
        """SIGTERM, and wait."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(40)
            self._process = None

    def status(self, name: str) -> int:
        """A figure of /proc/<pid>/status, in KiB."""
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()[-3000:]
        text = Path(f"/proc/{self._process.pid}/status").read_text()
        return int(text.split(f"{name}:")[1].split()[0])

    async def connect(self) -> Any:
        """A bare connection: asyncio's reader and writer."""
        return await asyncio.open_connection("127.0.0.1", self.port)

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/ready", timeout=5).status_code == 200
        except httpx.HTTPError:
            return False


async def _make_key(dsn: str, master_key: str) -> tuple[str, str, str]:
    await migrate(control_plane_dsn=dsn)
    async with await ControlPlane.open(dsn, Sealer.from_hex(master_key)) as control_plane:
        organization = await control_plane.organizations.create("gateway tests")
        made = await control_plane.api_keys.create(organization.scope)
    return organization.id, made.key.prefix, made.secret
