"""Several gateways on one port, beside a running instance: shared, replaced, and stopped without losing a request."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from typing import Any

import httpx

from aegis.client import sign

LOG: dict[str, Any] = {"timestamp": "2025-10-31T10:00:00Z", "service": "api", "level": "error"}
New = Callable[..., Any]


def accepted_by(port: int) -> float:
    """How many requests one process says that it has accepted."""
    text = httpx.get(f"http://127.0.0.1:{port}/metrics").text
    lines = [line for line in text.splitlines() if line.startswith('aegis_ingest_requests_total{code="accepted"')]
    return sum(float(line.rpartition(" ")[2]) for line in lines)


def test_two_share_a_port_and_one_that_is_killed_is_replaced(
    instance: Any, organization: Any, new_gateway: New
) -> None:
    gateway = new_gateway("--processes", "2")
    sender = gateway.seen_by(organization)
    for number in range(40):  # A connection each, so that the processes share them.
        with httpx.Client(base_url=gateway.url, timeout=30) as http:
            response = sender.post_with(http, {"logs": [LOG | {"message": f"first {number}"}]})
            assert response.status_code == 202, response.text
    shares = [accepted_by(port) for port in gateway.own_ports]
    assert sum(shares) == 40
    assert min(shares) > 0

    listed = instance.processes()
    pids = [listed[f"gateway-{number}"]["pid"] for number in (1, 2)]
    for number, port in enumerate(gateway.own_ports, start=1):
        assert (listed[f"gateway-{number}"]["port"], listed[f"gateway-{number}"]["health"]) == (port, "ok")
        health = httpx.get(f"http://127.0.0.1:{port}/health").json()
        assert (health["process"], health["ready"]) == ("gateway", True)

    os.kill(pids[0], signal.SIGKILL)
    for number in range(40):
        with httpx.Client(base_url=gateway.url, timeout=30) as http:
            assert sender.post_with(http, {"logs": [LOG | {"message": f"second {number}"}]}).status_code == 202
    deadline = time.monotonic() + 60
    while (now := instance.processes()["gateway-1"])["pid"] in (None, pids[0]) or now["health"] != "ok":
        assert time.monotonic() < deadline, now
        time.sleep(0.1)
    assert now["restarts"] == 1
    assert len(organization.stored_in_time("logs", 80)) == 80
    assert gateway.stop() == 0
    assert "gateway-1" not in instance.processes()


def test_a_taken_port_is_refused_by_the_name_of_its_setting(instance: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        refusal = instance.aegis("gateway", "--processes", "2", "--port", port, fails=True)
        assert f"cannot listen on 127.0.0.1:{port}" in refusal
        assert "AEGIS_PORT" in refusal
        refusal = instance.aegis("gateway", "--processes", "2", "--port", "0", "--own-port", port, fails=True)
        assert "AEGIS_GATEWAY_OWN_PORT" in refusal


class SlowRequest:
    """A request of which all but the last byte is sent."""

    def __init__(self, organization: Any, url: str, number: int) -> None:
        body = json.dumps({"logs": [LOG | {"message": f"slow {number}"}]}).encode()
        headers = sign(
            body, org_key=organization.org_key, secret=organization.secret, timestamp_ms=int(time.time() * 1000)
        )
        place = httpx.URL(url)
        lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
        head = f"POST /v1/logs HTTP/1.1\r\nhost: a\r\ncontent-length: {len(body)}\r\n{''.join(lines)}\r\n"
        self._socket = socket.create_connection((place.host, place.port), timeout=30)
        self._socket.sendall(head.encode() + body[:-1])
        self._last = body[-1:]

    def finish(self) -> str:
        """Send the rest; the head of the answer. The connection is closed behind it."""
        self._socket.sendall(self._last)
        answer = b""
        while piece := self._socket.recv(4096):
            answer += piece
        self._socket.close()
        return answer.partition(b"\r\n\r\n")[0].decode().lower()


def test_what_is_under_way_is_finished_and_ready_says_no_before_the_port_closes(
    organization: Any, new_gateway: New
) -> None:
    gateway = new_gateway("--processes", "2", AEGIS_DRAIN_S="2")
    slow = [SlowRequest(organization, gateway.url, number) for number in range(10)]
    sender = gateway.seen_by(organization)
    with httpx.Client(base_url=gateway.url, timeout=30) as kept:
        assert sender.post_with(kept, {"logs": [LOG | {"message": "before"}]}).status_code == 202
        gateway.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 2
        while httpx.get(f"{gateway.url}/ready").status_code != 503:
            assert time.monotonic() < deadline
        # The port is open, and new requests are taken: who balances load has not looked yet.
        late = sender.post_with(kept, {"logs": [LOG | {"message": "while it drains"}]})
        assert late.status_code == 202
        assert late.headers["connection"] == "close"
    deadline = time.monotonic() + 10
    while True:
        try:
            httpx.get(f"{gateway.url}/ready")
        except httpx.TransportError:
            break
        assert time.monotonic() < deadline, "the port stays open"
        time.sleep(0.02)
    for port in gateway.own_ports:
        assert httpx.get(f"http://127.0.0.1:{port}/ready").status_code == 503, "its own port tells until the end"
    for each in slow:
        answer = each.finish()
        assert answer.startswith("http/1.1 202"), answer
        assert "connection: close" in answer
    assert gateway.process.wait(30) == 0
    messages = sorted(record["text"] for record in organization.stored_in_time("logs", 12))
    assert messages == sorted(["before", "while it drains", *(f"slow {number}" for number in range(10))])


def test_no_request_of_a_busy_sender_is_lost_while_a_gateway_stops(organization: Any, new_gateway: New) -> None:
    """Senders that do as they are told, connection by connection: each request is answered 202, or never reached the port."""
    gateway = new_gateway(AEGIS_DRAIN_S="1")
    sender = gateway.seen_by(organization)
    taken: list[str] = []
    unanswered: list[str] = []

    def send(thread: int) -> None:
        with httpx.Client(base_url=gateway.url, timeout=30) as http:
            for number in range(100_000):
                message = f"{thread}/{number}"
                try:
                    response = sender.post_with(http, {"logs": [LOG | {"message": message}]})
                except httpx.ConnectError:
                    return
                except httpx.TransportError:
                    unanswered.append(message)
                    return
                assert response.status_code == 202, response.text
                taken.append(message)
                time.sleep(0.02)

    threads = [threading.Thread(target=send, args=(thread,)) for thread in range(4)]
    for thread in threads:
        thread.start()
    time.sleep(1)
    gateway.process.send_signal(signal.SIGTERM)
    for thread in threads:
        thread.join(30)
    assert gateway.process.wait(30) == 0
    assert len(taken) > 40
    stored = [record["text"] for record in organization.stored_in_time("logs", len(taken))]
    assert len(stored) == len(set(stored))
    assert set(taken) <= set(stored) <= {*taken, *unanswered}
    # A connection that is made in the moment in which the port closes was never accepted.
    assert len(unanswered) <= len(threads)


def test_aegis_up_runs_several_gateways_too(new_instance: New) -> None:
    instance = new_instance(AEGIS_GATEWAY_PROCESSES="2")
    instance.start()
    names = ("gateway", "gateway-1", "gateway-2")
    deadline = time.monotonic() + 30
    # One gateway is enough to be ready; the other may be a moment behind.
    while {(listed := instance.processes()).get(name, {}).get("health") for name in names} != {"ok"}:
        assert time.monotonic() < deadline, listed
        time.sleep(0.1)
    organization = instance.organization("several")
    organization.send([LOG | {"message": "m"}])
    assert len(organization.found_in_time(1)) == 1
    assert instance.end() == 0
    with_gone = [listed[name]["pid"] for name in ("gateway-1", "gateway-2")]
    for pid in with_gone:
        assert not os.path.exists(f"/proc/{pid}")
