"""Settings -> findings: what is well, what is wrong, and what to do about it, in words."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Literal

from redis.exceptions import RedisError

from aegis.access import opened_control_plane
from aegis.settings import Settings
from aegis.wiring import migrate_all, opened_clickhouse, opened_redis, opened_stream_store, opened_timescale
from topics.dead_letters import DeadLetters
from topics.errors import AegisError, Refused, Unavailable
from topics.names import READERS
from topics.redis_streams.keys import Keys
from topics.redis_streams.overview import read_overview, stopped_groups
from topics.redis_streams.wire import Wire

State = Literal["ok", "warning", "wrong"]

_LETTERS_COUNTED = 1000
_OUTBOX_WAITS_S = 120
START_IT = "start it, or everything with `aegis up`; if it runs elsewhere, set "


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at. `remedy` is empty when nothing needs doing."""

    subject: str
    state: State
    found: str
    remedy: str = ""


async def examine(settings: Settings) -> list[Finding]:
    """Look at everything; never raises for what it finds."""
    findings = [_data_dir(settings), *_secrets(settings)]
    looks: list[tuple[str, Callable[[Settings], Awaitable[list[Finding]]]]] = [
        ("redis", _redis),
        ("groups", _groups),
        ("dead letters", _dead_letters),
        ("postgresql", _postgres),
        ("notifications", look_at_notifications),
        ("timescaledb", _timescale),
        ("clickhouse", _clickhouse),
        ("migrations", _migrations),
    ]
    for subject, look in looks:
        try:
            findings += await look(settings)
        except AegisError as exc:
            remedy = _REMEDIES[subject] if isinstance(exc, Unavailable) else "correct the setting that it names"
            findings.append(Finding(subject, "wrong", str(exc), remedy))
    return findings


_REMEDIES = {
    "redis": START_IT + "REDIS_HOST and REDIS_PORT",
    "dead letters": START_IT + "REDIS_HOST and REDIS_PORT",
    "groups": START_IT + "REDIS_HOST and REDIS_PORT",
    "postgresql": START_IT + "DATABASE_URL",
    "notifications": START_IT + "DATABASE_URL",
    "timescaledb": START_IT + "TIMESCALE_HOST and TIMESCALE_PORT; if tables are missing, run `aegis migrate`",
    "clickhouse": START_IT + "CLICKHOUSE_HOST and CLICKHOUSE_PORT; if the database is missing, run `aegis migrate`",
    "migrations": "bring PostgreSQL, TimescaleDB and ClickHouse up first, then run `aegis migrate`",
}


def _data_dir(settings: Settings) -> Finding:
    folder = settings.data_dir.absolute()
    nearest = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(nearest, os.W_OK | os.X_OK):
        return Finding("data folder", "wrong", f"{nearest} cannot be written", "choose another with AEGIS_DATA_DIR")
    if not folder.exists():
        return Finding("data folder", "ok", f"{folder} does not exist yet; `aegis up` makes it")
    return Finding("data folder", "ok", str(folder))


def _secrets(settings: Settings) -> list[Finding]:
    findings = []
    for name, value in (("JWT_SECRET", settings.jwt_secret), ("AEGIS_MASTER_KEY", settings.master_key)):
        if value is None:
            remedy = "`aegis up` makes one for development; for production set one from `openssl rand -hex 32`"
            findings.append(Finding(name, "wrong", "is not set", remedy))
        else:
            findings.append(Finding(name, "ok", "is set"))
    return findings


async def _redis(settings: Settings) -> list[Finding]:
    async with opened_redis(settings) as client:
        try:
            info: dict[str, Any] = await client.info()
            declared = {name for name in READERS if await client.hexists(Keys().topics, name)}
        except (RedisError, OSError) as exc:
            raise Unavailable(f"cannot reach Redis at {settings.transport_address}: {exc}") from exc
    version = str(info.get("redis_version", "0"))
    findings = [Finding("redis", "ok", f"version {version} at {settings.transport_address}")]
    if int(version.split(".")[0]) < 7:
        findings.append(Finding("redis version", "wrong", version, "use Redis 7.0 or newer: topics need XADD with 0-*"))
    if not info.get("aof_enabled"):
        found = "appendonly is off: what was accepted is lost when Redis ends"
        findings.append(Finding("redis durability", "wrong", found, "set `appendonly yes`"))
    if info.get("maxmemory_policy") != "noeviction":
        found = f"maxmemory-policy is {info.get('maxmemory_policy')}: Redis may drop what was accepted"
        findings.append(Finding("redis eviction", "wrong", found, "set `maxmemory-policy noeviction`"))
    if not info.get("maxmemory"):
        remedy = "set `maxmemory`, so that a full pipeline is refused with 503 rather than the machine running out"
        findings.append(Finding("redis memory", "warning", "has no bound", remedy))
    missing = sorted(set(READERS) - declared)
    if missing:
        remedy = "start a gateway or a worker: they declare them"
        findings.append(Finding("topics", "warning", f"not declared yet: {', '.join(missing)}", remedy))
    else:
        findings.append(Finding("topics", "ok", ", ".join(sorted(READERS))))
    return findings


