"""A found value -> what is stored instead: a token that names the rule, a mask that keeps a little, or a keyed hash.

All three have one form, `[KIND:rule...]`, so that what was scrubbed once is recognized and left alone. A hash is made with the
organization's key, of the value in its plain form (a card without spaces, an e-mail in lower case): the same value gives the same
token everywhere in one organization, and joins keep working; another organization's tokens say nothing about it.
"""

from __future__ import annotations

import hmac
import re

from privacy.policy import Strategy

HASH_KEY_BYTES_MIN = 16
_HASH_DIGITS = 16

URL_PASSWORD = "REDACTED"
"""What a password in a URL becomes, whatever the strategy: brackets would make the URL unreadable."""

TOKEN = re.compile(
    r"\[(?:REDACTED:[a-z][a-z0-9_]{0,31}"
    rf"|HASH:[a-z][a-z0-9_]{{0,31}}:[0-9a-f]{{{_HASH_DIGITS}}}"
    r"|MASKED:[a-z][a-z0-9_]{0,31}:[^\[\]\s\"'\\*]{0,4}\*{4}[^\[\]\s\"'\\*]{0,80})\]"
)
"""What this module writes."""
_IN_URL = f":{URL_PASSWORD}@"


def tokens_in(text: str) -> list[tuple[int, int]]:
    """Where a text holds what was written in place of a value."""
    tokens = [match.span() for match in TOKEN.finditer(text)] if "[" in text else []
    at = text.find(_IN_URL)
    while at != -1:
        tokens.append((at + 1, at + len(_IN_URL) - 1))
        at = text.find(_IN_URL, at + 1)
    return tokens


def replace(strategy: Strategy, rule: str, value: str, key: bytes) -> str:
    """What is stored for `value`, which `rule` found. `key` is the organization's; only hash uses it."""
    if not value.isascii():
        # Of a character beyond the first plane JSON escapes make two halves.
        value = value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if strategy == "hash":
        plain = normal_form(rule, value)
        digest = hmac.digest(key, f"{rule}\0{plain}".encode(), "sha256").hex()
        return f"[HASH:{rule}:{digest[:_HASH_DIGITS]}]"
    if strategy == "mask":
        return f"[MASKED:{rule}:{_mask(rule, value)}]"
    return f"[REDACTED:{rule}]"


def normal_form(rule: str, value: str) -> str:
    """The one way to write a value that is hashed."""
    if rule == "email" or rule == "ip":
        return value.lower()
    if rule in ("card", "ssn"):
        return "".join(c for c in value if c.isdigit())
    if rule == "phone":
        digits = "".join(c for c in value if c.isdigit())
        digits = digits[2:] if digits.startswith("00") else digits
        return "1" + digits if len(digits) == 10 and not value.startswith("+") else digits
    if rule == "iban":
        return value.replace(" ", "").replace("-", "").upper()
    return value


def _mask(rule: str, value: str) -> str:
    """What is kept: four last digits, the first letter and the domain of an e-mail, half of an address; of secrets nothing."""
    if rule == "email":
        local, _, domain = value.rpartition("@")
        return f"{_safe(local[:1])}****@{_safe(domain)[:70]}"
    if rule in ("card", "ssn", "phone", "iban"):
        return "****" + _safe("".join(c for c in value if c.isalnum()))[-4:]
    if rule == "ip":
        return _safe(value[:4].rpartition(".")[0] if "." in value else value[:4].partition(":")[0]) + "****"
    return "****"


def _safe(text: str) -> str:
    return "".join(c for c in text if c.isalnum() or c in ".-@_+:" or ord(c) > 0x7F)
