"""Imports go one way: topics <- tables, privacy, logql <- storage <- web <- monitors, query, gateway, agents <- aegis."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MAY_IMPORT: dict[str, set[str]] = {"topics": set()}
MAY_IMPORT["privacy"] = {"topics"}
MAY_IMPORT["tables"] = {"topics"}
MAY_IMPORT["enrichment"] = {"topics"}
MAY_IMPORT["logql"] = {"topics"}
MAY_IMPORT["channels"] = {"topics"}
MAY_IMPORT["monitors"] = {"topics", "logql"}
MAY_IMPORT["storage"] = {"topics", "tables", "privacy", "logql"}
MAY_IMPORT["web"] = {"topics", "tables", "storage"}
MAY_IMPORT["query"] = MAY_IMPORT["gateway"] = MAY_IMPORT["agents"] = {
    "topics", "tables", "storage", "web",
}  # fmt: skip
MAY_IMPORT["query"] = MAY_IMPORT["query"] | {"privacy", "logql", "monitors", "channels"}
MAY_IMPORT["agents"] = MAY_IMPORT["agents"] | {"monitors", "enrichment", "privacy", "logql", "channels"}
MAY_IMPORT["aegis"] = set(MAY_IMPORT)
PACKAGES = [name for name in MAY_IMPORT if (ROOT / name / "__init__.py").exists()]


def modules(package: str) -> Iterator[Path]:
    return (ROOT / package).rglob("*.py")


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


@pytest.mark.parametrize("package", PACKAGES)
def test_imports_go_one_way(package: str) -> None:
    allowed = MAY_IMPORT[package] | {package}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(package)
        for name in imported(path)
        if name.partition(".")[0] in MAY_IMPORT and name.partition(".")[0] not in allowed
    ]
    assert wrong == []


def test_only_the_settings_read_the_environment() -> None:
    readers = [
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in modules(package)
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Attribute) and node.attr in ("environ", "getenv", "environb")
    ]
    assert set(readers) == {"aegis/settings.py"}


def test_the_entries_of_streams_need_no_faust() -> None:
    """The gateway produces without loading Faust, which costs half a second and 40 MB."""
    for path in ("entries", "keys", "pipelined_connection", "stream_producer", "__init__"):
        names = set(imported(ROOT / "topics" / "redis_streams" / f"{path}.py"))
        assert not any(name.partition(".")[0] in ("faust", "mode") for name in names), path


def test_every_package_is_installed() -> None:
    declared = (ROOT / "pyproject.toml").read_text().partition("[tool.setuptools]")[2]
    listed = ast.literal_eval(declared.partition("packages = ")[2].partition("\n")[0])
    assert sorted(listed) == sorted(PACKAGES)


def test_no_test_folder_shadows_a_package() -> None:
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_no_mock_patch() -> None:
    mock = "mock"
    users = [
        str(path) for path in (ROOT / "tests").rglob("*.py") if any(name.endswith(mock) for name in imported(path))
    ]
    assert users == []


def test_what_works_on_topics_knows_no_transport() -> None:
    """Agents see `topics/streaming.py` and `topics/ledger.py` alone, so that another transport drops in."""
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for package in ("agents", "tables", "storage", "query", "monitors", "logql")
        for path in modules(package)
        for name in imported(path)
        if name.startswith("topics.redis_streams")
    ]
    assert wrong == []
