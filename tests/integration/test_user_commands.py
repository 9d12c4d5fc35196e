"""aegis user, api-token, audit and key files, in this process, on a real control plane."""

from __future__ import annotations

import asyncio
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from control_api import PASSWORD
from typer.testing import CliRunner, Result

from aegis.access import command_line, tokens
from aegis.cli.app import application
from aegis.instance import DEVELOPMENT_EMAIL, Development, development_owner
from aegis.settings import load_settings
from query.api_token_text import read_api_token
from query.control.invites import invite_hash
from query.control.passwords import Passwords
from storage.audit import AuditEntry, AuditSelection
from storage.control_plane import ControlPlane
from storage.organizations import Organization
from storage.users import Login
from topics.errors import AegisError, Refused

OTHER = "staple of another day"


class Commands:
    """The command line on the shared database, and what it left there."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.name = f"people {uuid.uuid4().hex}"
        self.email = f"{uuid.uuid4().hex}@example.org"
        self.run("org", "create", self.name)

    def run(self, *arguments: str, stdin: str = "") -> str:
        done = self._invoke(*arguments, stdin=stdin)
        assert done.exit_code == 0, (done.output, done.exception)
        return done.stdout

    def json(self, *arguments: str, stdin: str = "") -> Any:
        return json.loads(self.run(*arguments, "--json", stdin=stdin))

    def refused(self, *arguments: str, stdin: str = "") -> AegisError:
        failure = self._invoke(*arguments, stdin=stdin).exception
        assert isinstance(failure, AegisError), failure
        return failure

    def _invoke(self, *arguments: str, stdin: str) -> Result:
        return CliRunner().invoke(application(["credentials", "users", "api_tokens"]), arguments, input=stdin)

    def create(self, role: str = "owner") -> Any:
        arguments = ("user", "create", self.email, "--org", self.name, "--role", role, "--password-stdin")
        return self.json(*arguments, stdin=f"{PASSWORD}\n")

    def kept(self) -> tuple[Login, Organization, list[AuditEntry]]:
        async def read() -> tuple[Login, Organization, list[AuditEntry]]:
            async with await ControlPlane.open(self.dsn) as plane:
                login = await plane.users.find_login(self.email)
                assert login is not None
                organization = await plane.organizations.get(self.name)
                page = await plane.audit.list_in(organization.scope, AuditSelection())
                return login, organization, page.entries

        return asyncio.run(read())


@pytest.fixture
def commands(control_dsn: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Commands:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DATABASE_URL", control_dsn)
    return Commands(control_dsn)


def matches(login: Login, password: str) -> bool:
    passwords = Passwords()
    right = asyncio.run(passwords.verify(login.password_hash, password))
    passwords.close()
    return right


def test_a_user_is_made_with_a_role_and_changed(commands: Commands) -> None:
    made = commands.create()
    assert (made["email"], made["role"], made["disabled"]) == (commands.email, "owner", False)
    assert matches(commands.kept()[0], PASSWORD)
    commands.run("user", "set-password", commands.email.upper(), "--password-stdin", stdin=f"{OTHER}\n")
    assert matches(commands.kept()[0], OTHER)
    assert commands.json("user", "disable", commands.email)["disabled"]
    assert not commands.json("user", "enable", commands.email)["disabled"]
    assert "at least one owner" in str(commands.refused("user", "remove", commands.email, commands.name))
    (shown,) = commands.json("user", "list", "--org", commands.name)["users"]
    assert (shown["email"], shown["role"]) == (commands.email, "owner")
    assert commands.email in {each["email"] for each in commands.json("user", "list")["users"]}
    assert "owner" in commands.run("user", "list", "--org", commands.name)


def test_an_operator_adds_a_user_to_a_second_organization(commands: Commands) -> None:
    commands.create()
    second = f"second {uuid.uuid4().hex}"
    commands.run("org", "create", second)
    assert commands.json("user", "add", commands.email, second, "--role", "viewer")["role"] == "viewer"
    assert commands.json("user", "add", commands.email, second, "--role", "admin")["role"] == "admin"
    commands.run("user", "remove", commands.email, second)
    assert commands.json("user", "list", "--org", second)["users"] == []


def test_an_invited_user_has_no_password_but_a_token(commands: Commands) -> None:
    made = commands.json("user", "create", commands.email, "--org", commands.name, "--invite")
    login, _, _ = commands.kept()
    assert login.password_hash is None

    async def accept() -> None:
        async with await ControlPlane.open(commands.dsn) as plane:
            assert await plane.users.accept_invite(invite_hash(made["invite_token"]), "$argon2id$x") is not None

    asyncio.run(accept())
    assert commands.kept()[0].password_hash == "$argon2id$x"


@pytest.mark.parametrize(
    ("arguments", "stdin", "why"),
    [
        (("--password-stdin",), "short\n", "10 to 256"),
        (("--password-stdin",), "", "10 to 256"),
        ((), "correct horse battery\n", "--password-stdin"),
        (("--invite",), "", "--invite goes with --org"),
        (("--role", "god"), "", "--role god"),
    ],
)
def test_a_user_that_cannot_be_is_refused(commands: Commands, arguments: tuple[str, ...], stdin: str, why: str) -> None:
    assert why in str(commands.refused("user", "create", commands.email, *arguments, stdin=stdin))
    assert isinstance(commands.refused("user", "disable", commands.email), Refused)


def test_an_api_token_is_made_listed_and_revoked(commands: Commands) -> None:
    made = commands.json("api-token", "create", commands.name, "--name", "ci", "--role", "admin", "--expires-days", "1")
    assert read_api_token(made["secret"]) is not None
    listed = commands.json("api-token", "list", commands.name)["tokens"]
    assert [(each["id"], each["role"], each["revoked_at"]) for each in listed] == [(made["id"], "admin", None)]
    assert made["secret"].rpartition("_")[2] not in json.dumps(listed)
    assert "ci" in commands.run("api-token", "list", commands.name)
    assert commands.json("api-token", "revoke", commands.name, made["id"])["revoked_at"] is not None
    assert isinstance(commands.refused("api-token", "revoke", commands.name, str(uuid.uuid4())), Refused)
    assert isinstance(commands.refused("api-token", "create", commands.name, "--name", "x", "--role", "god"), Refused)
    assert read_api_token(commands.run("api-token", "create", commands.name, "--name", "x").strip()) is not None


def test_the_log_says_who_ran_a_command(commands: Commands) -> None:
    commands.create()
    commands.run("org", "set", commands.name, "--retention-days", "7")
    entries = commands.json("audit", commands.name)["entries"]
    assert {(each["actor"]["kind"], each["actor"]["name"]) for each in entries} == {("command", command_line().name)}
    assert (entries[0]["action"], entries[0]["after"]["retention_days"]) == ("update", 7)
    page = commands.json("audit", commands.name, "--limit", "1")
    assert len(page["entries"]) == 1
    assert commands.json("audit", commands.name, "--cursor", page["next_cursor"])["entries"] == entries[1:]
    assert command_line().name in commands.run("audit", commands.name)


def test_the_development_owner_is_made_once_and_a_changed_password_is_not_claimed(commands: Commands) -> None:
    settings = load_settings()
    development = Development(commands.create()["org_id"], "obs_x", "x")
    first = asyncio.run(development_owner(settings, development, PASSWORD))
    assert (first.email, first.password) == (DEVELOPMENT_EMAIL, PASSWORD)
    assert asyncio.run(development_owner(settings, development, PASSWORD)) == first
    commands.run("user", "set-password", DEVELOPMENT_EMAIL, "--password-stdin", stdin=f"{OTHER}\n")
    assert asyncio.run(development_owner(settings, development, PASSWORD)).password is None


def test_settings_choose_what_signs(commands: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AEGIS_JWT_ALGORITHM", "EdDSA")
    with pytest.raises(Refused, match="AEGIS_JWT_PRIVATE_KEY_FILE"):
        tokens(load_settings())
    monkeypatch.setenv("AEGIS_JWT_PRIVATE_KEY_FILE", str(tmp_path / "none.pem"))
    with pytest.raises(Refused, match=r"AEGIS_JWT_PRIVATE_KEY_FILE.*No such file"):
        tokens(load_settings())
    monkeypatch.setenv("AEGIS_JWT_ALGORITHM", "none")
    with pytest.raises(Refused, match="AEGIS_JWT_ALGORITHM"):
        load_settings()
