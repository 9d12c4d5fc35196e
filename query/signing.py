"""A secret or a key file in; what signs and checks access tokens, its algorithm pinned, out.

The algorithm is the configuration's. A token that names another one is not looked at further, so a public key is never taken for
a secret, and "none" is no algorithm.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, RSAPublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
    load_pem_public_key,
)

from topics.errors import Refused

Algorithm = Literal["HS256", "RS256", "EdDSA"]
KEY_FILE_BYTES_MAX: Final = 65_536
RSA_BITS_MIN: Final = 2048
RSA_BITS_MAX: Final = 8192
PRIVATE_KEY_SETTING: Final = "AEGIS_JWT_PRIVATE_KEY_FILE"
PUBLIC_KEY_SETTING: Final = "AEGIS_JWT_PUBLIC_KEY_FILE"


@dataclass(frozen=True, slots=True)
class SigningKey:
    """One algorithm and its keys. Without `private` tokens are only checked. `derivation` is what other secrets are made from."""

    algorithm: Algorithm
    public: Any = field(repr=False)
    private: Any | None = field(repr=False)
    derivation: bytes = field(repr=False, default=b"")

    def derived(self, purpose: str) -> bytes:
        """A secret of 32 bytes that only who can issue tokens knows. Raises `Refused` (not_configured) for who cannot."""
        if self.private is None:
            raise cannot_issue()
        return hmac.digest(self.derivation, f"aegis: {purpose}".encode(), "sha256")


def cannot_issue() -> Refused:
    """Why a process that has the public key alone logs nobody in."""
    return Refused(
        f"cannot issue tokens: this process only checks them ({PRIVATE_KEY_SETTING} is not set)", code="not_configured"
    )


def shared_secret(secret: str) -> SigningKey:
    """HS256: who checks can issue. The setting has seen to 32 bytes at least."""
    return SigningKey("HS256", secret, secret, secret.encode())


def key_files(algorithm: Algorithm, private: Path | None, public: Path | None) -> SigningKey:
    """RS256 or EdDSA, from PEM files: the private key issues and checks, the public one alone checks.

    Raises `Refused` naming the setting of a file that is missing, unreadable, of the wrong kind or too weak, and of two that do
    not belong together.
    """
    issuing = None if private is None else _private_key(algorithm, private)
    checking = None if public is None else _public_key(algorithm, public)
    if issuing is None:
        if checking is None:
            raise _bad(
                PRIVATE_KEY_SETTING, f"it is not set, and {algorithm} needs it (or {PUBLIC_KEY_SETTING} to check)"
            )
        return SigningKey(algorithm, checking, None)
    own = issuing.public_key()
    if checking is not None and _raw(checking) != _raw(own):
        raise _bad(PUBLIC_KEY_SETTING, f"it is not the public key of {PRIVATE_KEY_SETTING}")
    secret = issuing.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return SigningKey(algorithm, own, issuing, secret)


def _private_key(algorithm: Algorithm, path: Path) -> Any:
    text = _read(PRIVATE_KEY_SETTING, path)
    try:
        key = load_pem_private_key(text, password=None)
    except TypeError:
        raise _bad(PRIVATE_KEY_SETTING, f"{path} is locked with a password") from None
    except (ValueError, UnsupportedAlgorithm):
        raise _bad(PRIVATE_KEY_SETTING, f"{path} holds no private key in PEM form") from None
    _check_kind(PRIVATE_KEY_SETTING, algorithm, path, key, (RSAPrivateKey, Ed25519PrivateKey))
    return key


def _public_key(algorithm: Algorithm, path: Path) -> Any:
    text = _read(PUBLIC_KEY_SETTING, path)
    if b"PRIVATE KEY" in text:
        raise _bad(PUBLIC_KEY_SETTING, f"{path} holds a private key; give the public one only")
    try:
        key = load_pem_public_key(text)
    except (ValueError, UnsupportedAlgorithm):
        raise _bad(PUBLIC_KEY_SETTING, f"{path} holds no public key in PEM form") from None
    _check_kind(PUBLIC_KEY_SETTING, algorithm, path, key, (RSAPublicKey, Ed25519PublicKey))
    return key


def _check_kind(setting: str, algorithm: Algorithm, path: Path, key: Any, kinds: tuple[type, type]) -> None:
    rsa, ed25519 = kinds
    if not isinstance(key, rsa if algorithm == "RS256" else ed25519):
        wanted = "an RSA key" if algorithm == "RS256" else "an Ed25519 key"
        raise _bad(setting, f"{path} is not {wanted}, which {algorithm} needs")
    if isinstance(key, (RSAPrivateKey, RSAPublicKey)) and not RSA_BITS_MIN <= key.key_size <= RSA_BITS_MAX:
        raise _bad(
            setting, f"{path} is an RSA key of {key.key_size} bits; {RSA_BITS_MIN} to {RSA_BITS_MAX} are accepted"
        )


def _raw(key: Any) -> bytes:
    raw: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return raw


def _read(setting: str, path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            text = file.read(KEY_FILE_BYTES_MAX + 1)
    except OSError as exc:
        raise _bad(setting, f"{path}: {exc.strerror}") from None
    if len(text) > KEY_FILE_BYTES_MAX:
        raise _bad(setting, f"{path} is larger than any key")
    return text


def _bad(setting: str, why: str) -> Refused:
    return Refused(f"cannot use {setting}: {why}", code="bad_setting")
