"""Which limits hold: of a role, of the installation, of an organization."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import pytest

from query.limits import DEFAULTS, Limits
from query.tokens import ROLES
from storage.organization_settings import check_settings
from storage.query_settings import LimitSettings, QuerySettings, read_query_settings
from storage.scope import OrgScope
from topics.errors import Refused, TooExpensive, Unavailable

OURS, THEIRS = (OrgScope(str(uuid.uuid4())) for _ in range(2))


def test_who_may_more_may_ask_more() -> None:
    limits = Limits()
    for name in (
        "rows_to_read_max",
        "bytes_to_read_max",
        "seconds_max",
        "memory_bytes_max",
        "concurrent_max",
    ):
        viewer, member, admin, owner = (
            getattr(limits.of(OURS, role), name) for role in ("viewer", "member", "admin", "owner")
        )
        assert 0 < viewer < member < admin == owner
    assert {role: limits.of(OURS, role) for role in ROLES} == dict(DEFAULTS)


async def test_the_organization_counts_before_the_installation_and_that_before_the_role() -> None:
    installation = read_query_settings('{"viewer": {"seconds": 7, "range_days": 2}, "admin": {"rows": 5}}')

    async def load() -> Mapping[str, QuerySettings]:
        return {OURS.org_id: QuerySettings(viewer=LimitSettings(seconds=3, concurrent=1))}

    limits = Limits(installation, load)
    assert limits.of(OURS, "viewer").seconds_max == 7
    await limits.reread()
    ours, theirs = limits.of(OURS, "viewer"), limits.of(THEIRS, "viewer")
    assert (ours.seconds_max, ours.range_s_max, ours.concurrent_max) == (3, 2 * 86400, 1)
    assert (theirs.seconds_max, theirs.concurrent_max) == (7, DEFAULTS["viewer"].concurrent_max)
    assert limits.of(OURS, "owner").rows_to_read_max == limits.of(OURS, "admin").rows_to_read_max == 5
    assert limits.of(OURS, "member") == DEFAULTS["member"]


async def test_the_last_known_limits_hold_while_the_control_plane_is_away() -> None:
    answers: list[Mapping[str, QuerySettings] | Exception] = [
        Unavailable("away"),
        {OURS.org_id: QuerySettings(viewer=LimitSettings(rows=1))},
        Unavailable("away"),
        ValueError("a bug"),
        {},
    ]
    seen: list[int] = []

    async def load() -> Mapping[str, QuerySettings]:
        seen.append(limits.of(OURS, "viewer").rows_to_read_max)
        if not answers:
            await asyncio.Event().wait()
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    limits = Limits(load=load, refresh_s=0)
    rereading = asyncio.create_task(limits.keep_rereading())
    async with asyncio.timeout(5):
        while len(seen) < 6:
            await asyncio.sleep(0)
    rereading.cancel()
    default = DEFAULTS["viewer"].rows_to_read_max
    assert seen == [default, default, 1, 1, 1, default]


def test_a_range_past_the_limit_says_both() -> None:
    limits = replace(DEFAULTS["viewer"], range_s_max=32 * 86400)
    limits.check_range(0, 32 * 86400 * 10**9)
    with pytest.raises(TooExpensive) as caught:
        limits.check_range(0, 33 * 86400 * 10**9)
    assert (caught.value.limit, caught.value.asked) == ("range = 32 days", "a time range of 33 days")


@pytest.mark.parametrize(
    ("settings", "path"),
    [
        ({"viewer": {"seconds": 0}}, "settings.query.viewer.seconds"),
        ({"viewer": {"seconds": 111}}, "settings.query.viewer.seconds"),
        ({"member": {"rows": "many"}}, "settings.query.member.rows"),
        ({"admin": {"bytes": -1}}, "settings.query.admin.bytes"),
        ({"owner": {"rows": 1}}, "settings.query"),
        ({"viewer": {"columns": 1}}, "settings.query.viewer"),
    ],
)
def test_a_wrong_limit_is_refused_with_its_path(settings: dict[str, object], path: str) -> None:
    with pytest.raises(Refused) as caught:
        check_settings({"query": settings})
    assert caught.value.path == path


@pytest.mark.parametrize("text", ["", "[]", '{"viewer": 1}', '{"nobody": {}}', '{"viewer": {"seconds": 0}}'])
def test_a_wrong_setting_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be limits by role as JSON"):
        read_query_settings(text)


def test_settings_as_they_are_read_are_acceptable_again() -> None:
    stored = MappingProxyType({"query": {"viewer": {"seconds": 3}}})
    assert check_settings(stored).query.viewer.seconds == 3


def test_a_long_range_is_named_in_whole_days() -> None:
    with pytest.raises(TooExpensive) as caught:
        DEFAULTS["viewer"].check_range(0, (1 << 63) - 1)
    assert (caught.value.limit, caught.value.asked) == ("range = 36,500 days", "a time range of 106,752 days")


def test_the_next_statement_of_a_question_has_the_seconds_that_are_left() -> None:
    limits = replace(DEFAULTS["viewer"], seconds_max=15.0)
    assert limits.after(0.0) == limits
    assert limits.after(14.5) == replace(limits, seconds_max=0.5)
    with pytest.raises(TooExpensive) as caught:
        limits.after(15.0)
    assert (caught.value.limit, caught.value.asked) == ("max_execution_time = 15", "a question of 15.0 s")
    assert replace(limits, seconds_max=0.0).after(99.0).seconds_max == 0.0
