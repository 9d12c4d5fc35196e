"""The RUM store on ClickHouse's HTTP interface: events back exactly, one organization at a time."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pytest

from storage.clickhouse import ClickHouse
from storage.rum import RUM_COLUMNS, RumRow, RumSelection, RumStore
from storage.scope import OrgScope

ACME = OrgScope("11111111-1111-4111-8111-111111111111")
OTHER = OrgScope("22222222-2222-4222-8222-222222222222")
NOON = 1_761_912_000_000_000_000  # 2025-10-31T12:00:00Z
RECEIVED_MS = 1_795_435_200_000
_TYPES = {
    "ts": pa.timestamp("ns", "UTC"),
    "record_id": pa.uint64(),
    "value": pa.float64(),
    "latitude": pa.float64(),
    "longitude": pa.float64(),
    "is_bot": pa.uint8(),
    "received_at": pa.timestamp("ms", "UTC"),
    "retention_days": pa.uint16(),
}
SCHEMA = pa.schema([(name, _TYPES.get(name, pa.string())) for name in RUM_COLUMNS])

Keep = Callable[..., Any]


def event(**changes: Any) -> dict[str, Any]:
    """One event with every field, changed as a test needs."""
    absent: dict[str, Any] = dict.fromkeys(RUM_COLUMNS, "")
    return {
        **absent,
        "org_id": ACME.org_id,
        "ts": NOON,
        "record_id": 1,
        "type": "vital",
        "session_id": "s1",
        "page_path": "/",
        "value": None,
        "latitude": None,
        "longitude": None,
        "is_bot": 0,
        "client": "{}",
        "attributes": "{}",
        "received_at": RECEIVED_MS,
        "retention_days": 0,
        **changes,
    }


@pytest.fixture
def rum(store_clickhouse: ClickHouse) -> RumStore:
    return RumStore(store_clickhouse)


@pytest.fixture
def keep(rum: RumStore, store_block: Keep) -> Keep:
    """Stores rows as one block."""

    async def insert(*rows: dict[str, Any], token: str = "") -> None:
        await rum.insert(store_block(rows, SCHEMA), rows=len(rows), token=token or uuid.uuid4().hex)

    return insert


async def find(rum: RumStore, scope: OrgScope = ACME, /, **changes: Any) -> list[RumRow]:
    selection = RumSelection(**{"start_ns": NOON - 10**15, "end_ns": NOON + 10**15, **changes})
    return (await rum.search(scope, selection)).rows


async def test_an_event_comes_back_exactly(rum: RumStore, keep: Keep) -> None:
    texts = {name: f"{name} ' \\ \n å" for name in RumRow.__struct_fields__ if name in RUM_COLUMNS}
    numbers = {"value": 0.1, "latitude": -33.25, "longitude": 1e-9, "is_bot": 1, "record_id": (1 << 64) - 1}
    full = {**texts, **numbers, "client": '{"a": 1}', "attributes": '{"b": [1.0]}'}
    await keep(event(**{**full, "ts": NOON + 1}), event(record_id=2))
    newest, bare = await find(rum)
    assert newest == RumRow(ts_ns=NOON + 1, **full)
    assert (bare.value, bare.latitude, bare.longitude, bare.is_bot, bare.country) == (None, None, None, 0, "")


async def test_conditions_and_pages(rum: RumStore, keep: Keep) -> None:
    await keep(
        *(
            event(
                ts=NOON + i // 3,
                record_id=i,
                type=("vital", "error")[i % 2],
                session_id=f"s{i % 5}",
                page_path=f"/{i % 3}",
            )
            for i in range(60)
        )
    )
    assert {row.record_id % 2 for row in await find(rum, type="error")} == {1}
    assert {row.record_id % 5 for row in await find(rum, session_id="s3")} == {3}
    assert {row.record_id % 30 for row in await find(rum, type="vital", session_id="s4", page_path="/1")} == {4}
    assert await find(rum, type="Vital") == []
    assert [row.record_id for row in await find(rum, start_ns=NOON, end_ns=NOON + 1)] == [2, 1, 0]
    seen: list[int] = []
    cursor: str | None = None
    while True:
        selection = RumSelection(start_ns=NOON, end_ns=NOON + 20, type="vital", limit=7, order="oldest", cursor=cursor)
        page = await rum.search(ACME, selection)
        seen += [row.record_id for row in page.rows]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == list(range(0, 60, 2))


FACETS = (
    "type", "page_path", "session_id", "view_id", "user_id", "name", "error_type", "country", "browser", "os", "device_type",
)  # fmt: skip


async def test_events_are_those_that_plain_python_selects(rum: RumStore, keep: Keep) -> None:
    """Every condition alone and two at a time, over events whose fields take a few values each."""
    texts = ["a", "A", "a%", "b_", "ä", "Äb", ""]
    rows = [
        event(
            record_id=i,
            ts=NOON + i,
            value=None if i % 4 == 0 else i / 8,
            is_bot=i % 3 % 2,
            page_url=texts[i % 7] + "/x",
            error_message=texts[i // 3 % 7],
            **{column: texts[(i * (place + 1)) % 6] for place, column in enumerate(FACETS)},
        )
        for i in range(150)
    ]
    await keep(*rows)
    asked: list[dict[str, Any]] = [{column: text} for column in FACETS for text in texts[:5]]
    asked += [
        {"is_bot": True},
        {"is_bot": False},
        {"value_min": 3.0},
        {"value_max": 3.0},
        {"value_min": 2.5, "value_max": 9},
    ]
    asked += [{"search": text} for text in ("a", "Ä", "%", "_", "/X", "no such")]
    asked += [one | other for one, other in zip(asked, asked[7:], strict=False)]
    for conditions in asked:
        wanted = [row["record_id"] for row in rows if meets(row, conditions)]
        found = await find(rum, order="oldest", limit=1000, **conditions)
        assert [row.record_id for row in found] == wanted, conditions


def meets(row: dict[str, Any], conditions: dict[str, Any]) -> bool:
    for name, value in conditions.items():
        if name == "search":
            met = any(value.lower() in row[column].lower() for column in ("page_url", "name", "error_message"))
        elif name in ("value_min", "value_max"):
            met = row["value"] is not None and (row["value"] >= value if name == "value_min" else row["value"] <= value)
        else:
            met = row[name] == (int(value) if name == "is_bot" else value)
        if not met:
            return False
    return True


async def test_another_organization_is_never_seen(rum: RumStore, keep: Keep) -> None:
    await keep(*(event(ts=NOON + i, record_id=i, org_id=(ACME, OTHER)[i % 2].org_id) for i in range(50)))
    for scope, rest in ((ACME, 0), (OTHER, 1)):
        rows = await find(rum, scope, session_id="s1", limit=1000)
        assert len(rows) == 25
        assert {row.record_id % 2 for row in rows} == {rest}
    cursor = (await rum.search(OTHER, RumSelection(start_ns=NOON, end_ns=NOON + 50, limit=5))).next_cursor
    assert [row.record_id for row in await find(rum, cursor=cursor, limit=1000)] == list(range(40, -1, -2))
    assert await find(rum, OrgScope(str(uuid.uuid4()))) == []
    for text in ("' OR 1=1 --", "{org_id:String}", "$conditions"):
        assert await find(rum, type=text, session_id=text, page_path=text) == []


async def test_the_same_token_stores_once(rum: RumStore, keep: Keep) -> None:
    for _ in range(2):
        await keep(event(), token="t/1")
    assert len(await find(rum)) == 1
