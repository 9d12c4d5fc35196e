"""A token opens exactly the organization and role it was issued for, and nothing else is a token."""

from __future__ import annotations

import asyncio
import base64
import hmac
import json
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PrivateKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from query.signing import Algorithm, SigningKey, key_files, shared_secret
from query.tokens import PERMISSIONS, ROLES, Permission, Principal, Role, Tokens
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


def made(key: Any = SECRET, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **changed: Any) -> str:
    claims = {name: value for name, value in (CLAIMS | changed).items() if value is not ...}
    return jwt.encode(claims, key, algorithm=algorithm, headers=headers)


def identified(tokens: Tokens, header: str | None) -> Principal:
    return asyncio.run(tokens.identify(header))


def refused(tokens: Tokens, header: str | None) -> bool:
    with pytest.raises(Refused) as caught:
        identified(tokens, header)
    return caught.value.code == "bad_token"


@pytest.mark.parametrize("role", ROLES)
def test_a_token_says_who_asks_for_which_organization(tokens: Tokens, role: Role) -> None:
    token = tokens.issue(SCOPE, role=role, subject="someone", lifetime_s=60)
    principal = identified(tokens, f"bearer {token}")
    assert (principal.subject, principal.scope, principal.role) == ("someone", SCOPE, role)


def test_the_handmade_token_of_these_tests_is_one(tokens: Tokens) -> None:
    assert identified(tokens, f"Bearer {made()}").scope == SCOPE


@pytest.mark.parametrize(
    "token",
    [
        made(key="another secret of at least thirty-two bytes"),
        made(algorithm="HS512"),
        made(key="", algorithm="none"),
        made(exp=int(NOW) - 6),
        made(exp=...),
        made(exp="never"),
        made(exp=float("nan")),
        made(exp=float("inf")),
        made(exp=None),
        made(exp=[int(NOW) + 60]),
        made(iat=...),
        made(sub=...),
        made(sub=7),
        made(iss=...),
        made(sid=""),
        made(sid=None),
        made(sid=["x"]),
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
        # A header may name no key: not one of a file, of a database, of an address, or of its own.
        *(
            made(key=key, headers=headers)
            for key in (SECRET, "-" * 32)
            for headers in (
                {"kid": "../../../../dev/null"},
                {"kid": "' UNION SELECT '-------------------------------'; --"},
                {"kid": "1"},
                {"jku": "https://example.org/keys.json"},
                {"x5u": "https://example.org/certificate"},
                {"jwk": {"kty": "oct", "k": "LS0tLS0tLS0tLS0tLS0tLS0tLS0tLS0tLS0tLS0tLS0"}},
                {"crit": ["exp"]},
            )
        ),
        f"aet_{'0' * 16}_{'0' * 64}",
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
        identified(tokens, header)
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


def test_a_users_token_is_nothing_where_users_are_not_known(tokens: Tokens) -> None:
    token = tokens.issue(SCOPE, role="owner", subject="somebody", lifetime_s=60, session_id="1")
    assert tokens.read(token).kind == "user"
    assert refused(tokens, f"Bearer {token}")


def pem(key: Any) -> bytes:
    if hasattr(key, "private_bytes"):
        return bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))


@pytest.fixture(scope="module")
def rsa_key() -> RSAPrivateKey:
    return generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(params=["RS256", "EdDSA"])
def issuer(request: pytest.FixtureRequest, tmp_path: Path, rsa_key: RSAPrivateKey) -> SigningKey:
    key = rsa_key if request.param == "RS256" else Ed25519PrivateKey.generate()
    (tmp_path / "private.pem").write_bytes(pem(key))
    (tmp_path / "public.pem").write_bytes(pem(key.public_key()))
    return key_files(request.param, tmp_path / "private.pem", None)


def test_who_has_the_public_key_alone_checks_and_issues_nothing(issuer: SigningKey, tmp_path: Path) -> None:
    token = Tokens(issuer, now=lambda: NOW).issue(SCOPE, role="member", subject="x", lifetime_s=60)
    verifier = Tokens(key_files(issuer.algorithm, None, tmp_path / "public.pem"), now=lambda: NOW)
    assert identified(verifier, f"Bearer {token}").role == "member"
    with pytest.raises(Refused) as caught:
        verifier.issue(SCOPE, role="owner", subject="x", lifetime_s=60)
    assert caught.value.code == "not_configured"
    with pytest.raises(Refused):
        verifier.key.derived("refresh tokens")


