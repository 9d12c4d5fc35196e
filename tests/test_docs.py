"""The documents say what is so: every path they name exists, every setting and command stands in them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import typer.main

from aegis.cli.app import MODULES, application
from aegis.settings import Settings, setting_name

ROOT = Path(__file__).parent.parent
DOCUMENTS = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
PATH = re.compile(
    r"(?<![\w/.-])((?:aegis|agents|benchmarks|channels|clickhouse|docs|enrichment|gateway|logql|monitors|privacy|query|storage|tables|tests|timescaledb|topics|web)"
    r"/[\w./-]*|\.ci/run|Makefile|requirements\.lock|pyproject\.toml)"
)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_path_that_a_document_names_exists(document: Path) -> None:
    text = re.sub(r"https?://\S+", "", document.read_text())
    named = {match.rstrip(".,") for match in PATH.findall(text)}
    assert [path for path in sorted(named) if not (ROOT / path).exists()] == []


def test_every_link_leads_somewhere() -> None:
    for document in DOCUMENTS:
        for target in re.findall(r"\]\(([^)#]+)", document.read_text()):
            assert target.startswith("http") or (document.parent / target).exists(), (document, target)


def test_every_setting_is_documented_with_its_default() -> None:
    rows = {
        match[1]: match[2]
        for match in re.finditer(r"^\| `(\w+)` \| (.*?) \|", (ROOT / "docs/settings.md").read_text(), re.M)
    }
    assert set(rows) == {setting_name(name) for name in Settings.model_fields}
    for name, known in Settings.model_fields.items():
        shown = rows[setting_name(name)]
        if shown.startswith("`"):
            value = known.default.get_secret_value() if hasattr(known.default, "get_secret_value") else known.default
            assert shown == f"`{value}`", name


def test_every_command_stands_in_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    commands = typer.main.get_command(application())
    assert hasattr(commands, "commands")
    for name, command in commands.commands.items():
        assert re.search(rf"aegis {name}\b", readme), name
        for inner in getattr(command, "commands", {}):
            assert re.search(rf"{name} {inner}\b", readme), f"{name} {inner}"


def test_no_document_names_a_machine() -> None:
    for document in DOCUMENTS:
        assert not re.search(r"/(?:root|work|tmp)/", document.read_text()), document


def test_every_trap_of_faust_has_a_test_named_for_it() -> None:
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    rows = re.findall(r"^\| (\d\d) \|.* \| (.*) \|$", (ROOT / "docs/faust-traps.md").read_text(), re.M)
    shown = {f"{number}_{name}" for number, cell in rows for name in re.findall(r"`(\w+)`", cell)}
    assert shown == set(re.findall(r"^(?:async )?def test_trap_(\w+)\(", tests, re.M))
    assert {name[:2] for name in shown} == {f"{number:02}" for number in range(1, 19)}


def test_each_command_stands_in_the_module_that_loads_it() -> None:
    for module, names in MODULES.items():
        commands = typer.main.get_command(application([module]))
        assert hasattr(commands, "commands")
        assert set(commands.commands) == set(names), module
