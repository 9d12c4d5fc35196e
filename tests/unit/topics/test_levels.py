"""Every way to write a level becomes one scale."""

from __future__ import annotations

import logging

import pytest

from topics.levels import SCALE, normalize_level, normalize_levels


@pytest.mark.parametrize(
    ("written", "level"),
    [
        *((name, name) for name in SCALE),
        ("WARNING", "warn"), ("Warning", "warn"), (" warn ", "warn"), ("wrn", "warn"), ("W", "warn"),
        ("err", "error"), ("SEVERE", "error"), ("E", "error"),
        ("critical", "fatal"), ("CRIT", "fatal"), ("emerg", "fatal"), ("alert", "fatal"), ("panic", "fatal"),
        ("notice", "info"), ("Information", "info"), ("INFO2", "info"),
        ("verbose", "trace"), ("FINEST", "trace"), ("dbg", "debug"), ("fine", "debug"),
        # pino and bunyan
        ("10", "trace"), ("20", "debug"), ("30", "info"), ("40", "warn"), ("50", "error"), ("60", "fatal"),
        # syslog
        ("0", "fatal"), ("1", "fatal"), ("2", "fatal"), ("3", "error"), ("4", "warn"), ("5", "info"), ("6", "info"),
        ("7", "debug"),
        # OpenTelemetry, where the others have no number
        ("8", "debug"), ("9", "info"), ("12", "info"), ("13", "warn"), ("16", "warn"), ("17", "error"), ("19", "error"),
        ("21", "fatal"), ("24", "fatal"),
        # what is none
        ("Audit", "audit"), ("25", "25"), ("-1", "-1"), ("", ""), ("ÄRGER", "ärger"),
    ],
)  # fmt: skip
def test_a_level_is_put_on_the_scale(written: str, level: str) -> None:
    assert normalize_level(written) == level
    assert normalize_level(normalize_level(written)) == level
    assert normalize_levels(["info", written, written]) == ["info", level, level]


def test_every_name_of_pythons_logging_is_known() -> None:
    names = set(logging.getLevelNamesMapping()) - {"NOTSET"}
    assert {normalize_level(name) for name in names} <= set(SCALE)
