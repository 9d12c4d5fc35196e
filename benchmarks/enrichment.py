"""What does it cost to know where a client is and what it runs? (`python -m benchmarks.enrichment --database FOLDER`)

CPU microseconds of this process, the best of several runs: an address and a user agent seen for the first time and again, and a
record of the shared log workload through normalizing with and without enrichment. Without --database a database of a few
networks is made, whose misses are cheaper than those of a real one.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import orjson
from mmdb_writer import MMDBWriter
from netaddr import IPSet
from rich.console import Console
from rich.table import Table

from aegis.settings import Settings
from agents.normalize_logs import normalize_logs
from agents.normalize_rum import normalize_rum
from benchmarks.log_workload import AGENTS, log_records
from benchmarks.measured_instance import hardware
from enrichment.attributes import Enrichment
from enrichment.locations import Locations
from enrichment.user_agents import UserAgents
from topics.levels import normalize_levels
from topics.raw import RawBatch
from topics.trace_ids import normalize_ids

RECORDS = 1000
RUNS = 15
RECEIVED_MS = 1_761_904_800_000


def best_us(
    work: Callable[[], object], records: int, *, runs: int = RUNS, before: Callable[[], None] | None = None
) -> float:
    """CPU microseconds a record in the best of `runs`; `before` each, something that is not counted."""
    spent = []
    for _ in range(runs):
        if before is not None:
            before()
        began = time.process_time()
        work()
        spent.append(time.process_time() - began)
    return min(spent) * 1e6 / records


def batch(collection: str, records: list[dict[str, object]]) -> RawBatch:
    """A request of some records, from a browser."""
    body = orjson.dumps({collection: records})
    agent = AGENTS[0] % 126
    return RawBatch("o", "r", RECEIVED_MS, 30, body, client_address="91.64.1.2", user_agent=agent)


def rows(enrichment: Enrichment) -> list[tuple[str, float]]:
    """Every case and what it costs."""
    pick = random.Random(7)
    addresses = [".".join(str(pick.randrange(1, 224)) for _ in range(4)) for _ in range(RECORDS)]
    agents = [AGENTS[n % len(AGENTS)] % n for n in range(RECORDS)]
    locations, clients = enrichment.locations, enrichment.user_agents
    logs = list(log_records(RECORDS, start_ns=(RECEIVED_MS - 60_000) * 10**6, span_ns=10**9))
    texts = [orjson.dumps(log["attributes"]) for log in logs]
    bare = [text.replace(b"client_ip", b"peer").replace(b"user_agent", b"agent") for text in texts]
    ids = [log.get("trace_id") for log in logs]
    raw = batch("logs", logs)
    events = [{"timestamp": RECEIVED_MS, "type": "action", "session_id": "s", "name": str(n)} for n in range(RECORDS)]
    said = [
        event | {"client": {"ip": addresses[n % 50], "user_agent": agents[n % 50]}} for n, event in enumerate(events)
    ]
    rum, rum_said = batch("events", events), batch("events", said)

    def forget() -> None:
        locations._of.forget()
        clients._of.forget()

    return [
        ("address, new", best_us(lambda: [locations.of(each) for each in addresses], RECORDS, before=forget)),
        ("address, remembered", best_us(lambda: [locations.of(each) for each in addresses], RECORDS)),
        ("user agent, new", best_us(lambda: [clients.of(each) for each in agents], RECORDS, before=forget)),
        ("user agent, remembered", best_us(lambda: [clients.of(each) for each in agents], RECORDS)),
        ("attributes without either", best_us(lambda: enrichment.enrich(bare), RECORDS)),
        ("attributes with both, remembered", best_us(lambda: enrichment.enrich(texts), RECORDS)),
        ("levels", best_us(lambda: normalize_levels([log["level"] for log in logs]), RECORDS)),
        ("trace ids", best_us(lambda: normalize_ids(ids), RECORDS)),
        ("normalize a log", best_us(lambda: normalize_logs(raw, partition=0, offset=1), RECORDS)),
        ("the same, enriched", best_us(lambda: normalize_logs(raw, partition=0, offset=1, enrichment=enrichment), RECORDS)),
        ("normalize a RUM event", best_us(lambda: normalize_rum(rum, partition=0, offset=1), RECORDS)),
        ("the same, enriched by the request",
         best_us(lambda: normalize_rum(rum, partition=0, offset=1, enrichment=enrichment), RECORDS)),
        ("the same, enriched by what each client says",
         best_us(lambda: normalize_rum(rum_said, partition=0, offset=1, enrichment=enrichment), RECORDS)),
    ]  # fmt: skip


def small_database(folder: Path) -> Path:
    """A database that locates every address alike."""
    writer = MMDBWriter(database_type="GeoIP2-City")
    city = {
        "city": {"names": {"en": "Berlin"}},
        "country": {"iso_code": "DE"},
        "location": {"latitude": 52.5, "longitude": 13.4},
    }
    for first in range(1, 224):
        writer.insert_network(IPSet([f"{first}.0.0.0/8"]), city)
    writer.to_db_file(str(folder / "city.mmdb"))
    return folder


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--database", type=Path, help="a city database, or a folder of them")
    given = parser.parse_args().database
    settings = Settings(_env_file=None)  # type: ignore[call-arg]  # pydantic-settings' own option
    with tempfile.TemporaryDirectory() as folder:
        database = given or small_database(Path(folder))
        began = time.process_time()
        user_agents = UserAgents()
        loaded_s = time.process_time() - began
        enrichment = Enrichment(
            Locations(database),
            user_agents,
            address_names=settings.geoip_attributes.split(","),
            user_agent_names=settings.user_agent_attributes.split(","),
        )
        table = Table("case", "CPU us", title=f"enrichment, {hardware()}, database {given or 'made'}")
        for case, us in rows(enrichment):
            table.add_row(case, f"{us:.2f}")
        table.add_row("user-agent patterns, once a process", f"{loaded_s * 1e6:.0f}")
        Console(width=140).print(table)


if __name__ == "__main__":
    main()
