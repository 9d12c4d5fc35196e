"""The README's two commands work as they are written, with the credentials that `aegis up` printed."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from pathlib import Path
from typing import Any

README = (Path(__file__).parents[2] / "README.md").read_text()


def commands() -> tuple[str, str]:
    """The shell block that sends, and the one that asks."""
    blocks = re.findall(r"```\n(.*?)```", README, re.DOTALL)
    (sends,) = [block for block in blocks if "/v1/logs" in block and "curl" in block]
    (asks,) = [block for block in blocks if "/query/logs/search" in block and "curl" in block]
    return sends, asks


def run(command: str, facts: dict[str, Any]) -> dict[str, Any]:
    for example, real in (
        ("http://localhost:3000", facts["url"]),
        ("your_secret", facts["secret"]),
        ("obs_abc123", facts["org_key"]),
        ("<jwt>", facts["token"]),
        ("your_password", facts["password"]),
    ):
        command = command.replace(example, real)
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=dict(os.environ), check=True)
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def test_the_curl_that_logs_in_gives_a_token_that_asks(instance: Any) -> None:
    (logs_in,) = [block for block in re.findall(r"```\n(.*?)```", README, re.DOTALL) if "/auth/login" in block]
    granted = run(logs_in, instance.facts)
    assert (granted["organization_id"], granted["role"]) == (instance.facts["org_id"], "owner")
    assert "logs" in run(commands()[1], instance.facts | {"token": granted["access_token"]})


def test_the_signed_curl_is_accepted_and_found(instance: Any) -> None:
    sends, asks = commands()
    assert run(sends, instance.facts)["accepted"] == 1
    deadline = time.monotonic() + 10
    while True:
        # Other tests send as this organization too.
        logs = {log["message"]: log for log in run(asks, instance.facts)["logs"]}
        if "Database connection failed" in logs:
            break
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert logs["Database connection failed"]["timestamp"] == "2025-10-31T10:00:00.000Z"
