r"""A policy -> one RE2 alternation that says where in the joined text of a column something may be.

It runs over everything, so it must be quick, and must find whatever a rule would; it may find more. It sees the text as it is
stored, escapes and all, so an escape that could hide a part of a value (`\u0040`, `%40`) is a finding too.

Limits that keep its automaton small: no counted repetition where an unbounded one will do, no capture.
"""

from __future__ import annotations

from typing import Any

import re2

from privacy.checks import IBAN_LENGTHS
from privacy.key_names import KeyNames
from privacy.policy import Policy
from privacy.rules import API_KEYS
from privacy.views import PLAIN

SEPARATOR = "\x1e"
"""Stands between the texts of a column. No rule matches across it; an extra pattern may, and is looked at again."""

_MEMORY_BYTES = 16 << 20
_MEMORY_OF_LONG_POLICIES_BYTES = 96 << 20
"""RE2 works without its automaton when it has no room for it, thirty times as slowly; a hundred long keys need so much."""

_NUMBER = (
    r"(?:[^0-9.]|[^0-9]\.)(?:4[ .\-+_]{0,2}[0-9]|5[ .\-+_]{0,2}[0-8]|2[ .\-+_]{0,2}[2-7]|3[ .\-+_]{0,2}[0-9]|6[ .\-+_]{0,2}[0-9])"
    r"(?:[ .\-+_]{0,2}[0-9]){11}"
)
_EMAIL = r"(?:@|%40)(?:[-0-9A-Za-z]|[^\x00-\x7f])+(?:\.|%2[Ee]|\\)"
_SSN = (
    r"[0-9]{3}-[0-9]{2}-[0-9]{4}"
    r"|(?i:ssn|social security(?: (?:number|no\.?))?)[^0-9A-Za-z]{1,6}(?:is )?[0-9]{3}[ .-]?[0-9]{2}[ .-]?[0-9]{4}"
)
_PHONE = (
    r"\+[1-9](?:[ ().\-/]{0,3}[0-9]){7}"
    r"|[2-9][0-9]{2}(?:-[0-9]{3}-|\.[0-9]{3}\.|\)[ .-]?[0-9]{3}[ .-]?)[0-9]{4}"
    r"|(?i:phone|mobile|cell|tel|fax|telephone|call|sms|whatsapp)(?i:[ _-]?(?:number|no|nr))?[^0-9A-Za-z+]{1,6}"
    r"[(0-9][0-9]{2}[0-9 .)\-/]{0,2}[0-9]{2}"
)
_JWT = r"eyJ[0-9A-Za-z_-]{8}"
_CREDENTIALS = (
    API_KEYS.decode()
    + r"|(?i:bearer)[ \t]+[0-9A-Za-z\-._~+/]{8}|(?i:basic)[ \t]+[0-9A-Za-z+/_-]{6}"
    + r"|-----BEGIN [A-Z0-9 ]*PRIVATE KEY"
)
_URL_PASSWORD = r":(?:\\{0,8}/){2}[^/\s\"@]*:[^/\s\"@]+@"
_IP = r"[0-9]\.[0-9]{1,3}\.[0-9]{1,3}\.[0-9]|::[0-9A-Fa-f]|(?:[0-9A-Fa-f]{1,4}:){4,6}[0-9A-Fa-f:]"
_OTHER_DIGITS = "".join(
    f"\\x{{{code:x}}}" for code, plain in PLAIN.items() if plain in "0123456789+@."
)  # Digits of other scripts, full-width @ + and full stop.
_OTHER_JOINTS = "".join(f"\\x{{{code:x}}}" for code, plain in PLAIN.items() if plain in " -")
_ESCAPES = (
    # Of an ASCII character that can be part of a value; < > & ' are what some encoders always escape, and are none.
    r"\\u00(?:2[0-589A-Fa-f]|3[0-9ABDFabdf]|[4-7])|\\u(?:[fF][fF]|0[69])|[0-9]\\u"
    r"|%(?:40|2[BbDdEe]|3[0-9]|[46][1-9A-Fa-f]|[57][0-9AaFf]|25[2-7])|[0-9]%(?:20|C2%A0|E2%80)[0-9]"
    rf"|[{_OTHER_DIGITS}]|[0-9][{_OTHER_JOINTS}][0-9]"
)
KEY_END = r"(?:\\{0,8}[\"']|%22)?(?:[ \t\r\n]|\\{1,8}[nrt])*(?:[=:]|%3[DdAa])"

_OF_RULE = {
    "email": _EMAIL, "card": _NUMBER, "ssn": _SSN, "phone": _PHONE, "jwt": _JWT, "api_key": _CREDENTIALS,
    "url_password": _URL_PASSWORD, "ip": _IP,
}  # fmt: skip


def memory_for(policy: Policy) -> int:
    """How many bytes RE2 may use for what a policy compiles to."""
    return _MEMORY_OF_LONG_POLICIES_BYTES if policy.keys or policy.patterns else _MEMORY_BYTES


def compile_prefilter(policy: Policy, names: KeyNames) -> Any:
    """The alternation, for text as UTF-8 bytes that begins with a separator."""
    parts = [pattern for rule, pattern in _OF_RULE.items() if policy.strategy_of(rule) != "off"]
    if policy.strategy_of("iban") != "off":
        parts.append(rf"(?:{'|'.join(sorted(IBAN_LENGTHS))})[0-9]{{2}}(?:[ -]?[0-9A-Z]){{11}}")
    parts += [names.search_pattern() + KEY_END, _ESCAPES]
    if policy.patterns:
        # What an extra pattern looks for may hold any character, so every escape is a finding.
        parts += [f"(?:{pattern.pattern})" for pattern in policy.patterns] + [r"\\.|%[0-9A-Fa-f]{2}"]
    options = re2.Options()
    options.max_mem = memory_for(policy)
    options.never_capture = True
    return re2.compile("|".join(parts), options)
