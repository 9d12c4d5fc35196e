"""A token opens exactly the organization and role it was issued for, and nothing else is a token."""

from __future__ import annotations

import base64
import json
from typing import Any

import jwt
import pytest

from query.tokens import PERMISSIONS, ROLES, Permission, Role, Tokens, read_bearer
from storage.scope import OrgScope
from topics.errors import Refused

NOW = 1_761_904_800.0
SECRET = "a secret that is long enough for every algorithm tried, HS512 included"
SCOPE = OrgScope("0c6f1a3e-6b0e-4a52-9f0a-6a3f6f1f2b11")
CLAIMS: dict[str, Any] = {
    "iss": "aegis", "sub": "cli", "org_id": SCOPE.org_id, "role": "viewer", "iat": int(NOW), "exp": int(NOW) + 60,
}  # fmt: skip


@pytest.fixture
def tokens() -> Tokens:
    return Tokens(SECRET, now=lambda: NOW)


def made(key: str | bytes = SECRET, algorithm: str = "HS256", **changed: Any) -> str:
    claims = {name: value for name, value in (CLAIMS | changed).items() if value is not ...}
    return jwt.encode(claims, key, algorithm=algorithm)


def refused(tokens: Tokens, header: str | None) -> bool:
    with pytest.raises(Refused) as caught:
        read_bearer(header, tokens)
    return caught.value.code == "bad_token"


@pytest.mark.parametrize("role", ROLES)
def test_a_token_says_who_asks_for_which_organization(tokens: Tokens, role: Role) -> None:
    token = tokens.issue(SCOPE, role=role, subject="someone", lifetime_s=60)
    principal = read_bearer(f"bearer {token}", tokens)
    assert (principal.subject, principal.scope, principal.role) == ("someone", SCOPE, role)


def test_the_handmade_token_of_these_tests_is_one(tokens: Tokens) -> None:
    assert read_bearer(f"Bearer {made()}", tokens).scope == SCOPE


@pytest.mark.parametrize(
    "token",
    [
        made(key="another secret of at least thirty-two bytes"),
        made(algorithm="HS512"),
        made(key="", algorithm="none"),
        made(exp=int(NOW) - 6),
        made(exp=...),
        made(sub=...),
        made(iss="somebody"),
        made(role="god"),
        made(role=["owner"]),
        made(org_id=...),
        made(org_id="*"),
        made(org_id=SCOPE.org_id.upper()),
        made(org_id="' OR 1=1 --"),
        made() + "x",
        made()[:-2],
        "",
        "a.b.c",
        "x" * 5000,
        made(padding="p" * 5000),
    ],
)
def test_anything_else_is_refused(tokens: Tokens, token: str) -> None:
    assert refused(tokens, f"Bearer {token}")


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer ", "Basic dXNlcjpwYXNz", made()])
def test_a_header_without_a_bearer_token_is_refused(tokens: Tokens, header: str | None) -> None:
    assert refused(tokens, header)


def test_a_payload_with_another_signature_is_refused(tokens: Tokens) -> None:
    head, payload, signature = made().split(".")
    claims = json.loads(base64.urlsafe_b64decode(payload + "=="))
    claims["org_id"] = "ffffffff-6b0e-4a52-9f0a-6a3f6f1f2b11"
    forged = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    assert refused(tokens, f"Bearer {head}.{forged}.{signature}")
    assert not refused_or_none(tokens, f"Bearer {head}.{payload}.{signature}")


def refused_or_none(tokens: Tokens, header: str) -> bool:
    try:
        read_bearer(header, tokens)
    except Refused:
        return True
    return False


@pytest.mark.parametrize(
    ("permission", "roles"),
    [
        ("logs:read", {"viewer", "member", "admin", "owner"}),
        ("monitors:write", {"member", "admin", "owner"}),
        ("org:admin", {"admin", "owner"}),
    ],
)
def test_a_role_grants_what_it_should(permission: Permission, roles: set[str]) -> None:
    assert {role for role, granted in PERMISSIONS.items() if permission in granted} == roles