async def _groups(settings: Settings) -> list[Finding]:
    """Groups that nobody works for keep everything from being trimmed that they have not read, until Redis is full."""
    wire = Wire(settings.transport_url, name="aegis-doctor")
    try:
        stopped = stopped_groups(await read_overview(wire, Keys()))
    finally:
        await wire.close()
    if not stopped:
        return [Finding("groups", "ok", "every group that has something to read is being worked for")]
    remedy = "start `aegis worker`; or, if the group will not come back, `aegis topics forget-group {} {}`"
    return [
        Finding(
            f"group {group.group}",
            "wrong" if group.size_bytes > settings.stream_bytes_max // 2 else "warning",
            f"is stopped: {group.lag} messages ({group.size_bytes >> 10} KiB) of {group.topic} wait for it and are kept",
            remedy.format(group.topic, group.group),
        )
        for group in stopped
    ]


async def _dead_letters(settings: Settings) -> list[Finding]:
    """Those that wait for somebody, and those that were removed because too many waited."""
    async with opened_stream_store(settings) as store:
        letters = DeadLetters(store)
        try:
            page, removed = await letters.page(limit=_LETTERS_COUNTED), await letters.removed()
        except Refused:
            return []  # Not declared yet, which is said already.
    remedy = "`aegis dead-letters list` says why; `replay` puts them back, `discard` throws them away"
    findings = []
    if removed.messages:
        found = (
            f"{removed.messages} ({removed.size_bytes >> 10} KiB) were removed, unread by anybody, to keep the bound"
        )
        findings.append(Finding("dead letters", "warning", found, "raise AEGIS_DEAD_LETTERS_BYTES_MAX, or look sooner"))
    if page.letters:
        count = f"{len(page.letters)}{' or more' if page.next_cursor else ''}"
        findings.append(Finding("dead letters", "warning", f"{count} wait for a decision", remedy))
    return findings or [Finding("dead letters", "ok", "none")]


async def _postgres(settings: Settings) -> list[Finding]:
    async with opened_control_plane(settings, with_secrets=settings.master_key is not None) as control_plane:
        organizations = await control_plane.organizations.list_all()
        findings = [Finding("postgresql", "ok", f"{len(organizations)} organizations")]
        if settings.master_key is not None:
            snapshot = await control_plane.api_keys.load()
            if snapshot.unreadable:
                found = f"{len(snapshot.unreadable)} were sealed under another AEGIS_MASTER_KEY"
                findings.append(
                    Finding("API keys", "wrong", found, "set the key they were made with, or make new ones")
                )
            else:
                findings.append(Finding("API keys", "ok", f"{len(snapshot.keys)} usable"))
    return findings


async def look_at_notifications(settings: Settings) -> list[Finding]:
    """Channels that do not take what they are sent, and what has waited longer than a sender needs."""
    async with opened_control_plane(settings, with_secrets=False) as control_plane:
        overview = await control_plane.outbox.overview()
        failing = await control_plane.channels.failing()
    findings = [
        Finding(
            f"channel {each.name}",
            "warning",
            f"of {each.organization} has failed {each.failures} times: {each.last_error} ({each.waiting} wait)",
            "`aegis channels test`; correct it, or switch it off",
        )
        for each in failing
    ]
    if overview.dead:
        found = f"{overview.dead} were given up in the last day"
        findings.append(Finding("notifications", "warning", found, "`aegis alerts show ID` says why"))
    if overview.waiting and overview.oldest_s > _OUTBOX_WAITS_S and not failing:
        found = f"{overview.waiting} wait, the oldest for {overview.oldest_s:.0f} s"
        findings.append(Finding("notifications", "wrong", found, "start `aegis worker` with the duty `notify`"))
    return findings or [Finding("notifications", "ok", f"{overview.waiting} wait")]


async def _timescale(settings: Settings) -> list[Finding]:
    async with opened_timescale(settings) as timescale:
        capabilities = await timescale.capabilities()
    if capabilities.rollups_are_kept:
        return [Finding("timescaledb", "ok", f"version {capabilities.version}")]
    found = "plain PostgreSQL serves in its place: not compressed; `aegis up` or `aegis retention apply` delete by age"
    return [Finding("timescaledb", "ok", found)]


async def _clickhouse(settings: Settings) -> list[Finding]:
    async with opened_clickhouse(settings) as clickhouse:
        version = await clickhouse.command("SELECT version()", doing="reach ClickHouse")
    return [Finding("clickhouse", "ok", f"version {version}")]


async def _migrations(settings: Settings) -> list[Finding]:
    pending = await migrate_all(settings, dry_run=True)
    if pending:
        found = f"{len(pending)} to apply, first {pending[0].target} {pending[0].name}"
        return [Finding("migrations", "wrong", found, "run `aegis migrate`")]
    return [Finding("migrations", "ok", "every store is up to date")]
