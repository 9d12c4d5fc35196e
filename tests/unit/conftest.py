"""Real city databases of a few networks, in the file format of MaxMind."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from mmdb_writer import MMDBWriter
from netaddr import IPSet

Cities = Callable[..., Path]


@pytest.fixture
def write_cities(tmp_path: Path) -> Cities:
    """Writes networks and their records into a database, by renaming as an update would; a path is below `tmp_path`."""

    def write(networks: Mapping[str, Any], path: str = "city.mmdb", *, ip_version: int = 6) -> Path:
        writer = MMDBWriter(
            ip_version=ip_version, database_type="GeoIP2-City", languages=["en"], ipv4_compatible=ip_version == 6
        )
        for network, record in networks.items():
            writer.insert_network(IPSet([network]), record)
        target = tmp_path / path
        target.parent.mkdir(parents=True, exist_ok=True)
        writer.to_db_file(str(target) + ".part")
        os.replace(str(target) + ".part", target)
        return target

    return write
