"""`aegis up`: one command, everything running, supervised, and stopped cleanly."""

from __future__ import annotations

import json
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
from running_instance import PORTS, health_in_time

from aegis.settings import load_settings

PROCESSES = {"redis", "postgres", "clickhouse", "gateway", "worker"}


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_the_json_line_has_what_scripts_need(instance: Any) -> None:
    assert set(instance.facts) == {
        "url", "org_id", "org_key", "secret", "email", "password", "token", "data_dir", "pids",
    }  # fmt: skip
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
        assert re.search(r"^# TYPE aegis_\w+ ", metrics, re.MULTILINE)
        assert "process_cpu_seconds_total" in metrics
    assert set(httpx.get(f"{instance.url}/health").json()["dependencies"]) == {
        "redis",
        "postgres",
        "clickhouse",
        "timescale",
    }
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
    health_in_time(instance.url)
    findings = json.loads(instance.aegis("doctor", "--json", exit_code=0))["findings"]
    # Other tests of the shared instance leave dead letters, which a person is to look at.
    wrong = [each for each in findings if each["state"] != "ok" and each["subject"] != "dead letters"]
    assert wrong == []


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
    assert re.search(r"gateway ended with .*starting it again in", said)
    assert health_in_time(instance.url)["status"] == "ok"


def test_the_ready_lines_of_a_plain_start(new_instance: Callable[..., Any]) -> None:
    instance = new_instance()
    argv = [sys.executable, "-m", "aegis.cli", "up", "--data-dir", str(instance.data_dir), "--port", "0"]
    process = subprocess.Popen(
        argv,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**PORTS, **instance.env, "COLUMNS": "80"},
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
    assert re.search(r"e-mail  owner@development\.localhost$", printed, re.MULTILINE)
    assert re.search(r"password  [0-9a-f]{24}$", printed, re.MULTILINE)
    assert re.fullmatch(r"aegis is ready on http://127\.0\.0\.1:\d+", lines[-1])


def test_the_query_api_runs_on_its_own(instance: Any) -> None:
    argv = [sys.executable, "-m", "aegis.cli", "query", "--data-dir", str(instance.data_dir), "--port", "0"]
    process = subprocess.Popen(argv, stderr=subprocess.PIPE, text=True, env=instance.env)
    assert process.stderr is not None
    try:
        line = next(line for line in process.stderr if "listening on" in line)
        url = line.rpartition("listening on ")[2].strip()
        health = health_in_time(url)
        assert (health["process"], health["status"], set(health["dependencies"])) == (
            "query",
            "ok",
            {"clickhouse", "postgres", "timescale"},
        )
        assert "process_cpu_seconds_total" in httpx.get(f"{url}/metrics").text
        token = {"authorization": f"Bearer {instance.facts['token']}"}
        answer = httpx.post(f"{url}/query/logs/search", json={"start": 0, "end": 1}, headers=token)
        assert answer.json()["logs"] == []
        assert httpx.post(f"{url}/v1/logs", content=b"{}").status_code == 404
        login = {"email": instance.facts["email"], "password": instance.facts["password"]}
        granted = httpx.post(f"{url}/auth/login", json=login, timeout=30).json()
        # Each of the two takes the tokens of the other, as they share the secret and the control plane.
        own = {"authorization": f"Bearer {granted['access_token']}"}
        assert instance.http.get("/members", headers=own).json()["members"][0]["email"] == login["email"]
        made = httpx.post(f"{url}/keys", json={"name": "made beside the gateway"}, headers=own)
        assert (made.status_code, len(made.json()["secret"])) == (201, 64)
        for served in (f"{url}/openapi.json", f"{instance.url}/openapi.json"):
            assert {"/auth/login", "/members/{user_id}", "/audit"} <= set(httpx.get(served, timeout=30).json()["paths"])
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def test_usual_ports_that_are_taken_give_way(new_instance: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as redis, socket.create_server(("127.0.0.1", 0)) as clickhouse:
        taken = [each.getsockname()[1] for each in (redis, clickhouse)]
        instance = new_instance(REDIS_PORT=str(taken[0]), CLICKHOUSE_PORT=str(taken[1]))
        instance.start()
        said = instance.errors.read_text()
        for port in taken:
            assert f"port {port} is taken" in said
        assert instance.http.get("/health").json()["status"] == "ok"
        assert instance.end() == 0


def test_ctrl_c_during_the_start_leaves_nothing_running(new_instance: Callable[..., Any]) -> None:
    instance = new_instance()
    argv = [sys.executable, "-m", "aegis.cli", "up", "--data-dir", str(instance.data_dir), "--port", "0"]
    with instance.errors.open("w") as errors:
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=errors, env={**PORTS, **instance.env})
    deadline = time.monotonic() + 30
    while "starting gateway" not in instance.errors.read_text():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    assert process.wait(60) == 0
    family = subprocess.run(["pgrep", "-f", str(instance.data_dir)], capture_output=True, text=True, check=False)
    assert family.stdout == ""


def test_retention_off_and_the_normalizer_switched_off(new_instance: Callable[..., Any]) -> None:
    """With retention off a record is kept for ever; without normalizers it waits, and is stored once they are back."""
    instance = new_instance(AEGIS_RETENTION="off", NORMALIZER_ENABLED="false")
    instance.start()
    organization = instance.organization("waiting")
    organization.send([{"timestamp": "2025-10-31T10:00:00Z", "service": "a", "level": "info", "message": "kept"}])
    time.sleep(1.5)
    assert organization.found() == []
    assert instance.end() == 0
    instance.env["NORMALIZER_ENABLED"] = "true"
    instance.start()
    assert len(organization.found_in_time(1)) == 1
    settings = load_settings(instance.data_dir)
    answer = httpx.post(
        f"http://127.0.0.1:{settings.clickhouse_port}/?database=aegis",
        content="SELECT DISTINCT retention_days FROM logs",
        headers={
            "x-clickhouse-user": settings.clickhouse_user,
            "x-clickhouse-key": settings.clickhouse_password.get_secret_value(),
        },
    )
    assert answer.text == "0\n"
    assert instance.end() == 0
