"""A key's secret and its prefix in, sealed bytes for the control plane out, and back.

AES-256-GCM under the master key. The prefix is the associated data, so a sealed secret that is copied to another key's row
does not open. Layout: 1 byte version (1), 12 bytes random nonce, ciphertext with its 16-byte tag (NIST SP 800-38D). Random
nonces are safe for 2^32 secrets under one master key, which is far beyond what a control plane holds.
"""

from __future__ import annotations

import hmac
import os

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from topics.errors import Refused

_VERSION = 1
_NONCE_BYTES = 12
_TAG_BYTES = 16
MASTER_KEY_BYTES = 32


class Sealer:
    """Seals and opens secrets under one master key of 32 bytes."""

    def __init__(self, master_key: bytes) -> None:
        if len(master_key) != MASTER_KEY_BYTES:
            raise Refused(
                f"cannot use AEGIS_MASTER_KEY: it has {len(master_key)} bytes, not {MASTER_KEY_BYTES}",
                code="bad_master_key",
            )
        self._cipher = AESGCM(master_key)
        self._derivation_key = hmac.digest(master_key, b"aegis: derived keys", "sha256")

    @classmethod
    def from_hex(cls, master_key: str) -> Sealer:
        """Make one from the setting's 64 hex digits; raises `Refused` for anything else."""
        try:
            return cls(bytes.fromhex(master_key))
        except ValueError:
            # `from None`, because the cause would print part of the key.
            raise Refused("cannot use AEGIS_MASTER_KEY: it is not 64 hex digits", code="bad_master_key") from None

    def derived(self, purpose: str) -> bytes:
        """A key of 32 bytes for one purpose: the same under the same master key, and telling nothing of it or of another."""
        return hmac.digest(self._derivation_key, purpose.encode(), "sha256")

    def __repr__(self) -> str:
        return "Sealer(<master key>)"

    def seal(self, secret: str, prefix: str) -> bytes:
        """Encrypt `secret` for the key named `prefix`; twice the same secret gives different bytes."""
        nonce = os.urandom(_NONCE_BYTES)
        return bytes([_VERSION]) + nonce + self._cipher.encrypt(nonce, secret.encode(), _bound_to(prefix))

    def open(self, sealed: bytes, prefix: str) -> str:
        """Decrypt what `seal` made for `prefix`.

        Raises `Refused` (code "unreadable_secret") naming AEGIS_MASTER_KEY when the master key is another one, or when the bytes
        were changed or belong to another prefix: GCM cannot tell these apart.
        """
        if len(sealed) < 1 + _NONCE_BYTES + _TAG_BYTES or sealed[0] != _VERSION:
            raise Refused(
                f"cannot open the secret of key {prefix}: its format is not known to this version",
                code="unreadable_secret",
            )
        nonce, body = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        try:
            return self._cipher.decrypt(nonce, body, _bound_to(prefix)).decode()
        except InvalidTag:
            raise Refused(
                f"cannot open the secret of key {prefix}: AEGIS_MASTER_KEY is not the key that sealed it",
                code="unreadable_secret",
            ) from None


def _bound_to(prefix: str) -> bytes:
    return bytes([_VERSION]) + prefix.encode()
