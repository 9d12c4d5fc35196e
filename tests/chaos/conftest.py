"""How long the chaos lasts and what it is seeded with; a redis-server or an instance of its own for each test."""

from __future__ import annotations

import importlib.util
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SHORT_S = 12.0


def pytest_addoption(parser: pytest.Parser) -> None:
    """Known when pytest is given this folder (`make chaos`); the whole suite runs the short form."""
    parser.addoption("--chaos-seconds", type=float, default=SHORT_S, help="how long each attack lasts")
    parser.addoption("--chaos-seed", type=int, default=None, help="the seed that an earlier run has printed")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    seconds = config.getoption("--chaos-seconds", default=SHORT_S)
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.timeout(seconds + 500))


@pytest.fixture
def chaos_seconds(request: pytest.FixtureRequest) -> float:
    return float(request.config.getoption("--chaos-seconds", default=SHORT_S))


@pytest.fixture
def chaos_seed(request: pytest.FixtureRequest) -> int:
    seed = request.config.getoption("--chaos-seed", default=None)
    return random.SystemRandom().randrange(1 << 31) if seed is None else int(seed)


def _load_redis_server() -> Any:
    """Load what the integration tests have; folders of tests are no packages."""
    path = Path(__file__).parents[1] / "integration" / "redis_streams_server.py"
    spec = importlib.util.spec_from_file_location("redis_streams_server", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


_REDIS = _load_redis_server()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[Any]:
    """A running redis-server with an append-only file: `url`, `port`, `folder`, `kill()`, `start()`."""
    folder = tmp_path / "redis"
    folder.mkdir()
    server = _REDIS.RedisServer(folder)
    server.start()
    yield server
    server.kill()
