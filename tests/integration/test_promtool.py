"""promtool, Prometheus' own command, against the API: instant, range, series and labels."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from asked_metrics import NOON_S, AskedMetrics

from web.serving import serve

UP = [("up", {"job": job}, NOON_S + at, float(at)) for job in ("api", "db") for at in range(0, 60, 15)]


@pytest.fixture
def promtool() -> str:
    """Where it is; without it the tests are skipped, and under CI they fail (Debian: `apt-get install prometheus`)."""
    found = shutil.which("promtool")
    if found is None:
        why = "promtool is not installed (Debian: apt-get install prometheus)"
        if os.environ.get("CI"):
            pytest.fail(why)
        pytest.skip(why)
    assert found is not None
    return found


@pytest.fixture
async def url(asked_metrics: AskedMetrics) -> AsyncIterator[str]:
    """The application on a port of its own."""
    sock = socket.create_server(("127.0.0.1", 0))
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(asked_metrics.app, sock, stop=stop))
    yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    stop.set()
    with suppress(asyncio.CancelledError):
        await serving


async def ask(promtool: str, url: str, *arguments: str, exit_code: int = 0) -> str:
    """What `promtool query KIND ...` prints."""
    kind, *rest = arguments
    process = await asyncio.create_subprocess_exec(
        promtool, "query", kind, url, *rest, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode == exit_code, (out, errors)
    return (out or errors).decode()


async def test_promtool_asks_everything(promtool: str, url: str, asked_metrics: AskedMetrics) -> None:
    await asked_metrics.keep(UP)
    # Debian's has no option for headers, so the token goes into the address.
    ours, theirs = (
        url.replace("//", f"//any:{asked_metrics.token(scope)['authorization'].removeprefix('Bearer ')}@")
        for scope in (None, asked_metrics.theirs)
    )
    at = f"--time={NOON_S + 30}"
    instant = await ask(promtool, ours, "instant", "sum by (job) (up)", at)
    assert [line.split(" @")[0] for line in instant.splitlines()] == ['{job="api"} => 30', '{job="db"} => 30']
    assert "3.14" in await ask(promtool, ours, "instant", "3.14", at)
    times = (f"--start={NOON_S}", f"--end={NOON_S + 45}")
    ranged = await ask(promtool, ours, "range", *times, "--step=15s", 'up{job="db"}')
    assert [line.split(" @")[0] for line in ranged.splitlines()[1:]] == ["0", "15", "30", "45"]
    series = await ask(promtool, ours, "series", "--match=up", *times)
    assert sorted(line.strip() for line in series.splitlines()) == [
        '{__name__="up", job="api"}', '{__name__="up", job="db"}'
    ]  # fmt: skip
    assert (await ask(promtool, ours, "labels", "job")).split() == ["api", "db"]
    assert "bad_data" in await ask(promtool, ours, "instant", "sum(", exit_code=1)
    # Another organization sees nothing, and who has no token gets no answer.
    assert (await ask(promtool, theirs, "labels", "job")).split() == []
    assert (await ask(promtool, theirs, "instant", "up", at)).split() == []
    for wrong in (url, url.replace("//", "//any:wrong@")):
        assert "token" in await ask(promtool, wrong, "instant", "up", exit_code=1)
