"""docker-compose.yml, the Dockerfile and the servers' configuration name only what exists: no engine runs them here."""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import typer.main
import yaml

from aegis.cli.app import application
from aegis.settings import Settings, load_settings, setting_name
from storage.migrations import REPOSITORY, migrate

COMPOSE: dict[str, Any] = yaml.safe_load((REPOSITORY / "docker-compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OWN = {name: service for name, service in SERVICES.items() if service["image"].startswith("aegis:")}
EXAMPLE = set(re.findall(r"^(\w+)=", (REPOSITORY / ".env.example").read_text(), re.M))
VARIABLE = re.compile(r"\$\{(\w+)(?::\?[^}]*)?\}")
# Where each process listens, by its setting and default.
LISTENS = {"gateway": "AEGIS_PORT", "query": "AEGIS_QUERY_PORT", "worker": "AEGIS_WORKER_PORT"}


def _filled(text: str) -> str:
    """A value as compose gives it, with 64 hex digits for every variable."""
    return VARIABLE.sub("a" * 64, text)


def test_everything_of_the_mission_is_there() -> None:
    assert {"gateway", "query", "worker", "migrate", "redis", "postgres", "timescaledb", "clickhouse"} <= set(SERVICES)
    assert SERVICES["kafka"]["profiles"] == ["kafka"]
    published = {name: [port.split(":")[-1] for port in service.get("ports", [])] for name, service in SERVICES.items()}
    assert published["clickhouse"] == ["8123", "9000"]
    assert (published["timescaledb"], published["postgres"], published["redis"]) == (["5433"], ["5432"], ["6379"])


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_is_bounded_pinned_and_watched(name: str) -> None:
    service = SERVICES[name]
    assert re.search(r":\d+[\w.-]*\d", service["image"]), "a tag without a version moves"
    assert re.fullmatch(r"\d+[mg]", service["mem_limit"])
    assert ("healthcheck" in service) or name == "migrate"
    for port in service.get("ports", []):
        assert name in OWN or port.startswith("127.0.0.1:"), "stores are not for the network"


@pytest.mark.parametrize("name", sorted(OWN))
def test_every_command_line_is_one_of_ours(name: str) -> None:
    command, *arguments = SERVICES[name]["command"]
    known: Any = typer.main.get_command(application())
    options = {option for parameter in known.commands[command].params for option in parameter.opts}
    assert [argument for argument in arguments if argument.startswith("-") and argument not in options] == []


@pytest.mark.parametrize("name", sorted(OWN))
def test_every_setting_is_one_of_ours_and_acceptable(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = SERVICES[name]["environment"]
    assert set(given) <= {setting_name(field) for field in Settings.model_fields}
    for variable in list(os.environ):
        if variable in {setting_name(field) for field in Settings.model_fields}:
            monkeypatch.delenv(variable)
    monkeypatch.chdir(tmp_path)
    for variable, value in given.items():
        monkeypatch.setenv(variable, _filled(value))
    settings = load_settings()
    assert settings.transport_address == "redis://redis:6379/0"
    for host in (settings.clickhouse_host, settings.timescale_host):
        assert host in SERVICES
    assert re.search(r"@(\w+):5432/aegis$", settings.database_url.get_secret_value())[1] in SERVICES  # type: ignore[index]  # None fails the test


@pytest.mark.parametrize("name", sorted(LISTENS))
def test_health_is_asked_where_the_process_listens(name: str) -> None:
    service = SERVICES[name]
    [(port, path)] = re.findall(r"http://127\.0\.0\.1:(\d+)(/\w+)", service["healthcheck"]["test"][-1])
    assert service["environment"][LISTENS[name]] == port
    assert path == "/ready"
    assert '"/ready"' in (REPOSITORY / "web/health.py").read_text()
    assert [p for p in service.get("ports", []) if p.split(":")[-1] != port] == []
    assert port in re.findall(r"\d+", re.search(r"EXPOSE (.*)", _dockerfile())[1])  # type: ignore[index]  # as above


def test_every_variable_is_in_the_example_and_every_one_there_is_used() -> None:
    used = set(re.findall(r"\$\{(\w+)", (REPOSITORY / "docker-compose.yml").read_text()))
    assert used == EXAMPLE


def test_every_mounted_file_exists_and_every_volume_is_declared() -> None:
    named = set()
    for service in SERVICES.values():
        for mount in service.get("volumes", []):
            source = mount.split(":")[0]
            if source.startswith("./"):
                assert (REPOSITORY / source).is_file(), source
            else:
                named.add(source)
    assert named == set(COMPOSE["volumes"])


def test_what_a_service_waits_for_can_become_so() -> None:
    for service in SERVICES.values():
        for other, wanted in service.get("depends_on", {}).items():
            if wanted["condition"] == "service_healthy":
                assert "healthcheck" in SERVICES[other]
            else:
                assert (wanted["condition"], other) == ("service_completed_successfully", "migrate")


def test_redis_keeps_what_it_answers_for() -> None:
    command = SERVICES["redis"]["command"]
    given = dict(zip(command[1::2], command[2::2], strict=True))
    assert (given["--appendonly"], given["--appendfsync"]) == ("yes", "always")
    assert given["--maxmemory-policy"] == "noeviction"
    assert int(given["--maxmemory"].removesuffix("gb")) < int(SERVICES["redis"]["mem_limit"].removesuffix("g"))


def _dockerfile() -> str:
    return (REPOSITORY / "Dockerfile").read_text()


def test_the_image_holds_every_package_and_nothing_runs_as_root() -> None:
    copied = set(re.findall(r"^COPY (\w+) \1$", _dockerfile(), re.M))
    packages = re.search(r"^packages = \[(.*)\]", (REPOSITORY / "pyproject.toml").read_text(), re.M)
    assert packages is not None
    assert copied == set(re.findall(r'"(\w+)"', packages[1])) | {"clickhouse", "timescaledb"}
    assert all((REPOSITORY / folder).is_dir() for folder in copied)
    allowed = set(re.findall(r"^!(\S+)", (REPOSITORY / ".dockerignore").read_text(), re.M))
    assert allowed == copied | {"pyproject.toml", "requirements.lock"}
    final = _dockerfile().rpartition("\nFROM ")[2]
    assert "USER aegis" in final
    assert 'ENTRYPOINT ["aegis"]' in final
    for name in re.findall(r"\b(AEGIS_\w+)=", final):
        assert name in {setting_name(field) for field in Settings.model_fields}


def test_every_table_and_view_of_clickhouse_has_its_policies() -> None:
    schema = (REPOSITORY / "clickhouse/schema.sql").read_text()
    tables = set(re.findall(r"^CREATE (?:TABLE|MATERIALIZED VIEW) (\w+)", schema, re.M)) - {"schema_migrations"}
    access = (REPOSITORY / "clickhouse/config/access.sql").read_text()
    assert set(re.findall(r"GRANT SELECT ON aegis\.(\w+) TO aegis_reader;", access)) == tables
    assert set(re.findall(r"ON aegis\.(\w+) FOR SELECT USING 1 TO aegis_reader;", access)) == tables
    restrictive = (
        r"ON aegis\.(\w+) AS RESTRICTIVE\s+FOR SELECT USING org_id = getSetting\('SQL_org_id'\) TO aegis_reader;"
    )
    assert set(re.findall(restrictive, access)) == tables


def test_the_configuration_of_clickhouse_fits_compose() -> None:
    users = ElementTree.parse(REPOSITORY / "clickhouse/config/users.xml").getroot()
    ElementTree.parse(REPOSITORY / "clickhouse/config/server.xml")
    from_env = {element.attrib["from_env"] for element in users.iter() if "from_env" in element.attrib}
    assert from_env <= set(SERVICES["clickhouse"]["environment"])
    names = {element.tag for element in users.find("users") or [] if "remove" not in element.attrib}
    assert {OWN[name]["environment"]["CLICKHOUSE_USER"] for name in OWN} <= names
    profiles = {element.tag for element in users.find("profiles") or []} | {"default"}
    assert {element.text for element in users.iter("profile")} <= profiles


async def test_the_roles_of_postgres_may_do_what_they_should(
    store_postgres_server: Any, store_dsn: str, tmp_path: Path
) -> None:
    """The file as the image runs it, twice; then the migrations as the owner, and each role at work."""
    passwords = {f"AEGIS_{role}_PASSWORD": "p'w\"d" for role in ("OWNER", "APP", "READER")}
    # In the tests the superuser is called aegis, so the owner gets another name: it shall not be one.
    roles = tmp_path / "roles.sql"
    roles.write_text(re.sub(r"\baegis\b", "aegis_owner", (REPOSITORY / "timescaledb/roles.sql").read_text()))
    for _ in range(2):
        store_postgres_server.run_file(store_dsn.rpartition("/")[2], roles, passwords)

    def dsn(role: str) -> str:
        return store_dsn.replace("//aegis@", f"//{role}@")

    assert await migrate(control_plane_dsn=dsn("aegis_owner"))
    app = await asyncpg.connect(dsn("aegis_app"))
    reader = await asyncpg.connect(dsn("aegis_reader"))
    try:
        await app.execute("INSERT INTO organizations (name) VALUES ('acme')")
        await app.execute("UPDATE organizations SET retention_days = 31")
        assert await reader.fetchval("SELECT retention_days FROM organizations") == 31
        await reader.execute("SET default_transaction_read_only = off")
        for connection, statement in (
            (app, "CREATE TABLE mine (id int)"),
            (app, "DROP TABLE organizations"),
            (app, "ALTER TABLE api_keys DISABLE TRIGGER ALL"),
            (reader, "INSERT INTO organizations (name) VALUES ('other')"),
        ):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
    finally:
        await app.close()
        await reader.close()
