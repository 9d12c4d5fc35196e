"""`aegis gateway` of its own beside the shared instance, over the same Redis and PostgreSQL."""

from __future__ import annotations

import os
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from running_instance import AEGIS, Instance, Organization


class Gateway:
    """`aegis gateway` beside a running instance, on ports and with settings of its own."""

    def __init__(self, instance: Instance, folder: Path, arguments: Sequence[str], env: Mapping[str, str]) -> None:
        self.instance = instance
        self.port = _free_port()
        self.own_ports = [self.port + 1, self.port + 2]
        self.log = folder / "gateway.stderr"
        ports = ["--port", str(self.port), "--own-port", str(self.own_ports[0])]
        argv = [*AEGIS, "gateway", *ports, "--data-dir", str(instance.data_dir), *arguments]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(argv, stderr=log, env={**instance.env, **env})
        self.http = httpx.Client(base_url=self.url, timeout=30)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def data_dir(self) -> Path:
        return self.instance.data_dir

    def aegis(self, *arguments: str, **options: Any) -> str:
        return self.instance.aegis(*arguments, **options)

    def seen_by(self, organization: Organization) -> Organization:
        """The same organization, which sends to this gateway."""
        return replace(organization, instance=self)

    def wait_until_ready(self, processes: int) -> None:
        """All of its processes are up."""
        own = self.own_ports[:processes] if processes > 1 else []
        waiting = [f"http://127.0.0.1:{port}/ready" for port in own] or [f"{self.url}/ready"]
        deadline = time.monotonic() + 90
        for url in waiting:
            while True:
                assert self.process.poll() is None, self.log.read_text()[-3000:]
                assert time.monotonic() < deadline, self.log.read_text()[-3000:]
                try:
                    if httpx.get(url, timeout=5).status_code == 200:
                        break
                except httpx.TransportError:
                    pass
                time.sleep(0.05)

    def stop(self) -> int:
        self.http.close()
        self.process.terminate()
        return self.process.wait(60)


def _free_port() -> int:
    """The first of three ports in a row that are free now, below those of outgoing connections."""
    for port in range(24_000 + os.getpid() % 1000 * 3, 29_000, 3):
        with ExitStack() as stack:
            try:
                for each in range(3):
                    stack.enter_context(socket.create_server(("127.0.0.1", port + each)))
            except OSError:
                continue
            return port
    raise RuntimeError("no free ports")


@pytest.fixture
def new_gateway(instance: Instance, tmp_path: Path) -> Iterator[Callable[..., Gateway]]:
    """Starts gateways beside the shared instance, with these arguments and settings, and stops them after the test."""
    made: list[Gateway] = []

    def make(*arguments: str, **env: str) -> Gateway:
        folder = tmp_path / f"gateway-{len(made)}"
        folder.mkdir()
        made.append(Gateway(instance, folder, arguments, env))
        made[-1].wait_until_ready(2 if "--processes" in arguments else 1)
        return made[-1]

    yield make
    for gateway in made:
        gateway.stop()
