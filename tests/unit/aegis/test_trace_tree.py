"""A trace on a terminal: whatever senders wrote, and however deep it is."""

from __future__ import annotations

from typing import Any

import pytest

from aegis.cli.trace import _print_tree

SPAN: dict[str, Any] = {
    "service": "api",
    "operation": "GET /",
    "depth": 0,
    "offset_ms": 0.0,
    "duration_ms": 1.5,
    "self_time_ms": 0.5,
    "critical_path": True,
    "problems": [],
    "status": "ok",
    "status_message": None,
}


def trace(*spans: dict[str, Any]) -> dict[str, Any]:
    return {
        "trace_id": "t",
        "start_time": "2025-10-31T12:00:00.000Z",
        "duration_ms": 1.5,
        "span_count": len(spans),
        "errors": 0,
        "truncated": False,
        "spans": [SPAN | span for span in spans],
        "logs": [],
        "logs_truncated": False,
    }


def test_what_senders_wrote_is_neither_markup_nor_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    hostile = "[red]x[/red] \x1b[2J [/]"
    found = trace({"service": hostile, "operation": hostile, "status": "error", "status_message": hostile})
    found["logs"] = [{"timestamp": "now", "level": "info", "service": "s", "message": hostile}]
    _print_tree(found)
    printed = capsys.readouterr().out
    assert printed.count("[red]x[/red] \ufffd[2J [/]") == 4
    assert "\x1b" not in printed


def test_a_deep_trace_fits_a_screen(capsys: pytest.CaptureFixture[str]) -> None:
    _print_tree(trace(*({"operation": f"op{i}", "depth": i} for i in range(2000))))
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2001
    assert max(map(len, lines)) <= 160
    assert lines[20].split("op19")[0].count(" ") > lines[2].split("op1")[0].count(" ")
    assert "depth 1999" in lines[2000]