def test_the_public_key_is_no_secret(issuer: SigningKey, tmp_path: Path) -> None:
    """The old trick: an HMAC keyed with the public key, in any of its forms, by a header that says HS256."""
    tokens = Tokens(issuer, now=lambda: NOW)
    der = issuer.public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    text = (tmp_path / "public.pem").read_bytes()
    for secret in (text, text.strip(), der):
        for algorithm, digest in (("HS256", "sha256"), ("HS512", "sha512")):
            parts = [
                base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=")
                for part in ({"alg": algorithm, "typ": "JWT"}, CLAIMS | {"role": "owner"})
            ]
            signature = base64.urlsafe_b64encode(hmac.digest(secret, b".".join(parts), digest)).rstrip(b"=")
            assert refused(tokens, "Bearer " + b".".join([*parts, signature]).decode())
    assert refused(tokens, f"Bearer {made(key='', algorithm='none')}")


def test_another_algorithm_of_the_same_key_is_refused(rsa_key: RSAPrivateKey, tmp_path: Path) -> None:
    (tmp_path / "private.pem").write_bytes(pem(rsa_key))
    tokens = Tokens(key_files("RS256", tmp_path / "private.pem", None), now=lambda: NOW)
    assert identified(tokens, f"Bearer {made(key=rsa_key, algorithm='RS256')}").scope == SCOPE
    for algorithm in ("RS384", "RS512", "PS256"):
        assert refused(tokens, f"Bearer {made(key=rsa_key, algorithm=algorithm)}")
    assert refused(tokens, f"Bearer {made(key=Ed25519PrivateKey.generate(), algorithm='EdDSA')}")


@pytest.mark.parametrize(
    ("algorithm", "setting", "content", "why"),
    [
        ("RS256", "PRIVATE", None, "No such file"),
        ("RS256", "PRIVATE", b"", "no private key"),
        ("RS256", "PRIVATE", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no private key"),
        ("RS256", "PRIVATE", Ed25519PrivateKey.generate(), "not an RSA key"),
        ("EdDSA", "PRIVATE", Ed448PrivateKey.generate(), "not an Ed25519 key"),
        ("EdDSA", "PUBLIC", Ed448PrivateKey.generate().public_key(), "not an Ed25519 key"),
        ("RS256", "PRIVATE", generate_private_key(public_exponent=65537, key_size=1024), "1024 bits"),
        ("RS256", "PUBLIC", generate_private_key(public_exponent=65537, key_size=1024).public_key(), "1024 bits"),
        ("EdDSA", "PUBLIC", Ed25519PrivateKey.generate(), "holds a private key"),
        ("EdDSA", "PUBLIC", b"x" * 70_000, "larger than any key"),
    ],
)
def test_a_key_file_that_is_no_good_stops_the_start_by_its_setting(
    tmp_path: Path, algorithm: Algorithm, setting: str, content: Any, why: str
) -> None:
    path = tmp_path / "key.pem"
    if content is not None:
        path.write_bytes(content if isinstance(content, bytes) else pem(content))
    files = (path, None) if setting == "PRIVATE" else (None, path)
    with pytest.raises(Refused, match=f"AEGIS_JWT_{setting}_KEY_FILE.*{why}") as caught:
        key_files(algorithm, *files)
    assert caught.value.code == "bad_setting"


def test_locked_missing_and_unrelated_key_files_are_refused(tmp_path: Path) -> None:
    key, other = Ed25519PrivateKey.generate(), Ed25519PrivateKey.generate()
    locked = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    (tmp_path / "locked.pem").write_bytes(locked)
    (tmp_path / "private.pem").write_bytes(pem(key))
    (tmp_path / "other.pem").write_bytes(pem(other.public_key()))
    with pytest.raises(Refused, match=r"AEGIS_JWT_PRIVATE_KEY_FILE.*locked"):
        key_files("EdDSA", tmp_path / "locked.pem", None)
    with pytest.raises(Refused, match=r"AEGIS_JWT_PRIVATE_KEY_FILE.*not set"):
        key_files("EdDSA", None, None)
    with pytest.raises(Refused, match=r"AEGIS_JWT_PUBLIC_KEY_FILE.*not the public key"):
        key_files("EdDSA", tmp_path / "private.pem", tmp_path / "other.pem")
    with pytest.raises(Refused, match="AEGIS_JWT_PRIVATE_KEY_FILE"):
        key_files("EdDSA", tmp_path, None)


def test_what_is_derived_differs_by_purpose_and_by_key(issuer: SigningKey) -> None:
    assert issuer.derived("a") == issuer.derived("a") != issuer.derived("b")
    assert shared_secret(SECRET).derived("a") != issuer.derived("a")
