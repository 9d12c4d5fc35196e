"""`aegis up`: one command, everything running, supervised, and stopped cleanly."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx

PROCESSES = {"redis", "postgres", "clickhouse", "gateway", "worker"}


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_the_json_line_has_what_scripts_need(instance: Any) -> None:
    assert set(instance.facts) == {"url", "org_id", "org_key", "secret", "token", "data_dir", "pids"}
    assert set(instance.facts["pids"]) == PROCESSES
    assert all(isinstance(pid, int) for pid in instance.facts["pids"].values())
    assert f"aegis is ready on {instance.url}" in instance.errors.read_text()


def test_health_and_metrics_on_every_process(instance: Any) -> None:
    settings = dict(
        line.split("=", 1) for line in (instance.data_dir / "instance.env").read_text().replace("'", "").splitlines()
    )
    for port in (settings["AEGIS_PORT"], settings["AEGIS_WORKER_PORT"], settings["CLICKHOUSE_PORT"]):
        health = httpx.get(f"http://127.0.0.1:{port}/health")
        assert health.status_code == 200, health.text
        assert health.json()["status"] == "ok"
        metrics = httpx.get(f"http://127.0.0.1:{port}/metrics").text
        assert re.search(r"^aegis_\w+ ", metrics, re.MULTILINE) or "aegis_" in metrics
        assert "process_cpu_seconds_total" in metrics
    assert set(httpx.get(f"{instance.url}/health").json()["dependencies"]) == {"redis", "postgres", "clickhouse"}
    assert httpx.get(f"{instance.url}/ready").status_code == 200


def test_status_shows_pid_uptime_restarts_and_health(instance: Any) -> None:
    processes = instance.processes()
    assert set(processes) == PROCESSES
    for process in processes.values():
        assert process["state"] == "ready"
        assert process["health"] == "ok"
        assert process["uptime_s"] > 0
        assert isinstance(process["restarts"], int)
        assert alive(process["pid"])


def test_doctor_finds_nothing_wrong_beside_a_running_instance(instance: Any) -> None:
    findings = json.loads(instance.aegis("doctor", "--json"))["findings"]
    assert {finding["state"] for finding in findings} == {"ok"}


def test_a_second_up_on_the_same_folder_refuses_and_says_why(instance: Any) -> None:
    refusal = instance.aegis("up", fails=True)
    assert f"another aegis up (pid {instance.pid}) uses" in refusal
    assert instance.processes()["worker"]["state"] == "ready"


def test_a_chosen_port_that_is_taken_is_refused(new_instance: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refusal = new_instance().aegis("up", "--port", str(port), fails=True)
    assert f"cannot listen on 127.0.0.1:{port}" in refusal
    assert "AEGIS_PORT" in refusal


def test_the_data_survives_a_stop_and_a_kill_of_everything(new_instance: Callable[..., Any]) -> None:
    instance = new_instance()
    instance.start()
    organization = instance.organization("kept")
    organization.send([{"timestamp": "2025-10-31T10:00:00Z", "service": "a", "level": "info", "message": "first"}])
    assert len(organization.found_in_time(1)) == 1
    pids = list(instance.facts["pids"].values())
    assert all(alive(pid) for pid in pids)
    assert instance.end(signal.SIGINT) == 0
    assert not any(alive(pid) for pid in pids)
    assert not (instance.data_dir / "instance.env").exists()

    instance.start()
    assert len(organization.found()) == 1
    organization.send([{"timestamp": "2025-10-31T10:00:01Z", "service": "a", "level": "info", "message": "second"}])
    pids = list(instance.facts["pids"].values())
    instance.end(signal.SIGKILL)
    deadline = time.monotonic() + 10
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(alive(pid) for pid in pids), "children outlived a killed aegis up"

    instance.start()
    assert {log["message"] for log in organization.found_in_time(2)} == {"first", "second"}
    assert instance.end() == 0


def test_what_dies_is_restarted_and_said_so(instance: Any) -> None:
    for name in ("gateway", "redis"):
        before = instance.processes()[name]["restarts"]
        instance.kill(name)
        assert instance.processes()[name]["restarts"] == before + 1
    said = instance.errors.read_text()
    assert re.search(r"gateway: .*starting it again in", said)
    assert httpx.get(f"{instance.url}/health").json()["status"] == "ok"


def test_the_ready_lines_of_a_plain_start(new_instance: Callable[..., Any]) -> None:
    instance = new_instance()
    argv = [sys.executable, "-m", "aegis.cli", "up", "--data-dir", str(instance.data_dir), "--port", "0"]
    process = subprocess.Popen(
        argv, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env={**os.environ, "COLUMNS": "80"}
    )
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line.rstrip())
        if line.startswith("aegis is ready on"):
            break
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    process.stdout.close()
    printed = "\n".join(lines)
    assert re.search(r"x-org-key  obs_[0-9a-f]{16}$", printed, re.MULTILINE)
    assert re.search(r"secret  [0-9a-f]{64}$", printed, re.MULTILINE)
    assert re.search(r"token  \S+\.\S+\.\S+$", printed, re.MULTILINE)
    assert re.fullmatch(r"aegis is ready on http://127\.0\.0\.1:\d+", lines[-1])
